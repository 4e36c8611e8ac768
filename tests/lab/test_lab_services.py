"""The lab's internet has a name server, a certificate authority, and routers that can be asked for ports: real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from hearth.lab import cgroups, daemons
from hearth.lab.lab import Lab
from hearth.lab.process import LabError
from hearth.lab.topology import NAME_SERVER_ADDRESS
from tests.lab.boxes import MUELLER, RELAY
from tests.lab.conftest import copy_of_the_example, lab_name
from tests.lab.footprint import Watch, alive, processes_of

pytestmark = pytest.mark.lab
Start = Callable[..., None]
VISITOR = "visitor"
TESTER, SIBLING = "tester.home.example", "sibling.home.example"
ELSEWHERE, BEHIND_A_CARRIER = "198.51.100.200", "100.64.0.7"


@dataclass(frozen=True)
class Key:
    """A key that signs DNS updates: the record for its public half, and where the private half lies."""

    lab: Lab
    record: str
    path: str

    @classmethod
    def made(cls, lab: Lab, name: str) -> Key:
        make = f"cd $(mktemp -d) && dnssec-keygen -q -T KEY -n HOST -a ED25519 {name} && cat *.key && ls $PWD/*.private"
        _, record, path = daemons.execute(lab.internet.dns, ["sh", "-ec", make]).splitlines()
        return cls(lab, record, path)

    def sends(self, *changes: str) -> str:
        """What the name server said to an update that the key signed; empty if it did as it was told."""
        return send(self.lab, changes, "-k", self.path)


def send(lab: Lab, changes: tuple[str, ...], *how: str) -> str:
    commands = "\n".join([f"server {NAME_SERVER_ADDRESS}", "zone home.example", *changes, "send", ""])
    try:
        return daemons.execute(lab.internet.dns, ["nsupdate", *how], stdin=commands)
    except LabError as error:
        return str(error).rpartition(": ")[2]


def banner(lab: Lab, address: str, port: int) -> str:
    """What the visitor hears first when he connects to a port; empty when nobody answers."""
    script = f"exec 3<>/dev/tcp/{address}/{port} && head -c 8 <&3"
    return lab.exec(VISITOR, ["timeout", "4", "bash", "-c", script], check=False).stdout


@pytest.fixture
def tester(lab: Lab, start: Start) -> Key:
    """A key whose public half the operator has put at its name."""
    start(VISITOR)
    key = Key.made(lab, TESTER)
    lab.publish(key.record)
    lab.publish(f"{TESTER} A 192.0.2.1\n{SIBLING} A 192.0.2.2")
    return key


def test_clients_find_what_stands_in_the_dns_and_not_in_a_file(lab: Lab, start: Start) -> None:
    start(VISITOR)
    names = {
        "mueller.home.example": lab.public_address(RELAY),
        "relay1.home.example": lab.public_address(RELAY),
        "pi1.home.example": lab.public_address("pi1"),
        "acme.hearth.lab": "198.51.100.5",
    }
    for name, address in names.items():
        assert lab.resolve(name) == (address,)
        assert lab.exec(VISITOR, ["getent", "ahostsv4", name]).stdout.split()[0] == address
    assert "home.example" not in lab.exec(VISITOR, ["cat", "/etc/hosts"]).stdout
    lab.exec(VISITOR, ["getent", "ahostsv4", "deb.debian.org"])


def test_a_key_at_a_name_moves_the_addresses_of_that_name_alone(lab: Lab, tester: Key) -> None:
    assert tester.sends(f"update delete {TESTER} A", f"update add {TESTER} 60 A 192.0.2.9") == ""
    assert tester.sends(f"update add {TESTER} 60 AAAA 2001:db8::9") == ""
    assert lab.exec(VISITOR, ["getent", "ahostsv4", TESTER]).stdout.split()[0] == "192.0.2.9"
    attempts = (
        f"update add {SIBLING} 60 A 192.0.2.9",
        f"update delete {SIBLING} A",
        f"update add below.{TESTER} 60 A 192.0.2.9",
        "update add home.example 60 A 192.0.2.9",
        f"update add {TESTER} 60 TXT mine",
        f"update add {TESTER} 60 NS {TESTER}",
        f"update delete {TESTER} KEY",
        f"update delete {TESTER}",
    )
    assert {attempt: tester.sends(attempt) for attempt in attempts} == dict.fromkeys(attempts, "REFUSED")
    assert (lab.resolve(TESTER), lab.resolve(SIBLING)) == (("192.0.2.9",), ("192.0.2.2",))


def test_whoever_has_no_key_at_the_name_changes_nothing(lab: Lab, tester: Key) -> None:
    change = f"update add {TESTER} 60 A 192.0.2.66"
    assert send(lab, (change,)) == "REFUSED", "unsigned"
    assert Key.made(lab, SIBLING).sends(f"update add {SIBLING} 60 A 192.0.2.66") == "SERVFAIL", "never published"
    successor = Key.made(lab, TESTER)
    lab.publish(successor.record)
    assert tester.sends(change) == "SERVFAIL", "withdrawn"
    assert lab.resolve(TESTER) == ("192.0.2.1",)
    assert successor.sends(change) == ""


def test_what_a_household_told_the_dns_survives_an_up_and_a_crash_of_the_server(
    lab: Lab, lab_inventory: Path, tester: Key
) -> None:
    assert tester.sends(f"update delete {TESTER} A", f"update add {TESTER} 60 A 192.0.2.77") == ""
    lab.up([VISITOR], lab_inventory)
    assert lab.resolve(TESTER) == ("192.0.2.77",)
    cgroups.kill(lab.internet.dns.group)
    with pytest.raises(LabError, match="dns does not run"):
        lab.resolve(TESTER)
    lab.up([VISITOR], lab_inventory)
    assert lab.resolve(TESTER) == ("192.0.2.77",)


def test_a_record_that_is_none_is_refused_in_one_sentence(lab: Lab, start: Start) -> None:
    start(VISITOR)
    with pytest.raises(LabError, match="`half a` is not a DNS record"):
        lab.publish("half a")
    with pytest.raises(LabError, match=r"no zone for www\.example"):
        lab.publish("www.example A 192.0.2.1")


def directory(lab: Lab, root: str) -> str:
    """What the visitor, who trusts one root, gets as the directory of the certificate authority."""
    lab.exec(VISITOR, ["tee", "/root/acme-root.pem"], stdin=root)
    ask = "printf 'GET /dir HTTP/1.0\\r\\nHost: acme.hearth.lab:14000\\r\\n\\r\\n'"
    client = "openssl s_client -quiet -verify_return_error -verify_hostname acme.hearth.lab"
    fetch = f"{ask} | timeout 10 {client} -CAfile /root/acme-root.pem -connect acme.hearth.lab:14000"
    return lab.exec(VISITOR, ["bash", "-c", fetch], check=False).stdout


def test_the_acme_directory_answers_under_the_root_in_the_inventory(
    lab: Lab, lab_inventory: Path, start: Start
) -> None:
    start(VISITOR)
    assert '"newOrder": "https://acme.hearth.lab:14000/' in directory(
        lab, (lab_inventory / "authority/acme-root.pem").read_text()
    )
    assert directory(lab, lab.acme_roots()) == "", "another root"


def test_no_client_learns_the_keys_of_the_certificate_authority(lab: Lab, start: Start) -> None:
    start(VISITOR)
    assert "BEGIN CERTIFICATE" in lab.acme_roots()
    connect = "exec 3<>/dev/tcp/acme.hearth.lab/{}"
    assert lab.exec(VISITOR, ["bash", "-c", connect.format(14000)], check=False).returncode == 0
    assert lab.exec(VISITOR, ["bash", "-c", connect.format(15000)], check=False).returncode != 0


def test_the_certificate_authority_started_anew_has_another_root_to_issue_by_and_the_same_to_be_asked_by(
    lab: Lab, lab_inventory: Path, start: Start
) -> None:
    start(VISITOR)
    root, issuing = (lab_inventory / "authority/acme-root.pem").read_text(), lab.acme_roots()
    lab.restart_acme()
    assert lab.acme_roots() != issuing
    assert "newOrder" in directory(lab, root)


@pytest.fixture(scope="module")
def upnp_box(lab: Lab, start: Start, bare: str) -> None:
    """A bare box with a UPnP client, and a visitor."""
    start(MUELLER, VISITOR)
    lab.start_from(MUELLER, bare)
    install = "apt-get -qq update && apt-get -qqy --no-install-recommends install miniupnpc"
    lab.exec(MUELLER, ["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-ec", install], timeout_s=300)


@pytest.fixture
def home(lab: Lab, upnp_box: None) -> Iterator[str]:
    """The address of the box's router, which is put back afterwards to what the fleet says of it."""
    address = lab.public_address(MUELLER)
    yield address
    lab.readdress(MUELLER, address)
    lab.set_router(MUELLER)


