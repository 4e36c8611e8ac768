"""The status: from records and answers to rows, text and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from demo import generated_runs
from hearth.cli import app
from hearth.fleet import status_text
from hearth.fleet.desired import all_hosts
from hearth.fleet.events import (
    Event,
    HostBegin,
    HostEnd,
    Operation,
    Origin,
    RunBegin,
    RunEnd,
    State,
    Versions,
)
from hearth.fleet.records import Record, runs_folder
from hearth.fleet.status import BUCKETS, Answer, Finding, History, Row, Status, Visit, buckets, history, judge, status
from hearth.inventory import load_or_raise
from hearth.inventory.hosts import Fleet
from tests.unit.fleet.fleets import a_fleet
from tests.unit.inventory.corpus import GOOD

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOSTS = ("relay1", "box-h000", "box-h001")
ORIGIN = Origin("anna@desk", "18dc07f" + "0" * 33, False, "0" * 64, Versions("0.1.0", "3.10", "3.13"))


def end(host: str, at: datetime, result: State = "converged", *, corrective: int = 0, took: float = 9.0) -> HostEnd:
    operations = tuple(Operation(f"operation {each}", "corrective") for each in range(corrective))
    reason = None if result == "converged" else f"{host} said no"
    assert result != "waiting"
    return HostEnd(at, host, 1, 1, result, reason, took, "0" * 64, operations, 30)


def record(at: datetime, *ends: HostEnd, planned: Iterable[str] = HOSTS, whole: bool = True) -> Record:
    """A run of the ``planned`` hosts with these ends; not ``whole``: it was killed before its own end."""
    planned = tuple(planned)
    events: list[Event] = [RunBegin(at, f"{at:%Y%m%dT%H%M%SZ}-0000", "fleet", "drift", "all", ORIGIN, (planned,))]
    for one in ends:
        events += [HostBegin(at, one.host, 1, 1, "0" * 64), one]
    if whole:
        states: dict[str, State] = dict.fromkeys(planned, "waiting")
        states |= {one.host: one.result for one in ends}
        events.append(RunEnd(at, 0, "done", 60.0, states))
    return Record(Path("x"), tuple(events))


def rows(*records: Record, answers: dict[str, Answer] | None = None, days: int = 30) -> dict[str, Row]:
    """The rows of a fleet of two boxes; records the latest first."""
    fleet = a_fleet(2)
    told = history(records, AT - days * DAY)
    return {row.host: row for row in status(fleet, all_hosts(fleet).values(), told, AT, days, answers).rows}


def test_a_host_is_as_the_last_run_that_was_about_it_says() -> None:
    found = rows(
        record(AT - DAY, end("box-h000", AT - DAY, "unreported"), planned=("box-h000",)),
        record(
            AT - 2 * DAY,
            end("relay1", AT - 2 * DAY),
            end("box-h000", AT - 2 * DAY),
            end("box-h001", AT - 2 * DAY, "failed"),
        ),
    )
    assert {host: row.state for host, row in found.items()} == {
        "relay1": "good",
        "box-h000": "unreported",
        "box-h001": "failed",
    }
    assert found["box-h001"].why == "box-h001 said no"
    assert found["box-h000"].converged_at == AT - 2 * DAY, "an unreported host keeps the time of its last success"


def test_a_host_that_no_run_has_been_to_is_never_and_one_that_a_stopped_run_left_waits() -> None:
    assert {row.state for row in rows().values()} == {"never"}
    stopped = rows(record(AT - DAY, end("relay1", AT - DAY)))
    assert {host: row.state for host, row in stopped.items()} == {
        "relay1": "good",
        "box-h000": "waiting",
        "box-h001": "waiting",
    }


def test_a_killed_run_counts_for_the_hosts_that_it_ended() -> None:
    killed = rows(record(AT - DAY, end("relay1", AT - DAY), whole=False), record(AT - 2 * DAY, end("box-h000", AT)))
    assert (killed["relay1"].state, killed["box-h000"].state) == ("good", "waiting")


def test_records_older_than_the_time_looked_at_are_not_told_nor_read() -> None:
    def records() -> Iterable[Record]:
        yield record(AT - 2 * DAY, end("relay1", AT - 2 * DAY))
        yield record(AT - 8 * DAY, end("box-h000", AT - 8 * DAY))
        raise AssertionError("an older record was read")

    told = history(records(), AT - 7 * DAY)
    assert (set(told.visits), len(told.runs)) == (set(HOSTS), 1)


def test_drift_is_counted_over_time_and_intended_changes_are_not() -> None:
    intended = replace(end("box-h000", AT - 5 * DAY), operations=(Operation("new", "intended"),))
    found = rows(
        record(AT - DAY, end("box-h000", AT - DAY, corrective=2)),
        record(AT - 5 * DAY, intended),
        record(AT - 9 * DAY, end("box-h000", AT - 9 * DAY, corrective=1)),
    )["box-h000"]
    assert found.drift_sum == 3
    assert [place for place, count in enumerate(found.drift) if count] == [BUCKETS - 9, BUCKETS - 1]
    assert sum(row.drift_sum for row in rows().values()) == 0


def test_what_is_outside_of_the_time_looked_at_is_in_no_bucket() -> None:
    found = buckets(
        [(AT, 1), (AT - 30 * DAY, 5), (AT + DAY, 7), (AT - 30 * DAY + timedelta(seconds=1), 2)], AT - 30 * DAY, AT
    )
    assert (found[0], found[-1], sum(found)) == (2, 1, 3)


def test_durations_are_those_of_successful_converges_the_oldest_first() -> None:
    found = rows(
        record(AT - DAY, end("box-h000", AT - DAY, took=7.5)),
        record(AT - 2 * DAY, end("box-h000", AT - 2 * DAY, "failed", took=400)),
        record(AT - 3 * DAY, end("box-h000", AT - 3 * DAY, took=41)),
    )["box-h000"]
    assert found.durations_s == (41, 7.5)


VISITS = {
    state: Visit(AT, state, "the reason" if state in ("failed", "unreported") else None, None)
    for state in ("converged", "failed", "unreported", "waiting", "skipped")
}
WELL = Answer(AT, verdict="good")
AILING = Answer(AT, verdict="warning", findings=(Finding("wanted", "the disk is nearly full", "make room"),))
ILL = Answer(AT, verdict="bad", findings=(Finding("required", "Redis does not answer", "restart it"),))
AWAY = Answer(AT, fault="the box's tunnel is not up")


@pytest.mark.parametrize(
    ("visit", "answer", "state", "why"),
    [
        ("converged", None, "good", ""),
        ("converged", WELL, "good", ""),
        ("converged", AILING, "warning", "nearly full"),
        ("converged", ILL, "failed", "Redis"),
        ("converged", AWAY, "unreported", "tunnel is not up"),
        ("failed", WELL, "failed", "the reason"),
        ("failed", AWAY, "unreported", "tunnel is not up"),
        ("unreported", None, "unreported", "the reason"),
        ("unreported", WELL, "waiting", "--pending"),
        ("unreported", ILL, "failed", "Redis"),
        ("waiting", None, "waiting", "--resume"),
        ("skipped", AILING, "waiting", ""),
        (None, None, "never", "no run"),
        (None, WELL, "good", ""),
        (None, AILING, "warning", "nearly full"),
        (None, AWAY, "unreported", "tunnel is not up"),
    ],
)
def test_the_hosts_own_answer_is_younger_than_the_records_and_wins(
    visit: str | None, answer: Answer | None, state: str, why: str
) -> None:
    found = judge(VISITS[visit] if visit else None, answer)
    assert found[0] == state
    assert why in found[1]


def test_a_run_is_summed_up_with_its_median_and_its_drift() -> None:
    told = history(
        [record(AT - DAY, end("relay1", AT, took=3), end("box-h000", AT, took=5, corrective=2))], AT - 2 * DAY
    )
    (run,) = told.runs
    assert (run.median_s, run.corrective, run.drifted, run.who) == (4, 2, 1, "anna@desk")
    assert run.states == {"converged": 2, "waiting": 1}


def a_status(live: bool = False) -> Status:
    fleet = a_fleet(2)
    told = history([record(AT - DAY, end("relay1", AT - DAY), end("box-h000", AT - DAY, "failed"))], AT - 30 * DAY)
    answers = {
        "relay1": WELL,
        "box-h000": replace(AILING, certificate_until=AT + 13.5 * DAY, updates=4),
        "box-h001": AWAY,
    }
    return status(fleet, all_hosts(fleet).values(), told, AT, 30, answers if live else None)


def test_the_text_has_what_needs_somebody_first_and_a_line_that_sums_up() -> None:
    lines = list(status_text.lines(a_status()))
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["box-h000", "failed"],
        ["box-h001", "waiting"],
        ["relay1", "good"],
    ]
    assert "box-h000 said no" in lines[1]
    assert lines[-1].endswith("(1 converged, 1 failed, 1 waiting)")
    assert "3 hosts: 1 failed, 1 waiting, 1 good" in lines[-1]


def test_the_text_has_the_hosts_own_answers_when_they_were_asked() -> None:
    lines = {line.split()[0]: line for line in status_text.lines(a_status(live=True)) if line}
    assert " 13 d " in lines["box-h000"]
    assert "the box's tunnel is not up" in lines["box-h001"]
    assert "CERT" in lines["HOST"]
    assert "CERT" not in next(status_text.lines(a_status()))


def test_the_data_are_json_with_the_certificates_whole_days() -> None:
    data = json.loads(json.dumps(status_text.data(a_status(live=True))))
    hosts = {host["host"]: host for host in data["hosts"]}
    assert (hosts["box-h000"]["certificate_days"], hosts["relay1"]["certificate_days"]) == (13, None)
    assert hosts["box-h000"]["answer"]["certificate_until"] == "2026-12-07T00:00:00Z"
    assert data["counts"] == {"failed": 1, "unreported": 1, "warning": 0, "waiting": 0, "never": 0, "good": 1}
    assert hosts["box-h000"]["last"]["state"] == "failed"


@pytest.fixture
def good_fleet() -> Fleet:
    """The good fleet of the corpus, with a night's record in the state folder."""
    fleet = load_or_raise(GOOD)
    night = next(generated_runs.nights(list(all_hosts(fleet)), 1, datetime.now(UTC)))
    generated_runs.write(night, runs_folder(fleet.name))
    return fleet


