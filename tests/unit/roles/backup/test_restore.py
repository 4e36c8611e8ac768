"""A restore on the new box: what is refused in which words, and what the disk says before each step begins."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from roles.backup.onbox import asking, keys, nightly, paperkey, restore, restoring, source, staged
from roles.backup.onbox.asking import Wishes
from roles.backup.onbox.common import Fault
from roles.backup.onbox.repository import Repository
from roles.backup.onbox.restoring import Description, Door, Places, State
from roles.backup.onbox.settings import Paths, Settings
from roles.backup.onbox.source import Snapshot
from roles.backup.onbox.staged import Manifest
from roles.backup.onbox.system import text_of

KEY = paperkey.written("7QK2M0FZ3X9ABCDEFGHJKMNPQR")
NEWEST = Snapshot("b90d3d01" * 8, "2026-11-23T12:11:42.5+01:00")
OLDER = Snapshot("ff00ff00" * 8, "2026-11-20T12:11:42.5+01:00")
RAW: dict[str, Any] = {
    "schema": 1,
    "household": "mueller",
    "domain": "mueller.home.example",
    "product": "owncloud",
    "version": "11.0.0",
    "taken_at": "2026-11-23T11:11:42Z",
    "closed_s": 0.7,
    "users": {"renate": {"files": 1, "bytes": 5}},
    "files": 2,
    "bytes": 5,
    "database": {"oc_users": 2},
    "dump": {"bytes": 4, "sha256": hashlib.sha256(b"dump").hexdigest()},
    "sample": [
        {"path": "data/renate/files/a\nb.txt", "bytes": 5, "sha256": hashlib.sha256(b"hello").hexdigest()},
    ],
}
MANIFEST = staged.parse(RAW)


class Said:
    """A terminal whose answers are given; what it was told is kept."""

    def __init__(self, *answers: str, is_there: bool = False) -> None:
        self.is_there, self.answers, self.told = is_there, list(answers), [""]

    def say(self, text: str = "") -> None:
        self.told.append(text)

    def show(self, text: str) -> None:
        pass

    def ask(self, question: str) -> str:
        return self.answers.pop(0) if self.answers else ""

    ask_hidden = ask


@pytest.fixture
def described(tmp_path: Path) -> Description:
    places = Places(tmp_path / "staging", tmp_path / "state", tmp_path / "adopted.json")
    places.staging.mkdir()
    return Description("mueller", Door("127.0.0.1", 1, "mueller.home.example"), places=places)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    paths = Paths(secrets=tmp_path / "secrets", public=tmp_path / "public", state=tmp_path / "backup")
    return Settings("neu", "mueller.home.example", "rest:https://neu@127.0.0.1:18444/neu/", (), 8081, paths=paths)


def lay(folder: Path) -> None:
    """What restic brings of ``RAW``'s backup."""
    for path, content in {
        "data/renate/files/a\nb.txt": "hello",
        "data/.ocdata": "",
        "database.sql": "dump",
        "config/config.php": "<?php",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)


@pytest.fixture
def world(
    monkeypatch: pytest.MonkeyPatch, described: Description, settings: Settings, tmp_path: Path
) -> dict[str, Any]:
    """The store, restic and the cloud's program, as a test wants them; ``calls``: what was asked of the cloud."""
    world: dict[str, Any] = {"calls": [], "online": False, "away": "", "snapshots": (NEWEST, OLDER), "fault": {}}
    repository = Repository("rest:https://x/", {}, (), tmp_path)

    def cloud(_: Settings, *words: str) -> str:
        state = restoring.read_state(described.places)
        world["calls"].append((words[0], state.phase if state else None))
        if words[0] in world["fault"]:
            raise Fault(world["fault"][words[0]])
        if words[0] == "adopt":
            described.places.adopted.write_text(json.dumps({"of": NEWEST.id}))
        return ""

    def fetch(old: source.Source, snapshot: Snapshot, target: Path, telling: object) -> None:
        state = restoring.read_state(described.places)
        assert state is not None
        assert (state.phase, state.snapshot) == ("fetching", snapshot.id), "on the disk before it begins"
        assert text_of(old.key) == KEY
        if "fetch" in world["fault"]:
            raise Fault(world["fault"]["fetch"])
        lay(target)

    monkeypatch.setattr(restore, "cloud", cloud)
    monkeypatch.setattr(source, "shown_to", lambda *_: repository)
    monkeypatch.setattr(source, "refusal", lambda *_: world["away"])
    monkeypatch.setattr(source, "answers", lambda *_: world["online"])
    monkeypatch.setattr(source, "snapshots", lambda _: world["snapshots"])
    monkeypatch.setattr(source, "manifest", lambda *_: world.get("manifest", RAW))
    monkeypatch.setattr(source, "fetch", fetch)
    monkeypatch.setattr(source.Source, "must", lambda *_: b'{"total_size": 9}')
    monkeypatch.setattr(staged, "need_room", lambda *_: None)
    monkeypatch.setattr(nightly, "prepare", lambda _: keys.write_paper(settings.paths, keys.Paper("here", "now")))
    return world


