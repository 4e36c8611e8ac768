"""The status for a terminal or a log (plain columns), and for programs (plain data with stable names). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from hearth.fleet.status import STATES, Row, Run, Status

SILENT = "-"
_HEADS = ("HOST", "STATE", "CONVERGED", "TOOK", "DRIFT")
_LIVE_HEADS = ("CERT", "UPDATES", "DISK", "TUNNEL", "BACKUP", "VERSION")
LONGEST_WHY = 100


def lines(status: Status) -> Iterator[str]:
    """The status as lines: what needs somebody first, each host with its reason, then a line that sums up."""
    proven = status.live or any(row.proven_at for row in status.rows)
    heads = (*_HEADS, *(("PROVEN",) if proven else ()), *(_LIVE_HEADS if status.live else ()), "WHY")
    rows = sorted(status.rows, key=lambda row: STATES.index(row.state))
    table = [heads, *(_cells(row, status, proven) for row in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(heads))]
    for cells in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
    yield ""
    yield summary(status)


def summary(status: Status) -> str:
    """How many hosts are in which state, and how the last run ended, in one line."""
    counts = ", ".join(f"{count} {state}" for state, count in status.counts.items() if count)
    last = f"; last run {_run(status.runs[0])}" if status.runs else f"; no run in the last {status.days} days"
    return f"{status.fleet}: {_number(len(status.rows), 'host')}: {counts}{last}"


def data(status: Status) -> dict[str, Any]:
    """The status as plain data: times in ISO 8601 (UTC), durations in seconds, shares from 0 to 1."""
    return {
        "fleet": status.fleet,
        "at": moment(status.at),
        "days": status.days,
        "live": status.live,
        "counts": status.counts,
        "runs": [_plain(asdict(run)) for run in status.runs],
        "hosts": [{**_plain(asdict(row)), "certificate_days": row.certificate_days(status.at)} for row in status.rows],
    }


def moment(at: datetime) -> str:
    """A time as JSON has it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def age(since: datetime | None, at: datetime) -> str:
    """How long ago something was, in its largest whole unit: ``3 d``, ``4 h``, ``12 min``."""
    if since is None:
        return SILENT
    minutes = max(0, int((at - since).total_seconds() // 60))
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} d"


def _cells(row: Row, status: Status, proven: bool) -> tuple[str, ...]:
    took = f"{row.durations_s[-1]:.0f} s" if row.durations_s else SILENT
    cells = [row.host, row.state, age(row.converged_at, status.at), took, str(row.drift_sum)]
    if proven:
        cells.append(age(row.proven_at, status.at))
    if status.live:
        cells += _live_cells(row, status.at)
    return (*cells, row.why[:LONGEST_WHY])


def _live_cells(row: Row, at: datetime) -> Iterable[str]:
    told, days = row.answer, row.certificate_days(at)
    if told is None or told.fault is not None:
        return [SILENT] * len(_LIVE_HEADS)
    updates = SILENT if told.updates is None else str(told.updates)
    return (
        SILENT if days is None else f"{days} d",
        updates + (" reboot" if told.reboot_required else ""),
        SILENT if told.disk_free is None else f"{told.disk_free:.0%}",
        age(told.tunnel_since, at),
        age(told.backup_at, at),
        told.cloud_version or SILENT,
    )


def _run(run: Run) -> str:
    ends = ", ".join(f"{count} {state}" for state, count in sorted(run.states.items()))
    how = "has not ended" if run.exit_status is None else f"ended with {run.exit_status}"
    return f"{run.at:%Y-%m-%d %H:%M} UTC by {run.who} {how} ({ends})"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return moment(value) if isinstance(value, datetime) else value
