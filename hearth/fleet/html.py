"""The status as one page: everything it needs is in it, and it asks nobody for anything.

Its own Content-Security-Policy allows its one script and its one style sheet by their hashes and nothing else, so that
a name which got past all escaping could still run nothing. Names reach the page as JSON or through Jinja's escaping.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hearth.fleet import html_pictures
from hearth.fleet.status import STATES, Answer, Row, State, Status, Visit

TEMPLATES = Path(__file__).parent / "templates"
WORDS: dict[State, str] = {
    "failed": "Failed",
    "unreported": "Unreported",
    "warning": "Warning",
    "waiting": "Waiting",
    "never": "Never seen",
    "good": "Good",
}
MEANINGS: dict[State, str] = {
    "failed": "the last converge failed, or the host says that it does not do its work",
    "unreported": "nobody could reach it: neither good nor failed",
    "warning": "it works, and needs a look",
    "waiting": "a run ended before it came here",
    "never": "no run has been here in the time looked at",
    "good": "converged, and nothing to say",
}


def page(status: Status) -> str:
    """The whole page, HTML."""
    script, style = ((TEMPLATES / name).read_text() for name in ("status.js", "status.css"))
    return _template().render(
        status=status,
        at=f"{status.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        states=[(state, WORDS[state], MEANINGS[state], count) for state, count in status.counts.items()],
        pictures=html_pictures.pictures(status),
        script=Markup(script),  # noqa: S704 (our own file)
        style=Markup(style),  # noqa: S704 (our own file)
        script_hash=sha256(script),
        style_hash=sha256(style),
        data=Markup(embedded(_data(status))),  # noqa: S704 (``embedded`` leaves no character that HTML knows)
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("status.html.j2")


def sha256(text: str) -> str:
    """A text's hash as a Content-Security-Policy has it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def embedded(data: Any) -> str:
    """JSON that can stand in a ``script`` element: what could end the element, or begin another, is written as \\u."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(status: Status) -> dict[str, Any]:
    return {
        "at": _seconds(status.at),
        "days": status.days,
        "live": status.live,
        "states": [[state, WORDS[state]] for state in STATES],
        "hosts": [_host(row, status.at) for row in status.rows],
    }


def _host(row: Row, at: datetime) -> dict[str, Any]:
    """A row in short names, without what is not known: 5,000 of them stand in the page."""
    found = {
        "host": row.host,
        "name": row.household or row.host,
        "kind": row.kind,
        "state": STATES.index(row.state),
        "why": row.why,
        "domain": row.domain,
        "url": row.url,
        "relay": row.relay,
        "release": row.release,
        "converged": _seconds(row.converged_at),
        "drift": row.drift_sum or None,
        "drifts": list(row.drift) if row.drift_sum else None,
        "took": [round(seconds, 1) for seconds in row.durations_s] or None,
        "cert": row.certificate_days(at),
        "proven": _seconds(row.proven_at),
        **_last(row.last),
        **_answer(row.answer),
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def _last(visit: Visit | None) -> dict[str, Any]:
    if visit is None:
        return {}
    return {
        "last": visit.state,
        "lastAt": _seconds(visit.at),
        "commit": visit.commit[:12] if visit.commit else None,
        "intended": visit.intended or None,
        "corrective": visit.corrective or None,
    }


def _answer(answer: Answer | None) -> dict[str, Any]:
    if answer is None or answer.fault is not None:
        return {}
    return {
        "findings": [[each.level, each.sentence, each.next_step] for each in answer.findings] or None,
        "updates": answer.updates,
        "security": answer.security_updates or None,
        "reboot": answer.reboot_required or None,
        "disk": answer.disk,
        "free": round(answer.disk_free * 100) if answer.disk_free is not None else None,
        "tunnel": _seconds(answer.tunnel_since),
        "backup": _seconds(answer.backup_at),
        "version": answer.cloud_version,
        "debian": answer.debian_version,
    }


def _seconds(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at else None
