"""What earlier runs tell: who is pending, what is drift, who is gone, what may be removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hearth.fleet.choice import left_to_do
from hearth.fleet.events import RunEnd, now
from hearth.fleet.history import history
from hearth.fleet.limits import Limit
from hearth.fleet.records import Record
from hearth.fleet.removal import Removals, refusal, removals
from hearth.fleet.resume import unsaid
from tests.unit.fleet.fleets import a_fleet, converged, failed
from tests.unit.fleet.test_records import a_begin, a_host_begin, an_end


def a_record(*events: Any, status: int | None = 0, **begin: Any) -> Record:
    end = [RunEnd(now(), status, "over", 1.0, {})] if status is not None else []
    return Record(Path("r.jsonl"), (a_begin(**begin), *events, *end))


def test_a_hosts_last_success_counts_however_often_it_failed_since() -> None:
    found = history(
        [a_record(an_end("box-h000", "failed", "f" * 64), status=2), a_record(an_end("box-h000"))], ["box-h000"]
    )
    assert found.reached == {"box-h000": "d" * 64}
    assert found.states == {"box-h000": "failed"}


def test_hosts_that_the_last_run_did_not_reach_are_pending_and_others_are_not() -> None:
    newer = a_record(an_end("box-h001"), an_end("box-h002", "unreported"), status=4)
    older = a_record(an_end("box-h001", "unreported"), an_end("box-h003", "skipped"), status=4)
    assert sorted(history([newer, older], ["x"]).pending) == ["box-h002", "box-h003"]


def test_a_stopped_run_can_go_on_until_a_later_one_over_all_left_nothing() -> None:
    stopped, whole, some = a_record(status=3), a_record(), a_record(selection="limit")
    assert history([some, stopped], ["x"]).open_run is stopped
    assert history([whole, stopped], ["x"]).open_run is None
    killed = a_record(status=None)
    assert history([killed, stopped], ["x"]).open_run is killed


def test_a_resumed_run_leaves_out_who_converged_unless_something_else_is_wanted_now() -> None:
    fleet = a_fleet(3, relays=0)
    record = a_record(an_end("box-h000"), an_end("box-h001"), a_host_begin("box-h002"), status=None)
    desired = {"box-h000": "d" * 64, "box-h001": "e" * 64, "box-h002": "d" * 64}
    reached = {"box-h000": "d" * 64, "box-h001": "d" * 64}
    assert left_to_do(record, fleet, desired, reached) == ("box-h001", "box-h002")


def test_a_resumed_run_of_named_hosts_stays_with_them() -> None:
    record = a_record(status=None, selection="limit", waves=(("box-h001",),))
    assert left_to_do(record, a_fleet(3, relays=0), dict.fromkeys(("box-h001",), "d"), {}) == ("box-h001",)


def test_what_a_killed_run_could_not_write_down_is_told_from_the_reports() -> None:
    record = a_record(a_host_begin("box-h000"), a_host_begin("box-h001"), an_end("box-h001"), status=None)
    reports = {"box-h000": converged("box-h000", "sshd | Put"), "box-h001": failed("box-h001")}
    (end,) = unsaid(record, reports, {"box-h000": "d" * 64})
    assert (end.host, end.result, end.attempt, end.corrective) == ("box-h000", "converged", 1, 1)


SERVERS = ["relay1"]


def gone(*records: Record, households: tuple[str, ...] = ("h000",)) -> Removals:
    return removals(records, households, SERVERS)


def test_a_household_that_left_the_inventory_is_gone_until_the_relay_has_converged_without_it() -> None:
    before = a_record(an_end("relay1"))
    assert gone(before).gone == {"h001": 2}
    stopped = a_record(an_end("relay1", "failed"), status=3, households={"h000": 1}, removed=("h001",))
    assert gone(stopped, before).gone == {"h001": 2}
    assert gone(stopped, before).said == {"h001"}
    done = a_record(an_end("relay1"), households={"h000": 1}, removed=("h001",))
    assert gone(done, stopped, before).gone == {}


def test_runs_over_some_hosts_say_nothing_of_who_is_gone() -> None:
    some = a_record(an_end("relay1"), selection="limit", households={"h000": 1})
    assert gone(some, a_record(an_end("relay1"))).gone == {"h001": 2}


def test_a_removal_by_a_run_since_a_revision_is_over_once_its_servers_have_converged() -> None:
    before = a_record(an_end("relay1"))
    since = {"selection": "since", "households": {"h000": 1}, "removed": ("h001",)}
    assert gone(a_record(an_end("relay1", "failed"), status=2, **since), before).gone == {"h001": 2}
    done = a_record(an_end("relay1"), **since)
    assert gone(done, before).gone == {}
    earlier = a_record(an_end("relay1"), households={"h000": 1, "h001": 2, "h002": 3})
    assert gone(done, earlier).gone == {"h002": 3}, "it says nothing of who left before"
    back = a_record(an_end("relay1"), selection="since", households={"h000": 1, "h001": 2})
    assert gone(back, done, before).gone == {"h001": 2}, "came back since"


def test_without_any_record_nobody_is_gone() -> None:
    assert gone().gone == {}


@pytest.mark.parametrize(
    ("count", "known", "limit", "whole", "servers", "remove_all", "words"),
    [
        (0, 10, Limit(0), True, SERVERS, False, None),
        (1, 10, Limit(1), True, SERVERS, False, None),
        (2, 10, Limit(1), True, SERVERS, False, "--max-removals is 1"),
        (2, 10, Limit(20, True), True, SERVERS, False, None),
        (3, 10, Limit(20, True), True, SERVERS, False, "raise it to 3"),
        (10, 10, Limit(100, True), True, SERVERS, False, "Give --remove-all"),
        (10, 10, Limit(1), True, SERVERS, True, None),
        (1, 10, Limit(5), False, SERVERS, True, "by a run over the whole fleet only"),
        (1, 10, Limit(0), False, [], False, None),
    ],
)
def test_removals_are_refused_beyond_the_limit_to_zero_and_in_narrow_runs(
    count: int, known: int, limit: Limit, whole: bool, servers: list[str], remove_all: bool, words: str | None
) -> None:
    found = Removals({f"h{number}": number for number in range(count)}, known)
    told = refusal(found, limit, whole, servers, remove_all)
    assert (told is None) == (words is None)
    assert words is None or words in (told or "")


def test_a_removal_that_was_announced_may_be_finished_by_a_pending_run() -> None:
    found = Removals({"h1": 1}, 10, said={"h1"})
    assert refusal(found, Limit(0), False, SERVERS, False) is None
