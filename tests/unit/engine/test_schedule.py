"""Nightly work stays inside the household's window and is spread over the fleet."""

from __future__ import annotations

from datetime import time

from hypothesis import given
from hypothesis import strategies as st

from hearth.inventory.model import Window
from hearth.schedule import DAY_MIN, at, length_min, minutes, spread

times = st.builds(time, st.integers(0, 23), st.integers(0, 59))


@given(times, times, st.text(), st.floats(0.01, 1.0))
def test_the_time_lies_in_its_share_of_the_window_also_across_midnight(
    start: time, end: time, key: str, until: float
) -> None:
    window = Window(start, end)
    offset = (minutes(spread(window, key, until)) - minutes(start)) % DAY_MIN
    assert offset <= length_min(window) * until


def test_households_differ_and_each_keeps_its_minute() -> None:
    window = Window(time(3), time(5))
    chosen = {spread(window, f"household-{number}") for number in range(500)}
    assert len(chosen) == 60
    assert spread(window, "mueller") == spread(window, "mueller")


def test_a_window_across_midnight_has_its_length() -> None:
    assert length_min(Window(time(23, 30), time(1, 30))) == 120
    assert at(Window(time(23, 30), time(1, 30)), 0.75) == time(1, 0)
