"""What is measured in which mode of the benchmark. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from demo.bench.figures import Case
from demo.bench.goals import FIFTY, FIRST_BOX, GOAL_MS, UNCHANGED_BOX
from demo.bench.rounds import Limits

LATENCIES_MS = (0, 20, 50)
COUNTS = (1, 10, 50)


@dataclass(frozen=True)
class Plan:
    """The cases of a mode, and how long each peer may take in each."""

    cases: Sequence[Case]
    limits: Limits

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
        crowd("first", 1, GOAL_MS),
        *(crowd("unchanged", 1, latency_ms) for latency_ms in LATENCIES_MS),
        crowd("unchanged", 10, GOAL_MS),
        FIFTY,
    ],
    Limits(rounds=5, budget_s=75),
)
"""What the goals need, in half an hour; who is slow gets fewer rounds."""

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
