"""What is kept of a drill, and what the status makes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hearth.fleet import drills, status_text
from hearth.fleet.desired import all_hosts
from hearth.fleet.records import fleet_folder
from hearth.fleet.status import Answer, History, Status, status
from tests.unit.fleet.fleets import a_fleet

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def told(answers: dict[str, Answer] | None = None, drilled: dict[str, datetime] | None = None) -> Status:
    fleet = a_fleet(2)
    return status(fleet, all_hosts(fleet).values(), History({}, ()), AT, 30, answers, drilled)


def test_the_last_drill_of_each_household_is_kept_and_what_cannot_be_read_is_none() -> None:
    assert drills.last("example") == {}
    drills.write("example", "mueller", {"repository_bytes": 5}, AT - timedelta(days=9))
    drills.write("example", "mueller", {"repository_bytes": 6}, AT)
    drills.write("other", "schmidt", {}, AT)
    (fleet_folder("example") / "drills/weber.json").write_text("{")
    assert drills.last("example") == {"mueller": AT}


def test_the_status_tells_a_drill_without_asking_a_host() -> None:
    assert "PROVEN" not in next(status_text.lines(told()))
    lines = {
        line.split()[0]: line for line in status_text.lines(told(drilled={"h001": AT - timedelta(days=3)})) if line
    }
    assert "PROVEN" in lines["HOST"]
    assert " 3 d " in lines["box-h001"]
    assert " 3 d " not in lines["box-h000"] + lines["relay1"]


def test_of_a_drill_and_the_boxs_own_proof_the_later_counts() -> None:
    answer = Answer(AT, verdict="good", proven_at=AT - timedelta(days=5))
    (row,) = (each for each in told({"box-h000": answer}).rows if each.host == "box-h000")
    assert row.proven_at == AT - timedelta(days=5)
    assert replace(row, drilled_at=AT - timedelta(days=9)).proven_at == AT - timedelta(days=5)
    assert replace(row, drilled_at=AT - timedelta(days=1)).proven_at == AT - timedelta(days=1)
    assert replace(row, answer=None, drilled_at=AT).proven_at == AT
