"""The box's TLS key, made and kept on the box, and its certificate: the fleet's own authority's, or by ACME.

``/etc/hearth/tls`` holds ``key.pem``, ``csr.pem`` and ``certificate.pem`` (the leaf alone: the root signs directly).
Certificate and key fit each other from the first operation on, so Apache can always start. By ACME they bridge the time
until Apache has fetched a pair of its own (``by_acme``); see docs/certificates.md.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from pyinfra import logger
from pyinfra.api.command import (
    FunctionCommand,
    PyinfraCommand,
    QuoteString,
    StringCommand,
)
from pyinfra.api.deploy import deploy
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from hearth import artefacts, authority, layout
from hearth.authority import AuthorityError
from hearth.inventory.hosts import Authority, Box
from roles.certs.by_acme import INSTALL, issuance, refusal, services
from roles.certs.facts import TlsFiles, TlsState
from roles.certs.rules import incomplete, needs, unserved

__all__ = ["PACKAGES", "certs", "issuance", "refusal", "services"]

PACKAGES: tuple[str, ...] = ("openssl",)

_FILES = Path(__file__).parent / "files"
_MAKE_KEY = f"{layout.PROGRAMS}/make-tls-key"
_SERVED_UNTIL = f"{layout.PROGRAMS}/served-until"
_STAGED = f"{layout.TLS_CERTIFICATE}.staged"


@deploy("Certificates")
def certs(box: Box) -> None:
    """Give the box a key, and a certificate for its domain: signed by the fleet's authority, or a bridge to ACME's.

    While the name leads to the box that this one is to replace, the bridge is all.
    """
    artefacts.put(
        name="Put the programs that make the key and install the certificate",
        change="certs",
        artefacts=tuple(
            artefacts.File(script, (_FILES / Path(script).name).read_text(), mode="755")
            for script in (_MAKE_KEY, INSTALL, _SERVED_UNTIL)
        ),
    )
    make_key(name="Make the TLS key, its request and a bridging certificate", names=_names(box))
    if box.certificates.issuer == "operator" and box.household.has_name:
        put_certificate(name="Put the certificate signed by the fleet's authority", box=box)


@operation()
def make_key(names: Sequence[str]) -> Generator[PyinfraCommand, None, None]:
    """Make the key, the request for ``names`` and, where no certificate fits the key, a self-signed one."""
    if incomplete(host.get_fact(TlsFiles, domain=names[0]), names):
        yield StringCommand(_MAKE_KEY, QuoteString(names[0]))


@operation()
def put_certificate(box: Box) -> Generator[PyinfraCommand, None, None]:
    """Have the box's request signed and install the certificate, when the one on the box does not do.

    pyinfra runs this twice: while it prepares, up to the first command, to see whether something changes; and while it
    executes, to the end. So nothing is signed, and no passphrase asked for, before the execution.
    """
    domain = box.household.domain
    state = host.get_fact(TlsFiles, domain=domain)
    try:
        root = _root(box)
        lifetime = timedelta(days=box.certificates.lifetime_days)
        if needs(state, _names(box), authority.tls_ca_key_id(root.tls_ca), lifetime, datetime.now(UTC)):
            yield StringCommand("rm", "-f", _STAGED)  # the preparation ends at this line
            leaf = _signed(state, _names(box), root, lifetime)
            # By standard input: pyinfra's own upload goes through /tmp, which is in memory and may be full.
            yield StringCommand("cat", ">", _STAGED, _stdin=leaf.decode())
            yield StringCommand(INSTALL, QuoteString(domain), _STAGED)
        elif unserved(state):
            yield StringCommand(INSTALL, QuoteString(domain))
    except AuthorityError as refusal:
        yield FunctionCommand(_fail, (str(refusal),), {})


def _names(box: Box) -> tuple[str, ...]:
    return (box.household.domain,)


def _root(box: Box) -> Authority:
    """The authority that signs for this box; raises ``AuthorityError`` when there is none."""
    if box.authority is None:
        raise AuthorityError("the fleet has no authority yet: make it with `hearth ca init`")
    return box.authority


def _signed(state: TlsState, names: Sequence[str], root: Authority, lifetime: timedelta) -> bytes:
    """The certificate for the request on the box, PEM; raises ``AuthorityError``."""
    if state.request is None:
        raise AuthorityError("the box has no readable certificate request: converge again")
    leaf = authority.sign_tls(root.folder, authority.passphrase(root), state.request.pem, names, lifetime)
    # Were the two halves of different authorities, each converge would sign anew and no device would trust it.
    if authority.key_id(x509.load_pem_x509_certificate(leaf)) != authority.tls_ca_key_id(root.tls_ca):
        raise AuthorityError(
            f"the keys in {root.folder} do not belong to {root.tls_ca}: give the inventory's authority.folder"
        )
    return leaf


def _fail(state: State, host: Host, sentence: str) -> bool:
    """Fail this host's operation with a sentence; pyinfra hands ``state`` and ``host`` over by their names."""
    host.log_styled(sentence, fg="red", log_func=logger.error)
    return False
