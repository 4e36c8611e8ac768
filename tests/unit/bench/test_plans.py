from demo.bench.__main__ import command, parse
from demo.bench.figures import Case
from demo.bench.goals import ANSIBLE, FIFTY, GOALS, HEARTH, MITOGEN, PEERS, STOCK, UNCHANGED_BOX
from demo.bench.plans import COUNTS, FULL, LATENCIES_MS, PLANS, USUAL


def test_every_goal_is_measured_by_the_usual_plan_and_by_the_full_one() -> None:
    for plan in (USUAL, FULL):
        for goal in GOALS:
            assert goal.case in plan.cases
            assert {goal.over, goal.under} <= set(plan.peers(goal.case, PEERS))


def test_who_is_compared_by_a_goal_has_five_rounds_in_the_usual_plan() -> None:
    for goal in GOALS:
        assert {USUAL.limits.budget(goal.case, peer) for peer in (goal.over, goal.under)} == {float("inf")}


def test_the_full_plan_has_every_number_of_hosts_at_every_latency_five_times_and_everybody() -> None:
    for hosts in COUNTS:
        for latency_ms in LATENCIES_MS:
            for state in ("first", "unchanged"):
                case = Case("crowd", state, hosts, latency_ms)  # type: ignore[arg-type]
                assert case in FULL.cases
                assert FULL.peers(case, PEERS) == PEERS
    assert FULL.limits.rounds == 5
    assert FULL.notes() == []


def test_who_is_left_out_of_a_case_is_named() -> None:
    assert USUAL.peers(FIFTY, (HEARTH, MITOGEN, ANSIBLE)) == (HEARTH, MITOGEN)
    assert USUAL.peers(UNCHANGED_BOX, (HEARTH, MITOGEN, ANSIBLE)) == (HEARTH, MITOGEN, ANSIBLE)
    assert [note.partition(":")[0] for note in USUAL.notes()] == [
        f"{peer} is left out of {FIFTY.words}" for peer in (ANSIBLE, STOCK)
    ]


def test_the_page_names_the_command_that_measures_the_same_again() -> None:
    assert command(parse([])) == "make bench"
    assert command(parse(["--plan", "quick"])) == "make bench QUICK=1"
    words = ["--plan", "full", "--rounds", "3", "--budget", "300", "--only", "crowd"]
    assert command(parse(words)) == "make bench FULL=1 ROUNDS=3 BUDGET=300 ONLY=crowd"


def test_every_plan_has_a_name_that_make_gives() -> None:
    assert set(PLANS) == {"quick", "usual", "full"}
