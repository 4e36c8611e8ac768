"""Services that must run, all in one operation: what somebody stopped or disabled by hand is drift like any other."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from shlex import quote

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from typing_extensions import override


@dataclass(frozen=True)
class Unit:
    """A systemd unit's ActiveState and UnitFileState, and whether its conditions let it start on this host."""

    active: str
    enabled: str
    condition: bool = True


def parse_units(lines: Iterable[str]) -> dict[str, Unit]:
    """Given what ``systemctl show`` prints for several units (blocks of Key=Value), return them by their Id."""
    units: dict[str, Unit] = {}
    block: dict[str, str] = {}
    for line in (*lines, ""):
        if line:
            key, _, value = line.partition("=")
            block[key] = value
        elif block:
            units[block["Id"]] = Unit(
                active=block.get("ActiveState", ""),
                enabled=block.get("UnitFileState", ""),
                # systemd-timesyncd, say, has nothing to do in a container: its start is skipped and no error.
                condition=block.get("ConditionResult", "yes") == "yes"
                or block.get("ConditionTimestampMonotonic") == "0",
            )
            block = {}
    return units


class Units(FactBase[dict[str, Unit]]):
    """The state of several units, in one command."""

    @override
    @staticmethod
    def default() -> dict[str, Unit]:
        return {}

    @override
    def command(self, names: tuple[str, ...]) -> str:
        listed = " ".join(quote(name) for name in names)
        properties = "Id,ActiveState,UnitFileState,ConditionResult,ConditionTimestampMonotonic"
        return f"systemctl show --property={properties} -- {listed}"

    @override
    def process(self, output: list[str]) -> dict[str, Unit]:
        return parse_units(output)


def target(name: str) -> str:
    """The systemd target at boot that shall want the unit ``name``."""
    return "timers.target" if name.endswith(".timer") else "multi-user.target"


def enabling(*names: str) -> str:
    """The shell command that has Debian's own units started at boot, where they are not already.

    For each that has an init script besides, to enable it once more costs three reloads of systemd.
    """
    return " && ".join(
        f"{{ systemctl is-enabled --quiet {name} || systemctl enable --quiet {name}; }}" for name in names
    )


@operation()
def running(names: tuple[str, ...]) -> Generator[StringCommand, None, None]:
    """Enable and start those of the units ``names`` (with their endings) that are not."""
    units = host.get_fact(Units, names=names)
    for name in names:
        unit = units.get(name, Unit("", ""))
        if unit.enabled not in ("enabled", "static", "alias"):
            # Not ``enable``, which makes the unit's aliases again as well (sshd.service for ssh.service): systemd 257
            # then forgets that the unit runs, a second sshd finds the port taken, and nobody can log in any more.
            yield StringCommand("systemctl", "add-wants", "--quiet", target(name), QuoteString(name))
        if unit.active not in ("active", "activating", "reloading") and unit.condition:
            yield StringCommand("systemctl", "start", QuoteString(name))


@operation()
def enabled(unit: str) -> Generator[StringCommand, None, None]:
    """See that ``unit`` (with its ending) is started at boot; it is not started now."""
    if host.get_fact(Units, names=(unit,)).get(unit, Unit("", "")).enabled != "enabled":
        yield StringCommand("systemctl", "enable", "--quiet", QuoteString(unit))
