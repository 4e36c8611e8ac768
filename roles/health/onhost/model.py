"""What is looked at, and what was found: data in the description's own words."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

DESCRIPTION = Path("/etc/hearth/health.toml")

Level = Literal["required", "wanted"]
Word = Literal["good", "warning", "bad"]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: what, in one sentence, and what to do next.

    ``required``: the host does not do its work; ``wanted``: it does, and soon may not (greenboot's two kinds).
    """

    check: str
    level: Level
    sentence: str
    next_step: str


@dataclass(frozen=True)
class Outcome:
    """What one check came to: findings, none when all is well, and what it learnt on the way."""

    findings: tuple[Finding, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What all checks came to. ``checks``: the names of those that were made."""

    host: str
    at: datetime
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]
    facts: dict[str, Any]

    @property
    def word(self) -> Word:
        """*bad* when something required is amiss, *warning* when only something wanted is."""
        levels = {finding.level for finding in self.findings}
        return "bad" if "required" in levels else "warning" if levels else "good"

    @property
    def exit_status(self) -> int:
        """0 good, 1 warning, 2 bad."""
        return ("good", "warning", "bad").index(self.word)


@dataclass(frozen=True)
class Web:
    """The cloud's web server: asked on this machine by the household's name. Days are of a certificate's life."""

    domain: str
    port: int
    required_days: int
    wanted_days: int


@dataclass(frozen=True)
class Cron:
    """The unit of the cloud's background jobs, and how long ago it may have ended, in seconds."""

    unit: str
    most_age_s: int


@dataclass(frozen=True)
class Backup:
    """The files whose times are those of the last good backup and of the last proven restore, how old the backup may
    become, and the file (JSON) that says whether the household has its key on ``paper``."""

    stamp: str
    most_age_days: int
    proven: str
    paper: str


@dataclass(frozen=True)
class Probe:
    """A shell command that succeeds when the service of a ``unit`` is well; what it means when it does not."""

    name: str
    command: str
    sentence: str
    unit: str


@dataclass(frozen=True)
class Settings:
    """What this host should be. ``units`` must run; ``paths`` need room, ``room_bytes`` of it the last one.

    What is None is not looked at. ``tunnel``: the unit that keeps the tunnel up. ``notes``: a file in which a program
    of this host writes a line for each thing that somebody should know.
    """

    host: str
    kind: str
    units: tuple[str, ...]
    paths: tuple[str, ...]
    room_bytes: int
    probes: tuple[Probe, ...]
    web: Web | None = None
    cron: Cron | None = None
    tunnel: str | None = None
    notes: str | None = None
    backup: Backup | None = None


def settings(text: str) -> Settings:
    """Given the description (TOML), return the Settings. Raises ValueError or TypeError when it is none."""
    data = tomllib.loads(text)
    parts = {"web": Web, "cron": Cron, "backup": Backup}
    given = {name: kind(**data.pop(name)) for name, kind in parts.items() if name in data}
    probes = tuple(Probe(**each) for each in data.pop("probes", ()))
    return Settings(units=tuple(data.pop("units")), paths=tuple(data.pop("paths")), probes=probes, **data, **given)


def as_data(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain data: what ``--json`` prints."""
    return {
        "host": verdict.host,
        "at": stamp(verdict.at),
        "verdict": verdict.word,
        "checks": list(verdict.checks),
        "findings": [
            {"check": each.check, "level": each.level, "sentence": each.sentence, "next": each.next_step}
            for each in verdict.findings
        ],
        "facts": verdict.facts,
    }


def stamp(moment: datetime) -> str:
    """A time as it stands in JSON: ISO 8601, UTC, whole seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def as_text(verdict: Verdict, width: int = 0) -> str:
    """The verdict for people: a line that sums up, then a line a finding; what is required first.

    ``width``: how far the findings are moved in.
    """
    when = f"{verdict.at.astimezone():%Y-%m-%d %H:%M %Z}"
    words = {"good": "is well", "warning": "works, and needs a look", "bad": "is NOT well"}
    lines = [f"{verdict.host} {words[verdict.word]} ({len(verdict.checks)} checks, {when})."]
    for finding in sorted(verdict.findings, key=lambda each: each.level):
        lines.append(f"{' ' * width}{finding.level}: {finding.sentence}. Next: {finding.next_step}.")
    return "\n".join(lines) + "\n"
