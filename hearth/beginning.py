"""How every deploy begins: the host is refused or accepted, gets its packages, and the program that changes files."""

from __future__ import annotations

from collections.abc import Iterable

from pyinfra.context import host

from hearth import artefacts, packages, preflight
from hearth.inventory.hosts import Host


def begun(
    machine: Host,
    names: Iterable[str],
    *,
    room_bytes: int,
    releases: tuple[str, ...] = ("13",),
    architectures: tuple[str, ...] = preflight.ARCHITECTURES,
    unready: str | None = None,
) -> preflight.Machine | None:
    """Begin with a host: return what it is, or None when it has been refused and nothing more may be done.

    ``names``: Debian's packages, all that the roles need. ``unready``: what is missing on the operator's side, in a
    sentence. The rest is as ``preflight.refusal`` takes it.
    """
    found = host.get_fact(preflight.MachineFact)
    why_not = unready or preflight.refusal(found, releases=releases, room_bytes=room_bytes, architectures=architectures)
    if why_not:
        preflight.refuse(name=f"Refuse {machine.name}", sentence=why_not)
        return None
    packages.installed(name="Install the packages", names=tuple(names))
    artefacts.bootstrap()
    return found
