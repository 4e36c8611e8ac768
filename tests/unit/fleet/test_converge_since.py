"""``hearth converge --since REV``: only the hosts that a change since a revision touches, and what it refuses."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.fleet.command import Operator, an_operator

pytestmark = pytest.mark.slow

RELAY = "relay1"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """An operator whose inventory is in git, and whose fleet is converged."""
    made = an_operator(tmp_path)
    git(made, "init", "--quiet")
    commit(made)
    assert made.converge().returncode == 0
    (made.folder / "log").unlink()
    return made


def git(operator: Operator, *arguments: str) -> str:
    who = ("-c", "user.name=anna", "-c", "user.email=anna@home.example", "-c", "commit.gpgSign=false")
    command = ["git", "-C", str(operator.inventory), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(operator: Operator) -> str:
    git(operator, "add", "--all")
    git(operator, "commit", "--quiet", "--allow-empty", "--message", "x")
    return git(operator, "rev-parse", "HEAD")


def change(operator: Operator, household: str, line: str = "domain: other.home.example") -> None:
    """Put a line in place of the household's one of the same name."""
    file = operator.inventory / f"households/{household}.yaml"
    text = re.sub(rf"(?m)^( *){line.partition(':')[0]}: .*", rf"\1{line}", file.read_text())
    assert text != file.read_text()
    file.write_text(text)


def test_only_hosts_that_a_change_since_a_revision_touches_are_converged(operator: Operator) -> None:
    before = git(operator, "rev-parse", "HEAD")
    change(operator, "h2")
    commit(operator)
    change(operator, "h4", "upload_limit: 3001M")
    commit(operator)
    run = operator.converge("--since", before)
    assert run.returncode == 0, run.stdout + run.stderr
    assert operator.visits() == {RELAY: 1, "box-h2": 1, "box-h4": 1}
    begin = operator.record().begin
    assert (begin.selection, begin.since, begin.waves) == ("since", before, ((RELAY,), ("box-h2",), ("box-h4",)))
    again = operator.converge("--since", "HEAD")
    assert (again.returncode, again.stdout) == (0, "There is nothing to do.\n")
    narrow = operator.converge("--since", before, "--limit", "boxes")
    assert narrow.returncode == 0
    assert operator.visits() == {RELAY: 1, "box-h2": 2, "box-h4": 2}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "nonsense"], "the inventory's repository has no such revision"),
        (["--since", ""], "the inventory's repository has no such revision"),
        (["--since", "HEAD", "--resume"], "each say which hosts: give one of them"),
        (["--since", "HEAD", "--pending"], "each say which hosts: give one of them"),
        (["--since", "HEAD", "--limit", "h9"], "no such host, household or group"),
    ],
)
def test_what_makes_no_sense_is_refused_and_touches_nobody(
    operator: Operator, arguments: list[str], words: str
) -> None:
    run = operator.converge(*arguments)
    assert run.returncode == 1
    assert words in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert not operator.visits()


def test_files_that_are_in_no_commit_are_refused(operator: Operator) -> None:
    change(operator, "h2")
    run = operator.converge("--since", "HEAD")
    assert run.returncode == 1
    assert "has changes that are in no commit" in run.stderr
    assert not operator.visits()
    assert operator.plan("--since", "HEAD").returncode == 0, "a plan may look at them"


def test_a_household_that_left_since_the_revision_loses_access_once_and_within_the_limit(operator: Operator) -> None:
    for name in ("h4", "h5"):
        (operator.inventory / f"households/{name}.yaml").unlink()
        commit(operator)
    refused = operator.converge("--since", "HEAD~2")
    assert "--max-removals is 1" in refused.stderr
    too_late = operator.converge("--since", "HEAD~1", "--max-removals", "2")
    assert "h4 left the inventory before HEAD~1" in too_late.stderr
    narrow = operator.converge("--since", "HEAD~2", "--limit", "relays", "--max-removals", "2")
    assert "by a run over the whole fleet only" in narrow.stderr
    assert [run.returncode for run in (refused, too_late, narrow)] == [1, 1, 1]
    assert not operator.visits()
    run = operator.converge("--since", "HEAD~2", "--max-removals", "2")
    assert run.returncode == 0, run.stderr
    assert [line.split()[1] for line in run.stdout.splitlines() if line.startswith("Removed: ")] == ["h4", "h5"]
    assert operator.visits() == {RELAY: 1}
    assert operator.record().begin.removed == ("h4", "h5")
    later = operator.converge()
    assert later.returncode == 0, later.stderr
    assert "Removed" not in later.stdout


def test_a_stopped_run_since_a_revision_goes_on_with_its_hosts_alone(operator: Operator) -> None:
    for number in (1, 3, 5):
        change(operator, f"h{number}", "upload_limit: 3001M")
    commit(operator)
    operator.does("box-h1", "fail")
    assert operator.converge("--since", "HEAD~1").returncode == 3
    operator.does("box-h1")
    assert operator.converge("--resume").returncode == 0
    assert operator.visits() == {"box-h1": 2, "box-h3": 1, "box-h5": 1}
