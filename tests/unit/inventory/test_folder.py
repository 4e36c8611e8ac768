"""What a folder may hold: odd files get a sentence, and none can hold the reader up or lead it elsewhere."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from hearth.inventory import load

MUELLER = Path("households/mueller.yaml")


def _sentences(folder: Path) -> list[str]:
    loaded = load(folder)
    assert loaded.fleet is None
    return [str(fault) for fault in loaded.faults]


def test_a_missing_folder_gets_a_sentence(fleet_folder: Path) -> None:
    assert _sentences(Path("elsewhere")) == [
        "elsewhere/fleet.yaml:1:1: there is no such folder; give the folder that holds your fleet.yaml"
    ]


def test_a_folder_without_fleet_yaml_gets_a_sentence(fleet_folder: Path) -> None:
    (fleet_folder / "fleet.yaml").unlink()

    assert len(_sentences(fleet_folder)) == 1
    assert _sentences(fleet_folder)[0].startswith("fleet/fleet.yaml:1:1: there is no fleet.yaml here")


def test_a_fleet_without_households_is_good(fleet_folder: Path) -> None:
    for file in (fleet_folder / "households").iterdir():
        file.unlink()
    (fleet_folder / "households").rmdir()
    (fleet_folder / "local.yaml").unlink()

    loaded = load(fleet_folder)

    assert loaded.fleet is not None
    assert loaded.fleet.households == ()


def test_a_misspelt_households_folder_is_told(fleet_folder: Path) -> None:
    (fleet_folder / "households").rename(fleet_folder / "household")

    assert any(
        'household:1:1: this folder is not read; did you mean "households"?' in s for s in _sentences(fleet_folder)
    )


def test_a_link_out_of_the_folder_is_refused(fleet_folder: Path, tmp_path: Path) -> None:
    (fleet_folder / MUELLER).rename(tmp_path / "mueller.yaml")
    (fleet_folder / MUELLER).symlink_to(tmp_path / "mueller.yaml")

    assert _sentences(fleet_folder) == [
        f"fleet/{MUELLER}:1:1: this link leads out of the inventory; put the file itself here"
    ]


@pytest.mark.parametrize("target", ["/dev/zero", "nowhere.yaml", "mueller.yaml"])
def test_links_to_devices_to_nothing_and_to_themselves_are_refused(fleet_folder: Path, target: str) -> None:
    (fleet_folder / MUELLER).unlink()
    (fleet_folder / MUELLER).symlink_to(target)

    assert any("this link leads out of the inventory" in sentence for sentence in _sentences(fleet_folder))


def test_a_linked_households_folder_is_refused(fleet_folder: Path, tmp_path: Path) -> None:
    (fleet_folder / "households").rename(tmp_path / "households")
    (fleet_folder / "households").symlink_to(tmp_path / "households")

    assert any("households:1:1: this link leads out" in sentence for sentence in _sentences(fleet_folder))


def test_a_pipe_does_not_hold_the_reader_up(fleet_folder: Path) -> None:
    os.mkfifo(fleet_folder / "households" / "huber.yaml")

    assert _sentences(fleet_folder) == [
        "fleet/households/huber.yaml:1:1: this is not a plain file; put a plain text file here"
    ]


def test_a_socket_and_a_folder_are_no_households(fleet_folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("fleet/households/a.yaml")
    (fleet_folder / "households" / "b.yaml").mkdir()

    assert [sentence.split(": ", 1)[0] for sentence in _sentences(fleet_folder)] == [
        "fleet/households/a.yaml:1:1",
        "fleet/households/b.yaml:1:1",
    ]


def test_a_huge_file_is_refused_unread(fleet_folder: Path) -> None:
    (fleet_folder / MUELLER).write_bytes(b"a" * 70_000)

    assert _sentences(fleet_folder)[0].startswith(f"fleet/{MUELLER}:1:1: the file is larger than 64 KiB")


def test_a_file_name_that_is_no_text_is_told_without_breaking_the_terminal(fleet_folder: Path) -> None:
    (fleet_folder / "households" / os.fsdecode(b"m\xff\x1b.txt")).write_text("x")

    told = "\n".join(_sentences(fleet_folder))

    assert "only households belong here" in told
    assert "\x1b" not in told
    told.encode("utf-8")


def test_every_fault_of_every_file_is_told_in_one_run(fleet_folder: Path) -> None:
    for file, old, new in (
        ("fleet.yaml", "operator\n", "operators\n"),
        ("households/mueller.yaml", "slot: 17", "slot: 0"),
        ("households/schmidt.yaml", "Europe/Vienna", "Europe/Nowhere"),
        ("local.yaml", "10.213.0.11", "10.213.0.999"),
    ):
        text = (fleet_folder / file).read_text()
        assert old in text
        (fleet_folder / file).write_text(text.replace(old, new))

    assert [sentence.split(":")[0] for sentence in _sentences(fleet_folder)] == [
        "fleet/fleet.yaml",
        "fleet/households/mueller.yaml",
        "fleet/households/schmidt.yaml",
        "fleet/local.yaml",
    ]