def ask_for(lab: Lab, port: int) -> tuple[int, str]:
    """Have the box ask its router to lead a port to its SSH server; the exit status, and all that was said."""
    asked = lab.exec(MUELLER, ["upnpc", "-a", "192.168.1.10", "22", str(port), "TCP", "600"], check=False)
    return asked.returncode, asked.stdout + asked.stderr


def test_a_router_passes_on_the_ports_that_it_is_told_to_and_no_others(lab: Lab, home: str) -> None:
    assert banner(lab, home, 22) == ""
    lab.set_router(MUELLER, [22])
    assert banner(lab, home, 22) == "SSH-2.0-"
    lab.set_router(MUELLER)
    assert banner(lab, home, 22) == ""
    assert ask_for(lab, 2201)[0] == 1, "it cannot be asked"


def test_a_visitor_gets_in_at_the_port_that_the_box_asked_its_router_for(lab: Lab, home: str) -> None:
    lab.set_router(MUELLER, upnp_mode="on")
    assert banner(lab, home, 2202) == ""
    status, said = ask_for(lab, 2202)
    assert (status, f"ExternalIPAddress = {home}" in said) == (0, True)
    assert banner(lab, home, 2202) == "SSH-2.0-"
    lab.set_router(MUELLER, upnp_mode="off")
    assert banner(lab, home, 2202) == "", "forgotten"


