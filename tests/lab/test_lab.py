"""The lab's hosts are real, and stand to each other as they do in life."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hearth.lab.lab import Lab
from hearth.lab.process import LabError
from tests.lab.boxes import wait_for
from tests.lab.conftest import copy_of_the_example, lab_name

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("bare_relay", "bare_pi", "bare_mueller")]
Start = Callable[..., None]


def who_answers(lab: Lab, from_host: str, *targets: tuple[str, int]) -> set[str]:
    """Those of the targets (address, port) to which a TCP connection from one of the hosts comes about."""
    one = '(timeout 3 bash -c "exec 3<>/dev/tcp/{0}/{1}" 2>/dev/null && echo {0}:{1}) &'
    script = "\n".join(one.format(*target) for target in targets) + "\nwait"
    return set(lab.exec(from_host, ["bash", "-c", script]).stdout.split())


def answers(lab: Lab, from_host: str, address: str, port: int) -> bool:
    """Whether a TCP connection from one of the hosts comes about."""
    return bool(who_answers(lab, from_host, (address, port)))


def answers_operator(lab: Lab, host: str, port: int = 22) -> bool:
    """Whether a TCP connection from this machine over the bench comes about."""
    try:
        socket.create_connection((lab.address(host), port), timeout=2).close()
    except OSError:
        return False
    return True


def listen(lab: Lab, host: str, port: int) -> None:
    """Have sshd listen on one more port of a host."""
    lab.exec(host, ["sh", "-c", "mkdir -p /run/sshd"])
    lab.exec(host, ["/usr/sbin/sshd", "-p", str(port), "-o", "PidFile=none"])
    # It goes into the background first, and listens then.
    listening = ["ss", "-Hltn", f"sport = :{port}"]
    wait_for(lambda: lab.exec(host, listening).stdout != "", 20, f"{host} to listen on {port}")


def hardware_address(where: list[str], link: str) -> str:
    """The Ethernet address of a link; ``where``: ip's options for its network namespace."""
    shown = subprocess.run(["ip", *where, "-json", "link", "show", link], check=True, capture_output=True, text=True)
    return str(json.loads(shown.stdout)[0]["address"])


def command(*argv: str) -> list[str]:
    """The `hearth lab` command with these arguments."""
    return [sys.executable, "-c", "from hearth.commands.lab import app; app()", *argv]


def hearth_lab(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*argv), capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("host", ["relay1", "box-mueller"])
def test_a_host_is_a_bare_debian_13_with_systemd_and_working_packages(lab: Lab, start: Start, host: str) -> None:
    start(host)
    assert lab.exec(host, ["systemctl", "is-system-running"]).stdout.strip() == "running"
    assert lab.exec(host, ["cat", "/proc/1/comm"]).stdout.strip() == "systemd"
    assert lab.exec(host, ["hostname"]).stdout.strip() == host
    assert "VERSION_CODENAME=trixie" in lab.exec(host, ["cat", "/etc/os-release"]).stdout
    assert lab.exec(host, ["which", "python3"], check=False).returncode != 0
    lab.exec(host, ["apt-get", "update", "-qq", "--error-on=any"])


def test_each_host_has_an_identity_of_its_own(lab: Lab, start: Start, lab_inventory: Path) -> None:
    start("box-mueller", "box-schmidt")
    machine_ids = {lab.exec(host, ["cat", "/etc/machine-id"]).stdout for host in ("box-mueller", "box-schmidt")}
    known = yaml.safe_load((lab_inventory / "local.yaml").read_text())["hosts"]
    assert len(machine_ids) == 2
    assert not set(known["box-mueller"]["host_keys"]) & set(known["box-schmidt"]["host_keys"])


def test_two_homes_have_the_same_private_range(lab: Lab, start: Start) -> None:
    start("box-mueller", "box-schmidt")
    for host in ("box-mueller", "box-schmidt"):
        assert "192.168.1.10/24" in lab.exec(host, ["ip", "-4", "address", "show", "eth0"]).stdout


