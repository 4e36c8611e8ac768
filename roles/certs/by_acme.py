"""Issuer ``acme``: Apache's own mod_md fetches the certificate, through the one port that leads to the box.

mod_md makes a key of its own for each certificate and keeps it in ``STORE``. Until it has the first, Apache serves the
pair in ``/etc/hearth/tls``; from then on mod_md's own, which it takes at a reload. Two units of hearth's see to that:
one waits until the box is reached from outside and lets mod_md begin, the other reloads Apache when mod_md has
something new.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from shlex import quote

from cryptography import x509
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth import artefacts, layout
from hearth.inventory.hosts import Box
from hearth.render import template
from roles.certs.facts import TlsFiles, TlsState
from roles.certs.rules import unserved

INSTALL = f"{layout.PROGRAMS}/install-certificate"

STORE = "/var/lib/hearth/acme"
SETTINGS = "/etc/apache2/conf-enabled/hearth-acme.conf"
ROOT = f"{layout.TLS_FOLDER}/acme-root.pem"
RUN = "/run/hearth-acme"
WISHES = f"{RUN}/wishes"
TMPFILES = "/etc/tmpfiles.d/hearth-acme.conf"
ROAD = "hearth-acme-road.service"
RELOAD = "hearth-acme-reload.service"
WISHED = "hearth-acme-reload.path"

# How long the road is waited for where the router may hide it from the home itself.
PATIENCE_S = 60

_UNITS = "/etc/systemd/system"
_FILES = Path(__file__).parent / "files"


def refusal(box: Box) -> str | None:
    """Why the box cannot be given what the inventory says, in one sentence that says what to do, or None."""
    root = box.certificates.root
    if box.certificates.issuer != "acme" or root is None:
        return None
    try:
        x509.load_pem_x509_certificates(root.read_bytes())
    except OSError as fault:
        return f"the root of the ACME server, certificates.root, cannot be read: {root}: {fault.strerror}"
    except ValueError:
        return f"{root}, the inventory's certificates.root, holds no certificate in PEM"
    return None


def road(box: Box) -> tuple[str, int]:
    """Where the box asks whether it is reached from outside (address:port), and for how many seconds (0: for ever)."""
    if box.household.access == "relay" and box.relay is not None:
        # Not by name: in many homes the name leads to the box itself.
        address = f"[{box.relay.address}]" if ":" in box.relay.address else box.relay.address
        return f"{address}:443", 0
    return f"{box.household.domain}:443", PATIENCE_S


def settings(box: Box) -> str:
    """Apache's configuration of mod_md."""
    issued = box.certificates
    return template(
        __file__,
        "acme.conf.j2",
        port=layout.HTTPS_TUNNEL_PORT if box.household.access == "relay" else 443,
        store=STORE,
        directory=issued.directory,
        root=ROOT if issued.root else None,
        contact=issued.contact,
        message=f"{layout.PROGRAMS}/acme-message",
        domain=box.household.domain,
    )


def files(box: Box) -> tuple[artefacts.File | artefacts.Link, ...]:
    """All that a box needs to fetch its certificate by itself."""
    domain, root = box.household.domain, box.certificates.root
    address, patience_s = road(box)

    def unit(name: str, **values: object) -> artefacts.File:
        return artefacts.File(
            f"{_UNITS}/{name}", template(__file__, f"{name.removeprefix('hearth-')}.j2", domain=domain, **values)
        )

    return (
        *(
            artefacts.File(f"{layout.PROGRAMS}/{name}", (_FILES / name).read_text(), mode="755")
            for name in ("acme-message", "acme-road")
        ),
        *([artefacts.File(ROOT, root.read_bytes())] if root else []),
        artefacts.File(TMPFILES, template(__file__, "acme-tmpfiles.conf.j2", run=RUN, wishes=WISHES, store=STORE)),
        unit(ROAD, program=f"{layout.PROGRAMS}/acme-road", address=address, patience_s=patience_s),
        unit(RELOAD, program=INSTALL, wish=f"{WISHES}/reload"),
        unit(WISHED, wish=f"{WISHES}/reload"),
        artefacts.Link("/etc/apache2/mods-enabled/md.load", "../mods-available/md.load"),
        artefacts.File(SETTINGS, settings(box)),
    )


def activation(domain: str) -> str:
    """The shell command that makes Apache and systemd take the files, or their absence.

    What mod_md has is dropped with them: it would be served again, and be long over, should ACME ever come back.
    """
    serve = f"{INSTALL} {quote(domain)}"
    wants = " ".join(f"{_UNITS}/multi-user.target.wants/{unit}" for unit in (ROAD, WISHED))
    return (
        f"set -e; systemctl daemon-reload; rm -f {RUN}/open; "
        f"if test -e {SETTINGS}; then "
        f"systemd-tmpfiles --create {TMPFILES}; systemctl enable --quiet {ROAD} {WISHED}; systemctl restart {WISHED}; "
        f"{serve}; systemctl restart --no-block {ROAD}; "
        f"else systemctl stop {ROAD} {WISHED} 2>/dev/null || true; rm -f {wants}; "
        f"{serve}; rm -rf {STORE}/domains {STORE}/staging {STORE}/archive; fi"
    )


def is_wanted(box: Box) -> bool:
    """Whether the box asks an ACME server: not before its name leads to it."""
    return box.certificates.issuer == "acme" and box.household.has_name


def services(box: Box) -> tuple[str, ...]:
    """The units that must run."""
    return (ROAD, WISHED) if is_wanted(box) else ()


def standing(domain: str, state: TlsState) -> str:
    """The sentence in the imperative that tells how far the certificate by ACME is."""
    if state.managed is None:
        return f"Serve {domain} (its certificate by ACME is awaited: it comes once the box is reached from outside)"
    return f"Serve {domain} (its certificate by ACME lasts until {state.managed.end:%Y-%m-%d})"


@operation()
def serve(domain: str) -> Generator[StringCommand, None, None]:
    """Reload Apache where it answers with something else than it shall."""
    if unserved(host.get_fact(TlsFiles, domain=domain)):
        yield StringCommand(INSTALL, QuoteString(domain))


@deploy("Certificates by ACME")
def issuance(box: Box) -> None:
    """Let Apache fetch the certificate, where the household's issuer is an ACME server; needs the site's files."""
    domain = box.household.domain
    by_acme = is_wanted(box)
    artefacts.put(
        name=f"Let Apache ask {box.certificates.directory}" if by_acme else "Ask no ACME server",
        change="acme",
        artefacts=files(box) if by_acme else (),
        check="apache2ctl -t",
        activate=activation(domain),
    )
    if by_acme:
        serve(name=standing(domain, host.get_fact(TlsFiles, domain=domain)), domain=domain)
