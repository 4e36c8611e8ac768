"""The real ``pyinfra`` command takes a fleet's folder, and refuses what it would otherwise pass over in silence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hearth.inventory.groups import plain, sliced

REPOSITORY = Path(__file__).parents[3]
PYINFRA = Path(sys.executable).parent / "pyinfra"


def _pyinfra(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PYINFRA), *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )


def test_pyinfra_takes_a_folder_with_a_fleet_yaml(fleet_folder: Path) -> None:
    run = _pyinfra(f"{fleet_folder}/", "debug-inventory", "--json")

    assert run.returncode == 0, run.stderr
    for host in ("box-mueller", "box-schmidt", "relay1", "pi1"):
        assert f'"{host}"' in run.stdout


def test_pyinfra_gives_each_host_its_groups(fleet_folder: Path) -> None:
    run = _pyinfra(f"{fleet_folder}/", "debug-inventory")

    assert "Groups: boxes, household_mueller" in run.stderr
    assert "Groups: relays" in run.stderr
    assert "Groups: pis" in run.stderr


def test_an_invalid_inventory_ends_pyinfra_with_the_sentences_alone(fleet_folder: Path) -> None:
    mueller = fleet_folder / "households" / "mueller.yaml"
    mueller.write_text(mueller.read_text().replace("slot: 17", "slot: 18"))

    run = _pyinfra(f"{fleet_folder}/", "exec", "--", "true")

    assert run.returncode == 1
    assert "households/schmidt.yaml:3:7: slot 18 is already taken by mueller" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Connecting" not in run.stderr


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("/", "/fleet.yaml:1:1: there is no fleet.yaml here"), ("no-such-folder/", "this inventory names no host")],
)
def test_a_folder_that_is_no_inventory_ends_pyinfra_with_a_sentence(path: str, sentence: str) -> None:
    run = _pyinfra(path, "debug-inventory")

    assert run.returncode == 1
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("option", ["--limit", "--exclude"])
def test_a_limit_that_names_nothing_is_refused(fleet_folder: Path, option: str) -> None:
    run = _pyinfra(f"{fleet_folder}/", option, "box-muller", "debug-inventory")

    assert run.returncode == 1
    assert f'{option} box-muller: the inventory has no such host or group; did you mean "box-mueller"?' in run.stderr


@pytest.mark.parametrize("limit", ["box-mueller", "household_mueller", "box-m*", "pis"])
def test_a_limit_by_name_group_or_pattern_works(fleet_folder: Path, limit: str) -> None:
    assert _pyinfra(f"{fleet_folder}/", "--limit", limit, "debug-inventory").returncode == 0


def _hosts(*arguments: str) -> tuple[int, set[str]]:
    """What pyinfra ends with, and the hosts that it would have made ready."""
    run = _pyinfra(*arguments, "debug-inventory", "--json")
    return run.returncode, {host["name"] for host in json.loads(run.stdout)} if run.returncode == 0 else set()


def test_only_the_hosts_that_are_named_are_made_ready(fleet_folder: Path) -> None:
    limited = _hosts(f"{fleet_folder}/", "--limit", "box-m*", "--limit", "relays", "--exclude", "pi1")

    assert limited == (0, {"box-mueller", "relay1", "pi1"}), "pi1, so that pyinfra finds what it is to leave out"
    assert _hosts(f"{fleet_folder}/", "--exclude", "pi1")[1] > limited[1], "without --limit all hosts are"


def test_a_limit_does_not_hide_the_fault_of_another_household(fleet_folder: Path) -> None:
    schmidt = fleet_folder / "households" / "schmidt.yaml"
    schmidt.write_text(schmidt.read_text().replace("slot: 18", "slot: 17"))

    run = _pyinfra(f"{fleet_folder}/", "--limit", "box-mueller", "exec", "--", "true")

    assert run.returncode == 1
    assert "slot 17 is already taken by mueller" in run.stderr
    assert "Connecting" not in run.stderr


EVERYTHING = {
    "boxes": [("@hearth/box-a", {}), ("@hearth/box-b", {})],
    "relays": [("@hearth/relay1", {})],
    "household_a": [("@hearth/box-a", {})],
    "household_b": [("@hearth/box-b", {})],
    "all": [("@hearth/box-a", {}), ("@hearth/box-b", {}), ("@hearth/relay1", {})],
}


@pytest.mark.parametrize(
    ("patterns", "hosts"),
    [
        (["box-a"], "box-a"),
        (["household_b"], "box-b"),
        (["*-a", "relays"], "box-a relay1"),
        (["box-?"], "box-a box-b"),
        (["boxes", "relay1"], "box-a box-b relay1"),
    ],
)
def test_a_slice_has_the_hosts_that_patterns_name_and_their_groups(patterns: list[str], hosts: str) -> None:
    found = sliced(EVERYTHING, patterns)

    assert [plain(name) for name, _ in found["all"]] == hosts.split()
    for group, members in EVERYTHING.items():
        assert found.get(group, []) == [member for member in members if member in found["all"]]


@pytest.mark.parametrize("patterns", [[], ["box-c"], ["box-a", "box-c"], ["a-folder"], ["all"]])
def test_pyinfra_gets_all_hosts_when_a_pattern_names_none_that_we_know(patterns: list[str]) -> None:
    assert sliced(EVERYTHING, patterns) is EVERYTHING


def test_other_inventories_stay_pyinfras_own(tmp_path: Path) -> None:
    (tmp_path / "hosts.py").write_text('web = ["@local"]\n')

    run = _pyinfra(str(tmp_path / "hosts.py"), "debug-inventory")

    assert run.returncode == 0
    assert "Groups: web" in run.stderr


def test_teaching_twice_wraps_once() -> None:
    program = (
        "import pyinfra_cli.inventory as i; from hearth.inventory.stock import teach_pyinfra as t;"
        "t(); once = i._get_groups_from_filename; t(); assert i._get_groups_from_filename is once"
    )

    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
