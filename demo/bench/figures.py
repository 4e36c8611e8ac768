"""What was measured: runs, cases, medians, and ratios with their range. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Scene = Literal["box", "crowd"]
State = Literal["first", "unchanged"]
Measure = Literal["wall_s", "cpu_s"]


@dataclass(frozen=True)
class Run:
    """One run: wall and CPU seconds of the operator's side, CPU seconds of all hosts, remote commands of all hosts."""

    wall_s: float
    cpu_s: float
    host_cpu_s: float
    commands: int


@dataclass(frozen=True, order=True)
class Case:
    """What is measured side by side: ``scene`` (the lab's box, or sshd instances), how many hosts, how far away."""

    scene: Scene
    state: State
    hosts: int
    latency_ms: int

    @property
    def words(self) -> str:
        """The case as a heading."""
        what = "a box" if self.scene == "box" else f"{self.hosts} host{'s' * (self.hosts > 1)}, 40 resources each"
        state = "first run" if self.state == "first" else "unchanged"
        return f"{what}, {state}, {self.latency_ms} ms one way"


Rounds = Mapping[str, Sequence[Run]]
"""A case's runs, by peer and then by round; the rounds of all peers take turns, so round N of each is comparable."""


@dataclass(frozen=True)
class Ratio:
    """How many times as much one peer took as another: the median of the rounds, the least and the most."""

    median: float
    least: float
    most: float

    @property
    def words(self) -> str:
        """The ratio as a table has it."""
        return f"{short(self.median)} ({short(self.least)} … {short(self.most)})"


def short(figure: float) -> str:
    """A ratio with as many digits as it is worth."""
    return f"{figure:.0f}" if figure >= 20 else f"{figure:.1f}" if figure >= 2 else f"{figure:.2f}"


def median(runs: Sequence[Run]) -> Run:
    """The median of each figure. ``runs`` must not be empty."""
    return Run(
        wall_s=statistics.median(run.wall_s for run in runs),
        cpu_s=statistics.median(run.cpu_s for run in runs),
        host_cpu_s=statistics.median(run.host_cpu_s for run in runs),
        commands=round(statistics.median(run.commands for run in runs)),
    )


def ratio(over: Sequence[Run], under: Sequence[Run], measure: Measure) -> Ratio | None:
    """``over`` by ``under``, round by round; None when they have no round in common."""
    each = [getattr(a, measure) / getattr(b, measure) for a, b in zip(over, under, strict=False)]
    return Ratio(statistics.median(each), min(each), max(each)) if each else None


@dataclass(frozen=True)
class Failure:
    """A peer that could not be measured in a case, and why in its own last words."""

    case: Case
    peer: str
    words: str


@dataclass(frozen=True)
class Results:
    """All that a run of the benchmark has found."""

    cases: Mapping[Case, Rounds]
    failures: Sequence[Failure] = ()
    notes: Sequence[str] = ()

    def ratio(self, case: Case, over: str, under: str, measure: Measure) -> Ratio | None:
        """``over`` by ``under`` in a case; None when either was not measured there."""
        rounds = self.cases.get(case, {})
        return ratio(rounds.get(over, ()), rounds.get(under, ()), measure)
