"""Asking hosts how they are: one login over their roads and one command each, and a look from outside.

A host may be broken or somebody else's by now: what it answers is bounded in time and size, and taken apart with care.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from paramiko import SSHException
from paramiko.client import SSHClient
from pyinfra.api.exceptions import ConnectError

from hearth import layout
from hearth.fleet.gate import Outside, outside, relay_roads
from hearth.fleet.masking import masked
from hearth.fleet.probes import look
from hearth.fleet.status import Answer, Finding, Word
from hearth.inventory.hosts import Fleet, Host
from hearth.login import first_open

AT_ONCE = 32
LOGIN_S = 20.0
ANSWER_S = 60.0
MOST_BYTES = 65_536
MOST_FINDINGS = 20
# Whoever is no root asks by sudo: the firewall and Redis tell nobody else.
COMMAND = f"sudo -n {layout.HEALTH} --json 2>&1"
ASK_THE_RELAY = "is the relay well, and does the name lead there? `hearth status --live --limit relays`"


class AnswerError(Exception):
    """A host answered with something that cannot be used; the message says what."""


def ask_all(
    fleet: Fleet, hosts: Iterable[Host], told: Callable[[str, Answer], None] = lambda *_: None
) -> dict[str, Answer]:
    """Ask hosts, many at a time, and look at them from outside; never raises for what a host does.

    ``told`` is called with each answer as it comes.
    """
    roads = relay_roads(fleet)
    answers = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = {pool.submit(ask, host, outside(host, roads)): host.name for host in hosts}
        for done in as_completed(asked):
            answers[asked[done]] = done.result()
            told(asked[done], done.result())
    return answers


def ask(host: Host, seen: Outside | None = None) -> Answer:
    """Ask one host; what is wrong from outside (``seen``) stands among its findings.

    An Answer with a ``fault`` when nobody gets in, or when what it says cannot be used.
    """
    answer = _asked(host)
    # Its sshd has just been tried by logging in.
    checks = look(replace(seen, sshd=None)) if seen else ()
    wrong = [f"from outside: {check.reason or check.name}" for check in checks if not check.passed]
    if answer.fault is not None:
        serves = bool(checks) and not wrong
        return replace(answer, fault=f"{answer.fault}; what it serves answers from outside") if serves else answer
    found = tuple(Finding("required", sentence, ASK_THE_RELAY) for sentence in wrong)
    return replace(answer, verdict="bad", findings=found + answer.findings) if found else answer


def _asked(host: Host) -> Answer:
    try:
        client, road = first_open(host.name, host.roads, LOGIN_S)
        try:
            command = COMMAND.removeprefix("sudo -n ") if road.user == "root" else COMMAND
            text = _output(client, command, time.monotonic() + ANSWER_S)
        finally:
            client.close()
        return parse(text, datetime.now(UTC))
    except (ConnectError, AnswerError) as fault:
        return Answer(datetime.now(UTC), fault=masked(str(fault)))


def _output(client: SSHClient, command: str, until: float) -> str:
    """What the command prints, whatever its exit status. Raises AnswerError when it is too much or too late."""
    try:
        channel = client.exec_command(command, timeout=ANSWER_S)[1].channel
        found = b""
        while part := channel.recv(MOST_BYTES):
            found += part
            if len(found) > MOST_BYTES:
                raise AnswerError("it answers without an end: log in and look at it")
            if time.monotonic() > until:
                raise TimeoutError
            channel.settimeout(max(0.1, until - time.monotonic()))
    except TimeoutError as fault:
        raise AnswerError(f"it let us in and did not answer within {ANSWER_S:.0f} s") from fault
    except (OSError, EOFError, SSHException) as fault:
        raise AnswerError(f"the connection ended before its answer ({fault})") from fault
    return found.decode(errors="replace")


def parse(text: str, at: datetime) -> Answer:
    """Given what ``health --json`` printed, return the Answer. Raises AnswerError when it is no verdict."""
    try:
        data = json.loads(text.strip().rpartition("\n")[2])
        facts = dict(data["facts"])
        verdict = data["verdict"]
        findings = tuple(_finding(each) for each in data["findings"][:MOST_FINDINGS])
        disk, disk_free = _fullest(facts.get("disks", []))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        if "not found" in text or "No such file" in text:
            raise AnswerError("it has no health check yet: converge it") from None
        raise AnswerError(f"its health check gave no verdict ({masked(text)[:100]}): converge it") from None
    if verdict not in ("good", "warning", "bad"):
        raise AnswerError("its health check gave no verdict that is known: converge it")
    return Answer(
        at=at,
        verdict=cast("Word", verdict),
        findings=tuple(sorted(findings, key=lambda finding: finding.level)),
        certificate_until=_moment(facts.get("certificate_until")),
        updates=_count(facts.get("updates")),
        security_updates=_count(facts.get("security_updates")),
        reboot_required=facts["reboot_required"] if isinstance(facts.get("reboot_required"), bool) else None,
        disk=disk,
        disk_free=disk_free,
        tunnel_since=_moment(facts.get("tunnel_since")),
        backup_at=_moment(facts.get("backup_at")),
        proven_at=_moment(facts.get("proven_at")),
        cloud_version=_word(facts.get("cloud_version")),
        debian_version=_word(facts.get("debian_version")),
    )


def _finding(data: dict[str, Any]) -> Finding:
    level = "required" if data["level"] == "required" else "wanted"
    return Finding(cast("Any", level), masked(str(data["sentence"])), masked(str(data["next"])))


def _fullest(disks: list[dict[str, Any]]) -> tuple[str | None, float | None]:
    shares = [
        (min(1.0, max(0.0, float(each["free_bytes"]) / float(each["size_bytes"]))), masked(str(each["path"])))
        for each in disks[:MOST_FINDINGS]
        if float(each["size_bytes"]) > 0
    ]
    share, path = min(shares, default=(None, None))
    return path, share


def _moment(value: Any) -> datetime | None:
    """A time with its zone, of this century; a host that says anything else has not said it."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment and moment.tzinfo and 2000 < moment.year < 2100 else None
    except (ValueError, OverflowError):
        return None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 100_000 else None


def _word(value: Any) -> str | None:
    return masked(value)[:40] or None if isinstance(value, str) else None
