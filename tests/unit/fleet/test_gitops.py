"""What ``hearth gitops`` takes as an address, a branch and a folder, and what it goes to when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hearth.fleet import gitops, gitops_state
from hearth.fleet.conduct import Asked
from hearth.fleet.errors import RunError
from hearth.fleet.gitops import Candidate, Source
from hearth.fleet.gitops_git import Signature, check_source, environment
from hearth.fleet.gitops_state import State
from tests.unit.fleet.fleets import a_fleet

pytestmark = pytest.mark.slow

DONE = State("c" * 40, "d" * 64, True, 1000.0)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    (tmp_path / "signers").write_text("")
    (tmp_path / "fleet.git").mkdir()
    return Source(str(tmp_path / "fleet.git"), "main", tmp_path / "signers", folder=tmp_path / "checkout")


@pytest.mark.parametrize(
    ("repository", "branch", "words"),
    [
        (".", "-x", "is no name of a branch"),
        (".", "a..b", "is no name of a branch"),
        (".", "main:refs/heads/other", "is no name of a branch"),
        ("ext::sh -c touch% x", "main", "only https://, ssh:// and paths"),
        ("git://home.example/fleet", "main", "only https://, ssh:// and paths"),
        ("http://home.example/fleet", "main", "only https://, ssh:// and paths"),
        ("ssh://-oProxyCommand=x/fleet", "main", "only https://, ssh:// and paths"),
        ("-oProxyCommand=x:fleet", "main", "there is no such folder"),
        ("https://anna:hunter2@home.example/fleet", "main", "holds a password"),
        ("nowhere", "main", "there is no such folder"),
    ],
)
def test_an_address_that_is_not_safe_or_not_there_is_refused(repository: str, branch: str, words: str) -> None:
    with pytest.raises(RunError, match=words) as refused:
        check_source(repository, branch)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "repository", ["https://home.example/fleet.git", "ssh://git@home.example:2222/fleet", "git@home.example:fleet.git"]
)
def test_addresses_that_check_whom_they_talk_to_are_taken(repository: str) -> None:
    assert check_source(repository, "release/2026.1") == repository


def test_options_that_would_do_harm_are_refused(source: Source, tmp_path: Path) -> None:
    def refusal(**changed: object) -> str:
        with pytest.raises(RunError) as refused, gitops.opened(replace(source, **changed)):  # type: ignore[arg-type]
            pass
        return str(refused.value)

    assert "there is no such file" in refusal(signers=tmp_path / "nobody")
    assert "there is no such file" in refusal(local=tmp_path / "nobody")
    for path in ("../inventory", "/etc", ".git/x"):
        assert "give the folder's path within the repository" in refusal(inventory=path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("")
    assert "holds something else" in refusal(folder=tmp_path / "mine")
    with gitops.opened(source) as clone:
        inside = clone.folder / "signers"
        inside.write_text("")
    assert "must not come from the repository" in refusal(signers=inside)


def test_git_asks_nobody_and_reads_no_configuration_but_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_EXTERNAL_DIFF", "GIT_ALTERNATE_OBJECT"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("GIT_SSH_COMMAND", "ssh -i key")
    found = environment()
    assert {name for name in found if found[name] == "x"} == set()
    assert found["GIT_SSH_COMMAND"] == "ssh -i key"
    assert (found["GIT_CONFIG_GLOBAL"], found["GIT_CONFIG_NOSYSTEM"]) == ("/dev/null", "1")


@pytest.mark.parametrize(
    ("state", "drift", "expected"),
    [
        (None, False, Asked(changed=True)),
        (DONE, False, None),
        (DONE, True, Asked(kind="drift")),
        (replace(DONE, commit="b" * 40), False, Asked(changed=True)),
        (replace(DONE, desired_sha256="e" * 64), False, Asked(changed=True)),
        (replace(DONE, is_done=False), False, Asked(changed=True)),
    ],
)
def test_a_run_is_about_what_changed_or_all_or_nothing(
    state: State | None, drift: bool, expected: Asked | None
) -> None:
    candidate = Candidate("c" * 40, "it", Signature("anna", "SHA256:x"), a_fleet(), "d" * 64, state)
    found = gitops.to_ask(candidate, Asked(), drift, 1000.0 + 2 * gitops.PENDING_EVERY_S)
    assert found == (replace(expected, signer="anna") if expected else None)


def test_a_state_that_cannot_be_read_stops_with_a_sentence(state: Path) -> None:
    gitops_state.write("example", DONE)
    assert gitops_state.read("example") == DONE
    (state / "hearth/example/gitops.json").write_text("{")
    with pytest.raises(RunError, match="move it away"):
        gitops_state.read("example")
