"""What an inventory of ten thousand households costs before anything is converged: seconds and memory.

    make bench-scale [N=10000]

A fleet is generated; then the commands that an operator types are run on it, each a process of its own. "To the first
connection" ends when pyinfra knocks at a port of this machine, which stands for the box: nothing of it is tampered
with. Then a real relay of the lab is converged for half as many households, and planned from near and from far (a proxy
delays each byte). Timings here decide no test.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from demo.full_relay import full_relay  # noqa: E402
from hearth.interruption import end_once  # noqa: E402
from hearth.lab.generate import household, key, write  # noqa: E402
from hearth.lab.process import LabError  # noqa: E402

COMMANDS = Path(sys.executable).parent
PATIENCE_S = 600.0
FAR_MS = 50


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds on the clock, of all its processes' CPU, and the memory of its largest one."""

    wall_s: float
    cpu_s: float
    memory_mib: float


def measured(command: Sequence[str], until: Callable[[], bool] | None = None) -> Cost:
    """Run a command to its end, or until something comes to pass and it is ended. Raises CalledProcessError.

    The memory is that of the largest process since this program began, so the largest command has to come last.
    """
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"PYINFRA_PROGRESS": "off"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if until:
        while not until():
            if process.poll() is not None:
                raise subprocess.CalledProcessError(process.returncode, command)
        wall = time.monotonic() - started
        process.kill()
        process.wait()
    else:
        status = process.wait(PATIENCE_S)
        wall = time.monotonic() - started
        if status:
            raise subprocess.CalledProcessError(status, command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, after.ru_maxrss / 1024)


def main(households: int) -> int:
    """Generate, measure, print a table each for the commands and for the relay; exit status 1 without a relay."""
    end_once()
    _print(f"{households} households; MiB: the largest process so far", _commands(households))
    try:
        _print(f"a relay with {households // 2} of them", _relay(households // 2))
    except (subprocess.CalledProcessError, LabError) as fault:
        said = f"\n{fault.output}" if isinstance(fault, subprocess.CalledProcessError) and fault.output else ""
        sys.stderr.write(f"The relay could not be measured: {fault}{said}\n")
        return 1
    return 0


def _commands(households: int) -> Iterator[tuple[str, Cost]]:
    """What the operator's commands cost on a generated fleet."""
    with (
        tempfile.TemporaryDirectory(prefix="hearth-scale-") as temporary,
        socket.create_server(("127.0.0.1", 0)) as box,
    ):
        folder = Path(temporary) / "fleet"
        write(households, folder)
        home = household(households // 2)["id"]
        _know(folder, home, box.getsockname()[1])
        pyinfra, hearth = str(COMMANDS / "pyinfra"), str(COMMANDS / "hearth")
        box.settimeout(0.05)
        for words, until in (
            ([hearth, "check", str(folder)], None),
            ([hearth, "show", home, "--inventory", str(folder)], None),
            ([pyinfra, f"{folder}/", "deploys/box.py", "--limit", f"box-{home}"], partial(_knocked, box)),
            ([pyinfra, f"{folder}/", "debug-inventory"], None),
        ):
            told = " ".join(Path(word).name if "/" in word else word for word in words)
            yield f"{told}{' to the first connection' if until else ''}", measured(words, until)


def _relay(households: int) -> Iterator[tuple[str, Cost]]:
    """What it costs to plan a converged relay, near and far."""
    with full_relay(households) as relay:
        for milliseconds in (0, FAR_MS):
            with relay.far(milliseconds) as plan:
                told = f"pyinfra inventory deploys/relay.py --dry, {households} households, {milliseconds} ms away"
                yield told, measured(plan)


def _print(title: str, costs: Iterable[tuple[str, Cost]]) -> None:
    table = Table("command", "seconds", "CPU seconds", "MiB", box=None)
    for told, cost in costs:
        table.add_row(told, f"{cost.wall_s:.1f}", f"{cost.cpu_s:.1f}", f"{cost.memory_mib:.0f}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{title}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    console.print(table)


def _knocked(box: socket.socket) -> bool:
    try:
        box.accept()[0].close()
    except TimeoutError:
        return False
    return True


def _know(folder: Path, home: str, port: int) -> None:
    """Have the straight road to a household's box, its only one, lead to a port of this machine."""
    (folder / f"collected/box-{home}.yaml").unlink()
    with (folder / f"households/{home}.yaml").open("a") as file:
        file.write(f"ssh_port: {port}\n")
    (folder / "local.yaml").write_text(
        f"hosts:\n  box-{home}:\n    address: 127.0.0.1\n    host_keys: [{key('nobody')}]\n"
    )


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
