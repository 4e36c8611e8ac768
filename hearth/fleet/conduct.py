"""From what an operator typed to a run: which hosts, in which waves, what is refused; then the record around it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice

from hearth.fleet import choice, moves, records, removal, slices
from hearth.fleet.desired import all_hosts, desired_states, kind_of
from hearth.fleet.errors import RunError
from hearth.fleet.events import Budgets, Event, RunBegin, RunEnd, RunKind, RunResume, Selection, now
from hearth.fleet.executors import check_scheduler, pool
from hearth.fleet.history import History, history, reached_in
from hearth.fleet.limits import DEFAULT_WAVES, Limit, parse_limit, parse_waves
from hearth.fleet.locks import fleet_lock
from hearth.fleet.origin import origin, who
from hearth.fleet.probes import PATIENCE_S
from hearth.fleet.records import Record, Writer
from hearth.fleet.removal import Removals
from hearth.fleet.resume import attempts_of, kept, unsaid
from hearth.fleet.run import Run, Settings, Work
from hearth.fleet.since import Since, since_commit
from hearth.inventory.hosts import Fleet

# How many records a run reads for what became of hosts, at most: some seconds of work in a fleet of thousands.
RECORDS_READ = 50
SLICES_PER_PROCESSOR = 2
LOGS_KEPT = 30
"""Of so many runs the logs of hosts that failed stay on this machine; the records stay for ever."""


@dataclass(frozen=True)
class Asked:
    """What the operator typed; see ``hearth converge --help``.

    ``since``: go to those hosts alone that a change since that revision touches. ``changed``: to those that are not
    known to be what they shall be. ``kind``, ``signer``: for the record; see ``RunBegin`` and ``Origin``.
    """

    limit: tuple[str, ...] = ()
    since: str | None = None
    waves: str | None = None
    max_failures: str = "10%"
    max_removals: str = "1"
    remove_all: bool = False
    resume: bool = False
    pending: bool = False
    attempts: int = 3
    parallel: int | None = None
    scheduler: str | None = None
    gate: bool = True
    patience_s: float = PATIENCE_S
    changed: bool = False
    kind: RunKind = "converge"
    signer: str | None = None


@dataclass(frozen=True)
class _Limits:
    """The parsed limits of ``Asked``."""

    waves: tuple[Limit, ...]
    failures: Limit
    removals: Limit


class Prepared:
    """A run that may begin. ``announcement``: what it will do, in lines, removals first. ``hosts``: how many it has;
    ``has_work``: whether there is anything to go for."""

    def __init__(
        self,
        work: Work,
        asked: Asked,
        limits: _Limits,
        removals: Removals,
        resumed: Record | None,
        announcement: tuple[str, ...],
        since: str | None = None,
    ) -> None:
        self.announcement = announcement
        self.hosts = sum(len(wave) for wave in work.waves)
        # A run that was killed after its last host still lacks looks from outside, and its end.
        self.has_work = self.hosts > 0 or (resumed is not None and resumed.end is None)
        self._work = work
        self._asked = asked
        self._limits = limits
        self._removals = removals
        self._resumed = resumed
        self._since = since
        self._run: Run | None = None
        self._interrupts = 0

    def interrupt(self) -> str:
        """Stop: first let the hosts in work come to their end, at the second call end them. Returns what that means.

        May be called from a signal's handler while ``go`` runs.
        """
        self._interrupts += 1
        if self._run is not None:
            self._run.interrupted.set()
        if self._interrupts == 1:
            return (
                "Stopping: no further host is begun, those in work come to their end. Ctrl-C again ends them at once: "
                "they undo what was guarded or half put, and --resume converges them again."
            )
        slices.end_all()
        return "Ending the hosts in work."

    def go(self, tell: Callable[[Event], None]) -> RunEnd:
        """Run to the end or the stop; ``tell`` gets each event once it is in the record. Raises RunError."""
        at_once = self._asked.parallel or SLICES_PER_PROCESSOR * (os.cpu_count() or 1)
        path = records.runs_folder(self._work.fleet.name) / f"{self._work.run}{records.SUFFIX}"
        with pool(self._asked.scheduler, at_once) as where:
            writer = Writer(path)

            def told(event: Event) -> None:
                writer.add(event)
                # A terminal or a pipe that is gone is no reason to leave hosts half way: the record has the event.
                with suppress(OSError):
                    tell(event)

            try:
                told(self._opening())
                slices.forget_old_runs(self._work.fleet.name, LOGS_KEPT)
                self._run = Run(self._work, self._settings(), where, told)
                if self._interrupts:
                    self._run.interrupted.set()
                return self._run.go()
            finally:
                writer.close()

    def _settings(self) -> Settings:
        return Settings(
            max_failures=self._limits.failures,
            attempts=self._asked.attempts,
            gate=self._asked.gate,
            gate_patience_s=self._asked.patience_s,
            needs_canary=not self._asked.pending,
        )

    def _opening(self) -> RunBegin | RunResume:
        fleet, work = self._work.fleet, self._work
        budgets = Budgets(str(self._limits.failures), str(self._limits.removals))
        if self._resumed is not None:
            return RunResume(now(), origin(fleet.folder, self._asked.signer), work.waves, budgets)
        return RunBegin(
            now(),
            work.run,
            fleet.name,
            self._asked.kind,
            _selection(self._asked),
            origin(fleet.folder, self._asked.signer),
            work.waves,
            budgets,
            {each.id: each.slot for each in fleet.households},
            tuple(sorted(self._removals.gone)) if not (self._asked.limit or self._asked.pending) else (),
            self._since,
        )


@contextmanager
def prepared(fleet: Fleet, asked: Asked) -> Iterator[Prepared]:
    """Make a run ready, with the fleet's lock held. Raises RunError when it must not begin; no host is touched."""
    limits = _Limits(
        parse_waves(asked.waves or ("100%" if asked.pending else DEFAULT_WAVES)),
        parse_limit(asked.max_failures, "--max-failures"),
        parse_limit(asked.max_removals, "--max-removals"),
    )
    if sum((asked.resume, asked.pending, asked.changed, bool(asked.limit or asked.since is not None))) > 1:
        raise RunError("--resume, --pending and --limit (or --since) each say which hosts: give one of them")
    if asked.scheduler is not None:
        check_scheduler(asked.scheduler)
    with fleet_lock(records.fleet_folder(fleet.name), who()):
        known = history(_records(fleet), all_hosts(fleet))
        if asked.resume:
            _say_what_was_left_unsaid(fleet, _to_resume(known), known)
            known = history(_records(fleet), all_hosts(fleet))
        desired = desired_states(fleet)
        resumed = _to_resume(known) if asked.resume else None
        change = since_commit(fleet, asked.since, desired) if asked.since is not None else None
        chosen = _chosen(fleet, asked, known, desired, resumed, change)
        gone = _removals(fleet, asked, limits, chosen.hosts, resumed, change)
        work = Work(
            fleet,
            resumed.begin.run if resumed else records.new_run_id(now()),
            choice.ordered_waves(fleet, chosen.hosts, limits.waves),
            desired,
            known.reached,
            kept(resumed, chosen.hosts) if resumed else {},
            attempts_of(resumed) if resumed else {},
            {host: wave for host, wave in resumed.unseen.items() if host not in chosen.hosts} if resumed else {},
        )
        told = announcement(fleet, work.waves, chosen.without_deploy, gone, len(work.unseen))
        yield Prepared(work, asked, limits, gone, resumed, told, change.commit if change else None)


