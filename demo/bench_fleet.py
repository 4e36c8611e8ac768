"""What a large fleet costs on the operator's side, without a single host: seconds, memory, bytes.

    make bench-fleet [HOUSEHOLDS=5000] [NIGHTS=90]

An inventory and months of nightly records are generated; then the commands that an operator types are run on them, each
a process of its own, and the status page is opened in Chromium. ``hearth plan`` and ``hearth converge`` run with the
tests' stand-in for pyinfra that answers for each host at once, so the figures are hearth's own part and a stand-in's
start for each slice; one household is changed for ``--since``. Timings here decide no test. Five minutes for 5,000
households on two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from demo import generated_runs  # noqa: E402
from hearth.fleet.choice import ordered_waves  # noqa: E402
from hearth.fleet.desired import all_hosts, kind_of  # noqa: E402
from hearth.fleet.html import page  # noqa: E402
from hearth.fleet.limits import DEFAULT_WAVES, parse_waves  # noqa: E402
from hearth.fleet.records import latest_first, runs_folder  # noqa: E402
from hearth.fleet.status import history, status  # noqa: E402
from hearth.inventory import load_or_raise  # noqa: E402
from hearth.lab.generate import inventory  # noqa: E402
from tests.browser.chromium import DESKTOP, PHONE, NoChromium, Screen, chromium  # noqa: E402
from tests.unit.fleet.command import write_stand_in  # noqa: E402

HEARTH = Path(sys.executable).with_name("hearth")
LONG_DAYS = 90
# Type into the page and wait until the result is laid out; milliseconds.
SEARCH = """
const field = document.getElementById("search"), times = [];
for (const words of ["m", "mu", "mue", "mueller-12", "failed", ""]) {
  const began = performance.now();
  field.value = words;
  field.dispatchEvent(new Event("input"));
  document.body.getBoundingClientRect();
  times.push(performance.now() - began);
}
return Math.max(...times);
"""
SORT = """
const times = [...document.querySelectorAll("#heads button")].map((button) => {
  const began = performance.now();
  button.click();
  document.body.getBoundingClientRect();
  return performance.now() - began;
});
return Math.max(...times);
"""


@dataclass(frozen=True)
class Cost:
    """What one command took, and how much it printed or wrote."""

    wall_s: float
    cpu_s: float
    memory_bytes: int
    output_bytes: int


def command(*arguments: str, allowed: tuple[int, ...] = (0,), **environment: str) -> Cost:
    """Run ``hearth`` to its end. Raises CalledProcessError, with what it said, on another exit status than allowed."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            [str(HEARTH), *arguments], stdout=output, stderr=errors, cwd=REPOSITORY, env=os.environ | environment
        )
        # wait4 tells of this one process and its children, and not of all that ever ran.
        _, ended, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(ended)
        wall_s = time.monotonic() - began
        if process.returncode not in allowed:
            errors.seek(0)
            raise subprocess.CalledProcessError(process.returncode, arguments, stderr=errors.read())
        return Cost(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, output.tell())


def generate(folder: Path, households: int, nights: int) -> tuple[int, int]:
    """Write the inventory to ``folder`` and the records to the state folder; the bytes of each."""
    written = 0
    for name, text in inventory(households):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        written += file.write_text(text)
    fleet = load_or_raise(folder)
    runs = generated_runs.nights(list(all_hosts(fleet)), nights, datetime.now(UTC))
    records = sum(generated_runs.write(night, runs_folder(fleet.name)).stat().st_size for night in runs)
    return written, records


def remember(folder: Path) -> None:
    """Put the inventory into a git repository of two commits, the second of which moves one household's name."""
    who = ("-c", "user.name=anna", "-c", "user.email=anna@home.example", "-c", "commit.gpgSign=false")

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "The fleet")
    household = folder / "households/mueller-1.yaml"
    household.write_text(household.read_text().replace("domain: mueller-1.", "domain: moved."))
    git("commit", "--quiet", "--all", "--message", "One household moves")


