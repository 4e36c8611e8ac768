"""Files are shared among processes, and what is found in them is the same as in one."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from hearth.inventory import cores, load
from hearth.inventory.examine import Examined
from hearth.inventory.faults import Fault
from hearth.inventory.marks import parse
from tests.unit.inventory.corpus import GOOD, Case, cases, make_fleet


@pytest.fixture
def three_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "FILES_A_PROCESS", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    # Threads that tests before this one have left behind are none of its own.
    count, before = threading.active_count, threading.active_count()
    monkeypatch.setattr(threading, "active_count", lambda: count() - before + 1)


def _whose(part: Sequence[int]) -> tuple[int, list[int]]:
    return os.getpid(), list(part)


@pytest.mark.usefixtures("three_processes")
def test_each_part_is_done_in_a_process_of_its_own() -> None:
    found = cores.shared(_whose, range(100, 123))

    assert [part for _, (_, part) in found] == [[100 + place for place in places] for places, _ in found]
    # This process takes one more in each round, for it hands nothing over.
    assert [places for places, _ in found] == [[*range(0, 21, 3), 21, 22], [*range(1, 21, 3)], [*range(2, 21, 3)]]
    processes = [process for _, (process, _) in found]
    assert processes[0] == os.getpid()
    assert len(set(processes)) == 3


def test_few_files_are_read_in_this_process() -> None:
    assert cores.shared(_whose, range(7)) == [(list(range(7)), (os.getpid(), list(range(7))))]
    assert cores.shared(_whose, ()) == [([], (os.getpid(), []))]


@pytest.mark.usefixtures("three_processes")
def test_a_process_with_other_threads_is_not_forked() -> None:
    ending = threading.Event()
    other = threading.Thread(target=ending.wait)
    other.start()
    try:
        assert len(cores.shared(_whose, range(7))) == 1
    finally:
        ending.set()
        other.join()


@pytest.mark.usefixtures("three_processes")
def test_a_part_whose_process_dies_is_done_here() -> None:
    here = os.getpid()

    def work(part: Sequence[int]) -> tuple[int, int]:
        if os.getpid() != here and part[0] == 1:
            os._exit(9)
        return os.getpid(), sum(part)

    found = cores.shared(work, range(7))

    assert [total for _, (_, total) in found] == [9, 5, 7]
    assert [process == here for _, (process, _) in found] == [True, True, False]


@pytest.mark.usefixtures("three_processes")
def test_a_machine_that_forks_no_more_does_all_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError

    monkeypatch.setattr(os, "fork", refuse)

    assert [process for _, (process, _) in cores.shared(_whose, range(7))] == [os.getpid()] * 3


@pytest.mark.usefixtures("three_processes")
def test_a_good_fleet_is_the_same_from_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = load(GOOD)
    monkeypatch.setattr(cores, "PROCESSES_LIMIT", 1)

    assert shared == load(GOOD)
    assert shared.fleet is not None


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
@pytest.mark.usefixtures("three_processes")
def test_the_faults_are_the_same_from_several_processes(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_fleet(tmp_path / "fleet", case.files)
    shared = load(folder)
    monkeypatch.setattr(cores, "PROCESSES_LIMIT", 1)

    assert shared.faults == load(folder).faults
    assert shared.faults


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: [x, {c: d, e: [true]}, []]\nf: {}\n",
        "a: 1\na: 2\n7: x\nb:\n",
        (GOOD / "fleet.yaml").read_text(),
    ],
)
def test_a_parsed_file_keeps_its_places_on_the_way_from_another_process(text: str) -> None:
    before, _ = parse(text.encode(), Path("x.yaml"))

    fault = Fault(Path("x.yaml"), 1, 2, "is wrong")

    alone = pickle.loads(pickle.dumps(before))  # noqa: S301 (made here)
    found = pickle.loads(pickle.dumps(Examined([None, before], [fault], [fault])))  # noqa: S301 (made here)

    for after in (alone, found.contents[1]):
        assert after == before
        assert _places(after) == _places(before)
        assert _places(pickle.loads(pickle.dumps(after))) == _places(before)  # noqa: S301 (made here)
    assert (found.contents[0], found.faults, found.secrets) == (None, [fault], [fault])


def _places(value: object) -> object:
    """All marks below a container, in their order."""
    if isinstance(value, dict):
        at = (value.mark, list(value.keys_at.items()), list(value.values_at.items()))  # type: ignore[attr-defined]
        return (type(value), *at, [_places(below) for below in value.values()])
    if isinstance(value, list):
        return (type(value), value.mark, value.values_at, [_places(below) for below in value])  # type: ignore[attr-defined]
    return value