def run(settings: Settings, described: Description, terminal: Said, **wishes: Any) -> None:
    restore.restore(settings, described, Wishes(**wishes), terminal)  # type: ignore[arg-type]


def test_a_restore_ends_with_the_mark_that_is_collected(
    world: dict[str, Any], settings: Settings, described: Description
) -> None:
    run(settings, described, Said(KEY.lower(), "yes"))
    assert [verb for verb, _ in world["calls"]] == ["recover", "adoptable", "adopt", "users", "apps"]
    assert dict(world["calls"])["adopt"] == "adopting", "on the disk before it begins"
    name, _, at = described.places.done.read_text().strip().partition(" ")
    assert name == "mueller"
    assert datetime.fromisoformat(at).tzinfo is not None
    assert not described.places.staging.exists()
    assert restoring.read_state(described.places) is None
    report = json.loads((described.places.state / "report.json").read_text())
    assert (report["files"], report["bytes"], report["users"]) == (2, 5, 1)
    with pytest.raises(Fault, match="restored already"):
        run(settings, described, Said(KEY, "yes"))


def test_the_households_sheet_opens_the_new_boxs_backups_too(
    world: dict[str, Any], settings: Settings, described: Description
) -> None:
    seen: list[str] = []
    nightly_prepare = nightly.prepare

    def prepare(mine: Settings) -> Any:
        seen.append(text_of(mine.paths.paper_key))
        return nightly_prepare(mine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nightly, "prepare", prepare)
        run(settings, described, Said(KEY, "yes"))
    assert seen == [KEY], "the repository gets the key that was typed"
    assert keys.read_paper(settings.paths).confirmed, "it is on paper already"
    assert text_of(settings.paths.paper_key) == "", "and not on the box any more"


def test_a_drill_may_be_done_while_the_old_box_is_on_and_moves_nothing(
    world: dict[str, Any], settings: Settings, described: Description
) -> None:
    world["online"] = True
    run(settings, described, Said(KEY), drill=True, sure=True)
    assert not described.places.done.exists()
    assert text_of(settings.paths.paper_key) == ""
    assert (described.places.state / "report.json").exists()


@pytest.mark.parametrize(
    ("change", "typed", "words"),
    [
        ({}, KEY[:-1] + ("0" if KEY[-1] != "0" else "1"), "group 7 .* is mistyped"),
        ({}, "-".join(KEY.split("-")[:3]), "groups 4, 5, 6 and 7 are missing"),
        ({"away": "the store cannot be reached: see"}, KEY, "store cannot be reached"),
        ({"online": True}, KEY, "the box of mueller is still on: it answers at mueller.home.example; switch it off"),
        ({"manifest": RAW | {"household": "schmidt"}}, KEY, "backup of schmidt, and the inventory says .* mueller"),
        ({"manifest": RAW | {"schema": 2}}, KEY, "a newer hearth"),
        ({"fault": {"adoptable": "cannot take it over; pin 11.0.1"}}, KEY, "pin 11.0.1"),
    ],
)
def test_what_is_refused_is_refused_before_this_box_is_touched(
    world: dict[str, Any], settings: Settings, described: Description, change: dict[str, Any], typed: str, words: str
) -> None:
    world |= change
    with pytest.raises(Fault, match=words):
        run(settings, described, Said(typed, "yes"))
    assert not any(verb == "adopt" for verb, _ in world["calls"])
    assert restoring.read_state(described.places) is None
    assert not described.places.done.exists()


