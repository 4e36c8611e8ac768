"""What an operator wants to know about the authority, without its passphrase."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives import hashes

from hearth.authority.store import TLS_KEY, load_root
from hearth.inventory.hosts import Authority


def described(authority: Authority) -> tuple[str, ...]:
    """Lines that name the root, its end, both fingerprints and where the keys lie; raises ``AuthorityError``."""
    root = load_root(authority.tls_ca)
    blob = base64.b64decode(authority.ssh_user_ca.split()[1])
    here = "on this machine" if (authority.folder / TLS_KEY).exists() else "not on this machine"
    return (
        f"TLS root            {root.subject.rfc4514_string()}",
        f"  valid until       {root.not_valid_after_utc:%Y-%m-%d}",
        f"  SHA-256           {root.fingerprint(hashes.SHA256()).hex(':').upper()}",
        f"  file              {authority.tls_ca}",
        # As ssh-keygen -l prints it.
        f"SSH user authority  SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}",
        f"Private keys        {authority.folder} ({here})",
    )