def commands(folder: Path) -> Iterator[tuple[str, Callable[[], Cost]]]:
    """The commands that are measured, by what they are called in the table."""
    at = ("--inventory", str(folder))
    yield "check", lambda: command("check", str(folder))
    for output in ("text", "json", "html"):
        yield f"status, 30 days, {output}", lambda output=output: command("status", *at, "--format", output)  # type: ignore[misc]
    yield f"status, {LONG_DAYS} days, text", lambda: command("status", *at, "--days", str(LONG_DAYS))
    yield "status --limit of one", lambda: command("status", *at, "--limit", "box-mueller-1")
    program = folder.parent / "pyinfra"
    write_stand_in(program)
    asked = {"HEARTH_PYINFRA": str(program)}
    yield "plan", lambda: command("plan", *at, "--format", "markdown", **asked)
    yield "plan --since, one changed", lambda: command("plan", *at, "--since", "HEAD~1", **asked)
    converge = ("converge", *at, "--yes", "--no-gate", "--format", "json")
    yield "converge --since, one changed", lambda: command(*converge, "--since", "HEAD~1", **asked)
    yield "converge", lambda: command(*converge, **asked)


def browsed(file: Path, screen: Screen) -> tuple[float, float, float]:
    """Milliseconds until the page is loaded, of the slowest search and of the slowest sort."""
    with chromium(screen) as browser:
        browser.get(file.as_uri())
        loaded = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
        return tuple(float(browser.execute_script(script)) for script in (loaded, SEARCH, SORT))  # type: ignore[return-value]


def live_page(folder: Path, file: Path) -> int:
    """Write the page as ``status --live`` would, with answers made up; its size in bytes."""
    fleet, at = load_or_raise(folder), datetime.now(UTC)
    hosts = all_hosts(fleet)
    told = history(latest_first(runs_folder(fleet.name)), at - timedelta(days=30))
    answers = generated_runs.answers({name: kind_of(host) for name, host in hosts.items()}, at)
    return file.write_text(page(status(fleet, hosts.values(), told, at, 30, answers)))


def table(title: str, *columns: str) -> Table:
    """A table whose columns but the first are figures."""
    made = Table(*columns, title=title, title_justify="left")
    for column in made.columns[1:]:
        column.justify = "right"
    return made


def measure(console: Console, folder: Path, households: int, nights: int) -> None:
    """Generate, measure, print."""
    console.print(f"Generating {households:,} households and {nights} nights of records …")
    files, records = generate(folder, households, nights)
    console.print(f"inventory {files / 1e6:.1f} MB, records {records / 1e6:.0f} MB")
    remember(folder)
    fleet = load_or_raise(folder)
    waves = ordered_waves(fleet, list(all_hosts(fleet)), parse_waves(DEFAULT_WAVES))
    console.print(f"waves of {', '.join(f'{len(wave):,}' for wave in waves)} hosts")
    costs = table("The operator's side", "hearth", "wall s", "CPU s", "memory MB", "output MB")
    try:
        for name, run in commands(folder):
            cost = run()
            figures: tuple[Any, ...] = (cost.wall_s, cost.cpu_s, cost.memory_bytes / 1e6, cost.output_bytes / 1e6)
            costs.add_row(name, *(f"{figure:.1f}" for figure in figures))
    finally:
        # What was measured before a command failed, or somebody had enough, is told as well.
        console.print(costs)
    file = folder.parent / "status.html"
    size = live_page(folder, file)
    pages = table(
        f"The page with answers, {size / 1e6:.1f} MB, in Chromium", "screen", "load ms", "search ms", "sort ms"
    )
    for name, screen in (("desktop 1280x800", DESKTOP), ("phone 390x844", PHONE)):
        pages.add_row(name, *(f"{figure:.0f}" for figure in browsed(file, screen)))
    console.print(pages)


def main() -> int:
    """Measure in a folder and with a state folder of its own, and print the tables."""
    households, nights = int(os.environ.get("HOUSEHOLDS", "5000")), int(os.environ.get("NIGHTS", "90"))
    console = Console()
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as scratch:
        os.environ["XDG_STATE_HOME"] = f"{scratch}/state"
        try:
            measure(console, Path(scratch, "inventory"), households, nights)
        except NoChromium as fault:
            console.print(str(fault))
            return 1
        except subprocess.CalledProcessError as fault:
            console.print(f"hearth {' '.join(fault.cmd)} ended with {fault.returncode}: {fault.stderr.decode()}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
