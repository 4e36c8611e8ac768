"""A slot rests for ninety days: the day that counts, and what is offered instead."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from hearth.inventory import load
from hearth.inventory.retired import REST_DAYS, day_of


def retire(folder: Path, slot: int, since: str) -> None:
    fleet = folder / "fleet.yaml"
    fleet.write_text(f"{fleet.read_text()}\nretired:\n  - slot: {slot}\n    since: {since}\n")


@pytest.mark.parametrize(("today", "rests"), [("2026-02-01", True), ("2026-05-01", True), ("2026-05-02", False)])
def test_a_slot_is_free_again_on_the_ninetieth_day(
    fleet_folder: Path, monkeypatch: pytest.MonkeyPatch, today: str, rests: bool
) -> None:
    class Today(date):
        @classmethod
        def today(cls) -> date:
            return date.fromisoformat(today)

    monkeypatch.setattr("hearth.inventory.retired.date", Today)
    retire(fleet_folder, 18, "2026-02-01")
    assert REST_DAYS == 90
    assert (load(fleet_folder).fleet is None) == rests


def test_a_slot_at_rest_is_not_offered_as_the_lowest_free_one(fleet_folder: Path) -> None:
    retire(fleet_folder, 1, "2026-02-01")
    schmidt = fleet_folder / "households/schmidt.yaml"
    schmidt.write_text(schmidt.read_text().replace("slot: 18", "slot: 17"))
    assert any("the lowest free slot is 2" in fault.sentence for fault in load(fleet_folder).faults)


def test_the_retired_and_the_canary_are_in_the_fleet(fleet_folder: Path) -> None:
    retire(fleet_folder, 99, "2026-02-01")
    fleet_file = fleet_folder / "fleet.yaml"
    fleet_file.write_text(f"canary: schmidt\n{fleet_file.read_text()}")
    fleet = load(fleet_folder).fleet
    assert fleet is not None
    assert fleet.canary == "schmidt"
    assert [(each.slot, each.since) for each in fleet.retired] == [(99, date(2026, 2, 1))]


@pytest.mark.parametrize("text", ["2026-02-30", "soon", "", None, 20260201, "2026-13-01"])
def test_what_is_no_day_is_none(text: object) -> None:
    assert day_of(text) is None
