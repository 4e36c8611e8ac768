"""Numbers and shares as operators type them (``5``, ``10%``), waves made of them, and budgets that are spent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hearth.fleet.errors import RunError

DEFAULT_WAVES = "1,10%,100%"


class LimitError(RunError):
    """What was typed is no limit; the message says what one looks like."""


@dataclass(frozen=True)
class Limit:
    """A number of hosts, or a share of them in percent."""

    value: int
    is_share: bool = False

    def __str__(self) -> str:
        return f"{self.value}%" if self.is_share else str(self.value)

    def allowed(self, total: int) -> int:
        """How many of ``total`` hosts may fail under this limit; a share is rounded down."""
        return total * self.value // 100 if self.is_share else self.value

    def reached(self, total: int) -> int:
        """How many of ``total`` hosts a wave goes up to; a share is rounded up, so that it is never empty."""
        return -(-total * self.value // 100) if self.is_share else min(self.value, total)


def parse_limit(text: str, option: str) -> Limit:
    """Given ``5`` or ``10%``, return the Limit. Raises LimitError, with the option's name."""
    found = re.fullmatch(r"([0-9]{1,6})(%?)", text.strip())
    if found is None or (found[2] and int(found[1]) > 100):
        raise LimitError(f"{option} {text} is no limit: write a number such as 5, or a share such as 10%")
    return Limit(int(found[1]), bool(found[2]))


def parse_waves(text: str) -> tuple[Limit, ...]:
    """Given ``1,10%,100%``, return where each wave ends; the last must reach all. Raises LimitError."""
    ends = tuple(parse_limit(part, "--waves") for part in text.split(","))
    shares = [end.value for end in ends if end.is_share]
    numbers = [end.value for end in ends if not end.is_share]
    if ends[-1] != Limit(100, is_share=True):
        raise LimitError(f"--waves {text} ends before all hosts are reached: end it with 100%")
    if 0 in (*shares, *numbers) or any(later <= end for some in (shares, numbers) for end, later in pairwise(some)):
        raise LimitError(f"--waves {text}: each wave must go further than the one before, as in {DEFAULT_WAVES}")
    return ends


def waves(hosts: Sequence[str], ends: Iterable[Limit]) -> tuple[tuple[str, ...], ...]:
    """Cut ``hosts`` into waves, in their order; a wave that a small fleet has no host for is left out.

    ``ends``: how far each wave goes, counted from the first host: ``1,10%,100%`` of 200 hosts are 1, 19 and 180.
    """
    found: list[tuple[str, ...]] = []
    done = 0
    for end in ends:
        reached = max(done, end.reached(len(hosts)))
        if reached > done:
            found.append(tuple(hosts[done:reached]))
        done = reached
    return tuple(found)


def spent(limit: Limit | None, failed: int, begun: int) -> bool:
    """Whether the budget of failures is spent, so that all must stop.

    Failures are counted over the run, and a share is of the hosts in the waves that have begun: batch after batch
    with some survivors does not go on. (hawkBit's error threshold, without its fresh start in every group.)
    """
    return limit is not None and failed > limit.allowed(begun)
