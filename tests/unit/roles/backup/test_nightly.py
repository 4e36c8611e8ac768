"""What a night's backup is made of, without a repository."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from roles.backup.onbox import files, nightly, prove
from roles.backup.onbox.common import Fault
from roles.backup.onbox.settings import parse

SETTINGS = 'household = "m"\ndomain = "m.example"\nrepository = "s3:https://s/b"\nadmins = ["r"]\npage_port = 7443\n'


def test_the_share_that_is_read_back_goes_round() -> None:
    shares, told = [], ""
    for _ in range(13):
        shares.append(prove.next_share(told))
        told = json.dumps({"share": shares[-1]})
    assert shares == [*range(1, 13), 1]
    assert prove.next_share("no JSON") == 1


@pytest.mark.parametrize(
    ("path", "taken"),
    [("data/r/files/a [b]*?.txt", r"/data/r/files/a \[b\]\*\?.txt"), (r"data/back\slash", r"/data/back\\slash")],
)
def test_a_path_is_taken_literally(path: str, taken: str) -> None:
    assert prove.pattern(path) == taken


def test_what_restic_says_is_read_and_its_silence_is_a_fault() -> None:
    said = b'{"message_type":"status"}\nnoise\n{"message_type":"summary","snapshot_id":"ab","data_added_packed":7}\n'
    assert nightly.parse_summary(said)["snapshot_id"] == "ab"
    with pytest.raises(Fault, match="no snapshot"):
        nightly.parse_summary(b'{"message_type":"summary"}\n')


def test_the_sample_prefers_what_rested_and_leaves_out_what_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SAMPLE_BYTES", 1000)
    now = 1_000_000.0
    for name, size, changed in (("old", 10, now - 7200), ("new", 10, now - 5), ("large", 2000, now - 7200)):
        path = tmp_path / name
        path.write_bytes(b"x" * size)
        os.utime(path, (changed, changed))
    assert files.sample(tmp_path, now) == [tmp_path / "old"]
    (tmp_path / "old").unlink()
    assert files.sample(tmp_path, now) == [tmp_path / "new"]


def test_the_sample_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SAMPLE_BYTES", 1000)
    for number in range(300):
        (tmp_path / str(number)).write_bytes(b"x" * 50)
    chosen = files.sample(tmp_path, 0)
    assert 0 < len(chosen) <= 20
    assert chosen != files.sample(tmp_path, 0) or chosen != files.sample(tmp_path, 0), "it is by chance"


def test_a_description_of_another_form_is_refused() -> None:
    assert parse(SETTINGS).admins == ("r",)
    for text in ("", SETTINGS + "more = 1\n", "household = "):
        with pytest.raises(Fault, match="converge the box again"):
            parse(text)