def test_nothing_of_a_box_answers_from_the_internet(lab: Lab, start: Start) -> None:
    start("box-mueller", "visitor", "relay1")
    listen(lab, "box-mueller", 443)
    router = lab.names.router("box-mueller")
    inside = subprocess.run(
        ["ip", "netns", "exec", router, "bash", "-c", "exec 3<>/dev/tcp/192.168.1.10/443"], check=False, timeout=5
    )
    assert inside.returncode == 0, "the box does not even answer in its own home"
    addresses = (lab.public_address("box-mueller"), lab.address("box-mueller"), "192.168.1.10")
    targets = [(address, port) for address in addresses for port in (22, 443)]
    for host in ("visitor", "relay1"):
        assert who_answers(lab, host, *targets) == set()


def test_a_host_reaches_neither_its_neighbours_nor_the_operator_over_the_bench(lab: Lab, start: Start) -> None:
    start("box-mueller", "relay1")
    assert answers_operator(lab, "relay1")
    assert not answers(lab, "box-mueller", lab.address("relay1"), 22)
    # Not even if both make themselves routes to each other.
    both = {"box-mueller": lab.address("relay1"), "relay1": lab.address("box-mueller")}
    for host, other in both.items():
        lab.exec(host, ["ip", "route", "add", f"{other}/32", "dev", "bench0"])
    assert not answers(lab, "box-mueller", lab.address("relay1"), 22)
    # The ports are apart below IP already, whatever filters the machine has above.
    assert "lladdr" not in lab.exec("box-mueller", ["ip", "neighbour", "show", lab.address("relay1")]).stdout
    for host, other in both.items():
        lab.exec(host, ["ip", "route", "del", f"{other}/32", "dev", "bench0"])
    operator = lab.address("relay1").rpartition(".")[0] + ".1"
    with socket.create_server((operator, 0)) as server:
        port = server.getsockname()[1]
        assert not answers(lab, "box-mueller", operator, port)
        assert not answers(lab, "relay1", operator, port)


def test_the_routers_of_the_pi_forward_its_tunnel_ports_and_no_other(lab: Lab, start: Start) -> None:
    start("pi1", "visitor")
    for port in (9212, 22999, 2222):
        listen(lab, "pi1", port)
    # By address: a lost question to the name server is repeated only after 5 s, longer than who_answers waits.
    address = lab.public_address("pi1")
    found = who_answers(lab, "visitor", *((address, port) for port in (22, 2222, 9212, 22999)))
    assert found == {f"{address}:9212", f"{address}:22999"}


def test_a_box_reaches_the_relay_and_gets_the_pinned_release(lab: Lab, start: Start, lab_inventory: Path) -> None:
    start("box-mueller", "relay1")
    assert answers(lab, "box-mueller", "relay1.home.example", 22)
    pin = yaml.safe_load((lab_inventory / "fleet.yaml").read_text())["releases"][0]
    path = pin["url"].removeprefix("http://releases.hearth.lab")
    fetch = f"exec 3<>/dev/tcp/releases.hearth.lab/80; printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    got = lab.exec("box-mueller", ["bash", "-c", f"({fetch}) | sed '1,/^\\r$/d' | sha256sum"]).stdout.split()[0]
    assert got == pin["sha256"]


def test_a_household_is_found_at_its_relay_by_everybody_outside(lab: Lab, start: Start) -> None:
    start("visitor", "box-mueller")
    found = lab.exec("visitor", ["getent", "hosts", "mueller.home.example"]).stdout
    assert found.split()[0] == lab.public_address("relay1")
    assert "mueller" not in lab.exec("box-mueller", ["grep", "-v", "127.0.1.1", "/etc/hosts"]).stdout


def test_the_operator_logs_in_with_a_pinned_host_key(lab: Lab, start: Start, lab_inventory: Path) -> None:
    start("relay1")
    good = subprocess.run(lab.ssh_command("relay1", ["hostname"]), capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout.strip()) == (0, "relay1")
    local = yaml.safe_load((lab_inventory / "local.yaml").read_text())
    road = local["hosts"]["relay1"]
    wrong = lab_inventory.parent / "known_hosts"
    wrong.write_text(f"{road['address']} {local['hosts'].get('box-mueller', road)['host_keys'][0][:-4]}AAAA\n")
    options = ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={wrong}", "-o", "BatchMode=yes"]
    argv = ["ssh", "-F", "none", *options, "-i", road["identity"], f"root@{road['address']}", "true"]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 255