def _records(fleet: Fleet) -> Iterator[Record]:
    return islice(records.latest_first(records.runs_folder(fleet.name)), RECORDS_READ)


def _selection(asked: Asked) -> Selection:
    if asked.limit:
        return "limit"
    return "since" if asked.since is not None else "pending" if asked.pending else "changed" if asked.changed else "all"


def _to_resume(known: History) -> Record:
    if known.open_run is None:
        raise RunError("the last run came to its end: there is nothing to go on with")
    return known.open_run


def _say_what_was_left_unsaid(fleet: Fleet, record: Record, known: History) -> None:
    """Write down how those hosts came out that a killed run had in work, where their own reports tell it."""
    reports = slices.take_reports(slices.run_folder(fleet.name, record.begin.run), record.in_work)
    ends = unsaid(record, reports, known.reached)
    if ends:
        writer = Writer(record.path)
        for end in ends:
            writer.add(end)
        writer.close()


def _chosen(
    fleet: Fleet, asked: Asked, known: History, desired: dict[str, str], resumed: Record | None, change: Since | None
) -> choice.Chosen:
    """The hosts of the run. Raises RunError when a host that was named has no deploy."""
    if resumed is not None:
        hosts = choice.left_to_do(resumed, fleet, desired, reached_in(resumed))
    elif asked.limit:
        hosts = choice.limited(fleet, asked.limit)
    elif asked.changed:
        hosts = tuple(host for host in all_hosts(fleet) if not known.is_settled(host, desired[host]))
    else:
        pending = frozenset(known.pending)
        hosts = tuple(host for host in all_hosts(fleet) if not asked.pending or host in pending)
    hosts = tuple(host for host in hosts if change is None or host in change.touched)
    chosen = choice.with_deploys(fleet, hosts, choice.kinds_with_deploys())
    if asked.limit and chosen.without_deploy and not chosen.hosts:
        raise RunError(f"this version of hearth has no deploy for {', '.join(chosen.without_deploy)}")
    return chosen


