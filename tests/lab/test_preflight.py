"""A machine that cannot become a box is refused with one sentence, before anything on it is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.boxes import MUELLER, Converge, Operator

pytestmark = pytest.mark.lab

MARK = "/var/tmp/before"
# Every file of the root file system but logs, which hold that the operator came in.
FILES = ["find", "/", "-xdev", "-path", "/var/log", "-prune", "-o", "-newer", MARK, "-type", "f", "-print"]


def installed(box: Operator) -> str:
    return box.lab.exec(MUELLER, ["dpkg-query", "--show"]).stdout


def refused(box: Operator, operator: Operator) -> Converge:
    """Converge and see that it fails and leaves the box as it was."""
    packages = installed(box)
    box.lab.exec(MUELLER, ["sh", "-c", f"sleep 0.1; touch {MARK}; sleep 0.1"])
    run = operator.converge()
    assert run.status != 0
    assert installed(box) == packages
    assert box.lab.exec(MUELLER, FILES).stdout == ""
    return run


def test_a_machine_with_debian_12_is_refused(packaged_box: Operator) -> None:
    older = "rm /etc/os-release; sed 's/^VERSION_ID=.*/VERSION_ID=\"12\"/' /usr/lib/os-release > /etc/os-release"
    packaged_box.lab.exec(MUELLER, ["sh", "-c", older])
    run = refused(packaged_box, packaged_box)
    assert (
        f"{MUELLER} is refused: it runs debian 12, and this kind of host needs Debian 13: install that first"
        in run.output
    )


def test_a_machine_with_too_little_room_is_refused(packaged_box: Operator, tmp_path: Path) -> None:
    greedy = packaged_box.with_fleet(
        tmp_path / "greedy", lambda fleet, household: household["owncloud"].update(room="900000G")
    )
    run = refused(packaged_box, greedy)
    assert f"{MUELLER} is refused: only " in run.output
    assert "the inventory asks for 921600000 MiB: free some, use a larger disk, or lower `room`" in run.output
