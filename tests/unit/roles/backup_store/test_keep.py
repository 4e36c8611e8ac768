"""Which snapshots stay: by when they arrived, whatever they say of themselves, whatever the clock does."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from roles.backup_store.onhost.keep import ALL_S, DAY_S, Ledger, clock_accepted, kept, observed

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC).timestamp()
ARRIVALS = st.dictionaries(
    st.text("abcdef0123456789", min_size=4, max_size=8), st.floats(NOW - 6 * 365 * DAY_S, NOW), max_size=60
)


def daily(days: int) -> dict[str, float]:
    return {f"{day:05d}": NOW - day * DAY_S for day in range(days)}


def test_ten_years_of_daily_backups_come_to_some_hundred_and_the_newest_are_all_there() -> None:
    stay = kept(daily(3650))

    assert {f"{day:05d}" for day in range(31)} <= stay, "each day of the last month"
    assert not {f"{day:05d}" for day in range(5 * 365 + 1, 3650)} & stay, "nothing is older than five years"
    assert 200 < len(stay) < 300


@given(ARRIVALS)
def test_what_has_to_stay_stays(arrivals: dict[str, float]) -> None:
    stay = kept(arrivals)

    newest = max(arrivals.values(), default=0.0)
    assert all(name in stay for name, at in arrivals.items() if newest - at <= ALL_S)
    for range_s, form in ((30 * DAY_S, "%Y-%m-%d"), (365 * DAY_S, "%G-%V"), (5 * 365 * DAY_S, "%Y-%m")):
        inside = {name: at for name, at in arrivals.items() if newest - at <= range_s}
        for period in {f"{datetime.fromtimestamp(at, UTC):{form}}" for at in inside.values()}:
            mine = {at: name for name, at in inside.items() if f"{datetime.fromtimestamp(at, UTC):{form}}" == period}
            assert {arrivals[name] for name in stay} >= {min(mine), max(mine)}, period


@given(ARRIVALS)
def test_forgetting_twice_forgets_no_more(arrivals: dict[str, float]) -> None:
    stay = kept(arrivals)

    assert kept({name: arrivals[name] for name in stay}) == stay


@given(ARRIVALS, st.integers(1, 200))
def test_a_flood_of_snapshots_today_costs_no_earlier_day_its_last(arrivals: dict[str, float], many: int) -> None:
    today = datetime.fromtimestamp(NOW, UTC).date()
    flood = {f"flood{number}": NOW + number for number in range(many)}

    stay = kept({**arrivals, **flood})

    for form, range_s in (("%Y-%m-%d", 29 * DAY_S), ("%Y-%m", 5 * 364 * DAY_S)):
        before = {name: at for name, at in arrivals.items() if datetime.fromtimestamp(at, UTC).date() < today}
        lasts: dict[str, float] = {}
        for at in before.values():
            period = f"{datetime.fromtimestamp(at, UTC):{form}}"
            if NOW + many - at <= range_s and period != f"{today:{form}}":
                lasts[period] = max(lasts.get(period, 0.0), at)
        assert set(lasts.values()) <= {arrivals[name] for name in stay if name in arrivals}


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.floats(0, 4e9), min_size=1),
    st.floats(NOW, NOW + DAY_S),
)
def test_an_arrival_lies_where_the_store_can_vouch_for_it_and_then_stays(files: dict[str, float], now: float) -> None:
    ledger, refusal = observed(Ledger(looked_at=NOW), files, now)
    again, _ = observed(ledger, dict.fromkeys(files, 0.0), now + DAY_S)

    assert refusal is None
    assert all(NOW <= at <= now for at in ledger.arrivals.values())
    assert again.arrivals == ledger.arrivals, "a file with another time later is the same arrival"


def test_nothing_is_forgotten_while_the_clock_is_behind_what_was_written_down() -> None:
    ledger = Ledger({"a": NOW}, NOW)

    same, refusal = observed(ledger, {"a": NOW, "b": NOW}, NOW - 3600)

    assert same == ledger
    assert refusal == "the store's clock went back by 3600 s; set it right, or say accept-clock"


def test_after_a_leap_retention_rests_until_somebody_says_that_the_clock_is_right() -> None:
    leapt, refusal = observed(Ledger({"a": NOW}, NOW), {"a": NOW}, NOW + 3650 * DAY_S)
    later, still = observed(leapt, {"a": NOW}, NOW + 3651 * DAY_S)

    assert refusal is not None and "rests for 30 more days" in refusal
    assert still is not None
    back = clock_accepted(later, NOW + DAY_S)
    assert observed(back, {"a": NOW}, NOW + DAY_S)[1] is None
    assert back.arrivals == {"a": NOW}
