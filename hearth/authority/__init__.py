"""The fleet's own authority: it signs the boxes' TLS certificates and the operators' SSH certificates.

A household's private key never comes here: a box sends a certificate signing request, the authority sends back a
certificate. What lies where:

==================== ============================ ========================================================
file                 folder                       what it is
==================== ============================ ========================================================
``tls-ca.key``       private, on the operator's   the root's key, encrypted
``ssh-user-ca.key``  machine (0700)               the SSH user authority's key, encrypted
``tls-ca.pem``       private and public           the X.509 root; signing needs it beside its key
``ssh-user-ca.pub``  private and public           what ``TrustedUserCAKeys`` trusts
==================== ============================ ========================================================

Every refusal is an ``AuthorityError``: one sentence that says what to do.
"""

from hearth.authority.description import described
from hearth.authority.errors import AuthorityError
from hearth.authority.passphrase import passphrase, read_passphrase_file
from hearth.authority.ssh import sign_ssh_user_key
from hearth.authority.store import init, tls_ca_key_id, write_file
from hearth.authority.tls import key_id, sign_tls

__all__ = [
    "AuthorityError",
    "described",
    "init",
    "key_id",
    "passphrase",
    "read_passphrase_file",
    "sign_ssh_user_key",
    "sign_tls",
    "tls_ca_key_id",
    "write_file",
]