def _removals(
    fleet: Fleet,
    asked: Asked,
    limits: _Limits,
    hosts: tuple[str, ...],
    resumed: Record | None,
    change: Since | None,
) -> Removals:
    """The households that lose access. Raises RunError when the run must not begin because of them."""
    every = all_hosts(fleet)
    servers = [name for name, host in every.items() if kind_of(host) in choice.kinds_with_deploys() - {"box"}]
    found = removal.removals(_records(fleet), {each.id for each in fleet.households}, servers)
    selection = resumed.begin.selection if resumed else _selection(asked)
    in_run = [name for name in hosts if name in servers]
    refusal = removal.refusal(found, limits.removals, selection in removal.MAY_REMOVE, in_run, asked.remove_all)
    if refusal is not None:
        raise RunError(refusal)
    # Whoever left earlier may have access at servers that have not changed since, and that this run leaves out.
    earlier = set(found.gone) - set(change.removed) if change is not None else set()
    if earlier and in_run:
        raise RunError(
            f"{', '.join(sorted(earlier))} left the inventory before {asked.since}, and not everywhere have they lost "
            "access: name an earlier revision, or leave --since out"
        )
    new = set(found.gone) - set(resumed.begin.removed) if resumed else set()
    if new and in_run:
        raise RunError(f"{', '.join(sorted(new))} left the inventory since that run began: begin a new one")
    return found if in_run else Removals({}, found.known)


def announcement(
    fleet: Fleet,
    waves: tuple[tuple[str, ...], ...],
    without_deploy: tuple[str, ...],
    gone: Removals,
    unseen: int = 0,
) -> tuple[str, ...]:
    """What a run will do, in lines: removals first."""
    lines = []
    taken = {each.slot for each in fleet.retired} | {each.slot for each in fleet.households}
    for name, slot in sorted(gone.gone.items()):
        lines.append(f"Removed: {name} (slot {slot}) loses its route, its tunnel's key and its live sessions.")
        if slot not in taken:
            lines.append(f"  Let its slot rest, in fleet.yaml:  retired: [{{slot: {slot}, since: {now():%Y-%m-%d}}}]")
    for move in moves.moves(fleet, {host for wave in waves for host in wave}):
        lines.append(f"Replaced: {moves.words(move)};")
        lines.append(f"  {moves.afterwards(move, f'{now():%Y-%m-%d}')}")
    if without_deploy:
        lines.append(f"Left out, since this version has no deploy for them: {', '.join(without_deploy)}")
    count = sum(len(wave) for wave in waves)
    if unseen:
        lines.append(f"Converged before the run was killed, and to be looked at from outside: {_hosts(unseen)}.")
    if not count and unseen:
        return tuple(lines)
    if not count:
        return (*lines, "There is nothing to do.")
    lines.append(f"Converge {_hosts(count)}, wave by wave:")
    return (*lines, *(f"  {number}. {_wave(wave)}" for number, wave in enumerate(waves, start=1)))


def _hosts(count: int) -> str:
    return f"{count} host{'' if count == 1 else 's'}"


def _wave(wave: tuple[str, ...]) -> str:
    shown = ", ".join(wave[:5])
    return shown if len(wave) <= 5 else f"{shown} and {len(wave) - 5} more"
