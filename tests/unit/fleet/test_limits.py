"""Waves and budgets: numbers and shares, and what they come to in fleets of any size."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.fleet.limits import Limit, LimitError, parse_limit, parse_waves, spent, waves

LIMITS = st.one_of(
    st.integers(0, 10_000).map(Limit), st.integers(0, 100).map(lambda share: Limit(share, is_share=True))
)


@st.composite
def wave_ends(draw: st.DrawFn) -> str:
    numbers = sorted(draw(st.sets(st.integers(1, 500), max_size=3)))
    shares = sorted(draw(st.sets(st.integers(1, 99), max_size=3)))
    return ",".join([*(str(each) for each in numbers), *(f"{each}%" for each in shares), "100%"])


@given(hosts=st.integers(0, 600), ends=wave_ends())
def test_waves_hold_every_host_once_and_in_order(hosts: int, ends: str) -> None:
    names = [f"h{number}" for number in range(hosts)]
    found = waves(names, parse_waves(ends))
    assert [host for wave in found for host in wave] == names
    assert all(found), "no wave is empty"


@given(hosts=st.integers(1, 5000))
def test_the_first_wave_of_the_default_is_the_canary_alone_and_the_second_a_tenth(hosts: int) -> None:
    found = waves([str(number) for number in range(hosts)], parse_waves("1,10%,100%"))
    assert len(found[0]) == 1
    assert sum(len(wave) for wave in found[:2]) <= max(2, hosts // 10 + 1) or len(found) == 2


def test_two_hundred_boxes_go_in_waves_of_1_19_and_180() -> None:
    assert [len(wave) for wave in waves([str(n) for n in range(200)], parse_waves("1,10%,100%"))] == [1, 19, 180]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,10%", "end it with 100%"),
        ("1,1,100%", "further than the one before"),
        ("50%,10%,100%", "further than the one before"),
        ("0,100%", "further than the one before"),
        ("one,100%", "--waves one is no limit"),
        ("1,101%,100%", "--waves 101% is no limit"),
        ("", "is no limit"),
    ],
)
def test_waves_that_make_no_sense_are_refused_with_a_sentence(text: str, words: str) -> None:
    with pytest.raises(LimitError, match=words):
        parse_waves(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "10 %x", "101%", "ten", "1e3", "٣"])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(LimitError, match="--max-failures"):
        parse_limit(text, "--max-failures")


@given(limit=LIMITS)
def test_a_limit_reads_back_as_it_is_shown(limit: Limit) -> None:
    assert parse_limit(str(limit), "--x") == limit


@given(limit=LIMITS, begun=st.integers(0, 5000))
def test_no_failure_never_spends_a_budget_and_more_failures_never_mend_it(limit: Limit, begun: int) -> None:
    assert not spent(limit, 0, begun)
    states = [spent(limit, failed, begun) for failed in range(min(begun, 200) + 1)]
    assert all(later or not before for before, later in pairwise(states))


@pytest.mark.parametrize(
    ("limit", "failed", "begun", "stops"),
    [("0", 1, 100, True), ("2", 2, 100, False), ("2", 3, 100, True), ("10%", 1, 11, False), ("10%", 2, 11, True)],
)
def test_one_failure_more_than_the_budget_stops(limit: str, failed: int, begun: int, stops: bool) -> None:
    assert spent(parse_limit(limit, "--max-failures"), failed, begun) is stops


def test_without_a_budget_nothing_stops() -> None:
    assert not spent(None, 5000, 5000)
