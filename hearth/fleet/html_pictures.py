"""The page's pictures of the whole fleet, as SVG: certificate days, converge durations, drift over time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from hearth.fleet.status import BUCKETS, Status

WIDTH, HEIGHT = 280, 84
FLOOR = HEIGHT - 16
"""Where bars stand; below it are the words of the axis."""

CERTIFICATE_EDGES = (3, 14, 30, 60, 90)
"""Whole days: up to 3 is urgent, up to 14 late (a converge renews in the last third of a life)."""


@dataclass(frozen=True)
class Picture:
    """A picture with its heading, its figure in words (also what a screen reader says) and a note."""

    title: str
    figure: str
    note: str
    svg: Markup


def pictures(status: Status) -> list[Picture]:
    """The pictures for which there is something to show."""
    return [*_certificates(status), *_durations(status), *_drift(status)]


def _certificates(status: Status) -> Iterable[Picture]:
    days = [left for row in status.rows if (left := row.certificate_days(status.at)) is not None]
    if not days:
        return
    counts = spread(days, CERTIFICATE_EDGES)
    late = sum(counts[:2])
    labels = [*(f"≤{edge}" for edge in CERTIFICATE_EDGES), f">{CERTIFICATE_EDGES[-1]}"]
    kinds = ["bad", "warning", *["plain"] * (len(counts) - 2)]
    yield Picture(
        "Certificate days left",
        f"{late:,} of {len(days):,} have 14 days or less",
        "hosts by whole days until their certificate ends",
        bars(counts, labels, kinds),
    )


def _durations(status: Status) -> Iterable[Picture]:
    runs = [(run.at, run.median_s) for run in reversed(status.runs) if run.median_s is not None]
    if not runs:
        return
    last = runs[-1][1]
    note = f"median seconds a host, {len(runs)} {'run' if len(runs) == 1 else 'runs'}"
    yield Picture("Converge duration", f"{last:,.0f} s at the last run", note, line(runs))


def _drift(status: Status) -> Iterable[Picture]:
    if not status.runs:
        return
    totals = [sum(row.drift[part] for row in status.rows) for part in range(BUCKETS)]
    hosts = sum(row.drift_sum > 0 for row in status.rows)
    labels = [f"{status.days} d ago", *[""] * (BUCKETS - 2), "now"]
    yield Picture(
        "Drift repaired",
        f"{sum(totals):,} repairs on {hosts:,} {'host' if hosts == 1 else 'hosts'}",
        "operations that put back what somebody had changed",
        bars(totals, labels, ["drift"] * BUCKETS, numbers=False),
    )


def spread(values: Iterable[int], edges: Sequence[int]) -> list[int]:
    """Count ``values`` up to each edge (included), and above the last one."""
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[sum(value > edge for edge in edges)] += 1
    return counts


def bars(counts: Sequence[int], labels: Sequence[str], kinds: Sequence[str], *, numbers: bool = True) -> Markup:
    """A bar for each count; a count above none is never so low that it cannot be seen."""
    step, most = WIDTH / len(counts), max(*counts, 1)
    gap = 4 if numbers else 2
    top = 14 if numbers else 2
    parts = []
    for place, (count, label, kind) in enumerate(zip(counts, labels, kinds, strict=True)):
        high = max(2.0, (FLOOR - top) * count / most) if count else 0.0
        x, middle = place * step, (place + 0.5) * step
        parts.append(
            f'<rect class="bar {kind}" x="{x + gap / 2:.1f}" y="{FLOOR - high:.1f}" '
            f'width="{step - gap:.1f}" height="{high:.1f}" rx="1.5"/>'
        )
        if numbers and count:
            parts.append(_text(middle, FLOOR - high - 3, f"{count:,}", "middle"))
        if label and numbers:
            parts.append(_text(middle, HEIGHT - 3, label, "middle"))
    if not numbers:
        parts += [_text(0, HEIGHT - 3, labels[0], "start"), _text(WIDTH, HEIGHT - 3, labels[-1], "end")]
    return _svg([f'<line class="axis" x1="0" y1="{FLOOR}" x2="{WIDTH}" y2="{FLOOR}"/>', *parts])


def line(points: Sequence[tuple[datetime, float]]) -> Markup:
    """A line through ``points`` (times and values, the oldest first), from nought to a round number above them."""
    most = round_up(max(value for _, value in points))
    first, last = points[0][0], points[-1][0]
    span = (last - first).total_seconds() or 1.0
    high = FLOOR - 12
    placed = [
        ((at - first).total_seconds() / span * (WIDTH - 8) + 4, FLOOR - high * value / most) for at, value in points
    ]
    path = " ".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(placed))
    x, y = placed[-1]
    return _svg(
        [
            f'<line class="axis" x1="0" y1="{FLOOR}" x2="{WIDTH}" y2="{FLOOR}"/>',
            f'<line class="grid" x1="0" y1="{FLOOR - high}" x2="{WIDTH}" y2="{FLOOR - high}"/>',
            _text(0, FLOOR - high - 3, f"{most:g} s", "start"),
            f'<path class="line" d="{path}"/><circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>',
            _text(0, HEIGHT - 3, f"{first:%d %b}", "start"),
            _text(WIDTH, HEIGHT - 3, f"{last:%d %b}", "end"),
        ]
    )


def round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten that is not below ``value``; 1 at least."""
    size = 1.0
    while True:
        for step in (1, 2, 5):
            if size * step >= value:
                return size * step
        size *= 10


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{Markup.escape(words)}</text>'


def _svg(parts: Iterable[str]) -> Markup:
    """Decoration for those who see it; the figure beside it says the same in words."""
    body = "".join(parts)
    view = f"0 0 {WIDTH} {HEIGHT}"
    return Markup(f'<svg viewBox="{view}" aria-hidden="true" focusable="false">{body}</svg>')  # noqa: S704 (numbers)
