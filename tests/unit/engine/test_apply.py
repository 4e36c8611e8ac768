"""The host's side of a change: it holds whole, or the host is as it was."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearth.onhost import apply


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(apply, "STATE", tmp_path / "state")
    monkeypatch.setattr(apply, "CHANGES", tmp_path / "state/changes")
    monkeypatch.setattr(apply, "APPLIED", tmp_path / "state/applied")
    monkeypatch.setattr(apply, "CONFIRMED", tmp_path / "state/confirmed")
    monkeypatch.setattr(apply, "disarm", lambda name: None)  # systemd's timers are tested on the lab's hosts
    return tmp_path / "state"


def change(files: dict[Path, str], *, digest: str = "d1", token: str = "t1", **more: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "digest": digest,
        "token": token,
        "files": [
            {
                "path": str(path),
                "content": base64.b64encode(text.encode()).decode(),
                "mode": "640",
                "owner": "root",
                "group": "root",
            }
            for path, text in files.items()
        ],
        "absent": [],
        "check": "",
        "activate": "",
        "verify": "",
        "guard_s": 0,
    } | more


def applied(state: Path) -> str | None:
    path = state / "applied/web"
    return path.read_text().splitlines()[0] if path.exists() else None


def test_a_change_puts_content_mode_and_stamp(tmp_path: Path, state: Path) -> None:
    one, two = tmp_path / "a/one.conf", tmp_path / "two.conf"
    assert apply.put(change({one: "1", two: "2"})) == "settled"
    assert (one.read_text(), two.read_text()) == ("1", "2")
    assert one.stat().st_mode & 0o777 == 0o640
    assert applied(state) == "d1"
    assert not (state / "changes/web").exists()


def test_a_failing_check_brings_every_old_file_back(tmp_path: Path, state: Path) -> None:
    kept, new, gone = tmp_path / "kept", tmp_path / "new", tmp_path / "gone"
    kept.write_text("old")
    kept.chmod(0o604)
    gone.write_text("was here")
    apply.put(change({tmp_path / "x": "x"}, digest="d0"))
    with pytest.raises(apply.Refused, match=r"the check failed \(3\): broken line 7; the old files are back"):
        apply.put(
            change({kept: "bad", new: "bad"}, digest="d1", absent=[str(gone)], check="echo broken line 7 >&2; exit 3")
        )
    assert kept.read_text() == "old"
    assert kept.stat().st_mode & 0o777 == 0o604
    assert not new.exists()
    assert gone.read_text() == "was here"
    assert (tmp_path / "x").read_text() == "x"
    assert applied(state) == "d0"


def test_a_failing_activation_activates_the_old_files_again(tmp_path: Path) -> None:
    conf, log = tmp_path / "conf", tmp_path / "log"
    conf.write_text("good")
    with pytest.raises(apply.Refused, match="activating failed"):
        apply.put(change({conf: "bad"}, activate=f"cat {conf} >> {log}; grep -q good {conf}"))
    assert log.read_text() == "badgood"


def test_a_failing_look_at_the_result_undoes_the_change_and_is_not_asked_of_the_old_files(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    with pytest.raises(apply.Refused, match=r"does not answer; the old files are back$"):
        apply.put(change({conf: "new"}, verify="echo does not answer >&2; false"))
    assert not conf.exists()


def test_links_are_made_replaced_and_brought_back(tmp_path: Path) -> None:
    where = tmp_path / "localtime"
    where.symlink_to("/old/target")
    entry = {"files": [{"path": str(where), "link": "/new/target"}]}
    with pytest.raises(apply.Refused):
        apply.put(change({}) | entry | {"check": "false"})
    assert str(where.readlink()) == "/old/target"
    apply.put(change({}) | entry)
    assert str(where.readlink()) == "/new/target"


def test_what_a_change_put_earlier_and_knows_no_more_is_removed(tmp_path: Path) -> None:
    anna, ben, foreign = tmp_path / "anna", tmp_path / "ben", tmp_path / "foreign"
    foreign.write_text("not ours")
    apply.put(change({anna: "a", ben: "b"}))
    apply.put(change({anna: "a"}, digest="d2"))
    assert anna.exists()
    assert not ben.exists()
    assert foreign.exists()


def test_a_guarded_change_waits_and_only_its_own_token_settles_it(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "arm", lambda name, seconds: None)
    conf = tmp_path / "conf"
    conf.write_text("old")
    assert "unless confirmed" in apply.put(change({conf: "new"}, guard_s=60, token="right"))
    assert applied(state) is None
    with pytest.raises(apply.Refused, match="not waiting for this confirmation"):
        apply.confirm("web", "wrong")
    assert apply.confirm("web", "right") == "settled"
    assert applied(state) == "d1"
    assert apply.confirm("web", "right") == "settled", "the first answer may have been lost"
    with pytest.raises(apply.Refused):
        apply.confirm("web", "wrong")


def test_the_undo_is_armed_before_anything_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "conf"
    conf.write_text("old")
    seen: list[str] = []
    monkeypatch.setattr(apply, "arm", lambda name, seconds: seen.append(conf.read_text()))
    apply.put(change({conf: "new"}, guard_s=60))
    assert seen == ["old"]


class PowerCut(BaseException):
    """Nothing catches it, as nothing catches a power cut."""


@settings(max_examples=60)
@given(cut=st.integers(0, 40), guarded=st.booleans())
def test_a_power_cut_at_any_write_leaves_old_or_new_after_recovery(
    cut: int, guarded: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apply, "STATE", folder / "state")
        patch.setattr(apply, "CHANGES", folder / "state/changes")
        patch.setattr(apply, "APPLIED", folder / "state/applied")
        patch.setattr(apply, "disarm", lambda name: None)
        patch.setattr(apply, "arm", lambda name, seconds: None)
        one, two = folder / "one", folder / "two"
        apply.put(change({one: "old", two: "old"}, digest="d0"))
        steps = 0
        original = apply.sync_folder

        def sync_or_die(where: Path) -> None:
            nonlocal steps
            steps += 1
            if steps > cut:
                raise PowerCut
            original(where)

        patch.setattr(apply, "sync_folder", sync_or_die)
        completed = False
        try:
            apply.put(change({one: "new", two: "new"}, digest="d1", guard_s=60 if guarded else 0))
            completed = not guarded
        except PowerCut:
            pass
        patch.setattr(apply, "sync_folder", original)
        apply.recover()
        found = {one.read_text(), two.read_text()}
        digest = (folder / "state/applied/web").read_text().splitlines()[0]
        assert (found, digest) in (({"old"}, "d0"), ({"new"}, "d1"))
        if completed:
            assert digest == "d1"
        if guarded:
            assert digest == "d0"


def test_bad_words_on_the_command_line_get_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert apply.main(["frobnicate"]) == 1
    assert capsys.readouterr().err.startswith("usage: apply put")


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_gets_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(apply, "write", full_disk)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(change({tmp_path / "one": "1"}))))

    assert apply.main(["put"]) == 1

    told = capsys.readouterr().err
    assert told.startswith(f"the disk of {apply.STATE}: No space left on device; ")
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "one").exists()


def test_a_disk_that_fills_up_amid_an_undo_leaves_the_undo_for_the_next_run(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one"
    path.write_text("old")
    monkeypatch.setattr(apply, "restore", full_disk)
    with pytest.raises(apply.Refused, match="the next converge or boot brings the old files back"):
        apply.put(change({path: "new"}, check="exit 1"))
    assert (state / "changes/web").exists()


def test_the_record_of_a_change_is_root_only(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "arm", lambda name, seconds: None)
    conf = tmp_path / "conf"
    conf.write_text("old")
    apply.put(change({conf: "new"}, guard_s=60))
    record = state / "changes/web/change.json"
    assert record.stat().st_mode & 0o077 == 0
    assert json.loads(record.read_text())["token"] == "t1"