def test_the_operators_certificate_is_of_the_fleets_own_authority(lab: Lab, start: Start, lab_inventory: Path) -> None:
    start("relay1")
    identity = yaml.safe_load((lab_inventory / "local.yaml").read_text())["operator"]["identity"]
    shown = subprocess.run(
        ["ssh-keygen", "-L", "-f", f"{identity}-cert.pub"], capture_output=True, text=True, check=True
    ).stdout
    authority = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(lab_inventory / "authority/ssh-user-ca.pub")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()[1]
    assert authority in shown
    assert "anna" in shown.partition("Principals:")[2]


def test_exec_passes_input_output_and_status_and_needs_no_sshd(lab: Lab, start: Start) -> None:
    start("visitor")
    lab.exec("visitor", ["systemctl", "stop", "ssh.service", "ssh.socket"], check=False)
    result = lab.exec("visitor", ["sh", "-c", "cat; echo oops >&2; exit 7"], stdin="hello", check=False)
    assert (result.returncode, result.stdout, result.stderr) == (7, "hello", "oops\n")
    with pytest.raises(LabError, match="status 7"):
        lab.exec("visitor", ["sh", "-c", "exit 7"])
    assert hearth_lab("exec", "visitor", "--name", lab.name, "--", "sh", "-c", "exit 9").returncode == 9
    lab.exec("visitor", ["systemctl", "start", "ssh.service"])


