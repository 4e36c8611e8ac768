"""What counts as a difference between a host and the artefacts it shall have."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from hearth.artefacts import ArtefactState, File, Link, PathState, State, digest, is_settled, parse_state

CONF = File("/etc/app/app.conf", "a = 1\n", mode="640", group="www-data")
LINK = Link("/etc/app/on", "../off")
ABSENT = "/etc/app/old.conf"
WANTED = digest((CONF, LINK), (ABSENT,), ("check", "activate", "verify"))


def settled() -> State:
    return State(
        paths={
            CONF.path: PathState("f", "640", "root", "www-data", sha256=hashlib.sha256(CONF.raw).hexdigest()),
            LINK.path: PathState("l", "777", "root", "root", target="../off"),
        },
        applied=WANTED,
    )


def check(state: State) -> bool:
    return is_settled(state, (CONF, LINK), (ABSENT,), WANTED)


def test_a_host_that_has_everything_activated_is_settled() -> None:
    assert check(settled())


@pytest.mark.parametrize(
    ("path", "drifted"),
    [
        (CONF.path, PathState("f", "640", "root", "www-data", sha256="0" * 64)),
        (CONF.path, PathState("f", "644", "root", "www-data", sha256=hashlib.sha256(CONF.raw).hexdigest())),
        (CONF.path, PathState("f", "640", "mallory", "www-data", sha256=hashlib.sha256(CONF.raw).hexdigest())),
        (CONF.path, PathState("f", "640", "root", "root", sha256=hashlib.sha256(CONF.raw).hexdigest())),
        (CONF.path, PathState("l", "777", "root", "www-data", target="/elsewhere")),
        (LINK.path, PathState("l", "777", "root", "root", target="../else")),
        (LINK.path, PathState("f", "644", "root", "root")),
        (ABSENT, PathState("f", "644", "root", "root")),
    ],
)
def test_any_drift_is_a_difference(path: str, drifted: PathState) -> None:
    state = settled()
    state.paths[path] = drifted
    assert not check(state)


@pytest.mark.parametrize("path", [CONF.path, LINK.path])
def test_a_missing_artefact_is_a_difference(path: str) -> None:
    state = settled()
    del state.paths[path]
    assert not check(state)


def test_files_that_were_put_but_never_activated_are_a_difference() -> None:
    assert not check(State(settled().paths, applied=""))


def test_a_waiting_undo_is_a_difference() -> None:
    assert not check(State(settled().paths, applied=WANTED, unsettled=True))


def test_a_role_that_a_host_never_had_needs_no_change_to_be_absent() -> None:
    assert is_settled(State({}), (), (ABSENT,), WANTED)


@pytest.mark.parametrize(
    "state",
    [
        State({}, applied="what was there before"),
        State({}, unsettled=True),
        State({ABSENT: PathState("f", "644", "root", "root")}),
    ],
)
def test_what_was_there_once_is_taken_away(state: State) -> None:
    assert not is_settled(state, (), (ABSENT,), WANTED)


def test_files_that_a_host_never_had_are_put() -> None:
    assert not is_settled(State({}), (CONF,), (), WANTED)


def test_the_digest_covers_files_absence_and_commands() -> None:
    other = File(CONF.path, CONF.content, mode="600", group="www-data")
    digests = {
        WANTED,
        digest((CONF, LINK), (), ("check", "activate", "verify")),
        digest((CONF, LINK), (ABSENT,), ("check", "activate", "other")),
        digest((other, LINK), (ABSENT,), ("check", "activate", "verify")),
        digest((CONF, Link(LINK.path, "x")), (ABSENT,), ("check", "activate", "verify")),
    }
    assert len(digests) == 5


def test_the_fact_reads_what_is_really_there(tmp_path: Path) -> None:
    file, link, gone = tmp_path / "file with space", tmp_path / "link", tmp_path / "gone"
    file.write_text("hello")
    file.chmod(0o640)
    link.symlink_to("target with space")
    fact = ArtefactState()
    command = fact.command(change="no-such-change", paths=(str(file), str(link), str(gone)))
    output = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    state = fact.process(output.splitlines())
    assert state.applied == ""
    assert not state.unsettled
    assert set(state.paths) == {str(file), str(link)}
    assert state.paths[str(file)].sha256 == hashlib.sha256(b"hello").hexdigest()
    assert (state.paths[str(file)].kind, state.paths[str(file)].mode) == ("f", "640")
    assert (state.paths[str(link)].kind, state.paths[str(link)].target) == ("l", "target with space")


def test_a_line_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="unexpected line"):
        parse_state(["Last login: today"])
