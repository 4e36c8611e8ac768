"""The chart: how many times hearth's wall seconds the others took, one group of bars a case, as SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from demo.bench.figures import Case, Ratio, Results, short
from demo.bench.goals import HEARTH, PEERS

WIDTH, LEFT, RIGHT = 900, 240, 90
BAR, GAP, GROUP_GAP, TOP = 14, 3, 30, 56
COLOURS = {
    "floor": "#7a8793",
    "hearth, batch off": "#4f9d69",
    "pyinfra -y": "#5b8fd6",
    "pyinfra": "#2f5fa8",
    "Ansible + mitogen": "#d98a3d",
    "Ansible": "#b5482f",
}


# Outlined in white, so that the lines of the scale do not strike it through.
_HEADING = 'font-weight="bold" fill="#1d2329" stroke="#ffffff" stroke-width="5" paint-order="stroke"'


@dataclass(frozen=True)
class Bar:
    """One bar: the peer, and how many times hearth's seconds it took."""

    peer: str
    ratio: Ratio


def bars(results: Results) -> list[tuple[Case, list[Bar]]]:
    """The bars of each case, in the tables' order; cases and peers that were not measured have none."""
    found = []
    for case in sorted(results.cases):
        each = [(peer, results.ratio(case, peer, HEARTH, "wall_s")) for peer in PEERS if peer != HEARTH]
        group = [Bar(peer, ratio) for peer, ratio in each if ratio is not None]
        if group:
            found.append((case, group))
    return found


def place(ratio: float, least: float, most: float) -> float:
    """Where a ratio stands, in pixels from the left; the scale is logarithmic, so twice is as far everywhere."""
    share = (math.log(ratio) - math.log(least)) / (math.log(most) - math.log(least))
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def ticks(least: float, most: float) -> list[float]:
    """The labelled ratios between two, 1, 2 and 5 of each power of ten."""
    steps = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]
    return [step for step in steps if least <= step <= most]


def draw(groups: Sequence[tuple[Case, Sequence[Bar]]]) -> str:
    """The SVG; whiskers show the range over the rounds."""
    ratios = [figure for _, group in groups for bar in group for figure in (bar.ratio.least, bar.ratio.most)]
    least, most = min([0.5, *ratios]) * 0.9, max([2.0, *ratios]) * 1.1
    height = TOP + sum(len(group) * (BAR + GAP) + GROUP_GAP for _, group in groups) + 30
    at_one = place(1, least, most)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12" role="img">',
        "<title>Wall seconds of the others as a multiple of hearth's</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="20" font-size="14" font-weight="bold" fill="#1d2329">'
        "Wall seconds as a multiple of hearth's (logarithmic; whiskers: least and most)</text>",
    ]
    for tick in ticks(least, most):
        x = place(tick, least, most)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 14}" y2="{height - 30}" stroke="#e3e6e9"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 12}" text-anchor="middle" fill="#59636d">{tick:g}x</text>')
    parts.append(f'<line x1="{at_one:.1f}" x2="{at_one:.1f}" y1="{TOP - 14}" y2="{height - 30}" stroke="#1d2329"/>')
    y = TOP
    for case, group in groups:
        parts.append(f'<text x="12" y="{y - 3}" {_HEADING}>{escape(case.words)}</text>')
        y += 4
        for bar in group:
            parts += _bar(bar, y, at_one, least, most)
            y += BAR + GAP
        y += GROUP_GAP - 4
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(bar: Bar, y: float, at_one: float, least: float, most: float) -> list[str]:
    end = place(bar.ratio.median, least, most)
    low, high = place(bar.ratio.least, least, most), place(bar.ratio.most, least, most)
    left, width, right, middle = min(at_one, end), abs(end - at_one), max(high, end, at_one), y + BAR / 2
    return [
        f'<text x="{LEFT - 8}" y="{y + BAR - 3}" text-anchor="end" fill="#1d2329">{escape(bar.peer)}</text>',
        f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[bar.peer]}"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="#1d2329"/>',
        f'<text x="{right + 6:.1f}" y="{y + BAR - 3}" fill="#1d2329">{short(bar.ratio.median)}x</text>',
    ]
