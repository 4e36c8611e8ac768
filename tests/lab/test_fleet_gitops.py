"""``hearth gitops`` on real hosts: a signed merge reaches its box through the relay, and the night repairs.

The refusals one by one are in tests/unit/fleet/test_gitops_command.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.boxes import MUELLER, RELAY, Operator
from tests.lab.fleets import changes, states
from tests.lab.signed import Signed, a_repository

pytestmark = pytest.mark.lab

SITE = "/etc/apache2/sites-enabled/hearth.conf"
LIMIT = "/etc/php/8.4/fpm/pool.d"


@pytest.fixture(scope="module")
def signed(home: Operator, tmp_path_factory: pytest.TempPathFactory) -> Signed:
    """A repository whose first commit has been converged."""
    made = a_repository(home, tmp_path_factory.mktemp("gitops"))
    first = made.gitops()
    assert first.returncode == 0, f"{first.stdout}\n{first.stderr}\n{made.fleet.logs()}"
    assert states(made.fleet.record()) == {RELAY: "converged", MUELLER: "converged"}
    return made


def drift(signed: Signed) -> None:
    """Somebody edits a file on the box."""
    signed.fleet.lab.exec(MUELLER, ["sh", "-c", f"echo '# by hand' >>{SITE}"])


def test_a_signed_merge_is_converged_on_the_box_that_it_changed_through_the_relay(signed: Signed) -> None:
    fleet = signed.fleet
    before = fleet.logins(RELAY)
    signed.git("switch", "--quiet", "--create", "topic")
    fleet.edit("households/mueller.yaml", "upload_limit: 3000M", "upload_limit: 3072M")
    signed.git("commit", "--quiet", "--all", "--message", "Nobody signs a topic branch", signer=None)
    signed.git("switch", "--quiet", "main")
    commit = signed.push("merge", "--quiet", "--no-ff", "--message", "Merge topic", "topic")
    run = signed.gitops()
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}\n{fleet.logs()}"
    record = fleet.record()
    assert states(record) == {MUELLER: "converged"}
    origin = record.begin.origin
    assert (record.begin.selection, origin.commit, origin.signer) == ("changed", commit, "anna@home.example")
    assert (record.hosts[MUELLER].intended > 0, record.hosts[MUELLER].corrective) == (True, 0)
    assert f"= {3072 * 1024 * 1024}\n" in fleet.lab.exec(MUELLER, ["sh", "-c", f"cat {LIMIT}/*.conf"]).stdout
    assert fleet.logins(RELAY)[RELAY] > before[RELAY], "the way to the box goes through the relay"
    again = signed.gitops()
    assert (again.returncode, "there is nothing to do" in again.stdout) == (0, True)
    assert fleet.record().path == record.path


def test_the_night_repairs_what_somebody_changed_and_calls_it_drift(signed: Signed) -> None:
    drift(signed)
    run = signed.gitops("--drift")
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}\n{signed.fleet.logs()}"
    record = signed.fleet.record()
    assert (record.begin.kind, record.begin.selection) == ("drift", "all")
    assert states(record) == {RELAY: "converged", MUELLER: "converged"}
    assert (record.hosts[MUELLER].corrective, record.hosts[MUELLER].intended) == (1, 0)
    assert changes(record)[RELAY] == []
    assert "by hand" not in signed.fleet.lab.exec(MUELLER, ["cat", SITE]).stdout


def test_what_nobody_signed_was_rewritten_or_cannot_be_read_reaches_no_host_not_even_at_night(
    signed: Signed, tmp_path: Path
) -> None:
    fleet = signed.fleet
    good = fleet.git("rev-parse", "HEAD")
    drift(signed)
    logins, records = fleet.logins(RELAY, MUELLER), fleet.records()

    def refused(words: str) -> None:
        for arguments in ((), ("--drift",)):
            run = signed.gitops(*arguments)
            assert (run.returncode, words in run.stderr) == (1, True), run.stdout + run.stderr
        fleet.git("reset", "--quiet", "--hard", good)

    fleet.edit("households/mueller.yaml", "upload_limit: 3072M", "upload_limit: 1G")
    signed.push(signer="mallory")
    refused("is not signed by anybody whom")
    fleet.git("reset", "--quiet", "--hard", "HEAD~2")
    signed.push()
    refused("was rewritten and does not come after")
    fleet.edit("households/mueller.yaml", "slot: 17", "slot: seventeen")
    signed.push()
    refused("households/mueller.yaml:")
    assert fleet.logins(RELAY, MUELLER) == logins
    assert fleet.records() == records
    assert "by hand" in fleet.lab.exec(MUELLER, ["cat", SITE]).stdout
