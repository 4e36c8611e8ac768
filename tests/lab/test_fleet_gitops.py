"""``hearth gitops`` on real hosts: a signed merge reaches its box through the relay, and the night repairs.

First typed by the operator, then by systemd on a machine of its own that was made as docs/gitops.md says.

The refusals one by one are in tests/unit/fleet/test_gitops_command.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.boxes import MUELLER, RELAY, VISITOR, Operator, wait_for
from tests.lab.clouds import interpose, remove_interposed
from tests.lab.fleets import changes, states
from tests.lab.runners import BARE, DRIFT, GITOPS, HEARTH, STATE, Runner, a_runner
from tests.lab.signed import Signed, a_repository

pytestmark = pytest.mark.lab

SITE = "/etc/apache2/sites-enabled/hearth.conf"
LIMIT = "/etc/php/8.4/fpm/pool.d"
PYTHON = "/usr/bin/python3"


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


def in_work(runner: Runner) -> bool:
    """Whether a command of a converge waits on the relay."""
    return runner.lab.exec(RELAY, ["pgrep", "-f", f"^/bin/sh {PYTHON} -ISB"], check=False).returncode == 0


@pytest.fixture(scope="module")
def runner(signed: Signed, start: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A machine with the units, whose service has converged the first commit that it saw."""
    start(VISITOR)
    made = a_runner(signed, tmp_path_factory.mktemp("runner"))
    status, told = made.start()
    assert status == 0, told
    return made


def test_the_service_converges_what_is_signed_from_within_its_sandbox(runner: Runner) -> None:
    first = runner.record()
    assert states(first) == {RELAY: "converged", MUELLER: "converged"}
    assert (first.begin.origin.who, first.begin.origin.signer) == (f"hearth@{runner.host}", "anna@home.example")
    fleet = runner.signed.fleet
    fleet.edit("households/mueller.yaml", "upload_limit: 3072M", "upload_limit: 2048M")
    commit = runner.push()
    status, told = runner.start()
    assert (status, f"main is at {commit[:12]}" in told, "1 host: 1 converged" in told) == (0, True, True), told
    assert (runner.record().begin.origin.commit, states(runner.record())) == (commit, {MUELLER: "converged"})
    assert f"= {2048 * 1024 * 1024}\n" in fleet.lab.exec(MUELLER, ["sh", "-c", f"cat {LIMIT}/*.conf"]).stdout
    status, told = runner.start()
    assert (status, "there is nothing to do" in told) == (0, True), told
    elsewhere = "find / -xdev '(' -path /proc -o -path {0} ')' -prune -o '(' -user hearth -o -group hearth ')' -print"
    found = runner.sh(elsewhere.format(STATE)).splitlines()
    assert {Path(path).parts[:3] for path in found} == {("/", "etc", "hearth")}, "it owns nothing, and writes nowhere"


def test_what_nobody_signed_fails_the_services_and_the_timer_goes_on_trying(runner: Runner) -> None:
    fleet = runner.signed.fleet
    good = fleet.git("rev-parse", "HEAD")
    fleet.edit("households/mueller.yaml", "upload_limit: 2048M", "upload_limit: 1G")
    runner.push(signer=None)
    logins, records = fleet.logins(RELAY, MUELLER), runner.records()
    for unit in (GITOPS, DRIFT):
        status, told = runner.start(unit)
        assert (status, "is not signed by anybody whom" in told) == (1, True), told
        assert runner.shown(unit, "ActiveState", "Result", "ExecMainStatus") == ["failed", "exit-code", "1"]
    since = runner.here()
    runner.drop_in("hearth-gitops.timer", "[Timer]\nOnUnitInactiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=1ms\n")
    runner.sh("systemctl enable --now hearth-gitops.timer")
    wait_for(lambda: runner.journal(since).count("is not signed by anybody whom") > 1, 120, "the timer's second time")
    assert (fleet.logins(RELAY, MUELLER), runner.records()) == (logins, records)
    fleet.git("reset", "--quiet", "--hard", good)
    commit = runner.push()
    wait_for(lambda: f"main is at {commit[:12]}" in runner.journal(since), 120, "the timer to see the signed commit")
    runner.sh("systemctl disable --now hearth-gitops.timer")
    wait_for(lambda: runner.shown(GITOPS, "ActiveState") == ["inactive"], 120, "the last run to end well")


def test_a_night_that_the_machine_was_off_is_made_up_for_by_the_timer(runner: Runner) -> None:
    drift(runner.signed)
    runner.drop_in("hearth-drift.timer", "[Timer]\nRandomizedDelaySec=0\n")
    before = len(runner.records())
    stamps = "/var/lib/systemd/timers"
    runner.sh(f"install -d {stamps}; touch -d '2 days ago' {stamps}/stamp-hearth-drift.timer")
    runner.sh("systemctl enable --now hearth-drift.timer")
    wait_for(lambda: len(runner.records()) > before, 120, "the nightly run")
    wait_for(lambda: runner.shown(DRIFT, "ActiveState") == ["inactive"], 120, "its end")
    runner.sh("systemctl disable --now hearth-drift.timer")
    record = runner.record()
    assert (record.begin.kind, states(record)) == ("drift", {RELAY: "converged", MUELLER: "converged"})
    assert (record.hosts[MUELLER].corrective, record.hosts[MUELLER].intended) == (1, 0)
    assert "by hand" not in runner.lab.exec(MUELLER, ["cat", SITE]).stdout


def test_a_service_that_is_stopped_lets_the_host_in_work_end_and_has_not_failed(runner: Runner) -> None:
    relay, since = replace(runner.signed.fleet.operator, host=RELAY), runner.here()
    runner.lab.exec(RELAY, ["touch", "/run/hold"])
    interpose(relay, PYTHON, 'while test -e /run/hold; do sleep 0.1; done; exec "$real" "$@"')
    try:
        runner.sh(f"systemctl start --no-block {DRIFT}")
        wait_for(lambda: in_work(runner), 120, "the relay to be in work")
        runner.sh(f"systemctl stop --no-block {DRIFT}")
        wait_for(lambda: "Stopping: no further host is begun" in runner.journal(since, DRIFT), 60, "hearth to be told")
        assert runner.shown(DRIFT, "ActiveState") == ["deactivating"]
    finally:
        runner.lab.exec(RELAY, ["rm", "/run/hold"])
        wait_for(lambda: runner.shown(DRIFT, "ActiveState") != ["deactivating"], 120, "the end")
        remove_interposed(relay, PYTHON)
    # Of a unit that has not failed, systemd keeps no more than this.
    assert runner.shown(DRIFT, "ActiveState") == ["inactive"]
    assert "Failed with result" not in runner.journal(since, DRIFT)
    assert states(runner.record()) == {RELAY: "converged", MUELLER: "waiting"}


def test_a_repository_on_the_machine_that_is_another_accounts_is_refused_with_a_way_out(runner: Runner) -> None:
    who = f"--signers /etc/hearth/allowed_signers --repository {BARE} --checkout {STATE}/other --dry-run"
    command = ["su", "--shell=/bin/sh", "--command", f"{HEARTH}/.venv/bin/hearth gitops {who}", "hearth"]
    run = runner.lab.exec(runner.host, command, check=False)
    assert (run.returncode, "belongs to another account" in run.stderr, "git config" in run.stderr) == (1, True, False)
