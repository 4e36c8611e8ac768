"""The goals, and how far hearth is from each. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from demo.bench.figures import Case, Measure, Ratio, Results

HEARTH, BATCH_OFF, FLOOR = "hearth", "hearth, batch off", "floor"
STOCK, STOCK_YES = "pyinfra", "pyinfra -y"
ANSIBLE, MITOGEN = "Ansible", "Ansible + mitogen"
PEERS = (FLOOR, HEARTH, BATCH_OFF, STOCK_YES, STOCK, MITOGEN, ANSIBLE)
"""In the order of the tables."""

GOAL_MS = 20
UNCHANGED_BOX = Case("box", "unchanged", 1, GOAL_MS)
FIRST_BOX = Case("box", "first", 1, GOAL_MS)
FIFTY = Case("crowd", "unchanged", 50, GOAL_MS)


@dataclass(frozen=True)
class Goal:
    """``over`` by ``under`` in a case shall be at least ``bound``, or at most where ``at_most``."""

    words: str
    case: Case
    over: str
    under: str
    bound: float
    measure: Measure = "wall_s"
    at_most: bool = False

    @property
    def bound_words(self) -> str:
        """The bound as the table has it."""
        return f"{'<=' if self.at_most else '>='} {self.bound:g}x"


GOALS = (
    Goal("an unchanged box against Ansible, wall", UNCHANGED_BOX, ANSIBLE, HEARTH, 25),
    Goal("an unchanged box against Ansible + mitogen, wall", UNCHANGED_BOX, MITOGEN, HEARTH, 6),
    Goal("an unchanged box against pyinfra with change detection, wall", UNCHANGED_BOX, STOCK, HEARTH, 15),
    Goal("an unchanged box against the floor, wall", UNCHANGED_BOX, HEARTH, FLOOR, 1.5, at_most=True),
    Goal("operator's CPU, 50 hosts, against Ansible + mitogen", FIFTY, MITOGEN, HEARTH, 15, measure="cpu_s"),
    Goal("first converge of a bare box (apt excluded) against Ansible + mitogen, wall", FIRST_BOX, MITOGEN, HEARTH, 2),
)


def is_about(peer: str, case: Case) -> bool:
    """Whether a goal compares a peer in a case."""
    return any(goal.case == case and peer in (goal.over, goal.under) for goal in GOALS)


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured; ``ratio`` is None when it was not."""

    goal: Goal
    ratio: Ratio | None

    @property
    def is_met(self) -> bool:
        """Whether the median reaches the bound."""
        if self.ratio is None:
            return False
        return self.ratio.median <= self.goal.bound if self.goal.at_most else self.ratio.median >= self.goal.bound

    @property
    def words(self) -> str:
        """Met, or how far from it, or that nobody knows."""
        if self.ratio is None:
            return "not measured"
        if self.is_met:
            certain = self.ratio.most <= self.goal.bound if self.goal.at_most else self.ratio.least >= self.goal.bound
            return "met" if certain else "met by the median, not by every round"
        away = self.ratio.median / self.goal.bound if self.goal.at_most else self.goal.bound / self.ratio.median
        return f"missed by a factor of {away:.2f}"


def judge(results: Results) -> tuple[Verdict, ...]:
    """Every goal with its verdict."""
    return tuple(Verdict(goal, results.ratio(goal.case, goal.over, goal.under, goal.measure)) for goal in GOALS)
