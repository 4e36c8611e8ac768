"""``hearth plan`` from the command line: what it prints, refuses, and leaves alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from jsonschema import validate

from tests.unit.fleet.command import REPOSITORY, Operator, an_operator, wait_for

pytestmark = pytest.mark.slow

SCHEMA = json.loads((REPOSITORY / "schemas/plan.schema.json").read_text())


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return an_operator(tmp_path)


def test_a_plan_tells_who_would_change_and_leaves_no_record(operator: Operator, state: Path) -> None:
    operator.does("box-h2", "drift")
    done = operator.plan()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "box-h2:",
        "  base | Prepare the host",
        "7 hosts: 1 would change, 6 as they shall be",
    ]
    assert [word for word, _ in operator.log()] == ["look"] * 7
    assert not list(state.rglob("*"))


def test_a_host_that_is_away_is_told_and_ends_in_a_status_of_its_own(operator: Operator) -> None:
    operator.does("box-h4", "away")
    done = operator.plan("--limit", "boxes", "--format", "json")
    assert done.returncode == 4
    told = json.loads(done.stdout)
    validate(told, SCHEMA)
    assert (told["exit_status"], told["counts"]["unreported"], told["counts"]["unchanged"]) == (4, 1, 5)
    assert "tunnel is not up" in operator.plan("--limit", "h4", "--format", "markdown").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--limit", "box-h22"], 'the inventory has no such host, household or group; did you mean "box-h2"?'),
        (["--since", "HEAD"], "is in no git repository"),
        (["--max-removals", "many"], "--max-removals many is no limit"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    operator: Operator, arguments: list[str], sentence: str
) -> None:
    done = operator.plan(*arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert sentence in done.stderr
    assert operator.log() == []


def test_an_inventory_with_faults_is_refused_with_their_places(operator: Operator) -> None:
    (operator.inventory / "households/h2.yaml").write_text("slot: [\n")
    done = operator.plan()
    assert (done.returncode, done.stdout) == (1, "")
    assert "inventory/households/h2.yaml:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plan_needs_no_turn_beside_a_converge(operator: Operator) -> None:
    operator.does("relay1", "wait")
    converge = operator.start("--yes", "--no-gate")
    wait_for(lambda: ("begin", "relay1") in operator.log(), "the converge to begin")
    assert operator.plan().returncode == 0
    operator.let_go("relay1")
    stdout, stderr = converge.communicate(timeout=120)
    assert converge.returncode == 0, stdout + stderr


def test_a_household_that_left_after_a_run_is_announced_first(operator: Operator) -> None:
    assert operator.converge().returncode == 0
    operator.does("box-h2", "drift")
    (operator.inventory / "households/h5.yaml").unlink()
    done = operator.plan()
    assert done.stdout.splitlines()[:2] == [
        "Removals:",
        "  h5 (slot 6) loses its route, its tunnel's key and its live sessions",
    ]
    assert done.returncode == 0
    (operator.inventory / "households/h4.yaml").unlink()
    assert "A converge would refuse this: 2 of 6 households are gone" in operator.plan().stdout


def test_since_a_commit_asks_the_touched_hosts_alone(operator: Operator) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=anna", "-c", "user.email=anna@example", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, "-C", str(operator.inventory), *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "x")
    path = operator.inventory / "households/h3.yaml"
    path.write_text(path.read_text().replace("slot: 4", "slot: 44"))
    done = operator.plan("--since", "HEAD")
    assert done.returncode == 0, done.stderr
    assert {host for _, host in operator.log()} == {"relay1", "box-h3"}
    assert "2 hosts: 2 as they shall be; 5 others untouched since" in done.stdout
