"""``hearth converge`` from the command line: what it prints, refuses, records, and survives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from hearth.fleet.events import HostEnd, RunEnd, RunResume, WaveEnd
from hearth.fleet.records import paths, runs_folder
from tests.unit.fleet.command import Operator, an_operator, never_twice_at_a_time, wait_for

pytestmark = pytest.mark.slow

RELAY = "relay1"
BOXES = [f"box-h{number}" for number in range(6)]


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return an_operator(tmp_path)


def test_a_fleet_converges_and_the_record_says_everything(operator: Operator) -> None:
    operator.does("box-h2", "drift")
    first = operator.converge()
    assert first.returncode == 0, first.stdout + first.stderr
    assert "7 hosts: 7 converged" in first.stdout
    record = operator.record()
    assert record.end is not None
    assert record.end.states == dict.fromkeys([RELAY, *BOXES], "converged")
    assert record.begin.households == {f"h{number}": number + 1 for number in range(6)}
    assert (record.hosts["box-h2"].intended, record.hosts["box-h2"].corrective) == (1, 0)
    assert operator.visits() == dict.fromkeys([RELAY, *BOXES], 1)
    assert [host for word, host in operator.log() if word == "begin"][:2] == [RELAY, "box-h0"]
    assert not list(runs_folder("example").parent.glob("slices/*/*.report"))
    assert operator.converge("--limit", "h2").returncode == 0
    again = operator.record()
    assert again.begin.selection == "limit"
    assert (again.hosts["box-h2"].intended, again.hosts["box-h2"].corrective) == (0, 1), "the same desired state"


def test_a_broken_canary_stops_the_run_and_resume_goes_on_from_there(operator: Operator) -> None:
    operator.does("box-h0", "fail")
    stopped = operator.converge()
    assert stopped.returncode == 3
    assert "box-h0: failed: apache | Serve: it will not" in stopped.stdout
    assert operator.visits() == {RELAY: 1, "box-h0": 1}
    operator.does("box-h0")
    resumed = operator.converge("--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert operator.visits() == {RELAY: 1, "box-h0": 2, **dict.fromkeys(BOXES[1:], 1)}
    assert len(paths(runs_folder("example"))) == 1, "one run, one record"
    assert operator.record().end.states == dict.fromkeys([RELAY, *BOXES], "converged")  # type: ignore[union-attr]
    over = operator.converge("--resume")
    assert (over.returncode, over.stderr) == (1, "the last run came to its end: there is nothing to go on with\n")


def test_a_box_that_is_away_is_unreported_and_pending_finishes_it(operator: Operator) -> None:
    operator.does("box-h3", "away")
    first = operator.converge("--max-failures", "0")
    assert first.returncode == 4
    assert "box-h3: unreported: the relay answers, the box's tunnel is not up" in first.stdout
    operator.does("box-h3")
    pending = operator.converge("--pending")
    assert pending.returncode == 0, pending.stdout + pending.stderr
    assert operator.record().planned == ("box-h3",)
    assert operator.visits() == dict.fromkeys([RELAY, *BOXES], 1)
    nothing = operator.converge("--pending")
    assert (nothing.returncode, nothing.stdout) == (0, "There is nothing to do.\n")


def test_a_host_that_failed_ends_with_2_and_the_others_converge(operator: Operator) -> None:
    operator.does("box-h4", "fail")
    run = operator.converge("--max-failures", "1")
    assert run.returncode == 2
    assert operator.visits() == dict.fromkeys([RELAY, *BOXES], 1)
    assert operator.record().state("box-h4") == "failed"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--limit", "box-h"], "--limit box-h: the inventory has no such host, household or group; did you mean"),
        (["--waves", "1,10%"], "end it with 100%"),
        (["--max-failures", "many"], "--max-failures many is no limit"),
        (["--resume"], "there is nothing to go on with"),
        (["--resume", "--pending"], "give one of them"),
        (["--scheduler", "tcp://192.0.2.1:8786"], "is not encrypted"),
        (["--scheduler", "here"], "is no scheduler"),
    ],
)
def test_what_makes_no_sense_is_refused_with_1_and_touches_nobody(
    operator: Operator, arguments: list[str], words: str
) -> None:
    run = operator.converge(*arguments)
    assert run.returncode == 1
    assert words in run.stderr
    assert "Traceback" not in run.stderr
    assert operator.log() == []
    assert paths(runs_folder("example")) == []


def test_an_invalid_inventory_is_refused_with_its_sentences(operator: Operator) -> None:
    household = operator.inventory / "households/h1.yaml"
    household.write_text(household.read_text().replace("slot: 2", "slot: 1"))
    run = operator.converge()
    assert run.returncode == 1
    assert "slot 1 is already taken" in run.stderr
    assert operator.log() == []


def test_without_a_terminal_nothing_begins_unless_yes_is_given(operator: Operator) -> None:
    process = operator.start("--no-gate")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "  2. box-h0" in stdout
    assert "give --yes" in stderr
    assert operator.log() == []


def test_json_is_the_record_line_by_line(operator: Operator) -> None:
    run = operator.converge("--format", "json")
    record = paths(runs_folder("example"))[0].read_text()
    assert [json.loads(line) for line in run.stdout.splitlines()] == [json.loads(line) for line in record.splitlines()]


def test_two_runs_at_once_are_refused_and_the_second_names_the_first(operator: Operator) -> None:
    operator.does("box-h0", "wait")
    first = operator.start("--yes", "--no-gate")
    wait_for(lambda: ("begin", "box-h0") in operator.log(), "the canary")
    second = operator.converge()
    assert second.returncode == 1
    assert f"(process {first.pid})" in second.stderr
    operator.let_go("box-h0")
    first.communicate(timeout=60)
    assert first.returncode == 0


def kill_in_the_middle(operator: Operator, **environment: str) -> None:
    """Start a run, and kill -9 the operator's process when three boxes are in work and the others still wait."""
    for host in BOXES[3:]:
        operator.does(host, "wait")
    process = operator.start("--yes", "--no-gate", "--waves", "1,100%", "--parallel", "5", **environment)
    marks = {*(("end", host) for host in BOXES[1:3]), *(("begin", host) for host in BOXES[3:])}
    wait_for(lambda: marks <= set(operator.log()), "two boxes that are done, and three in work")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def processes_of(operator: Operator) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if f"STAND_IN={operator.folder}".encode() in environment:
                found.append(int(folder.name))
    return found


