from pathlib import Path

import pytest

from demo.bench import peers
from demo.bench.goals import ANSIBLE, BATCH_OFF, FLOOR, HEARTH, MITOGEN, PEERS, STOCK, STOCK_YES
from demo.bench.peers import Host, Unreadable, Work, changes, command
from demo.bench.sshds import sessions

RESULTS = """
--> Results:
    Operation                                                        Hosts   Success   Error   No Change
    Put /etc/bench/part-00.conf                                          2         1       -           1
    Grand total                                                          {hosts}        {done}       -           {rest}
"""
RECAP = """
PLAY RECAP *********************************************************************
host-0    : ok=7    changed=3    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
host-1    : ok=7    changed=4    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
"""
VERBOSE = """
Connection from 127.0.0.1 port 39502 on 127.0.0.1 port 2200 rdomain ""
Accepted publickey for root from 127.0.0.1 port 39502 ssh2: ED25519 SHA256:abc
Starting session: command for root from 127.0.0.1 port 39502 id 0
Starting session: subsystem 'sftp' for root from 127.0.0.1 port 39502 id 1
Close session: user root from 127.0.0.1 port 39502 id 0
"""
HOSTS = [
    Host("host-0", "127.0.0.1", 2200, "root", Path("/keys/root"), "ssh-ed25519 AAAA"),
    Host("box", "127.77.0.1", 2222, "anna", Path("/keys/anna"), "ssh-ed25519 BBBB"),
]
WORK = Work(["inventory/", "deploys/box.py"], Path("stock.py"), Path("play.yml"), Path("vars.json"), Path("facts.sh"))


@pytest.mark.parametrize(("done", "rest", "count"), [("-", "12", 0), ("5", "7", 5)])
def test_pyinfra_says_in_its_table_what_it_changed(done: str, rest: str, count: int) -> None:
    assert changes(HEARTH, RESULTS.format(hosts=2, done=done, rest=rest)) == count


def test_ansible_says_in_its_recap_what_it_changed_on_all_hosts() -> None:
    assert changes(ANSIBLE, RECAP) == 7


def test_a_peer_that_does_not_say_what_it_changed_is_not_taken_for_unchanged() -> None:
    with pytest.raises(Unreadable, match="Traceback"):
        changes(MITOGEN, "Traceback: all is lost")


def test_the_floor_changes_nothing() -> None:
    assert changes(FLOOR, "412 bytes from 1 hosts") == 0


def test_an_sshd_log_tells_how_many_commands_and_transfers_it_was_asked_for() -> None:
    assert sessions(VERBOSE) == 2


def test_every_peer_gets_the_same_hosts_and_pinned_keys(tmp_path: Path) -> None:
    for peer in PEERS:
        command(peer, WORK, HOSTS, tmp_path / peer)

        known = (tmp_path / peer / "known_hosts").read_text()
        assert known == "[127.0.0.1]:2200 ssh-ed25519 AAAA\n[127.77.0.1]:2222 ssh-ed25519 BBBB\n"


def test_only_who_is_not_root_becomes_root_in_ansible(tmp_path: Path) -> None:
    command(ANSIBLE, WORK, HOSTS, tmp_path)

    first, second = (tmp_path / "hosts.ini").read_text().splitlines()
    assert first.endswith("ansible_become=false")
    assert second.endswith("ansible_become=true")


def test_change_detection_is_pyinfra_without_yes_and_a_pressed_return_key(tmp_path: Path) -> None:
    detecting, at_once = (command(peer, WORK, HOSTS, tmp_path) for peer in (STOCK, STOCK_YES))

    assert "-y" not in detecting.argv
    assert detecting.stdin == "\n"
    assert at_once.argv == [*detecting.argv, "-y"]


def test_stock_pyinfra_runs_where_hearths_settings_are_not(tmp_path: Path) -> None:
    assert command(STOCK, WORK, HOSTS, tmp_path).folder == tmp_path
    assert (command(HEARTH, WORK, HOSTS, tmp_path).folder / "config.py").exists()


def test_a_peer_that_is_not_installed_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "VENV", tmp_path)

    assert [peer for peer in PEERS if peers.missing(peer)] == [MITOGEN, ANSIBLE]
    assert "make bench" in (peers.missing(ANSIBLE) or "")


def test_hearth_without_its_batch_is_the_same_command_with_the_switch_off(tmp_path: Path) -> None:
    with_batch, without = (command(peer, WORK, HOSTS, tmp_path) for peer in (HEARTH, BATCH_OFF))

    assert without.argv == with_batch.argv
    assert "HEARTH_BATCH" not in with_batch.environment
    assert without.environment["HEARTH_BATCH"] == "off"
