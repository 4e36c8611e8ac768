"""What a host must be before anything on it is touched: refused early, with one sentence."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from pyinfra import logger
from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from typing_extensions import override

ARCHITECTURES = ("amd64", "arm64")
# Where nothing but Debian's own packages is installed, a small old board will do too.
WITH_SMALL_BOARDS = (*ARCHITECTURES, "armhf")
MIB = 1 << 20


@dataclass(frozen=True)
class Machine:
    """What a host is: os-release's ID and VERSION_ID, Debian's architecture, free space under /srv in bytes.

    ``converged``: hearth has been here before, so the space that is gone is the household's own data.
    """

    system: str
    release: str
    architecture: str
    free_bytes: int
    systemd: bool
    converged: bool = False


def parse_machine(lines: Iterable[str]) -> Machine:
    """Given lines ``word value``, return the Machine. Raises ValueError when the free space is no number."""
    values = {word: rest.strip('"') for word, _, rest in (line.partition(" ") for line in lines)}
    return Machine(
        system=values.get("ID", ""),
        release=values.get("VERSION_ID", ""),
        architecture=values.get("architecture", ""),
        free_bytes=int(values.get("free", "0")),
        systemd="systemd" in values,
        converged="converged" in values,
    )


class MachineFact(FactBase[Machine]):
    """What a host is, in one command."""

    @override
    def command(self) -> str:
        return (
            "sed -n 's/^\\(ID\\|VERSION_ID\\)=/\\1 /p' /etc/os-release; "
            "echo architecture $(dpkg --print-architecture 2>/dev/null); "
            "echo free $(df --output=avail --block-size=1 /srv | tail -n 1); "
            "test -d /var/lib/hearth/applied && echo converged; "
            "test -d /run/systemd/system && echo systemd; true"
        )

    @override
    def process(self, output: list[str]) -> Machine:
        try:
            return parse_machine(output)
        except ValueError as fault:
            raise FactProcessError(f"the host's description cannot be read: {fault}") from fault


def refusal(
    machine: Machine, releases: tuple[str, ...], room_bytes: int, architectures: tuple[str, ...] = ARCHITECTURES
) -> str | None:
    """Why this machine cannot be converged, in one sentence that says what to do, or None.

    + releases: the Debian releases that will do
    + room_bytes: the free space that the host must have
    + architectures: those that will do, in Debian's words
    """
    wanted = " or ".join(f"Debian {release}" for release in releases)
    if machine.system not in ("debian", "raspbian") or machine.release not in releases:
        is_one = f"{machine.system or 'unknown'} {machine.release}".strip()
        return f"it runs {is_one}, and this kind of host needs {wanted}: install that first"
    if not machine.systemd:
        return "systemd does not run as its first process: boot it as a machine of its own"
    if machine.architecture not in architectures:
        return f"its architecture is {machine.architecture}, and hearth knows {' and '.join(architectures)}"
    if machine.free_bytes < room_bytes and not machine.converged:
        return (
            f"only {machine.free_bytes // MIB} MiB are free on its disk and the inventory asks for "
            f"{room_bytes // MIB} MiB: free some, use a larger disk, or lower `room`"
        )
    return None


def _refuse(state: State, host: Host, sentence: str) -> bool:
    logger.error(f"{host.print_prefix}{host.name} is refused: {sentence}")
    return False


refusals: list[Callable[[str], None]] = []
"""Each is told why a host is refused; a plan's process adds one (``hearth.fleet.preview``)."""


@operation()
def refuse(sentence: str) -> Generator[FunctionCommand, None, None]:
    """Fail this host, before anything on it is touched, with ``sentence``."""
    for told in refusals:
        told(sentence)
    yield FunctionCommand(_refuse, (sentence,), {})
