"""router_port: for access ``upnp`` the box asks the home's router for the visitors' ports, and keeps asking.

A timer renews what a router forgets; each mapping ends by itself some time after the box has gone. When the access
changes, the converge gives the ports back. See docs/access.md.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import tomli_w
from pyinfra import logger
from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host
from typing_extensions import override

from hearth import artefacts, layout
from hearth.inventory.model import Household
from hearth.render import OWNED, template

USER = "hearth-router"
PROGRAM = f"{layout.PROGRAMS}/router-port"
UNIT = "hearth-router-port.service"
TIMER = "hearth-router-port.timer"
SYSUSERS = "/etc/sysusers.d/hearth-router.conf"
CONFIG = "/etc/hearth/router-port.toml"
STATE_FOLDER = "/var/lib/hearth/router-port"

WEB_PORTS = (80, 443)
EVERY_MIN = 10
# Five failures in a row do no harm; and a box that has gone leaves no open port for longer than this.
LEASE_S = 3600

_ONHOST = Path(__file__).parent / "onhost"
_UNITS = "/etc/systemd/system"

# The first asking does not decide whether the change holds: a router that refuses is told at the end of the converge.
ACTIVATE = (
    f"if test -e {_UNITS}/{TIMER}; then systemctl daemon-reload && systemd-sysusers {SYSUSERS} && "
    f"systemctl enable --quiet --now {TIMER} && {{ systemctl restart {UNIT} 2>/dev/null; true; }}; "
    # Stopped first: a timer that finds its unit vanished has failed.
    f"else systemctl stop {TIMER} {UNIT} 2>/dev/null; systemctl daemon-reload; "
    f"systemctl reset-failed {TIMER} {UNIT} 2>/dev/null; "
    f"rm -rf {_UNITS}/timers.target.wants/{TIMER} {STATE_FOLDER} /var/lib/systemd/timers/stamp-{TIMER}; fi"
)


def is_wanted(household: Household) -> bool:
    """Whether the box asks its router for ports."""
    return household.access == "upnp" and household.has_name


def packages(household: Household) -> tuple[str, ...]:
    """The packages that the role needs."""
    return ("miniupnpc", "python3") if is_wanted(household) else ()


def services(household: Household) -> tuple[str, ...]:
    """The units that must run."""
    return (TIMER,) if is_wanted(household) else ()


def ports(household: Household) -> tuple[int, ...]:
    """The TCP ports that the router shall lead to the box: the web's, and sshd's when it has no other way in."""
    return WEB_PORTS if household.relay else (*WEB_PORTS, household.ssh_port)


def config(household: Household) -> str:
    """What the program on the box reads."""
    return OWNED + tomli_w.dumps({"household": household.id, "ports": list(ports(household)), "lease_s": LEASE_S})


def files(household: Household) -> tuple[artefacts.File | artefacts.Link, ...]:
    """Everything that the role puts on a box whose router is asked."""
    return (
        artefacts.File(PROGRAM, (_ONHOST / "router_port.py").read_text(), mode="755"),
        artefacts.File(SYSUSERS, template(__file__, "sysusers.conf.j2", account=USER)),
        artefacts.File(CONFIG, config(household)),
        artefacts.File(f"{_UNITS}/{UNIT}", template(__file__, "unit.service.j2", account=USER, program=PROGRAM)),
        artefacts.File(f"{_UNITS}/{TIMER}", template(__file__, "unit.timer.j2", every_min=EVERY_MIN)),
    )


class PortStatus(FactBase[str]):
    """``open``, or a sentence; empty on a box that asks no router."""

    default = str

    @override
    def command(self) -> str:
        return (
            f"! test -x {PROGRAM} || {{ {PROGRAM} status; systemctl is-failed --quiet {UNIT} && echo failed; }}; true"
        )

    @override
    def process(self, output: list[str]) -> str:
        return " ".join(output)


@operation()
def opened() -> Generator[StringCommand, None, None]:
    """Ask the router now unless it leads everything here; fail with its refusal in words."""
    if host.get_fact(PortStatus) == "open":
        host.noop("the router leads the ports here")
    else:
        yield StringCommand(f"systemctl start {UNIT} 2>/dev/null || {{ {PROGRAM} status >&2; exit 1; }}")


@operation()
def closed() -> Generator[PyinfraCommand, None, None]:
    """Give the ports back to the router if this box has asked for any; says what came of it, and never fails."""
    if host.get_fact(PortStatus):
        yield FunctionCommand(_give_back, (), {})


def _give_back(state: State, host: Host) -> bool:
    """Called by pyinfra at execution. The router may be another one by now, or the box in another home."""
    command = f"systemctl stop {TIMER}; runuser -u {USER} -- {PROGRAM} close"
    succeeded, output = host.run_shell_command(StringCommand(command))
    words = output.output.strip()
    if not succeeded:
        words = f"the ports were not given back ({words}); they end by themselves within {LEASE_S // 60} minutes"
    logger.info(f"{host.print_prefix}{words}")
    return True


@deploy("router port")
def router_port(household: Household) -> None:
    """Ask the home's router for the visitors' ports, or give them back when visitors come another way."""
    wanted = files(household) if is_wanted(household) else ()
    if not wanted:
        closed(name="Give the router's ports back")
    artefacts.put(
        name="Ask the home's router for ports" if wanted else "Ask no router for ports",
        change="router-port",
        artefacts=wanted,
        check=f"systemd-analyze verify {_UNITS}/{TIMER}" if wanted else "",
        activate=ACTIVATE,
    )


@deploy("router port")
def reachable(household: Household) -> None:
    """See that the router leads visitors here; apart, so that a router that refuses keeps nothing else from the box."""
    if is_wanted(household):
        opened(name="See that the home's router leads visitors here")
