"""What a large fleet must not cost: work that grows with the square of its hosts. Counted, never timed."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console

from hearth.fleet import conduct, desired, since
from hearth.fleet.choice import ordered_waves, with_deploys
from hearth.fleet.desired import all_hosts
from hearth.fleet.display import Live
from hearth.fleet.events import HostEnd, RunBegin
from hearth.fleet.history import History
from hearth.fleet.limits import parse_waves
from hearth.fleet.plan import LARGEST_SLICE, Asked, planned
from hearth.fleet.resume import kept
from hearth.fleet.slices import Slice
from hearth.inventory import load_or_raise
from hearth.inventory.hosts import Box, Fleet
from tests.unit.fleet.fleets import a_fleet
from tests.unit.fleet.test_history import a_record
from tests.unit.fleet.test_plan import Answers
from tests.unit.fleet.test_plan_since import Repository, set_domain
from tests.unit.fleet.test_records import a_begin, an_end

SMALL, LARGE = 25, 200
ENDS = parse_waves("1,10%,100%")


class Name(str):
    """A host's name that counts how often one is compared with another text."""

    __slots__ = ()
    compared: ClassVar[int] = 0

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def names(fleet: Fleet) -> tuple[str, ...]:
    return tuple(Name(host) for host in all_hosts(fleet))


def cut_into_waves(fleet: Fleet) -> None:
    ordered_waves(fleet, names(fleet), ENDS)


def left_out(fleet: Fleet) -> None:
    with_deploys(fleet, names(fleet), {"box"})


def gone_on_with(fleet: Fleet) -> None:
    kept(a_record(status=None, waves=(tuple(all_hosts(fleet)),)), names(fleet))


@pytest.mark.parametrize("choose", [cut_into_waves, left_out, gone_on_with])
def test_choosing_hosts_compares_each_with_some_others_and_not_with_all(choose: Callable[[Fleet], None]) -> None:
    def compared(households: int) -> int:
        fleet = a_fleet(households)
        Name.compared = 0
        choose(fleet)
        return Name.compared

    assert compared(LARGE) <= (compared(SMALL) + SMALL) * LARGE / SMALL


def test_a_plan_derives_the_fleets_hosts_as_often_for_many_as_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    Answers(monkeypatch)
    derived: list[int] = []
    stock = Fleet.boxes

    def boxes(fleet: Fleet) -> tuple[Box, ...]:
        derived.append(len(fleet.households))
        return stock(fleet)

    monkeypatch.setattr(Fleet, "boxes", boxes)
    for households in (SMALL, LARGE):
        planned(a_fleet(households), Asked())
    assert derived.count(SMALL) == derived.count(LARGE) > 0


def test_a_plan_starts_a_process_for_many_hosts_and_for_few_as_many_as_run_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    answers = Answers(monkeypatch)

    def look(work: Slice) -> tuple[list[str], str]:
        sizes.append(len(work.hosts))
        return answers.look(work)

    monkeypatch.setattr("hearth.fleet.slices.look", look)
    planned(a_fleet(LARGE), Asked(parallel=2))
    assert sorted(sizes) == [1, *[LARGEST_SLICE] * (LARGE // LARGEST_SLICE)]
    sizes.clear()
    planned(a_fleet(SMALL), Asked(limit=("boxes",), parallel=5))
    assert sizes == [SMALL // 5] * 5


def test_a_pending_run_makes_the_list_of_the_pending_once(monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
    fleet = a_fleet(SMALL)
    made = []

    def pending(_: History) -> list[str]:
        made.append(1)
        return ["box-h003"]

    monkeypatch.setattr(History, "pending", property(pending))
    with conduct.prepared(fleet, conduct.Asked(pending=True)) as run:
        assert run.hosts == 1
    assert made == [1]


def test_a_converge_since_a_revision_resolves_the_present_and_the_past_once_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: Path
) -> None:
    repository, resolved = Repository(tmp_path), list[Path]()
    repository.edit("households/h2.yaml", set_domain(2))
    repository.commit()

    def desired_states(fleet: Fleet, *arguments: Any) -> dict[str, str]:
        resolved.append(fleet.folder)
        return desired.desired_states(fleet, *arguments)

    for module in (conduct, since):
        monkeypatch.setattr(module, "desired_states", desired_states)
    with conduct.prepared(load_or_raise(repository.inventory), conduct.Asked(since="HEAD~1")) as run:
        assert run.hosts == 2
    assert len(resolved) == len(set(resolved)) == 2


def test_the_bar_counts_each_host_once_by_its_last_result() -> None:
    screen = io.StringIO()
    begin: RunBegin = a_begin()
    ends: list[HostEnd] = [
        an_end("relay1", "failed"),
        an_end("box-h000", "unreported"),
        an_end("box-h001", "unreported"),
        an_end("box-h001", attempt=2),
    ]
    with Live(Console(file=screen, force_terminal=True, width=120)) as live:
        for event in (begin, *ends):
            live.tell(event)
    bar = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).splitlines()[-1]
    assert bar.split()[-4:] == ["1", "failed,", "1", "unreported"]
    assert "3/3" in bar
