"""router: HAProxy leads each visitor to the household that the TLS hello names, and reads nothing beyond the hello.

Debian's unit runs it: a drop-in names our configuration file, so that Debian's security upgrades, which reload that
unit, replace the running program too. See docs/relay.md.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from typing_extensions import override

from hearth import artefacts, layout, preflight
from hearth.inventory.hosts import RelayHost
from roles.router import render
from roles.router.render import public_ports

__all__ = ["PACKAGES", "files", "public_ports", "router"]

PACKAGES = ("haproxy", "curl", "python3")

MAPS_PROGRAM = f"{layout.PROGRAMS}/router-maps"
_ONHOST = Path(__file__).parent / "onhost"
_ASK = "curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}'"


def files(relay: RelayHost) -> tuple[artefacts.File, ...]:
    """HAProxy's files on the relay. Raises ValueError, in one sentence, on households that must not be."""
    return (
        artefacts.File("/etc/systemd/system/haproxy.service.d/hearth.conf", render.unit()),
        artefacts.File(render.CONFIG, render.config(relay)),
        *(artefacts.File(f"{render.FOLDER}/{name}", text) for name, text in render.maps(relay).items()),
    )


class RouterDifferences(FactBase[list[str]]):
    """How the running HAProxy differs from its files, a line each; nothing on a host that has no router yet."""

    default = list

    @override
    def command(self) -> str:
        return f"! test -x {MAPS_PROGRAM} || {MAPS_PROGRAM} check 2>&1 || true"

    @override
    def process(self, output: list[str]) -> list[str]:
        return list(output)


@operation()
def up_to_date() -> Generator[StringCommand, None, None]:
    """Bring the running HAProxy to its files: somebody may have changed a map by hand, or restarted it otherwise."""
    if host.get_fact(RouterDifferences):
        yield StringCommand(MAPS_PROGRAM, "apply")


@deploy("Router")
def router(relay: RelayHost) -> None:
    """Lead visitors to the relay's households by name, or by a port of their own; end what led to removed ones."""
    try:
        wanted = files(relay)
    except ValueError as fault:
        preflight.refuse(name=f"Refuse the households of {relay.name}", sentence=str(fault))
        return
    artefacts.put(
        # A change of its own, so that it is still there when the other one is undone.
        name="Put the program that brings a running router up to date",
        change="router-program",
        artefacts=(artefacts.File(MAPS_PROGRAM, (_ONHOST / "router_maps.py").read_text(), mode="755"),),
    )
    artefacts.put(
        name="Lead visitors to their households",
        change="router",
        artefacts=wanted,
        check=f"haproxy -c -q -f {render.CONFIG}",
        # Restarts, reloads or changes a map at runtime, whatever is the least; connections outlive all but the first.
        activate=f"{MAPS_PROGRAM} apply",
        # A name that nobody has is not found; a relay's own households may all be asleep, and prove nothing.
        verify=f'test "$({_ASK} --header "Host: hearth.invalid" http://127.0.0.1/)" = 404 && '
        f'test "$({_ASK} http://127.0.0.1:{layout.METRICS_PORT}/metrics)" = 200 && {MAPS_PROGRAM} check',
    )
    up_to_date(name="See that the running router has these households")
