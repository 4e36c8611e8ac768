"""``hearth gitops``: what a push does, and what it does not, against a real repository with signed commits."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from hearth.fleet.records import paths, runs_folder
from tests.unit.fleet.command import wait_for
from tests.unit.fleet.repository import Fleet, a_repository

pytestmark = pytest.mark.slow

RELAY = "relay1"
BOXES = [f"box-h{number}" for number in range(6)]
ALL = [RELAY, *BOXES]


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet after its first run, with its state beside it; tests take a copy."""
    folder = tmp_path_factory.mktemp("first-day")
    fleet = a_repository(folder)
    first = fleet.gitops(XDG_STATE_HOME=str(folder / "state"))
    assert first.returncode == 0, first.stdout + first.stderr
    assert sorted(fleet.visited()) == sorted(ALL)
    return fleet


@pytest.fixture
def converged(first_day: Fleet, tmp_path: Path) -> Fleet:
    """A fleet after its first run."""
    shutil.copytree(first_day.folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    return first_day.at(tmp_path)


def nothing_happened(fleet: Fleet, commit: str, run: subprocess.CompletedProcess[str]) -> None:
    """The run was refused, no host was gone to, and ``commit`` is still what is checked out."""
    assert run.returncode == 1, run.stdout + run.stderr
    assert fleet.visited() == []
    assert len(paths(runs_folder("example"))) == 1
    assert fleet.checked_out() == commit


def test_a_signed_merge_converges_what_it_changed_and_the_record_names_commit_and_signer(converged: Fleet) -> None:
    fleet = converged
    fleet.git("switch", "--quiet", "--create", "topic")
    fleet.resize("h3")
    fleet.commit("A branch's commits need no signature", signer=None)
    fleet.git("switch", "--quiet", "main")
    fleet.git("merge", "--quiet", "--no-ff", "--message", "Merge topic", "topic")
    commit = fleet.push("And a last word")
    run = fleet.gitops()
    assert run.returncode == 0, run.stdout + run.stderr
    assert f'main is at {commit[:12]} "And a last word", signed by anna@home.example (SHA256:' in run.stdout
    assert fleet.visited() == ["box-h3"]
    assert fleet.checked_out() == commit
    begin = fleet.operator.record().begin
    assert (begin.origin.commit, begin.origin.dirty, begin.origin.signer) == (commit, False, "anna@home.example")
    assert (begin.kind, begin.selection) == ("converge", "changed")
    again = fleet.gitops()
    assert (again.returncode, fleet.visited()) == (0, [])
    assert "That is converged already: there is nothing to do." in again.stdout


def test_a_commit_that_nobody_has_signed_changes_nothing_and_says_so(converged: Fleet) -> None:
    before = converged.checked_out()
    converged.resize("h3")
    commit = converged.push("Give me access", signer=None)
    run = converged.gitops()
    nothing_happened(converged, before, run)
    assert f'{commit[:12]} "Give me access" is not signed by anybody whom' in run.stderr
    nothing_happened(converged, before, converged.gitops("--drift"))


def test_a_signature_by_somebody_else_counts_for_nothing(converged: Fleet) -> None:
    before = converged.checked_out()
    converged.resize("h3")
    converged.push("Give me access", signer="mallory")
    assert '"Give me access" is not signed by anybody whom' in converged.refusal()
    assert converged.checked_out() == before


def test_a_signed_commit_on_top_of_an_unsigned_one_does_not_let_it_in(converged: Fleet) -> None:
    before = converged.checked_out()
    converged.resize("h3")
    smuggled = converged.push("Smuggled", signer=None)
    converged.push("Harmless")
    assert f'{smuggled[:12]} "Smuggled" is not signed' in converged.refusal()
    converged.git("reset", "--hard", "--quiet", before)
    taken_back = converged.push("As if it had never been")
    assert converged.gitops().returncode == 0, "taking it back is a fast-forward from what was converged"
    assert converged.checked_out() == taken_back


def test_the_accounts_own_git_configuration_lets_nobody_in(
    converged: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converged.push("Give me access", signer="mallory")
    mine, good = tmp_path / "mine", tmp_path / "always-good"
    kind, key = (tmp_path / "mallory.pub").read_text().split()[:2]
    mine.write_text(f"anna@home.example {kind} {key}\n")
    good.write_text("#!/bin/sh\ncat > /dev/null\necho '[GNUPG:] GOODSIG 0123456789ABCDEF Mallory'\n")
    good.chmod(0o755)
    settings = {"gpg.ssh.allowedSignersFile": mine, "gpg.ssh.program": good, "gpg.program": good}
    for number, (name, value) in enumerate(settings.items()):
        subprocess.run(["git", "config", "--file", str(tmp_path / ".gitconfig"), name, str(value)], check=True)
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", str(value))
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert '"Give me access" is not signed by anybody whom' in converged.refusal()


def test_a_signature_by_openpgp_counts_for_nothing_whatever_the_accounts_keyring_says(
    converged: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "gpg").write_text(
        "#!/bin/sh\ncat > /dev/null\n"
        "printf '[GNUPG:] %s\\n' NEWSIG 'GOODSIG 0123456789ABCDEF Mallory' 'TRUST_ULTIMATE 0 pgp'\n"
    )
    (folder / "gpg").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    tree = converged.git("rev-parse", "HEAD^{tree}")
    who = "Mallory <mallory@home.example> 1700000000 +0000"
    signature = "-----BEGIN PGP SIGNATURE-----\n \n iHUEABYK\n -----END PGP SIGNATURE-----"
    parent = converged.checked_out()
    raw = f"tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\ngpgsig {signature}\n\nGive me access\n"
    file = tmp_path / "commit"
    file.write_text(raw)
    commit = converged.git("hash-object", "-t", "commit", "-w", str(file))
    converged.git("verify-commit", commit)
    converged.git("push", "--force", "--quiet", str(converged.bare), f"{commit}:refs/heads/main")
    assert '"Give me access" is not signed by anybody whom' in converged.refusal()


def test_a_rewritten_history_changes_nothing_and_says_so(converged: Fleet) -> None:
    first = converged.checked_out()
    second = converged.push("Second")
    assert converged.gitops().returncode == 0
    converged.git("reset", "--hard", "--quiet", first)
    converged.resize("h3")
    rewritten = converged.push("Another second")
    run = converged.gitops()
    assert (run.returncode, converged.visited(), converged.checked_out()) == (1, [], second)
    assert (
        f"main was rewritten and does not come after the commit that was converged last ({second[:12]})" in run.stderr
    )
    assert f'{rewritten[:12]} "Another second" is not taken, nothing was changed' in run.stderr
    converged.git("push", "--force", "--quiet", str(converged.bare), f"{first}:refs/heads/main")
    back = converged.gitops("--drift")
    assert (back.returncode, converged.visited(), converged.checked_out()) == (1, [], second)
    assert f"main went back behind the commit that was converged last ({second[:12]})" in back.stderr


def test_an_inventory_with_faults_changes_nothing_and_names_them(converged: Fleet) -> None:
    before = converged.checked_out()
    file = converged.inventory / "households/h1.yaml"
    file.write_text(file.read_text().replace("slot: 2", "slot: 1"))
    converged.push()
    run = converged.gitops()
    nothing_happened(converged, before, run)
    assert "inventory/households/h1.yaml:" in run.stderr
    assert "slot 1 is already taken" in run.stderr


@pytest.mark.parametrize("break_it", ["unreadable", "gone", "link"])
def test_an_inventory_that_cannot_be_read_is_never_a_fleet_without_households(converged: Fleet, break_it: str) -> None:
    before = converged.checked_out()
    fleet_file = converged.inventory / "fleet.yaml"
    if break_it == "unreadable":
        fleet_file.write_text("zone: [")
    elif break_it == "gone":
        converged.git("mv", "inventory", "elsewhere")
    else:
        converged.git("mv", "inventory/households", "households")
        (converged.inventory / "households").symlink_to("../households")
    converged.push()
    assert "has an inventory with faults; nothing was changed" in converged.refusal()
    assert converged.checked_out() == before


def test_more_removals_than_allowed_touch_nobody_until_they_are_allowed(converged: Fleet) -> None:
    for name in ("h4", "h5"):
        (converged.inventory / f"households/{name}.yaml").unlink()
    converged.push("They have moved")
    run = converged.gitops()
    assert (run.returncode, converged.visited()) == (1, [])
    assert "2 of 6 households are gone from the inventory (h4, h5), and --max-removals is 1" in run.stderr
    allowed = converged.gitops("--max-removals", "2")
    assert allowed.returncode == 0, allowed.stderr
    removed = [line for line in allowed.stdout.splitlines() if "loses its route" in line]
    assert [line.split()[1] for line in removed] == ["h4", "h5"]
    assert converged.visited() == [RELAY]
    assert "Removed" not in converged.gitops("--drift").stdout


def test_two_runs_at_once_the_second_leaves_or_waits_and_says_so(converged: Fleet) -> None:
    converged.resize("h3")
    converged.push()
    converged.operator.does("box-h3", "wait")
    first = converged.start()
    wait_for(lambda: ("begin", "box-h3") in converged.operator.log(), "the box")
    second = converged.gitops()
    assert second.returncode == 1
    assert f"(process {first.pid}): wait until that run has ended" in second.stderr
    third = converged.start("--wait", "60")
    assert third.stdout is not None
    assert f"(process {first.pid})" in third.stdout.readline()
    converged.operator.let_go("box-h3")
    first.communicate(timeout=60)
    stdout, stderr = third.communicate(timeout=60)
    assert (first.returncode, third.returncode) == (0, 0), stderr
    assert "there is nothing to do" in stdout
    assert converged.visited() == ["box-h3"]


def test_an_operators_own_converge_keeps_gitops_away(converged: Fleet) -> None:
    converged.operator.does("box-h0", "wait")
    tree = converged.checkout / "tree/inventory"
    first = converged.operator.start("--yes", "--no-gate", "--limit", "h0", "--inventory", str(tree))
    wait_for(lambda: ("begin", "box-h0") in converged.operator.log(), "the box")
    second = converged.gitops("--drift")
    assert second.returncode == 1
    assert f"(process {first.pid})" in second.stderr
    converged.operator.let_go("box-h0")
    first.communicate(timeout=60)
    assert converged.gitops("--drift").returncode == 0


def test_a_crash_in_the_run_is_finished_by_the_next_one(converged: Fleet) -> None:
    for name in ("h1", "h2", "h3"):
        converged.resize(name)
    commit = converged.push()
    converged.operator.does("box-h2", "wait")
    process = converged.start("--parallel", "1", "--waves", "1,2,100%")
    wait_for(lambda: ("begin", "box-h2") in converged.operator.log(), "the second box")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert converged.visited() == ["box-h1", "box-h2"]
    converged.operator.does("box-h2")
    run = converged.gitops()
    assert run.returncode == 0, run.stdout + run.stderr
    assert sorted(converged.visited()) == ["box-h2", "box-h3"]
    assert converged.checked_out() == commit


def test_a_host_left_half_way_is_gone_to_though_its_change_was_taken_back(converged: Fleet) -> None:
    before = converged.git("rev-parse", "HEAD")
    converged.resize("h2")
    converged.push()
    converged.operator.does("box-h2", "wait")
    process = converged.start()
    wait_for(lambda: ("begin", "box-h2") in converged.operator.log(), "the box")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    converged.visited()
    converged.operator.does("box-h2")
    converged.git("revert", "--no-edit", f"{before}..HEAD")
    converged.push("Take it back")
    assert converged.gitops().returncode == 0
    assert converged.visited() == ["box-h2"]


def test_a_crash_after_the_check_out_is_finished_by_the_next_run(converged: Fleet) -> None:
    converged.resize("h2")
    commit = converged.push()
    tree = converged.checkout / "tree"
    subprocess.run(["git", "-C", str(tree), "fetch", "--quiet", str(converged.bare), "main"], check=True)
    subprocess.run(["git", "-C", str(tree), "checkout", "--quiet", "--detach", commit], check=True)
    (tree / ".git/index.lock").touch()
    (tree / "inventory/households/left-over.yaml").write_text("half writ")
    run = converged.gitops()
    assert run.returncode == 0, run.stdout + run.stderr
    assert converged.visited() == ["box-h2"]


def test_nothing_of_the_repository_runs(converged: Fleet, tmp_path: Path) -> None:
    fleet, ran = converged, tmp_path / "ran"
    fleet.resize("h3")
    hook = f"#!/bin/sh\ncat > /dev/null\necho $0 >> {ran}\n"
    for folder in (fleet.work / "hooks", fleet.bare / "hooks", fleet.checkout / "tree/.git/hooks"):
        folder.mkdir(exist_ok=True)
        for name in ("post-checkout", "post-merge", "reference-transaction", "post-index-change", "fsmonitor-watchman"):
            (folder / name).write_text(hook)
            (folder / name).chmod(0o755)
    subprocess.run(
        ["git", "-C", str(fleet.checkout / "tree"), "config", "filter.run.smudge", f"touch {ran}"], check=True
    )
    (fleet.work / ".gitattributes").write_text("* filter=run eol=crlf ident\n")
    (fleet.work / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = x\n\turl = {fleet.bare}\n')
    fleet.git("update-index", "--add", "--cacheinfo", f"160000,{fleet.checked_out()},x")
    (fleet.inventory / "passwd").symlink_to("/etc/passwd")
    commit = fleet.push()
    ran.unlink(missing_ok=True)
    run = fleet.gitops()
    assert run.returncode == 0, run.stdout + run.stderr
    assert fleet.checked_out() == commit
    assert not ran.exists(), ran.read_text()
    assert not (fleet.checkout / "tree/inventory/passwd").is_symlink()
    fleet_file = fleet.checkout / "tree/inventory/fleet.yaml"
    assert b"\r" not in fleet_file.read_bytes()
    assert fleet.visited() == ["box-h3"]
    assert not fleet.operator.record().begin.origin.dirty


def test_the_drift_run_goes_to_all_and_is_recorded_as_one(converged: Fleet) -> None:
    converged.operator.does("box-h4", "drift")
    run = converged.gitops("--drift")
    assert run.returncode == 0, run.stdout + run.stderr
    assert sorted(converged.visited()) == sorted(ALL)
    record = converged.operator.record()
    assert (record.begin.kind, record.begin.selection) == ("drift", "all")
    assert Counter({host: end.corrective for host, end in record.hosts.items()})["box-h4"] == 1


def test_a_stopped_run_is_told_and_left_alone_until_the_next_commit(converged: Fleet) -> None:
    converged.resize("h3")
    converged.resize("h4")
    converged.push()
    converged.operator.does("box-h3", "fail")
    stopped = converged.gitops()
    assert (stopped.returncode, converged.visited()) == (3, ["box-h3"]), stopped.stdout
    again = converged.gitops()
    assert (again.returncode, converged.visited()) == (0, [])
    assert "The run of that commit is over, with box-h3 failed, box-h4 waiting." in again.stdout
    converged.operator.does("box-h3")
    converged.push("Mended")
    assert converged.gitops().returncode == 0
    assert converged.visited() == ["box-h3", "box-h4"]


def test_a_box_that_was_away_is_tried_again_after_an_hour(converged: Fleet, state: Path) -> None:
    converged.resize("h3")
    converged.push()
    converged.operator.does("box-h3", "away")
    assert converged.gitops().returncode == 4
    converged.operator.does("box-h3")
    assert (converged.gitops().returncode, converged.visited()) == (0, [])
    file = state / "hearth/example/gitops.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told | {"tried": told["tried"] - 3601}))
    assert (converged.gitops().returncode, converged.visited()) == (0, ["box-h3"])


def test_a_dry_run_says_what_would_be_done_and_does_nothing(converged: Fleet) -> None:
    before = converged.checked_out()
    converged.resize("h3")
    converged.push()
    run = converged.gitops("--dry-run")
    assert run.returncode == 0, run.stderr
    assert "Converge 1 host, wave by wave:\n  1. box-h3\n" in run.stdout
    assert (converged.visited(), converged.checked_out()) == ([], before)


def test_this_machines_own_file_comes_from_outside_the_repository(converged: Fleet, tmp_path: Path) -> None:
    local = tmp_path / "runner.yaml"
    local.write_text("operator: {name: nobody}\n")
    wrong = converged.gitops("--local", str(local))
    assert wrong.returncode == 1
    assert 'runner.yaml:1:18: fleet.yaml has no operator "nobody"' in wrong.stderr
    local.write_text("operator: {name: anna}\n")
    assert converged.gitops("--local", str(local), "--drift").returncode == 0
    assert not converged.operator.record().begin.origin.dirty
    (converged.inventory / "local.yaml").write_text("operator: {name: anna}\n")
    converged.push()
    committed = converged.gitops("--local", str(local))
    assert committed.returncode == 1
    assert "holds inventory/local.yaml, which belongs to one machine" in committed.stderr


def test_a_refusal_of_what_was_typed_is_one_sentence(converged: Fleet) -> None:
    run = converged.gitops("--branch", "other")
    assert (run.returncode, converged.visited()) == (1, [])
    assert run.stderr.startswith("cannot fetch other of ")
    assert run.stderr.count("\n") == 1


def test_another_fleets_name_is_refused(converged: Fleet) -> None:
    before = converged.checked_out()
    file = converged.inventory / "fleet.yaml"
    file.write_text(file.read_text().replace("name: example", "name: another", 1))
    converged.push()
    assert 'calls its fleet "another", and so far it was "example"' in converged.refusal()
    assert converged.checked_out() == before
