"""What the lab writes down: the register, its own record, local.yaml; and the age of a base."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from hearth.inventory import load_or_raise
from hearth.lab import bases, local, process, register, state
from hearth.lab.lab import started_of
from hearth.lab.process import LabError
from hearth.lab.topology import Member


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A register, a lock folder and kernel settings of the test's own."""
    (tmp_path / "ip_forward").write_text("0\n")
    (tmp_path / "boot_id").write_text("first boot\n")
    monkeypatch.setattr(register, "FOLDER", tmp_path / "register")
    monkeypatch.setattr(register, "FILE", tmp_path / "register/register.json")
    monkeypatch.setattr(register, "IP_FORWARD", tmp_path / "ip_forward")
    (tmp_path / "instances").write_text("128\n")
    monkeypatch.setattr(register, "INOTIFY_INSTANCES", tmp_path / "instances")
    monkeypatch.setattr(register, "BOOT_ID", tmp_path / "boot_id")
    monkeypatch.setattr(state, "LOCKS", tmp_path / "locks")
    monkeypatch.delenv("HEARTH_LAB_STATE", raising=False)
    return tmp_path


def test_each_lab_gets_a_number_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    one = register.enter("one", tmp_path / "a", True, {1, 2})
    two = register.enter("two", tmp_path / "b", True, set())
    assert (one.number, two.number) == (3, 1)
    assert register.enter("one", tmp_path / "a", False, set()) == one


def test_a_lab_is_for_one_inventory_and_an_inventory_for_one_lab(tmp_path: Path) -> None:
    register.enter("one", tmp_path / "a", True, set())
    with pytest.raises(LabError, match="lab one is up for"):
        register.enter("one", tmp_path / "b", True, set())
    with pytest.raises(LabError, match="lab one is up for"):
        register.enter("two", tmp_path / "a", True, set())


def test_the_last_lab_puts_the_machines_settings_back_as_the_first_one_found_them(own_machine: Path) -> None:
    register.enter("one", own_machine / "a", True, set())
    (own_machine / "ip_forward").write_text("1\n")
    (own_machine / "instances").write_text("1024\n")
    register.enter("two", own_machine / "b", True, set())
    register.leave("one")
    assert (own_machine / "ip_forward").read_text() == "1\n"
    register.leave("two")
    assert (own_machine / "ip_forward").read_text() == "0\n"
    assert (own_machine / "instances").read_text() == "128\n"
    assert not (own_machine / "register").exists()


def test_a_setting_of_an_earlier_boot_is_not_put_back(own_machine: Path) -> None:
    register.enter("one", own_machine / "a", True, set())
    (own_machine / "boot_id").write_text("second boot\n")
    (own_machine / "ip_forward").write_text("1\n")
    register.leave("one")
    assert (own_machine / "ip_forward").read_text() == "1\n"


def test_a_state_folder_that_would_break_mount_options_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEARTH_LAB_STATE", "/tmp/a:b")
    with pytest.raises(LabError, match="must not hold a colon"):
        register.folder("one")


def test_a_lock_leaves_no_file(own_machine: Path) -> None:
    with state.locked("one"):
        assert (own_machine / "locks/one.lock").exists()
    assert not (own_machine / "locks/one.lock").exists()


def test_a_labs_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    member = Member("pi1", "pi", 2, True, 2222, (9212, 22999), ("pi1.home.example",))
    record = state.LabState("anna", {"pi1": member}).with_host("pi1", state.HostRecord("trixie", ("/a", "/b"), False))
    record = record.with_snapshot("clean", state.SnapshotRecord("pi1", "trixie", ("/c",)))
    state.save(tmp_path / "lab", record)
    assert state.load(tmp_path / "lab") == record


@pytest.mark.parametrize("text", ["[]", "{}", '{"hosts": 3}'])
def test_a_record_that_is_none_is_refused_with_the_way_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.json").write_text(text)
    with pytest.raises(LabError, match="hearth lab down"):
        state.load(tmp_path)


def test_a_host_that_the_lab_does_not_have_is_answered_with_those_it_has() -> None:
    member = Member("pi1", "pi", 2, True, 2222)
    with pytest.raises(LabError, match="no host 'pi2' in this lab: it has pi1"):
        state.LabState(members={"pi1": member}).member("pi2")


def test_local_yaml_says_how_the_hosts_are_reached_and_goes_with_its_lab(tmp_path: Path) -> None:
    path = tmp_path / "local.yaml"
    reach = {"relay1": local.Reach("10.213.1.11", ("ssh-ed25519 AAAA",))}
    authority = (tmp_path / "private", tmp_path / "passphrase")
    local.write(path, "one", ("anna", tmp_path / "operator"), tmp_path / "bench", authority, reach)
    assert yaml.safe_load(path.read_text()) == {
        "operator": {"name": "anna", "identity": str(tmp_path / "operator")},
        "authority": {"folder": str(authority[0]), "passphrase_file": str(authority[1])},
        "hosts": {
            "relay1": {
                "address": "10.213.1.11",
                "port": 22,
                "user": "root",
                "identity": str(tmp_path / "bench"),
                "host_keys": ["ssh-ed25519 AAAA"],
            }
        },
    }
    local.check_ours(path, "one")
    local.remove(path, "two")
    assert path.exists()
    (tmp_path / "collected").mkdir()
    for host in ("relay1", "relay2"):
        (tmp_path / "collected" / f"{host}.yaml").write_text("host_keys: []\n")
    local.remove(path, "one")
    assert not path.exists()
    assert [file.name for file in (tmp_path / "collected").iterdir()] == ["relay2.yaml"], "not the lab's host"


def test_local_yaml_does_not_speak_of_a_host_that_has_left_the_fleet_nor_of_a_client() -> None:
    fleet = load_or_raise(Path(__file__).parents[3] / "inventory")
    record = state.LabState()
    for name in ("relay1", "store1", "visitor"):
        record = record.with_host(name, state.HostRecord("trixie", ("/a",)))
    assert started_of(fleet, record) == ("relay1",)


@pytest.mark.parametrize("text", ["", "hosts: {}\n", local.header("two")])
def test_a_local_yaml_of_somebody_else_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "local.yaml"
    path.write_text(text)
    with pytest.raises(LabError, match="not written by the lab one"):
        local.check_ours(path, "one")
    local.remove(path, "one")
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("name", "fresh"), [("trixie-20260101T000000Z", True), ("trixie-20251215T000000Z", False), ("trixie-x", False)]
)
def test_a_base_is_fresh_for_two_weeks(name: str, fresh: bool) -> None:
    assert bases.is_fresh(Path(name), datetime(2026, 1, 2, tzinfo=UTC)) is fresh


def test_a_release_without_a_base_is_refused() -> None:
    with pytest.raises(LabError, match="trixie, bookworm"):
        bases.check_suite("sid")


def test_missing_programs_are_named_as_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LabError, match=r"apt-get install .*mmdebstrap.*nftables"):
        process.require_machine()


def test_whoever_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabError, match="run it as root"):
        process.require_machine()


def test_a_program_that_fails_is_reported_with_its_complaint() -> None:
    with pytest.raises(LabError, match="failed with status 3: no such thing"):
        process.run(["sh", "-c", "echo no such thing >&2; exit 3"])