def test_who_does_not_say_yes_gets_nothing_and_another_backup_can_be_named(
    world: dict[str, Any], settings: Settings, described: Description
) -> None:
    with pytest.raises(Fault, match="nobody said yes"):
        run(settings, described, Said(KEY))
    with pytest.raises(Fault, match="no backup's name begins with 'no'"):
        run(settings, described, Said(KEY, "no"))
    world["fault"] = {"fetch": "the store cannot be reached"}
    with pytest.raises(Fault, match="cannot be reached"):
        run(settings, described, Said(KEY, "ff00", "yes"))
    state = restoring.read_state(described.places)
    assert state is not None
    assert state.snapshot == OLDER.id


def test_a_person_may_mistype_twice_and_a_pipe_not_once(
    world: dict[str, Any], settings: Settings, described: Description
) -> None:
    run(settings, described, Said("nonsense", KEY[:7], KEY, "yes", is_there=True))
    assert described.places.done.exists()


def test_an_interrupted_fetch_goes_on_with_the_same_backup_even_when_there_is_a_newer_one(
    world: dict[str, Any], settings: Settings, described: Description
) -> None:
    world["fault"] = {"fetch": "the store cannot be reached"}
    with pytest.raises(Fault):
        run(settings, described, Said(KEY, "yes"), snapshot="ff00")
    world["fault"] = {}
    terminal = Said(KEY, "yes")
    run(settings, described, terminal)
    assert "A restore of ff00ff00 was begun and not ended; it goes on." in terminal.told


def test_an_old_box_that_makes_a_backup_meanwhile_is_on(
    world: dict[str, Any], settings: Settings, described: Description, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Iterator[tuple[Snapshot, ...]] = iter([(OLDER,), (NEWEST, OLDER)])
    monkeypatch.setattr(source, "snapshots", lambda _: next(answers))
    with pytest.raises(Fault, match="made a backup meanwhile"):
        run(settings, described, Said(KEY, "yes"))
    assert not any(verb == "adopt" for verb, _ in world["calls"])


def test_what_the_cloud_undid_starts_over_and_the_key_does_not_stay_on_the_box(
    world: dict[str, Any], settings: Settings, described: Description
) -> None:
    world["fault"] = {"adopt": "the restore failed: no; this box has what it had before"}
    with pytest.raises(Fault, match="has what it had before"):
        run(settings, described, Said(KEY, "yes"))
    assert text_of(settings.paths.paper_key) == ""
    assert not described.places.done.exists()
    world["fault"] = {}
    run(settings, described, Said(KEY, "yes"))
    assert described.places.done.exists()


def test_a_restore_that_was_killed_after_the_cloud_was_in_place_is_finished_without_the_key(
    world: dict[str, Any], settings: Settings, described: Description
) -> None:
    restoring.write_state(described.places, State("adopting", "mueller", NEWEST.id, paperkey.fingerprint(KEY)))
    described.places.adopted.write_text(json.dumps({"of": NEWEST.id}))
    run(settings, described, Said())
    assert described.places.done.exists()
    assert [verb for verb, _ in world["calls"]] == ["recover", "users", "apps"]


def test_a_restore_that_was_killed_before_that_starts_over(
    world: dict[str, Any], settings: Settings, described: Description
) -> None:
    restoring.write_state(described.places, State("adopting", "mueller", NEWEST.id, paperkey.fingerprint(KEY)))
    run(settings, described, Said(KEY, "yes"))
    assert [verb for verb, _ in world["calls"]] == ["recover", "adoptable", "adopt", "users", "apps"]


def test_what_came_out_of_the_backup_must_be_what_its_manifest_says(tmp_path: Path) -> None:
    lay(tmp_path)
    staged.compare(tmp_path, MANIFEST)
    for change, words in (
        ({"files": 3}, "2 files, and its manifest says 3"),
        ({"bytes": 6}, "5 bytes, and its manifest says 6"),
        ({"users": {"renate": {"files": 2, "bytes": 5}}}, "1 files of renate"),
        ({"sample": {"database.sql": "00"}}, "database.sql in the backup is not what its manifest says"),
        ({"sample": {"data/gone": "00"}}, "data/gone in the backup"),
    ):
        with pytest.raises(Fault, match=words):
            staged.compare(tmp_path, replace(MANIFEST, **change))  # type: ignore[arg-type]
    (tmp_path / "config/config.php").unlink()
    with pytest.raises(Fault, match="does not hold files, database and configuration"):
        staged.compare(tmp_path, MANIFEST)


def test_a_manifest_that_lacks_something_is_named() -> None:
    with pytest.raises(Fault, match="says nothing of 'files'"):
        staged.parse({name: value for name, value in RAW.items() if name != "files"})
    assert isinstance(MANIFEST, Manifest)


def test_too_little_room_is_a_sentence_with_numbers(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"needs \d+ MB free on the disk of .* give this box a larger disk"):
        staged.need_room(tmp_path, 1 << 60)
    staged.need_room(tmp_path, 0)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (200, ""),
        (401, "does not know this box yet"),
        (404, "shows this box no backup of mueller"),
        (502, "answers 502"),
    ],
)
def test_what_a_store_answers_is_told_in_words(status: int, words: str) -> None:
    found = source.judged("mueller", status)
    assert (words in found) if words else found == ""


