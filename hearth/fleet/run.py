"""A run: waves of slices, each followed by a look from outside, until all is done or a budget is spent.

States of a host: *waiting* -> in work -> *converged* | *failed* | *unreported*; a box whose relay did not come through
is *skipped*. An unreported host is tried again: once its wave is through, and at the end of the run. Whatever happens
is written down before anything else is done, so a killed run can go on (``--resume``).

Nobody but ``_begin`` starts work, and it starts none once a stop was asked for; what is in work always comes to its
end first.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from hearth.fleet import gate, probes, slices
from hearth.fleet.choice import GROUPS, needs
from hearth.fleet.desired import DEPLOYS, all_hosts, kind_of
from hearth.fleet.events import (
    Event,
    Gate,
    HostBegin,
    HostEnd,
    Operation,
    Result,
    RunEnd,
    State,
    WaveBegin,
    WaveEnd,
    now,
)
from hearth.fleet.executors import Pool
from hearth.fleet.limits import Limit, spent
from hearth.fleet.masking import masked
from hearth.fleet.slices import Slice
from hearth.fleet.verdict import Ran, Verdict
from hearth.inventory.hosts import Fleet, Groups, Host

ALL_CONVERGED, FAILED, STOPPED, UNREPORTED, INTERRUPTED = 0, 2, 3, 4, 130
LARGEST_SLICE = 10
PROBES_AT_ONCE = 16
CANARIES = 3
AGAIN_AFTER_S = 10.0
LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Settings:
    """How a run goes about its work.

    ``attempts``: how often an unreachable host is tried. ``gate``: whether hosts are looked at from outside, for at
    most ``gate_patience_s`` seconds each. ``needs_canary``: boxes go one by one until one has come through.
    """

    max_failures: Limit | None = None
    attempts: int = 3
    gate: bool = True
    gate_patience_s: float = probes.PATIENCE_S
    needs_canary: bool = True
    again_after_s: float = AGAIN_AFTER_S


@dataclass(frozen=True)
class Work:
    """What a run has to do: the hosts in waves, what each should be and last was, and what an earlier part of the same
    run has done already (``before``, ``attempts``), and has not looked at from outside any more (``unseen``, by wave).
    """

    fleet: Fleet
    run: str
    waves: tuple[tuple[str, ...], ...]
    desired: Mapping[str, str]
    reached: Mapping[str, str]
    before: Mapping[str, State] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    unseen: Mapping[str, int] = field(default_factory=dict)


def operations(verdict: Verdict, repaired: bool) -> tuple[tuple[Operation, ...], int]:
    """The operations of an attempt that changed something or failed, and how many others there were.

    ``repaired``: the desired state is the one that the host had reached, so a change repairs drift.
    """
    told = [ran for ran in verdict.operations if ran.changed or ran.failed]
    return tuple(_operation(ran, repaired) for ran in told), len(verdict.operations) - len(told)


def _operation(ran: Ran, repaired: bool) -> Operation:
    change = "none" if not ran.changed else "corrective" if repaired else "intended"
    return Operation(masked(ran.name), change, ran.failed, ran.duration_s)  # type: ignore[arg-type]


def exit_status(states: Iterable[State], *, stopped: bool, interrupted: bool) -> int:
    """The exit status of a run with these states. ``stopped``: it was stopped before it came to all hosts."""
    counts = Counter(states)
    if interrupted and counts["waiting"]:
        return INTERRUPTED
    if counts["failed"]:
        return STOPPED if stopped and counts["waiting"] else FAILED
    return UNREPORTED if counts["unreported"] or counts["skipped"] or counts["waiting"] else ALL_CONVERGED


def summary(states: Iterable[State]) -> str:
    """The states as a sentence: ``12 hosts: 10 converged, 2 unreported``."""
    counts = Counter(states)
    told = [f"{counts[state]} {state}" for state in ("converged", "failed", "unreported", "skipped", "waiting")]
    total = counts.total()
    return f"{total} host{'' if total == 1 else 's'}: {', '.join(each for each in told if each[0] != '0') or 'none'}"


def slice_size(hosts: int, at_once: int, largest: int = LARGEST_SLICE) -> int:
    """How many hosts go into a slice, so that all that run at once have about the same to do."""
    return max(1, min(largest, -(-hosts // at_once)))


def groups_of(hosts: Iterable[Host], kind: str) -> Groups:
    """pyinfra's groups of some hosts of one kind, for a slice."""
    members = [(f"@hearth/{host.name}", {kind: host, "roads": host.roads}) for host in hosts]
    group = next(group for group, each in GROUPS.items() if each == kind)
    return {group: members, "all": members}


