"""Rules about who goes first and which slots rest: fleet.yaml's ``canary`` and ``retired``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from hearth.inventory.documents import Documents, Found, find, first
from hearth.inventory.faults import Fault, quoted, suggestion
from hearth.inventory.marks import MarkedDict

# As long as a certificate of the fleet's own authority lasts by default: then nothing is valid any more that the box
# of the household before was given, and whoever still had its address in a script or a cache has noticed.
REST_DAYS = 90


def retired_faults(documents: Documents, today: date | None = None) -> Iterator[Fault]:
    """Yield the faults of the canary and of slots that rest. ``today``: the date that counts, by default this day."""
    yield from _canary(documents)
    retired = dict(_retired(documents))
    for found in (slot for household in documents.households for slot in find(household, "slot", int)):
        rest = retired.get(found.value)
        if rest is None:
            continue
        until = rest.value + timedelta(days=REST_DAYS)
        if (today or date.today()) < until:
            yield found.fault(
                f"slot {found.value} was another household's and rests until {until} ({rest.at}); choose another one"
            )
    yield from _twice_or_never(documents)


def _canary(documents: Documents) -> Iterator[Fault]:
    canary = first(documents.fleet, "canary", str)
    if canary and canary.value not in documents.household_names:
        hint = suggestion(canary.value, documents.household_names)
        yield canary.fault(f"there is no household {quoted(canary.value)} to go first{hint}")


def _retired(documents: Documents) -> Iterator[tuple[int, Found[date]]]:
    """The slots that rest, each with the day since when and its place; entries that break the schema left out."""
    for entry in find(documents.fleet, "retired.*", MarkedDict):
        slot, since = entry.value.get("slot"), entry.value.get("since")
        day = day_of(since)
        if isinstance(slot, int) and day is not None:
            yield slot, Found(day, entry.document, entry.value.values_at["slot"])


def _twice_or_never(documents: Documents) -> Iterator[Fault]:
    seen: dict[int, Found[int]] = {}
    for found in find(documents.fleet, "retired.*.slot", int):
        other = seen.setdefault(found.value, found)
        if other is not found:
            yield found.fault(f"slot {found.value} is retired already ({other.at}); keep the later date alone")
    for since in find(documents.fleet, "retired.*.since", str):
        if day_of(since.value) is None:
            yield since.fault(f"{quoted(since.value)} is no day; write it as 2026-11-23")


def day_of(text: object) -> date | None:
    """Given ``2026-11-23``, return the date, or None when there is no such day."""
    try:
        return date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