@pytest.mark.parametrize(
    ("status", "words"),
    [(12, "does not open the backup of mueller"), (10, "no backup of mueller"), (1, "is damaged")],
)
def test_a_key_that_opens_nothing_and_a_damaged_repository_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings, status: int, words: str
) -> None:
    monkeypatch.setattr(
        Repository, "restic", lambda *_: subprocess.CompletedProcess([], status, b"", b"Fatal: index is broken\n")
    )
    old = source.Source(settings, "mueller", Repository("/srv/x", {}, (), tmp_path), tmp_path / "key")
    with pytest.raises(Fault, match=words):
        source.snapshots(old)


def test_the_newest_backup_comes_first() -> None:
    listed = [{"id": each.id, "time": each.time, "paths": ["/"]} for each in (OLDER, NEWEST)]
    assert source.parse_snapshots(json.dumps(listed).encode()) == (NEWEST, OLDER)


def test_an_age_is_told_as_people_say_it() -> None:
    def told(ago: timedelta) -> str:
        return asking.age((datetime.now(UTC) - ago).isoformat()).partition(", ")[2]

    assert told(timedelta(minutes=5)) == "within the last hour"
    assert told(timedelta(hours=30)) == "30 hours ago"
    assert told(timedelta(days=400)) == "400 days ago"


def test_a_box_that_is_given_nothing_to_restore_says_who_can_change_that(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="the operator writes `restore:"):
        restoring.load(tmp_path / "restore.toml")
    with pytest.raises(Fault, match="converge the box again"):
        restoring.parse("source = 1")


@pytest.mark.parametrize(
    ("at_the_name", "here", "is_on"),
    [(None, b"new", False), (b"old", b"new", True), (b"new", b"new", False), (b"old", None, True)],
)
def test_an_old_box_is_on_when_somebody_else_than_this_box_answers_at_the_name(
    monkeypatch: pytest.MonkeyPatch, at_the_name: bytes | None, here: bytes | None, is_on: bool
) -> None:
    door = Door("relay1.home.example", 443, "mueller.home.example")
    monkeypatch.setattr(source, "certificate_shown", lambda each: at_the_name if each == door else here)
    assert source.answers(door) == is_on


def test_where_nobody_answers_there_is_no_certificate() -> None:
    assert source.certificate_shown(Door("127.0.0.1", 1, "mueller.home.example")) is None
