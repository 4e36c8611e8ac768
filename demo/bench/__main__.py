"""hearth beside stock pyinfra, Ansible and Ansible with mitogen, and beside the floor, in one run.

    make bench                 writes docs/benchmarks.md and its chart; five rounds for those that a goal compares
    make bench BUDGET=300      the same with so many seconds for each of the others in each case: five rounds for all
    make bench QUICK=1         everything once, to see that it works; writes to build/bench, as ONLY=box|crowd do
    make bench FULL=1          every number of hosts at every latency, five rounds each: many hours

Timings here decide no test. Everything that it starts is gone at the end, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.bench import box, chart, crowd, machine, plans, report, sshds
from demo.bench.figures import Case, Failure, Results, Run
from demo.bench.goals import Verdict, judge
from demo.bench.peers import REPOSITORY, missing, present
from demo.bench.rounds import Taken, Unfit
from hearth.interruption import end_once
from hearth.lab import bases, cgroups, register
from hearth.lab.lab import Lab
from hearth.lab.process import LabError, require_machine

SCRATCH = "hearth-peers-"
GROUPS = "-peers"


@dataclass
class Book:
    """What has been found so far, written down after every case, so that an interrupted run has not been in vain."""

    output: Path
    command: str
    words: dict[str, str]
    notes: list[str]
    cases: dict[Case, dict[str, list[Run]]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    @property
    def results(self) -> Results:
        """As the tables and the chart take it."""
        return Results(self.cases, self.failures, self.notes)

    def enter(self, case: Case, taken: Taken) -> None:
        """Note a case, and write page and chart anew."""
        self.cases[case] = taken.runs
        self.failures += taken.failures
        self.output.mkdir(parents=True, exist_ok=True)
        (self.output / "benchmarks.md").write_text(report.document(self.results, self.words, self.command))
        (self.output / "benchmarks.svg").write_text(chart.draw(chart.bars(self.results)))


def measure_box(place: crowd.Place, plan: plans.Plan, name: str) -> Iterator[tuple[Case, Taken]]:
    """The cases of the lab's box."""
    unchanged = plan.of("box", "unchanged")
    for first in plan.of("box", "first"):
        place.tell(f"The lab's box: {first.words}, then unchanged …")
        with box.packaged(place, name) as here:
            taken = box.first_and_unchanged(place, here, (first, unchanged), _peers(plan), plan.limits)
            yield from zip([first, *unchanged], taken, strict=True)


def measure_crowd(place: crowd.Place, plan: plans.Plan) -> Iterator[tuple[Case, Taken]]:
    """The cases of the sshd instances."""
    floor = sshds.make_floor(place.scratch, bases.ensure(bases.SUITES[0], rebuild=False, in_use=None), place.group)
    for case in plan.of("crowd", "first"):
        place.tell(f"{case.words} …")
        yield case, crowd.first(place, floor, case, _peers(plan), plan.limits)
    for count in plan.counts():
        cases = [case for case in plan.of("crowd", "unchanged") if case.hosts == count]
        yield from zip(cases, crowd.unchanged(place, floor, cases, _peers(plan), plan.limits), strict=True)


def _peers(plan: plans.Plan) -> crowd.Peers:
    return lambda case: plan.peers(case, present())


def clear_dead_runs() -> None:
    """Clear away what killed runs left: their labs, their processes, their folders."""
    for name in register.read().labs:
        if _is_dead(name):
            Lab(name).down()
    for group in cgroups.group("").glob(f"b*{GROUPS}"):
        if _is_dead(group.name.removesuffix(GROUPS)):
            cgroups.kill(group)
            cgroups.remove(group)
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*-*"):
        if _is_dead("b" + folder.name.removeprefix(SCRATCH).partition("-")[0]):
            shutil.rmtree(folder, ignore_errors=True)


def _is_dead(name: str) -> bool:
    run = re.fullmatch(r"b(\d+)", name)
    return run is not None and not Path("/proc", run[1]).exists()


def show_goals(console: Console, verdicts: tuple[Verdict, ...]) -> None:
    """Print the goals, what was measured, and how far it is."""
    table = Table("goal", "bound", "measured", "verdict", title="Goals", title_justify="left")
    for one in verdicts:
        table.add_row(one.goal.words, one.goal.bound_words, one.ratio.words if one.ratio else "-", one.words)
    console.print(table)


def parse(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--plan", choices=plans.PLANS, default="usual", help="what is measured")
    parser.add_argument("--rounds", type=int, help="rounds of each peer in each case")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="a peer's time in a case; then no more rounds")
    parser.add_argument("--only", choices=("box", "crowd"), help="the lab's box, or the sshd instances")
    parser.add_argument("--output", type=Path, help="the folder for the page and the chart")
    return parser.parse_args(words)


def command(asked: argparse.Namespace) -> str:
    """The command that measures the same again."""
    options = {
        "QUICK": 1 if asked.plan == "quick" else None,
        "FULL": 1 if asked.plan == "full" else None,
        "ROUNDS": asked.rounds,
        "BUDGET": asked.budget and f"{asked.budget:g}",
        "ONLY": asked.only,
    }
    return " ".join(["make bench", *(f"{name}={value}" for name, value in options.items() if value)])


def main(words: list[str]) -> int:
    """Measure and write; exit status 1 when some peer could not be measured."""
    asked = parse(words)
    plan = plans.PLANS[asked.plan]
    given = {"rounds": asked.rounds, "budget_s": asked.budget}
    limits = replace(plan.limits, **{name: value for name, value in given.items() if value})
    plan = replace(plan, cases=[case for case in plan.cases if asked.only in (None, case.scene)], limits=limits)
    usual = asked.plan != "quick" and not asked.only
    output = asked.output or REPOSITORY / ("docs" if usual else "build/bench")
    console = Console(soft_wrap=True)
    end_once()
    began = time.monotonic()

    def tell(text: str) -> None:
        console.print(f"[{time.monotonic() - began:6.0f} s] {text}", markup=False, highlight=False)

    for note in plan.notes():
        tell(note)
    for peer in present():
        if why_not := missing(peer):
            tell(f"{peer} WILL NOT BE MEASURED: {why_not}")
    try:
        require_machine()
        clear_dead_runs()
        book = Book(output, command(asked), machine.words(), plan.notes())
        _measure(book, plan, tell)
    except (LabError, Unfit) as fault:
        tell(str(fault))
        return 1
    except KeyboardInterrupt:
        tell("Interrupted; everything is taken down.")
        return 130
    show_goals(console, judge(book.results))
    tell(f"Written: {output / 'benchmarks.md'} and benchmarks.svg.")
    for one in book.failures:
        tell(f"NOT MEASURED: {one.peer} in {one.case.words}: {one.words}")
    return 1 if book.failures else 0


def _measure(book: Book, plan: plans.Plan, tell: crowd.Tell) -> None:
    name = f"b{os.getpid()}"
    group = cgroups.group(f"{name}{GROUPS}")
    scratch = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-"))
    cgroups.create(group)
    try:
        place = crowd.Place(scratch, group, tell)
        if plan.of("box", "first"):
            for case, taken in measure_box(place, plan, name):
                book.enter(case, taken)
        if plan.counts():
            for case, taken in measure_crowd(place, plan):
                book.enter(case, taken)
    finally:
        cgroups.kill(group)
        cgroups.remove(group)
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