class Run:
    """One run, to its end or its stop. ``tell`` gets every event first: it writes the record."""

    def __init__(self, work: Work, settings: Settings, pool: Pool, tell: Callable[[Event], None]) -> None:
        self._work = work
        self._settings = settings
        self._pool = pool
        self._tell = tell
        self._hosts = all_hosts(work.fleet)
        self._needs = needs(work.fleet)
        self._states: dict[str, State] = {host: "waiting" for wave in work.waves for host in wave}
        self._attempts: Counter[str] = Counter(work.attempts)
        self._slices = 0
        self._begun = 0
        self._canary_passed = not settings.needs_canary
        self._canaries = 0
        self._stopped: str | None = None
        self.interrupted = threading.Event()

    def go(self) -> RunEnd:
        """Work off the waves; return the end, which is written down like every event."""
        started = time.monotonic()
        self._look_at_the_unseen()
        waves = [list(wave) for wave in self._work.waves]
        number = 0
        while waves and not self._is_over():
            number += 1
            hosts = self._next_wave(waves)
            self._begun += len(hosts)
            self._tell(WaveBegin(now(), number, len(hosts)))
            self._wave(hosts, number)
            self._settle(hosts)
            self._tell(WaveEnd(now(), number, not self._is_over(), self._why_over()))
        if not self.interrupted.is_set():
            self._last_try(number)
        states = {**self._work.before, **self._states}
        status = exit_status(states.values(), stopped=self._stopped is not None, interrupted=self.interrupted.is_set())
        sentence = summary(states.values())
        why = self._why_over() if status in (STOPPED, INTERRUPTED, UNREPORTED) else None
        end = RunEnd(
            now(), status, f"{sentence}; {why}" if why else sentence, round(time.monotonic() - started, 3), states
        )
        self._tell(end)
        return end

    def _look_at_the_unseen(self) -> None:
        """The look that a kill has cut off; a host that does not pass has failed, though it is in no wave any more."""
        if self._settings.gate and self._work.unseen:
            self._begun += len(self._work.unseen)
            self._gate(list(self._work.unseen), max(self._work.unseen.values()))
            self._check_budget()

    def _is_over(self) -> bool:
        return self._stopped is not None or self.interrupted.is_set()

    def _why_over(self) -> str | None:
        return self._stopped or ("the operator stopped it" if self.interrupted.is_set() else None)

    def _is_box(self, host: str) -> bool:
        return kind_of(self._hosts[host]) == "box"

    def _next_wave(self, waves: list[list[str]]) -> list[str]:
        """Take the next wave. While no box has come through, one box alone takes the place of the canary."""
        if self._canary_passed or not self._is_box(waves[0][0]):
            return waves.pop(0)
        host = waves[0].pop(0)
        if not waves[0]:
            waves.pop(0)
        return [host]

    def _settle(self, hosts: Sequence[str]) -> None:
        """After a wave: has a canary come through, and is the budget spent?"""
        if not self._canary_passed and self._is_box(hosts[0]):
            state = self._states[hosts[0]]
            self._canaries += 1
            if state == "failed":
                self._stopped = f"the canary {hosts[0]} failed"
            elif state != "converged" and self._canaries == CANARIES:
                self._stopped = f"none of {CANARIES} canaries could be reached"
            self._canary_passed = state == "converged"
        self._check_budget()

    def _check_budget(self) -> None:
        failed = sum(state == "failed" for state in self._states.values())
        if self._stopped is None and spent(self._settings.max_failures, failed, self._begun):
            self._stopped = (
                f"{failed} of {self._begun} hosts failed, and --max-failures is {self._settings.max_failures}"
            )

    def _wave(self, hosts: Sequence[str], number: int) -> None:
        self._attempt(hosts, number)
        again = self._unreported(hosts)
        if again and not self._is_over() and self._settings.attempts > 1:
            self.interrupted.wait(self._settings.again_after_s)
            self._attempt(again, number)

    def _last_try(self, number: int) -> None:
        """Try once more, at the end of the run, whom nobody has reached."""
        again = [host for host in self._unreported(self._states) if self._attempts[host] < self._settings.attempts]
        if again and not self._is_over():
            self._attempt(again, number)
            skipped = [host for host, state in self._states.items() if state == "skipped"]
            self._attempt([host for host in skipped if self._missing_relay(host) is None], number)
            self._check_budget()

    def _unreported(self, hosts: Iterable[str]) -> list[str]:
        return [host for host in hosts if self._states[host] == "unreported"]

    def _missing_relay(self, host: str) -> str | None:
        """The relay of a box that did not come through in this run, if there is one."""
        relay = self._needs.get(host)
        return relay if relay and self._states.get(relay, "converged") != "converged" else None

    def _attempt(self, hosts: Sequence[str], number: int) -> None:
        """Converge hosts and look at those that converged; leaves the states."""
        ready = []
        for host in hosts:
            relay = self._missing_relay(host)
            if relay is None:
                ready.append(host)
            else:
                self._end(Verdict(host, "unreported", f"its relay {relay} is {self._states[relay]}"), number, "skipped")
        queue = self._cut(ready)
        working: dict[Future[dict[str, Verdict]], Slice] = {}
        while queue or working:
            while queue and len(working) < self._pool.at_once and not self._is_over():
                work = queue.pop(0)
                working[self._begin(work, number)] = work
            if not working:
                break
            done, _ = wait(working, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            for future in done:
                self._collect(future, working.pop(future), number)
                self._check_budget()
        if self._settings.gate:
            self._gate([host for host in ready if self._states[host] == "converged"], number)

    def _cut(self, hosts: Sequence[str]) -> list[Slice]:
        size = slice_size(len(hosts), self._pool.at_once)
        found = []
        for kind, deploy in DEPLOYS.items():
            same = [host for host in hosts if kind_of(self._hosts[host]) == kind]
            for start in range(0, len(same), size):
                self._slices += 1
                groups = groups_of([self._hosts[host] for host in same[start : start + size]], kind)
                found.append(Slice(self._work.fleet.name, self._work.run, self._slices, deploy, groups))
        return found

    def _begin(self, work: Slice, number: int) -> Future[dict[str, Verdict]]:
        for host in work.hosts:
            self._attempts[host] += 1
            self._tell(HostBegin(now(), host, number, self._attempts[host], self._work.desired[host]))
        return self._pool.executor.submit(slices.converge, work)

    def _collect(self, future: Future[dict[str, Verdict]], work: Slice, number: int) -> None:
        fault = future.exception()
        found = {} if fault is not None else future.result()
        for host in work.hosts:
            lost = Verdict(host, "failed", masked(f"its slice could not be run: {fault or 'it told nothing'}"))
            self._end(found.get(host, lost), number)
        slices.forget_reports(work)

    def _end(self, verdict: Verdict, number: int, result: Result | None = None) -> None:
        host = verdict.host
        ended: Result = result or ("failed" if verdict.outcome == "lost" else verdict.outcome)
        desired = self._work.desired[host]
        changed, unchanged = operations(verdict, repaired=self._work.reached.get(host) == desired)
        self._tell(
            HostEnd(
                now(),
                host,
                number,
                self._attempts[host],
                ended,
                verdict.reason,
                verdict.duration_s,
                desired,
                changed,
                unchanged,
            )
        )
        self._states[host] = ended

    def _gate(self, hosts: Sequence[str], number: int) -> None:
        """Look at converged hosts from outside; who does not pass has failed."""
        roads = gate.relay_roads(self._work.fleet)
        targets = [target for host in hosts if (target := gate.outside(self._hosts[host], roads)) is not None]
        with ThreadPoolExecutor(PROBES_AT_ONCE) as lookers:
            looks = lookers.map(lambda one: probes.look_until_passed(one, self._settings.gate_patience_s), targets)
            for target, checks in zip(targets, looks, strict=True):
                fault = gate.failure(checks)
                self._tell(Gate(now(), target.host, number, fault is None, checks))
                if fault is not None:
                    self._states[target.host] = "failed"
