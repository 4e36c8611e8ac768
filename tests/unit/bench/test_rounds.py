from demo.bench.figures import Run
from demo.bench.goals import BATCH_OFF, MITOGEN, UNCHANGED_BOX
from demo.bench.rounds import Limits, Unfit, take


def run_of(wall_s: float) -> Run:
    return Run(wall_s, 1, 1, 1)


def test_the_peers_take_turns_so_that_rounds_can_be_compared() -> None:
    order: list[str] = []

    def attempt(peer: str) -> Run:
        order.append(peer)
        return run_of(1)

    take(UNCHANGED_BOX, ["a", "b"], Limits(rounds=2), attempt, lambda text: None)

    assert order == ["a", "b", "a", "b"]


def test_who_has_spent_his_time_gets_no_further_round_and_it_is_told() -> None:
    told: list[str] = []
    taken = take(
        UNCHANGED_BOX,
        ["fast", "slow"],
        Limits(rounds=5, budget_s=100),
        lambda peer: run_of(60 if peer == "slow" else 1),
        told.append,
    )

    assert {peer: len(runs) for peer, runs in taken.runs.items()} == {"fast": 5, "slow": 2}
    assert "slow: 2 of 5 rounds, its 100 s are spent" in told


def test_those_that_a_goal_compares_have_all_their_rounds() -> None:
    limits = Limits(rounds=5, budget_s=100, goal_budget_s=float("inf"))
    taken = take(UNCHANGED_BOX, [MITOGEN, BATCH_OFF], limits, lambda peer: run_of(60), lambda text: None)

    assert {peer: len(runs) for peer, runs in taken.runs.items()} == {MITOGEN: 5, BATCH_OFF: 2}


def test_who_fails_is_told_loudly_and_the_others_go_on() -> None:
    told: list[str] = []

    def attempt(peer: str) -> Run:
        if peer == "broken":
            raise Unfit("it ended with status 4")
        return run_of(1)

    taken = take(UNCHANGED_BOX, ["broken", "sound"], Limits(rounds=3), attempt, told.append)

    assert list(taken.runs) == ["sound"]
    assert len(taken.runs["sound"]) == 3
    assert [(failure.peer, failure.words) for failure in taken.failures] == [("broken", "it ended with status 4")]
    assert any("broken FAILED" in words for words in told)