def test_a_command_that_takes_too_long_is_ended_inside_the_host_too(lab: Lab, start: Start) -> None:
    start("visitor")
    with pytest.raises(LabError, match="took longer than 1 s"):
        lab.exec("visitor", ["sleep", "4711"], timeout_s=1)
    seen = lab.exec("visitor", ["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).stdout
    assert "sleep 4711" not in seen


def test_up_again_leaves_running_hosts_alone(lab: Lab, start: Start, lab_inventory: Path) -> None:
    start("visitor")
    before = {host.name: host.pid for host in lab.status()}
    lab.up(["visitor"], lab_inventory)
    assert {host.name: host.pid for host in lab.status()} == before


def test_a_power_cut_ends_everything_at_once_and_keeps_the_files(lab: Lab, start: Start) -> None:
    start("visitor")
    lab.exec("visitor", ["sh", "-c", "echo kept > /root/file; sync"])
    lab.kill("visitor")
    with pytest.raises(LabError, match="does not run"):
        lab.exec("visitor", ["true"])
    assert next(host.state for host in lab.status() if host.name == "visitor") == "stopped"
    lab.start("visitor")
    assert lab.exec("visitor", ["cat", "/root/file"]).stdout == "kept\n"


def test_a_host_can_reboot_by_itself(lab: Lab, start: Start) -> None:
    start("visitor")
    lab.exec("visitor", ["touch", "/run/before-the-reboot"])
    lab.exec("visitor", ["systemctl", "reboot"], check=False)
    deadline = time.monotonic() + 30
    gone = ["test", "!", "-e", "/run/before-the-reboot"]
    while True:
        try:
            lab.exec("visitor", gone)
            break
        except LabError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert answers_operator_soon(lab, "visitor")


def answers_operator_soon(lab: Lab, host: str) -> bool:
    deadline = time.monotonic() + 15
    while not answers_operator(lab, host):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def test_a_host_starts_from_a_snapshot_as_it_was(lab: Lab, start: Start) -> None:
    start("helper-pc", "oma-pc")
    lab.exec("helper-pc", ["sh", "-c", "echo one > /root/file; rm /etc/debian_version"])
    lab.snapshot("helper-pc", "with-file")
    lab.start("helper-pc")
    assert lab.exec("helper-pc", ["cat", "/root/file"]).stdout == "one\n"
    lab.exec("helper-pc", ["sh", "-c", "echo two > /root/file; touch /root/later"])
    started_at = time.monotonic()
    lab.start_from("helper-pc", "with-file")
    assert time.monotonic() - started_at < 20
    assert lab.exec("helper-pc", ["cat", "/root/file"]).stdout == "one\n"
    assert lab.exec("helper-pc", ["ls", "/root/later", "/etc/debian_version"], check=False).stdout == ""

    lab.start_from("oma-pc", "with-file")
    assert lab.exec("oma-pc", ["cat", "/root/file", "/etc/hostname"]).stdout == "one\noma-pc\n"
    login = subprocess.run(lab.ssh_command("oma-pc", ["hostname"]), capture_output=True, text=True, check=False)
    assert login.stdout == "oma-pc\n"


def test_the_bench_link_can_be_taken_away_and_stays_away_over_a_boot(lab: Lab, start: Start) -> None:
    start("visitor")
    assert answers_operator_soon(lab, "visitor")
    lab.bench("visitor", False)
    assert not answers_operator(lab, "visitor")
    lab.stop("visitor")
    lab.start("visitor")
    assert not answers_operator(lab, "visitor")
    assert lab.exec("visitor", ["hostname"]).stdout == "visitor\n"
    lab.bench("visitor", True)
    assert answers_operator_soon(lab, "visitor")


def test_whoever_knows_a_gateway_by_arp_keeps_it_while_hosts_come_and_go(lab: Lab, start: Start) -> None:
    """A bridge without an address of its own takes the lowest of its ports'."""
    start("relay1", "box-mueller")
    low = f"{lab.names.link_prefix}low"
    home = ["-n", lab.names.router("box-mueller")]
    for where, bridge in ((["-n", lab.names.internet], "internet"), (home, "lan"), ([], lab.names.bench)):
        before = hardware_address(where, bridge)
        subprocess.run(["ip", *where, "link", "add", low, "address", "00:00:00:00:00:01", "type", "veth"], check=True)
        try:
            subprocess.run(["ip", *where, "link", "set", low, "master", bridge], check=True)
            assert hardware_address(where, bridge) == before
        finally:
            subprocess.run(["ip", *where, "link", "delete", low], check=True)


def test_status_tells_programs_what_runs_where(lab: Lab, start: Start) -> None:
    start("relay1")
    report = json.loads(hearth_lab("status", "--name", lab.name, "--format", "json").stdout)
    hosts = {host["name"]: host for host in report["hosts"]}
    # Of a fleet that another test file brought into the lab there may be more.
    assert set(hosts) >= {"relay1", "pi1", "box-mueller", "box-schmidt", "visitor", "helper-pc", "oma-pc"}
    relay = hosts["relay1"]
    assert (relay["state"], relay["suite"], relay["bench"]) == ("running", "trixie", lab.address("relay1"))
    assert Path(f"/proc/{relay['pid']}").exists()


def test_what_the_lab_refuses_it_refuses_in_one_sentence(lab: Lab, tmp_path: Path) -> None:
    other, inventory = lab_name("r"), copy_of_the_example(tmp_path / "inventory")
    unknown = hearth_lab("up", "box-nobody", "--inventory", str(inventory), "--name", other)
    (inventory / "local.yaml").write_text("hosts: {}\n")
    kept = hashlib.sha256((inventory / "local.yaml").read_bytes()).hexdigest()
    foreign = hearth_lab("up", "relay1", "--inventory", str(inventory), "--name", other)
    nameless = hearth_lab("up", "--name", "Not a name")
    down = hearth_lab("exec", "relay1", "--name", other, "--", "true")
    for result, words in ((unknown, "box-nobody"), (foreign, "local.yaml"), (nameless, "Not a name"), (down, "")):
        assert result.returncode == 1
        assert len(result.stderr.splitlines()) == 1 and words in result.stderr
    assert hashlib.sha256((inventory / "local.yaml").read_bytes()).hexdigest() == kept
    assert Lab(other).status() == []


def test_a_second_lab_beside_the_first_does_not_meet_it(lab: Lab, start: Start, tmp_path: Path) -> None:
    start("relay1")
    second = Lab(lab_name("b"))
    try:
        second.up(["relay1", "pi1"], copy_of_the_example(tmp_path / "inventory"), pi_suite="bookworm")
        assert second.address("relay1") != lab.address("relay1")
        assert "VERSION_CODENAME=bookworm" in second.exec("pi1", ["cat", "/etc/os-release"]).stdout
        assert second.exec("pi1", ["systemctl", "is-system-running"]).stdout.strip() == "running"
        second.exec("relay1", ["touch", "/root/second"])
        assert lab.exec("relay1", ["test", "-e", "/root/second"], check=False).returncode != 0
        assert not answers(second, "relay1", lab.address("relay1"), 22)
        assert not answers(lab, "relay1", second.address("relay1"), 22)
        assert answers_operator(lab, "relay1") and answers_operator(second, "relay1")
    finally:
        second.down()
    assert lab.exec("relay1", ["systemctl", "is-system-running"]).stdout.strip() == "running"
    assert answers_operator(lab, "relay1")
