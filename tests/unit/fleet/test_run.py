"""What a run decides: the order, who is tried again, when it stops, what its exit status says."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearth.fleet import probes
from hearth.fleet.events import Check, Gate, HostBegin, HostEnd, RunEnd, WaveBegin, WaveEnd
from hearth.fleet.limits import parse_limit
from hearth.fleet.run import Run, Settings, exit_status
from tests.unit.fleet.fleets import Verdict, a_fleet, always, converged, failed, go, unreported


def begun(events: list[object]) -> list[str]:
    return [event.host for event in events if isinstance(event, HostBegin)]


def test_a_fleet_that_converges_ends_with_0_in_the_order_relay_canary_others() -> None:
    end, events = go(a_fleet(20, canary="h007"), {})
    assert end.exit_status == 0
    assert begun(events)[:2] == ["relay1", "box-h007"]
    assert [event.hosts for event in events if isinstance(event, WaveBegin)] == [1, 1, 1, 18]
    assert set(end.states.values()) == {"converged"}


def test_a_canary_that_fails_leaves_all_others_untouched_whatever_the_budget() -> None:
    settings = Settings(gate=False, again_after_s=0, max_failures=parse_limit("1000", "--max-failures"))
    end, events = go(a_fleet(20), {"box-h000": always(failed)}, settings=settings)
    assert end.exit_status == 3
    assert begun(events) == ["relay1", "box-h000"]
    assert "the canary box-h000 failed" in end.reason
    assert Counter(end.states.values()) == {"converged": 1, "failed": 1, "waiting": 19}


def test_a_canary_that_is_not_there_has_a_stand_in() -> None:
    end, events = go(a_fleet(20), {"box-h000": always(unreported)})
    assert end.exit_status == 4
    assert [event.hosts for event in events if isinstance(event, WaveBegin)] == [1, 1, 1, 18]
    assert end.states["box-h000"] == "unreported"
    assert Counter(end.states.values())["converged"] == 20


def test_canaries_that_are_all_away_prove_nothing_and_the_run_stops() -> None:
    end, events = go(a_fleet(20), lambda host, _: unreported(host) if host.startswith("box") else converged(host))
    assert end.exit_status == 4
    assert "none of 3 canaries could be reached" in end.reason
    assert len(set(begun(events))) == 4


def test_a_spent_budget_stops_at_once_and_within_the_wave() -> None:
    bad = {f"box-h{number:03}": always(failed) for number in range(10, 100)}
    settings = Settings(gate=False, again_after_s=0, max_failures=parse_limit("3", "--max-failures"))
    end, events = go(a_fleet(100), bad, settings=settings, waves="1,10%,100%", at_once=1)
    assert end.exit_status == 3
    assert Counter(end.states.values())["failed"] <= 3 + 10, "one slice is in work when the budget is spent"
    assert "--max-failures is 3" in end.reason
    assert isinstance(events[-2], WaveEnd)
    assert not events[-2].passed


def test_failures_within_the_budget_let_the_others_converge_and_end_with_2() -> None:
    settings = Settings(gate=False, again_after_s=0, max_failures=parse_limit("10%", "--max-failures"))
    end, _ = go(a_fleet(50), {"box-h030": always(failed)}, settings=settings)
    assert end.exit_status == 2
    assert Counter(end.states.values()) == {"converged": 50, "failed": 1}


def test_a_single_host_that_fails_is_a_failure_and_no_stop() -> None:
    end, _ = go(a_fleet(1, relays=0), {"box-h000": always(failed)})
    assert end.exit_status == 2


def test_an_unreachable_host_is_tried_again_and_counts_against_no_budget() -> None:
    settings = Settings(gate=False, again_after_s=0, max_failures=parse_limit("0", "--max-failures"))
    back = {"box-h003": lambda host, attempt: converged(host) if attempt == 3 else unreported(host)}
    end, events = go(a_fleet(5), back, settings=settings)
    assert end.exit_status == 0
    assert begun(events).count("box-h003") == 3
    assert [event.attempt for event in events if isinstance(event, HostEnd) and event.host == "box-h003"] == [1, 2, 3]


def test_a_host_that_failed_is_not_tried_again() -> None:
    _, events = go(a_fleet(5), {"box-h003": always(failed)})
    assert begun(events).count("box-h003") == 1


def test_boxes_of_a_relay_that_failed_are_skipped_and_those_of_another_are_not() -> None:
    end, events = go(a_fleet(6, relays=2), {"relay2": always(failed)})
    assert end.exit_status == 2
    assert {host for host, state in end.states.items() if state == "skipped"} == {"box-h001", "box-h003", "box-h005"}
    reasons = [event.reason for event in events if isinstance(event, HostEnd) and event.result == "skipped"]
    assert reasons == ["its relay relay2 is failed"] * 3
    assert "box-h001" not in begun(events)


def test_boxes_of_a_relay_that_comes_back_at_the_end_are_converged_after_it() -> None:
    fleet = a_fleet(4, relays=2)
    late = {"relay2": lambda host, attempt: converged(host) if attempt == 3 else unreported(host)}
    end, events = go(fleet, late)
    assert end.exit_status == 0
    assert begun(events).index("box-h001") > begun(events).index("relay2")


def test_a_change_under_the_same_desired_state_is_corrective_and_under_a_new_one_intended() -> None:
    script = always(lambda host: converged(host, "apache | Serve"))
    _, events = go(a_fleet(2, relays=0), script, reached={"box-h000": "d" * 64, "box-h001": "e" * 64})
    changes = {event.host: event.operations[0].change for event in events if isinstance(event, HostEnd)}
    assert changes == {"box-h000": "corrective", "box-h001": "intended"}
    assert all(event.unchanged == 1 for event in events if isinstance(event, HostEnd))


def test_hosts_that_a_killed_run_had_not_looked_at_are_looked_at_and_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = a_fleet(4, relays=0)
    monkeypatch.setattr("hearth.fleet.gate.outside", lambda host, _roads: type("T", (), {"host": host.name})())
    told = {"box-h000": (Check("sshd", True),), "box-h001": (Check("sshd", False, "it is silent"),)}
    monkeypatch.setattr(probes, "look_until_passed", lambda target, _patience: told.get(target.host, ()))
    done = {"before": {"box-h000": "converged", "box-h001": "converged"}, "unseen": {"box-h000": 3, "box-h001": 3}}
    end, events = go(fleet, {}, settings=Settings(gate=True, again_after_s=0), waves="100%", **done)
    gates = [(event.host, event.wave, event.passed) for event in events if isinstance(event, Gate)]
    assert gates[:2] == [("box-h000", 3, True), ("box-h001", 3, False)]
    assert (end.exit_status, end.states["box-h001"]) == (2, "failed")


def test_a_host_that_does_not_pass_the_gate_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = a_fleet(3, relays=0)
    monkeypatch.setattr("hearth.fleet.gate.outside", lambda host, _roads: type("T", (), {"host": host.name})())
    answers = {"box-h000": (Check("status.php", False, "the cloud is in maintenance mode"),)}
    monkeypatch.setattr(probes, "look_until_passed", lambda one, _patience: answers.get(one.host, ()))
    end, events = go(fleet, {}, settings=Settings(gate=True, again_after_s=0))
    assert end.exit_status == 3
    assert end.states == {"box-h000": "failed", "box-h001": "waiting", "box-h002": "waiting"}
    gates = [event for event in events if isinstance(event, Gate)]
    assert [(event.host, event.passed) for event in gates] == [("box-h000", False)]


def test_an_interrupted_run_begins_nobody_else_and_says_so() -> None:
    runs: list[Run] = []

    def stop(host: str, _attempt: int) -> Verdict:
        runs[0].interrupted.set()
        return converged(host)

    end, events = go(a_fleet(10, relays=0), stop, meet=runs.append)
    assert end.exit_status == 130
    assert begun(events) == ["box-h000"]
    assert "the operator stopped it" in end.reason


def test_what_an_earlier_part_of_the_run_did_stands_in_its_end() -> None:
    fleet = a_fleet(3, relays=0)
    end, _ = go(fleet, {}, before={"box-gone": "converged"})
    assert end.states["box-gone"] == "converged"


def test_a_slice_that_cannot_be_run_fails_its_hosts_and_says_why() -> None:
    def broken(host: str, _attempt: int) -> Verdict:
        if host == "box-h002":
            raise RuntimeError("the worker died 4 times")
        return converged(host)

    budget = parse_limit("50%", "--max-failures")
    end, events = go(a_fleet(3, relays=0), broken, settings=Settings(budget, gate=False, again_after_s=0), at_once=100)
    assert end.exit_status == 2
    assert end.states == {"box-h000": "converged", "box-h001": "converged", "box-h002": "failed"}
    assert "its slice could not be run: the worker died 4 times" in [
        event.reason for event in events if isinstance(event, HostEnd)
    ]


@pytest.mark.parametrize(
    ("states", "stopped", "interrupted", "status"),
    [
        (["converged"], False, False, 0),
        ([], False, False, 0),
        (["converged", "failed"], False, False, 2),
        (["failed", "waiting"], True, False, 3),
        (["failed", "unreported"], False, False, 2),
        (["converged", "unreported"], False, False, 4),
        (["converged", "skipped"], False, False, 4),
        (["converged", "waiting"], False, True, 130),
        (["converged"], False, True, 0),
    ],
)
def test_the_exit_status_tells_the_truth(states: list[str], stopped: bool, interrupted: bool, status: int) -> None:
    assert exit_status(states, stopped=stopped, interrupted=interrupted) == status  # type: ignore[arg-type]


OUTCOMES = st.lists(st.sampled_from([converged, failed, unreported]), min_size=3, max_size=3)


@settings(max_examples=150)
@given(
    households=st.integers(1, 25),
    relays=st.integers(0, 3),
    outcomes=st.dictionaries(st.integers(0, 30), OUTCOMES, max_size=12),
    limit=st.sampled_from([None, "0", "2", "10%", "50%", "100%"]),
    at_once=st.integers(1, 5),
)
def test_any_run_keeps_its_promises(
    households: int, relays: int, outcomes: dict[int, list[object]], limit: str | None, at_once: int
) -> None:
    fleet = a_fleet(households, relays)
    names = [*(f"relay{number + 1}" for number in range(relays)), *(f"box-h{n:03}" for n in range(households))]
    scripts = {
        names[index]: (lambda host, attempt, told=told: told[attempt - 1](host))  # type: ignore[misc]
        for index, told in outcomes.items()
        if index < len(names)
    }
    budget = parse_limit(limit, "--max-failures") if limit else None
    end, events = go(
        fleet, scripts, settings=Settings(gate=False, again_after_s=0, max_failures=budget), at_once=at_once
    )
    assert set(end.states) == set(names), "every host has a state"
    assert isinstance(events[-1], RunEnd)
    in_work: set[str] = set()
    ended: dict[str, str] = {}
    for event in events:
        if isinstance(event, HostBegin):
            assert event.host not in in_work, "none twice at a time"
            assert ended.get(event.host) in (None, "unreported", "skipped"), "only who was not reached is tried again"
            in_work.add(event.host)
        elif isinstance(event, HostEnd):
            in_work.discard(event.host)
            ended[event.host] = event.result
    assert not in_work, "who was begun came to an end"
    assert all(count <= 3 for count in Counter(begun(events)).values())
    for host in names:
        assert end.states[host] == ended.get(host, "waiting")
    assert (end.exit_status == 0) == (set(end.states.values()) == {"converged"})
    if end.exit_status == 3:
        assert "waiting" in end.states.values()
    waves = [event for event in events if isinstance(event, WaveEnd)]
    assert all(wave.passed for wave in waves[:-1]), "nothing goes on after a stop"
