"""The crowd: N sshd instances and a workload of forty resources, for every peer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from demo.bench import lines, measure, same, sshds, workload
from demo.bench.figures import Case, Run
from demo.bench.goals import FLOOR, HEARTH
from demo.bench.peers import BATCH_OFF, HERE, Host, Unreadable, Work, changes, command, missing
from demo.bench.rounds import Limits, Taken, Unfit, take

FOLDERS = tuple(path.lstrip("/") for path in workload.DIRECTORIES)


Tell = Callable[[str], None]
Peers = Callable[[Case], Sequence[str]]
"""Whom to measure in a case."""


@dataclass(frozen=True)
class Place:
    """Where the benchmark works: a folder and a control group that are its own, and whom to tell."""

    scratch: Path
    group: Path
    tell: Tell


def work(scratch: Path) -> Work:
    """The workload in each peer's words."""
    return Work(
        hearth=[str(HERE / "deploys/hosts_hearth.py"), str(HERE / "deploys/crowd_hearth.py")],
        stock=HERE / "deploys/crowd_stock.py",
        playbook=HERE / "ansible/crowd.yml",
        variables=workload.write(scratch),
        facts=scratch / "facts.sh",
    )


def run_peer(place: Place, peer: str, what: Work, hosts: Sequence[Host], *, wants_changes: bool) -> measure.Ended:
    """Run a peer once. Raises Unfit when it fails, or changes something though nothing is to be changed, or nothing
    though everything is.
    """
    why_not = missing(peer)
    if why_not:
        raise Unfit(why_not)
    scratch = place.scratch / "peer"
    ended = measure.run(command(peer, what, hosts, scratch), place.group / "operator", place.scratch / "peer.log")
    if ended.status != 0:
        how = "took too long" if ended.status is None else f"ended with status {ended.status}"
        raise Unfit(f"it {how}: {ended.output.strip()[-1500:]}")
    if peer == FLOOR:
        return ended
    try:
        changed = changes(peer, ended.output)
    except Unreadable as fault:
        raise Unfit(f"it does not say what it changed: {fault}") from fault
    if wants_changes and changed == 0:
        raise Unfit("it changed nothing on bare hosts")
    if changed and not wants_changes:
        raise Unfit(f"it made {changed} changes on hosts that are converged: {ended.output.strip()[-3000:]}")
    return ended


def _measured(place: Place, peer: str, *, what: Work, case: Case, instances: sshds.Instances) -> Run:
    """One run against instances over lines of the case's length."""
    with lines.far(instances.hosts, case.latency_ms, place.group / "lines") as hosts:
        cpu_s, commands = instances.cpu_s(), instances.commands()
        ended = run_peer(place, peer, what, hosts, wants_changes=case.state == "first")
        return Run(ended.wall_s, ended.cpu_s, instances.cpu_s() - cpu_s, instances.commands() - commands)


def first(place: Place, floor: sshds.Floor, case: Case, peers: Peers, limits: Limits) -> Taken:
    """First runs, each on fresh instances; whoever leaves something else than hearth does is not measured."""
    what = work(place.scratch)
    wanted: dict[str, same.Entry] = {}

    def attempt(peer: str) -> Run:
        with sshds.running(floor, place.scratch / "sshds", place.group / "sshds", case.hosts) as instances:
            run = _measured(place, peer, what=what, case=case, instances=instances)
            left = same.manifest(instances.upper(), FOLDERS, floor.layers)
            if peer == HEARTH and not wanted:
                wanted.update(left)
            if different := same.differences(wanted, left):
                raise Unfit(f"it left something else than hearth: {'; '.join(different[:8])}")
            return run

    ordered = [HEARTH, *(peer for peer in peers(case) if peer not in (HEARTH, FLOOR))]
    return take(case, ordered, limits, attempt, place.tell)


def unchanged(place: Place, floor: sshds.Floor, cases: Sequence[Case], peers: Peers, limits: Limits) -> Iterator[Taken]:
    """Runs on instances that hearth has converged, where no peer may find anything to change.

    ``cases``: of one number of hosts; the instances serve all of them.
    """
    what = work(place.scratch)
    with sshds.running(floor, place.scratch / "sshds", place.group / "sshds", cases[0].hosts) as instances:
        run_peer(place, HEARTH, what, instances.hosts, wants_changes=True)
        note_facts(place, what, instances.hosts[0].name, instances.hosts)
        for case in cases:
            place.tell(f"{case.words} …")
            attempt = partial(_measured, place, what=what, case=case, instances=instances)
            yield take(case, peers(case), limits, attempt, place.tell)


def note_facts(place: Place, what: Work, limit: str, hosts: Sequence[Host]) -> None:
    """Note what hearth's deploy asks a host, and would put there, beside ``what.facts``. Raises Unfit."""
    plain = command(HEARTH, what, hosts, place.scratch / "peer")
    argv = [sys.executable, str(HERE / "record.py"), str(what.facts.parent), *what.hearth, "--limit", limit, "--dry"]
    # One at a time, each question passes the connector as itself.
    noted = measure.run(
        measure.Command(argv, plain.folder, {**plain.environment, **BATCH_OFF}),
        place.group / "operator",
        place.scratch / "record.log",
    )
    if noted.status != 0:
        raise Unfit(f"what hearth asks could not be noted: {noted.output.strip()[-1500:]}")
