"""The pipeline and the systemd units that come with hearth: safe, and the commands that an operator types."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from hearth.cli import app

REPOSITORY = Path(__file__).parents[3]
WORKFLOW = REPOSITORY / ".github/workflows/fleet.yml"
UNITS = REPOSITORY / "packaging/systemd"
SERVICES = ("hearth-gitops.service", "hearth-drift.service")


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    found = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    assert set(found) == {"plan", "converge", "drift"}
    return found  # type: ignore[no-any-return]


def parsed(command: str) -> dict[str, Any]:
    """The options of a ``hearth`` command, as its own parser reads them; fails for those that it does not have."""
    words = shlex.split(command)
    assert Path(words[0]).name == "hearth"
    group = typer.main.get_command(app)
    verb = group.commands[words[1]]  # type: ignore[attr-defined]
    return verb.make_context(words[1], words[2:]).params  # type: ignore[no-any-return]


def commands(job: dict[str, Any]) -> list[str]:
    lines = [line.strip() for step in job["steps"] for line in step["run"].splitlines()]
    return [line.partition(" > ")[0] for line in lines if line.startswith("hearth ")]


def judged(tool: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a linter that lies beside this Python; none of them asks the network."""
    command = [str(Path(sys.executable).with_name(tool)), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def complaints(workflow: Path) -> list[str]:
    """What linters say against a pipeline: its form (GitHub's own schema), its meaning, its safety, and its scripts."""
    tools = [
        judged("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow)),
        judged("actionlint", "-oneline", "-shellcheck=", "-pyflakes=", str(workflow)),
        judged("zizmor", "--offline", "--quiet", "--no-config", str(workflow)),
    ]
    steps = [step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]]
    # As runners start a script: bash -e, without pipefail unless a shell is named.
    tools += [judged("shellcheck", "--shell=bash", "--enable=quote-safe-variables", "-", text=s["run"]) for s in steps]
    return [run.stdout + run.stderr for run in tools if run.returncode]


def test_linters_have_nothing_against_the_pipeline() -> None:
    assert complaints(WORKFLOW) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    runs-on: self-hosted\n", "    runs_on: self-hosted\n", "runs_on"),
        ('cron: "17 2 * * *"', 'cron: "17 92 * * *"', "invalid CRON format"),
        ("github.event_name", "github.event.name.", "[expression]"),
        ("mkdir comment\n", "echo ${{ github.head_ref }}\n", "template-injection"),
        ("rm -rf request comment", "rm -rf $NUMBER", "SC2086"),
    ],
)
def test_linters_do_object_to_a_pipeline_that_is_wrong(old: str, new: str, words: str, tmp_path: Path) -> None:
    """Else their silence would prove nothing."""
    text = WORKFLOW.read_text()
    assert old in text
    spoilt = tmp_path / ".github/workflows/fleet.yml"
    spoilt.parent.mkdir(parents=True)
    spoilt.write_text(text.replace(old, new))
    assert words in "\n".join(complaints(spoilt))


def test_the_pipeline_does_nothing_without_a_fleet_and_nothing_for_forks(jobs: dict[str, Any]) -> None:
    for job in jobs.values():
        assert "&& vars.HEARTH_REPOSITORY != ''" in job["if"]
        assert "||" not in job["if"].replace(
            "(github.event_name == 'push' || github.event_name == 'workflow_dispatch')", ""
        )
    assert "github.event.pull_request.head.repo.full_name == github.repository" in jobs["plan"]["if"]


def test_the_pipeline_runs_nobody_elses_actions_and_puts_no_expression_into_a_script(jobs: dict[str, Any]) -> None:
    for job in jobs.values():
        for step in job["steps"]:
            assert "uses" not in step
            assert "${{" not in step["run"]


def test_only_the_job_that_comments_may_write_and_none_may_push(jobs: dict[str, Any]) -> None:
    assert yaml.safe_load(WORKFLOW.read_text())["permissions"] == {"contents": "read"}
    assert jobs["plan"]["permissions"] == {"contents": "read", "issues": "write", "pull-requests": "write"}
    assert "permissions" not in jobs["converge"] | jobs["drift"]


def test_the_pipelines_commands_are_those_that_hearth_has(jobs: dict[str, Any]) -> None:
    check, plan = commands(jobs["plan"])
    parsed(check)
    assert parsed(plan)["since"] == "$BASE"
    (converge,), (drift,) = commands(jobs["converge"]), commands(jobs["drift"])
    assert not parsed(converge)["drift"]
    assert parsed(drift) == parsed(converge) | {"drift": True}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_a_command_that_hearth_has_in_a_sandbox(name: str) -> None:
    text = (UNITS / name).read_text()
    found = re.search(r"^ExecStart=(.*)$", text, re.M)
    assert found is not None
    assert parsed(found[1])["drift"] == ("drift" in name)
    for line in ("ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "StateDirectory=hearth"):
        assert f"\n{line}\n" in text


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        shutil.copy(unit, tmp_path)
        copy = tmp_path / unit.name
        copy.write_text(copy.read_text().replace("/opt/hearth/.venv/bin/hearth", "/bin/true"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(path) for path in sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in verified.stderr.splitlines() if "hearth-" in line]
    assert (verified.returncode, told) == (0, [])


@pytest.mark.parametrize("name", SERVICES)
def test_both_services_differ_in_what_they_run_alone(name: str) -> None:
    def rest(unit: str) -> list[str]:
        lines = (UNITS / unit).read_text().splitlines()
        return [line for line in lines if not line.startswith(("#", "Description=", "ExecStart="))]

    assert rest(name) == rest(SERVICES[0])
