"""Work on many files shared among the machine's cores: each part of it in a process of its own."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple, TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Fewer files than this are read before a second process has begun; more processes than this would wait for the first,
# which takes their results one after the other.
FILES_A_PROCESS = 500
PROCESSES_LIMIT = 8
# This process takes one file more than each fork does in so many: it need not hand over what it finds.
ONE_MORE_IN = 7


class _Child(NamedTuple):
    process: int
    results: IO[bytes]


def shared(work: Callable[[Sequence[T]], R], items: Sequence[T]) -> list[tuple[list[int], R]]:
    """Do ``work`` on parts of ``items``; return for each part where its items stand in ``items``, and what it gave.

    Items are dealt out in turn, so that all parts have some of everything.

    ``work`` must be a function of its argument alone, and what it gives must be picklable: all parts but the first are
    done by forks of this process, which end by themselves. A part whose fork fails is done here.
    """
    places = _dealt(len(items), _processes(len(items)))
    first, *others = [[items[place] for place in part] for part in places]
    children = [_begun(work, part) for part in others]
    results = [work(first), *(_result(work, part, child) for part, child in zip(others, children, strict=True))]
    return list(zip(places, results, strict=True))


def _dealt(items: int, processes: int) -> list[list[int]]:
    """For each process the places of its items."""
    round_about = [*range(processes)] * ONE_MORE_IN + [0]
    whose = [round_about[place % len(round_about)] for place in range(items)]
    return [[place for place, process in enumerate(whose) if process == each] for each in range(processes)]


def _processes(count: int) -> int:
    # A fork has the locks of other threads, but not the threads that would open them.
    if threading.active_count() > 1:
        return 1
    return max(1, min(len(os.sched_getaffinity(0)), count // FILES_A_PROCESS, PROCESSES_LIMIT))


def _begun(work: Callable[[Sequence[T]], R], part: Sequence[T]) -> _Child | None:
    # As objects: gevent, under which pyinfra runs, closes a mere descriptor only when its loop goes round, which it
    # does not while the result is waited for.
    reading, writing = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    try:
        process = os.fork()
    except OSError:
        reading.close()
        writing.close()
        return None
    if process:
        writing.close()
        return _Child(process, reading)
    # In the fork: nothing of this process's own may run to its end a second time, hence _exit in every case.
    status = 1
    try:
        with writing:
            pickle.dump(work(part), writing, pickle.HIGHEST_PROTOCOL)
        status = 0
    finally:
        os._exit(status)


def _result(work: Callable[[Sequence[T]], R], part: Sequence[T], child: _Child | None) -> R:
    if child is None:
        return work(part)
    with child.results as stream:
        content = stream.read()
    _, status = os.waitpid(child.process, 0)
    if status:
        return work(part)
    found: R = pickle.loads(content)  # noqa: S301 (from a fork of this very process)
    return found
