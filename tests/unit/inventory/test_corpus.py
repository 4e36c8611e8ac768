"""Every bad inventory of the corpus gets its sentences, at the exact line, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from hearth.inventory import Fault, load
from tests.unit.inventory.corpus import GOOD, Case, cases, make_fleet


def _told(fault: Fault, folder: Path) -> str:
    return f"{fault.file.relative_to(folder)}:{fault.line} {fault.sentence}"


def test_the_good_fleet_of_the_corpus_has_no_fault() -> None:
    assert load(GOOD).faults == ()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_bad_inventory_gets_exactly_the_expected_faults(case: Case, tmp_path: Path) -> None:
    folder = make_fleet(tmp_path / "fleet", case.files)

    loaded = load(folder)

    assert loaded.fleet is None
    told = [_told(fault, folder) for fault in loaded.faults]
    places = sorted((str(fault.file.relative_to(folder)), fault.line) for fault in loaded.faults)
    assert places == sorted((file, line) for file, line, _ in case.expected), told
    for file, line, fragment in case.expected:
        assert any(one.startswith(f"{file}:{line} ") and fragment in one for one in told), (fragment, told)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_no_sentence_shows_a_secret(case: Case, tmp_path: Path) -> None:
    loaded = load(make_fleet(tmp_path / "fleet", case.files))

    told = "\n".join(str(fault) for fault in loaded.faults)

    for secret in ("hunter2", "b3BlbnNzaC1r", "uX9kLq2m", "AKIAIOSF", "q7Jx0vTz", "60303ae22b9988"):
        assert secret not in told