def test_a_router_that_refuses_says_so(lab: Lab, home: str) -> None:
    lab.set_router(MUELLER, upnp_mode="refuse")
    status, said = ask_for(lab, 2203)
    assert (status, "606" in said) == (2, True), said
    assert banner(lab, home, 2203) == ""


def test_ports_that_were_asked_for_move_with_the_routers_address(lab: Lab, home: str) -> None:
    lab.set_router(MUELLER, upnp_mode="on")
    assert ask_for(lab, 2204)[0] == 0
    lab.readdress(MUELLER, ELSEWHERE)
    assert (banner(lab, home, 2204), banner(lab, ELSEWHERE, 2204)) == ("", "SSH-2.0-")
    status, said = ask_for(lab, 2205)
    assert (status, f"ExternalIPAddress = {ELSEWHERE}" in said) == (0, True), "it can be asked as before"


def test_behind_a_carriers_nat_the_box_gets_out_and_nobody_gets_in(lab: Lab, home: str) -> None:
    lab.set_router(MUELLER, upnp_mode="on")
    seen_from_outside = (
        "exec 3<>/dev/tcp/address.hearth.lab/80; printf 'GET / HTTP/1.0\\r\\nHost: address.hearth.lab\\r\\n"
    )
    ask = ["timeout", "10", "bash", "-c", f"{seen_from_outside}\\r\\n' >&3; tail -n 1 <&3"]
    assert lab.exec(MUELLER, ask).stdout.strip() == home
    lab.readdress(MUELLER, BEHIND_A_CARRIER)
    assert lab.exec(MUELLER, ask).stdout.strip() == "198.51.100.1"
    lab.exec(MUELLER, ["timeout", "10", "bash", "-c", f"exec 3<>/dev/tcp/{lab.public_address(VISITOR)}/22"])
    status, said = ask_for(lab, 2206)
    assert (status, f"ExternalIPAddress = {BEHIND_A_CARRIER}" in said) == (0, True), "the router knows no better"
    assert {banner(lab, address, 2206) for address in (BEHIND_A_CARRIER, home, "198.51.100.1")} == {""}


def test_up_gives_each_household_the_router_and_the_zone_of_its_inventory_and_down_leaves_nothing(
    tmp_path: Path,
) -> None:
    lab, inventory = Lab(lab_name("s")), copy_of_the_example(tmp_path / "inventory")
    for household, change in {
        "mueller": {"access": "upnp", "domain": "cloud.mueller.example", "own_domain": True},
        "schmidt": {"access": "forwarded"},
    }.items():
        file = inventory / f"households/{household}.yaml"
        data = yaml.safe_load(file.read_text()) | change
        file.write_text(yaml.safe_dump(data, allow_unicode=True, width=1000))
    authority = inventory / "authority"
    authority.mkdir()
    (authority / "tls-ca.pem").write_text("the operator's own\n")
    watch = Watch(lab.name)
    try:
        lab.up([MUELLER, "box-schmidt", VISITOR], inventory)
        lab.publish("cloud.mueller.example A 192.0.2.1")
        assert lab.exec(VISITOR, ["getent", "ahostsv4", "cloud.mueller.example"]).stdout.split()[0] == "192.0.2.1"
        assert lab.resolve("schmidt.home.example") == (), "its box has not brought an address yet"
        for port in (22, 443, 2222):
            lab.exec(
                "box-schmidt", ["sh", "-ec", "mkdir -p /run/sshd; /usr/sbin/sshd -o PidFile=none -p $0", str(port)]
            )
        heard = {port: banner(lab, lab.public_address("box-schmidt"), port) for port in (22, 443, 2222)}
        assert heard == {22: "", 443: "SSH-2.0-", 2222: "SSH-2.0-"}
        assert daemons.listens(lab.names.router(MUELLER), 5000)
        assert not daemons.listens(lab.names.router("box-schmidt"), 5000)
        processes = processes_of(lab.name)
        running = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in processes}
        assert {"named", "pebble", "miniupnpd"} <= running
    finally:
        lab.down()
    assert watch.left_over() == set()
    assert alive(processes | processes_of(lab.name)) == set()
    assert [path.name for path in authority.iterdir()] == ["tls-ca.pem"]