def test_after_kill_9_in_a_wave_resume_ends_with_all_converged_and_none_twice_at_a_time(operator: Operator) -> None:
    kill_in_the_middle(operator)
    wait_for(lambda: not processes_of(operator), "the kernel to end the slices of the killed run")
    for host in BOXES[3:]:
        operator.let_go(host)
    resumed = operator.converge("--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    record = operator.record()
    assert record.end is not None
    assert record.end.states == dict.fromkeys([RELAY, *BOXES], "converged")
    assert not record.in_work
    assert any(isinstance(event, RunResume) for event in record.events)
    assert operator.visits() == {**dict.fromkeys([RELAY, *BOXES[:3]], 1), **dict.fromkeys(BOXES[3:], 2)}
    never_twice_at_a_time(operator.log(), killed=frozenset(BOXES[3:]))


def cut_before(operator: Operator, kind: type) -> None:
    """Leave of the latest record what a run had written that was killed before its last event of a kind."""
    path = paths(runs_folder("example"))[0]
    last = max(number for number, event in enumerate(operator.record().events) if isinstance(event, kind))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:last]))


def test_a_run_that_was_killed_after_its_last_host_still_comes_to_its_end(operator: Operator) -> None:
    assert operator.converge().returncode == 0
    cut_before(operator, RunEnd)
    resumed = operator.converge("--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert operator.record().end.states == dict.fromkeys([RELAY, *BOXES], "converged")  # type: ignore[union-attr]
    assert operator.visits() == dict.fromkeys([RELAY, *BOXES], 1), "nobody is gone to again"
    assert "there is nothing to go on with" in operator.converge("--resume").stderr


def test_what_a_killed_run_had_not_looked_at_from_outside_is_looked_at_first(operator: Operator) -> None:
    """What the look finds is in test_run.py: there is nothing to look at behind the stand-in's boxes."""
    assert operator.converge("--waves", "2,100%").returncode == 0
    cut_before(operator, WaveEnd)
    assert operator.record().unseen == dict.fromkeys(BOXES[2:], 4)
    resumed = operator.converge("--resume")
    assert resumed.returncode == 0
    assert "to be looked at from outside: 4 hosts." in resumed.stdout
    assert operator.visits() == dict.fromkeys([RELAY, *BOXES], 1)


def test_a_slice_that_outlives_its_run_keeps_its_hosts_to_itself(operator: Operator) -> None:
    """Where the kernel cannot end it (another system, a worker of a cluster), the hosts' locks hold."""
    kill_in_the_middle(operator, STAND_IN_MODE="orphan")
    assert processes_of(operator)
    blocked = operator.converge("--resume")
    assert blocked.returncode == 4
    assert blocked.stdout.count("another converge of it is at work") == 3
    for host in BOXES[3:]:
        operator.let_go(host)
    wait_for(lambda: not processes_of(operator), "the slices of the killed run")
    assert operator.converge("--resume").returncode == 0
    never_twice_at_a_time(operator.log())


def test_what_finished_after_the_kill_is_recorded_from_its_own_report(operator: Operator) -> None:
    operator.does("box-h2", "drift")
    kill_in_the_middle(operator, STAND_IN_MODE="orphan")
    operator.does("box-h5", "drift", "wait")
    for host in BOXES[3:]:
        operator.let_go(host)
    wait_for(lambda: not processes_of(operator), "the slices to finish")
    resumed = operator.converge("--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    record = operator.record()
    ends = [event for event in record.events if isinstance(event, HostEnd) and event.host in BOXES[3:]]
    assert {end.host for end in ends} == set(BOXES[3:])
    assert ends[0].attempt == 1


def test_ctrl_c_lets_hosts_in_work_finish_and_begins_no_other(operator: Operator) -> None:
    operator.does("box-h0", "wait")
    process = operator.start("--yes", "--no-gate")
    wait_for(lambda: ("begin", "box-h0") in operator.log(), "the canary")
    os.kill(process.pid, signal.SIGINT)
    operator.let_go("box-h0")
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Ctrl-C again ends them at once" in stdout
    assert operator.log()[-1] == ("end", "box-h0")
    record = operator.record()
    assert record.end is not None
    assert [record.state(host) for host in (RELAY, "box-h0", "box-h1")] == ["converged", "converged", "waiting"]
    assert operator.converge("--resume").returncode == 0
    assert operator.visits() == dict.fromkeys([RELAY, *BOXES], 1)


def test_a_reader_that_goes_away_does_not_end_the_run(operator: Operator) -> None:
    operator.does("box-h0", "wait")
    process = operator.start("--yes", "--no-gate")
    wait_for(lambda: ("begin", "box-h0") in operator.log(), "the canary")
    assert process.stdout is not None
    process.stdout.close()
    operator.let_go("box-h0")
    process.wait(timeout=60)
    assert process.stderr is not None
    process.stderr.close()
    assert set(operator.record().end.states.values()) == {"converged"}  # type: ignore[union-attr]


def test_a_second_ctrl_c_ends_hosts_in_work_and_they_are_not_called_done(operator: Operator) -> None:
    operator.does("box-h0", "wait")
    process = operator.start("--yes", "--no-gate")
    wait_for(lambda: ("begin", "box-h0") in operator.log(), "the canary")
    assert process.stdout is not None
    os.kill(process.pid, signal.SIGINT)
    while "Stopping" not in (line := process.stdout.readline()):
        assert line
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert operator.record().state("box-h0") == "unreported"
    assert not processes_of(operator)
    operator.let_go("box-h0")
    assert operator.converge("--resume").returncode == 0


def remove(operator: Operator, *households: str) -> None:
    for name in households:
        (operator.inventory / f"households/{name}.yaml").unlink()


def test_a_household_that_is_gone_is_said_first_and_its_slot_put_to_rest(operator: Operator) -> None:
    operator.converge()
    remove(operator, "h5")
    run = operator.converge()
    assert run.returncode == 0
    first, second = run.stdout.splitlines()[:2]
    assert first == "Removed: h5 (slot 6) loses its route, its tunnel's key and its live sessions."
    assert f"retired: [{{slot: 6, since: {datetime.now(UTC):%Y-%m-%d}}}]" in second
    assert operator.record().begin.removed == ("h5",)
    assert "Removed" not in operator.converge().stdout, "the relay has converged without it"


def test_more_removals_than_allowed_and_removals_in_a_narrow_run_are_refused(operator: Operator) -> None:
    operator.converge()
    visits = operator.visits()
    remove(operator, "h4", "h5")
    refused = operator.converge()
    assert refused.returncode == 1
    assert "2 of 6 households are gone from the inventory (h4, h5), and --max-removals is 1" in refused.stderr
    narrow = operator.converge("--limit", "relay1", "--max-removals", "5")
    assert narrow.returncode == 1
    assert "removed by a run over the whole fleet only" in narrow.stderr
    assert operator.visits() == visits, "nobody was touched"
    assert operator.converge("--limit", "h1").returncode == 0, "a box alone takes nobody's access away"
    assert operator.converge("--max-removals", "2").returncode == 0


def test_an_inventory_without_households_removes_nobody_without_being_told(operator: Operator) -> None:
    operator.converge()
    remove(operator, *(f"h{number}" for number in range(6)))
    refused = operator.converge("--max-removals", "100%")
    assert refused.returncode == 1
    assert "all 6 households that this fleet had are gone" in refused.stderr
    assert operator.converge("--remove-all").returncode == 0


def test_the_record_of_a_run_tells_the_commit_and_whether_files_differ(operator: Operator) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=anna", "-c", "user.email=anna@home.example")
        subprocess.run(["git", "-C", str(operator.inventory), *identity, *arguments], check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    operator.converge("--limit", "h1")
    origin = operator.record().begin.origin
    assert len(origin.commit or "") == 40
    assert not origin.dirty
    household = operator.inventory / "households/h1.yaml"
    household.write_text(household.read_text() + "\n")
    operator.converge("--limit", "h1")
    later = operator.record().begin.origin
    assert later.dirty
    assert later.inventory_sha256 != origin.inventory_sha256


def test_a_slot_at_rest_is_refused_until_ninety_days_are_over(operator: Operator) -> None:
    fleet = operator.inventory / "fleet.yaml"
    text = fleet.read_text()
    fleet.write_text(f"{text}\nretired:\n  - slot: 3\n    since: {date.today()}\n")
    run = operator.converge()
    assert run.returncode == 1
    assert f"slot 3 was another household's and rests until {date.today() + timedelta(days=90)}" in run.stderr
    fleet.write_text(f"{text}\nretired:\n  - slot: 3\n    since: {date.today() - timedelta(days=90)}\n")
    assert operator.converge("--limit", "h2").returncode == 0
