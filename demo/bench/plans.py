"""What is measured in which mode of the benchmark. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from demo.bench.figures import Case
from demo.bench.goals import ANSIBLE, FIFTY, FIRST_BOX, GOAL_MS, STOCK, UNCHANGED_BOX
from demo.bench.rounds import Limits

LATENCIES_MS = (0, 20, 50)
COUNTS = (1, 10, 50)


@dataclass(frozen=True)
class Plan:
    """The cases of a mode, and how long each peer may take in each."""

    cases: Sequence[Case]
    limits: Limits
    left_out: Mapping[Case, tuple[str, ...]] = field(default_factory=dict)
    """Who would take too long in a case for this plan."""

    def peers(self, case: Case, present: Sequence[str]) -> tuple[str, ...]:
        """Those of ``present`` that are measured in a case."""
        return tuple(peer for peer in present if peer not in self.left_out.get(case, ()))

    def notes(self) -> list[str]:
        """Who is left out where, a sentence each."""
        return [
            f"{peer} is left out of {case.words}: it takes too long for this plan, `make bench FULL=1` measures it."
            for case, peers in self.left_out.items()
            if case in self.cases
            for peer in peers
        ]

    def of(self, scene: str, state: str) -> list[Case]:
        """The cases of a scene and a state."""
        return [case for case in self.cases if (case.scene, case.state) == (scene, state)]

    def counts(self) -> list[int]:
        """The numbers of sshd instances that unchanged runs are for."""
        return sorted({case.hosts for case in self.of("crowd", "unchanged")})


def crowd(state: str, hosts: int, latency_ms: int) -> Case:
    """A case of sshd instances."""
    return Case("crowd", state, hosts, latency_ms)  # type: ignore[arg-type]


QUICK = Plan(
    [FIRST_BOX, UNCHANGED_BOX, crowd("first", 2, 0), crowd("unchanged", 2, GOAL_MS)], Limits(rounds=1, budget_s=1)
)
"""A smoke test: everything runs once."""

USUAL = Plan(
    [
        FIRST_BOX,
        UNCHANGED_BOX,
        *(crowd("unchanged", 1, latency_ms) for latency_ms in LATENCIES_MS),
        crowd("unchanged", 10, GOAL_MS),
        FIFTY,
    ],
    Limits(rounds=5, budget_s=30, goal_budget_s=float("inf")),
    left_out={FIFTY: (ANSIBLE, STOCK)},
)
"""What the goals need, in somewhat more than an hour: five rounds for those that a goal compares, and for the others
what fits into the budget.
"""

FULL = Plan(
    [
        FIRST_BOX,
        *(Case("box", "unchanged", 1, latency_ms) for latency_ms in LATENCIES_MS),
        *(crowd(state, hosts, ms) for state in ("first", "unchanged") for hosts in COUNTS for ms in LATENCIES_MS),
    ],
    Limits(rounds=5, budget_s=float("inf")),
)
"""Everything, five rounds each: most of a day."""

PLANS = {"quick": QUICK, "usual": USUAL, "full": FULL}