def test_the_command_reads_the_records_and_writes_its_file_whole(good_fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    call = ["status", "--inventory", str(GOOD), "--format", "json", "--output", str(file)]
    done = CliRunner().invoke(app, call)
    assert (done.exit_code, done.output) == (0, "")
    assert {host["last"]["state"] for host in json.loads(file.read_text())["hosts"]} <= {
        "converged",
        "failed",
        "unreported",
    }
    assert list(tmp_path.glob(".status*")) == []
    limited = CliRunner().invoke(app, ["status", "--inventory", str(GOOD), "--limit", "mueller"])
    assert [line.split()[0] for line in limited.output.splitlines()[:2]] == ["HOST", "box-mueller"]
    page = CliRunner().invoke(app, ["status", "--inventory", str(GOOD), "--format", "html"])
    assert page.output.startswith("<!doctype html>")


def test_a_name_of_nothing_and_a_place_that_cannot_be_written_end_with_a_sentence(
    good_fleet: Fleet, tmp_path: Path
) -> None:
    typo = CliRunner().invoke(app, ["status", "--inventory", str(GOOD), "--limit", "box-muler"])
    assert (typo.exit_code, len(typo.stderr.splitlines())) == (1, 1)
    assert "box-muler" in typo.stderr
    nowhere = str(tmp_path / "gone/status.html")
    unwritable = CliRunner().invoke(app, ["status", "--inventory", str(GOOD), "--output", nowhere])
    assert (unwritable.exit_code, len(unwritable.stderr.splitlines())) == (1, 1)


def test_a_record_that_is_none_is_named(good_fleet: Fleet) -> None:
    (runs_folder(good_fleet.name) / "20990101T000000Z-0000.jsonl").write_text("{}\n")
    done = CliRunner().invoke(app, ["status", "--inventory", str(GOOD)])
    assert done.exit_code == 1
    assert "20990101T000000Z-0000.jsonl:1" in done.stderr


def test_an_empty_history_is_a_status_too() -> None:
    fleet = a_fleet(2)
    lines = list(status_text.lines(status(fleet, all_hosts(fleet).values(), History({}, ()), AT, 30)))
    assert lines[-1].endswith("3 hosts: 3 never; no run in the last 30 days")
