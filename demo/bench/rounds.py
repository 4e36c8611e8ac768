"""Rounds: the peers take turns, each until it has had its rounds, has spent its time, or has failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from demo.bench.figures import Case, Failure, Run
from demo.bench.goals import is_about


class Unfit(Exception):
    """A run that cannot be counted; the message says why."""


@dataclass(frozen=True)
class Limits:
    """``rounds`` each; a peer that has spent ``budget_s`` seconds in a case gets no further round there.

    ``goal_budget_s`` where a goal is about the peer in that case, if that is more.
    """

    rounds: int = 5
    budget_s: float = 120
    goal_budget_s: float = 0

    def budget(self, case: Case, peer: str) -> float:
        """The seconds that a peer may spend in a case."""
        return max(self.budget_s, self.goal_budget_s) if is_about(peer, case) else self.budget_s


@dataclass
class Taken:
    """The runs of a case, by peer, and who could not be measured."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


def take(
    case: Case,
    peers: Sequence[str],
    limits: Limits,
    attempt: Callable[[str], Run],
    tell: Callable[[str], None],
) -> Taken:
    """Let the peers take turns at ``attempt``, which raises Unfit when a run does not count; ``tell`` of each."""
    taken = Taken()
    left = list(peers)
    for number in range(limits.rounds):
        for peer in tuple(left):
            had = taken.runs.setdefault(peer, [])
            if sum(run.wall_s for run in had) >= (budget_s := limits.budget(case, peer)):
                left.remove(peer)
                tell(f"{peer}: {len(had)} of {limits.rounds} rounds, its {budget_s:.0f} s are spent")
                continue
            try:
                run = attempt(peer)
            except Unfit as fault:
                left.remove(peer)
                taken.failures.append(Failure(case, peer, str(fault)))
                tell(f"{peer} FAILED in {case.words}: {fault}")
                continue
            had.append(run)
            tell(f"{peer}: round {number + 1}: {run.wall_s:.2f} s wall, {run.cpu_s:.2f} s CPU, {run.commands} commands")
    taken.runs = {peer: runs for peer, runs in taken.runs.items() if runs}
    return taken
