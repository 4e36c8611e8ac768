"""Runs and answers of a fleet that nobody has, for measuring and for looking at the status page. Same seed, same fleet.

Nightly drift runs, and now and then a converge of everything: most hosts are well, some drift, some are away for days,
a few fail.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from hearth.fleet.events import (
    Event,
    HostBegin,
    HostEnd,
    Operation,
    Origin,
    Result,
    RunBegin,
    RunEnd,
    State,
    Versions,
    WaveBegin,
    WaveEnd,
    to_data,
)
from hearth.fleet.records import SUFFIX, new_run_id
from hearth.fleet.status import Answer, Finding

DRIFTED = (
    "sshd | Harden sshd and let the operators in",
    "base | Set the time zone Europe/Berlin",
    "apache | Serve the household over HTTPS",
    "See that every service runs",
    "updates | Update Debian between 03:00 and 05:00",
)
REASONS = (
    "owncloud | Fetch ownCloud 11.0.0: 198 MB are missing on the disk of /srv/hearth",
    "Install the packages: dpkg was interrupted and cannot be finished",
    "apache | Serve the household over HTTPS: the configuration does not pass Apache's own check",
)
AWAY = "the relay answers, the box's tunnel is not up"


def nights(hosts: Sequence[str], count: int, until: datetime, seed: int = 1) -> Iterator[list[Event]]:
    """The events of ``count`` nightly runs over ``hosts``, the oldest first, the last one just before ``until``."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    away: dict[str, int] = {}
    for night in range(count, 0, -1):
        begun = until - timedelta(days=night) + timedelta(hours=20)
        for host in hosts:
            if away.get(host, 0) > 0:
                away[host] -= 1
            elif chance.random() < 0.004:
                away[host] = chance.choice((1, 1, 2, 5, 14))
        yield _night(hosts, begun, {host for host, left in away.items() if left}, chance, fresh=night % 14 == 0)


def _night(hosts: Sequence[str], begun: datetime, away: set[str], chance: random.Random, *, fresh: bool) -> list[Event]:
    commit = sha256(f"{begun:%G-%V}".encode()).hexdigest()[:40]
    origin = Origin("anna@desk", commit, False, sha256(commit.encode()).hexdigest(), Versions("0.1.0", "3.10", "3.13"))
    wave = tuple(hosts)
    kind = "converge" if fresh else "drift"
    events: list[Event] = [RunBegin(begun, new_run_id(begun), "generated", kind, "all", origin, (wave,))]
    events.append(WaveBegin(begun, 1, len(wave)))
    at, states = begun, dict[str, State]()
    for host in hosts:
        events.append(HostBegin(at, host, 1, 1, _desired(host)))
        at += timedelta(milliseconds=200)
        end = _end(host, at, host in away, chance, fresh=fresh)
        states[host] = end.result
        events.append(end)
    failed = sum(state == "failed" for state in states.values())
    status = 2 if failed else 4 if away else 0
    reason = f"{failed} failed, {len(away)} unreported"
    events.append(WaveEnd(at, 1, True))
    events.append(RunEnd(at, status, reason, (at - begun).total_seconds(), states))
    return events


def _end(host: str, at: datetime, is_away: bool, chance: random.Random, *, fresh: bool) -> HostEnd:
    result: Result = "unreported" if is_away else "failed" if chance.random() < 0.002 else "converged"
    operations: tuple[Operation, ...] = ()
    reason = AWAY if is_away else chance.choice(REASONS) if result == "failed" else None
    if result == "converged" and fresh:
        operations = tuple(Operation(name, "intended", False, 0.4) for name in chance.sample(DRIFTED, 2))
    elif result == "converged" and chance.random() < 0.02:
        operations = tuple(
            Operation(name, "corrective", False, 0.4) for name in chance.sample(DRIFTED, chance.choice((1, 1, 3)))
        )
    took = 0.0 if is_away else round(chance.gauss(7, 1.5) + 12 * len(operations) * (fresh or 0.3) + 2, 1)
    unchanged = 36 - len(operations)
    return HostEnd(at, host, 1, 1, result, reason, max(took, 0.0), _desired(host), operations, unchanged)


def _desired(host: str) -> str:
    return sha256(host.encode()).hexdigest()


def write(events: Sequence[Event], folder: Path) -> Path:
    """Write the events as a record into ``folder``, in one go: nobody waits for each line to be on the disk."""
    begin = next(event for event in events if isinstance(event, RunBegin))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{begin.run}{SUFFIX}"
    file.write_text("".join(json.dumps(to_data(event), separators=(",", ":")) + "\n" for event in events))
    return file


def answers(hosts: Mapping[str, str], at: datetime, seed: int = 2) -> dict[str, Answer]:
    """What hosts tell when they are asked. ``hosts``: their kinds by name."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    return {host: _answer(kind, at, chance) for host, kind in hosts.items()}


def _answer(kind: str, at: datetime, chance: random.Random) -> Answer:
    if chance.random() < 0.008:
        return Answer(at, fault=AWAY)
    days = chance.triangular(28, 90, 60) if chance.random() < 0.99 else chance.uniform(-1, 20)
    free = chance.uniform(0.12, 0.95) if chance.random() < 0.985 else chance.uniform(0.01, 0.12)
    security = chance.choice((0,) * 40 + (1, 3))
    findings = []
    if kind == "box" and days <= 14:
        ends = f"ends in {days:.0f} days" if days >= 2 else "ends in hours" if days > 0 else "has ended"
        findings.append(Finding("required" if days <= 3 else "wanted", f"the certificate {ends}", "converge this box"))
    if free < 0.1:
        findings.append(Finding("wanted", "the disk of /srv/hearth/data is nearly full", "make room"))
    verdict = "bad" if any(each.level == "required" for each in findings) else "warning" if findings else "good"
    is_box = kind == "box"
    return Answer(
        at,
        verdict=verdict,
        findings=tuple(findings),
        certificate_until=at + timedelta(days=days) if is_box else None,
        updates=security + chance.choice((0, 0, 0, 2, 7)),
        security_updates=security,
        reboot_required=chance.random() < 0.03,
        disk="/srv/hearth/data" if is_box else "/",
        disk_free=free,
        tunnel_since=at - timedelta(hours=chance.expovariate(1 / 200)) if is_box else None,
        backup_at=at - timedelta(hours=chance.uniform(4, 30)) if is_box else None,
        cloud_version="11.0.0" if is_box and chance.random() < 0.97 else "10.15.0" if is_box else None,
        debian_version="13.7",
    )
