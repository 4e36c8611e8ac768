"""What a converge costs: seconds and remote commands, of a bare box and of one where nothing changes.

    make bench [ROUNDS=3]

Each figure stands beside the floor measured in the same run: one login over the same road and one command. Commands
are counted where they leave, in hearth's connector; a file put is counted apart. Timings here decide no test.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hearth.inventory import load_or_raise
from hearth.lab.lab import Lab
from hearth.login import first_open

REPOSITORY = Path(__file__).resolve().parents[1]
BOX = "box-mueller"
COUNTER = Path(__file__).with_name("count_commands.py")


@dataclass(frozen=True)
class Cost:
    """What one run took: wall and CPU seconds of the operator's side, commands and files sent to the host."""

    wall_s: float
    cpu_s: float
    commands: int
    files: int


def converge(inventory: Path, *arguments: str) -> Cost:
    """Converge the box once; raises CalledProcessError with pyinfra's output shown when it fails."""
    with tempfile.NamedTemporaryFile() as counted:
        started, before = time.monotonic(), os.times()
        subprocess.run(
            [sys.executable, str(COUNTER), counted.name, f"{inventory}/", "deploys/box.py", "--limit", BOX, *arguments],
            cwd=REPOSITORY,
            env=os.environ | {"PYINFRA_PROGRESS": "off"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        after = os.times()
        counts = json.loads(Path(counted.name).read_text())
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(time.monotonic() - started, cpu, counts["commands"], counts["files"])


def floor(inventory: Path) -> float:
    """Seconds of one login over the operator's road and one command that does nothing."""
    started = time.monotonic()
    client, _ = first_open(BOX, load_or_raise(inventory).roads[BOX], timeout_s=20)
    client.exec_command("true")[1].channel.recv_exit_status()
    client.close()
    return time.monotonic() - started


def median(costs: list[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(
        statistics.median(cost.wall_s for cost in costs),
        statistics.median(cost.cpu_s for cost in costs),
        round(statistics.median(cost.commands for cost in costs)),
        round(statistics.median(cost.files for cost in costs)),
    )


def report(rows: dict[str, Cost], floor_s: float) -> Table:
    """The figures, each beside the floor."""
    table = Table("run", "wall s", "x floor", "CPU s here", "remote commands", "files put")
    for name, cost in rows.items():
        table.add_row(
            name,
            f"{cost.wall_s:.1f}",
            f"{cost.wall_s / floor_s:.0f}",
            f"{cost.cpu_s:.1f}",
            str(cost.commands),
            str(cost.files),
        )
    table.add_row("floor: one login, one command", f"{floor_s:.2f}", "1", "", "1", "0")
    return table


def main() -> int:
    """Measure on a lab of its own and print the table."""
    rounds = int(os.environ.get("ROUNDS", "3"))
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        inventory = Path(folder, "inventory")
        shutil.copytree(
            REPOSITORY / "inventory", inventory, ignore=shutil.ignore_patterns("local.yaml", "authority", "collected")
        )
        lab = Lab("bench")
        try:
            lab.up([BOX], inventory)
            console.print(f"Converging a bare {BOX}, then {rounds} times without a change …")
            first = converge(inventory, "-y")
            unchanged = median([converge(inventory, "-y") for _ in range(rounds)])
            planned = median([converge(inventory, "--dry") for _ in range(rounds)])
            floor_s = statistics.median(floor(inventory) for _ in range(max(3, rounds)))
        finally:
            lab.down()
    rows = {"first converge of a bare box": first, "converge, no change": unchanged, "plan, no change": planned}
    console.print(report(rows, floor_s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
