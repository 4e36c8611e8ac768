"""What the lab's name server, certificate authority and UPnP routers are told: pure text from the fleet."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509

from hearth.inventory import load_or_raise
from hearth.inventory.hosts import Fleet
from hearth.inventory.model import DynamicDns
from hearth.lab import acme, bases, cleanup, daemons, dns, keys, local, register, upnp
from hearth.lab.daemons import Daemon
from hearth.lab.dns import Record
from hearth.lab.process import LabError
from hearth.lab.topology import Names, members

EXAMPLE = Path(__file__).parents[3] / "inventory"


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return load_or_raise(EXAMPLE)


def test_the_zone_leads_to_relays_pis_and_the_households_behind_a_relay(fleet: Fleet) -> None:
    found = {record.name: record.data for record in dns.fixed_records(fleet, members(fleet, {})) if record.kind == "A"}
    assert found == {
        "relay1.home.example": "198.51.100.11",
        "pi1.home.example": "198.51.100.12",
        "mueller.home.example": "198.51.100.11",
        "schmidt.home.example": "198.51.100.11",
        "releases.hearth.lab": "198.51.100.2",
        "address.hearth.lab": "198.51.100.2",
        "ns.hearth.lab": "198.51.100.4",
        "acme.hearth.lab": "198.51.100.5",
    }


def test_a_household_that_visitors_reach_without_a_relay_has_its_key_in_the_zone_and_no_address(fleet: Fleet) -> None:
    mueller, schmidt = fleet.households
    moved = replace(mueller, access="forwarded", relay=None, dns_key="512 3 15 AAAA")
    changed = replace(fleet, households=(moved, schmidt))
    everybody = members(changed, {})
    records = dns.fixed_records(changed, everybody)
    assert [record for record in records if record.name == mueller.domain] == [
        Record(mueller.domain, "KEY", "512 3 15 AAAA")
    ]
    # Its relay's address goes if it still stands there; one that the box brought since stays.
    assert dns.outdated_records(changed, everybody) == (Record(mueller.domain, "A", "198.51.100.11"),)


def test_there_is_a_zone_for_the_fleet_for_the_lab_and_for_each_domain_outside(fleet: Fleet) -> None:
    mueller, schmidt = fleet.households
    own = replace(mueller, domain="cloud.mueller.example")
    theirs = replace(schmidt, domain="cloud.schmidt.example", dynamic_dns=DynamicDns("ns", "schmidt.example"))
    changed = replace(fleet, households=(own, theirs))
    zones = dns.zones(changed, dns.fixed_records(changed, members(changed, {})))
    assert zones == ("cloud.mueller.example", "hearth.lab", "home.example", "schmidt.example")


def test_a_name_lies_in_the_closest_zone_and_not_in_one_that_only_ends_alike() -> None:
    zones = ("example", "home.example", "me.example")
    assert dns.zone_of("a.home.example", zones) == "home.example"
    assert dns.zone_of("home.example", zones) == "home.example"
    assert dns.zone_of("xhome.example", zones) == "example"
    assert dns.zone_of("home.org", zones) is None


def test_records_are_read_as_a_zone_file_has_them() -> None:
    text = "a.example. IN KEY 512 3 15 AB CD=\n\nb.example 300 A 192.0.2.1 ; a comment\nc.example A 192.0.2.2\n"
    assert dns.parse(text) == (
        Record("a.example", "KEY", "512 3 15 AB CD="),
        Record("b.example", "A", "192.0.2.1"),
        Record("c.example", "A", "192.0.2.2"),
    )


@pytest.mark.parametrize("line", ["alone", "two words", "name 300 IN A", "name IN A"])
def test_a_line_that_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(LabError, match="is not a DNS record: write NAME TYPE DATA"):
        dns.parse(line)


def test_an_update_replaces_each_record_set_once_and_goes_zone_by_zone() -> None:
    put = (Record("a.one", "A", "192.0.2.1"), Record("b.two", "A", "192.0.2.2"), Record("a.one", "A", "192.0.2.3"))
    assert dns.update(("one", "two"), put, (Record("b.two", "A", "192.0.2.9"),)).splitlines() == [
        "server 198.51.100.4",
        "zone two.",
        "update delete b.two. A 192.0.2.9",
        "update delete b.two. A",
        "update add b.two. 60 A 192.0.2.2",
        "send",
        "zone one.",
        "update delete a.one. A",
        "update add a.one. 60 A 192.0.2.1",
        "update add a.one. 60 A 192.0.2.3",
        "send",
    ]


def test_a_key_may_change_the_addresses_of_its_own_name_alone() -> None:
    text = dns.named_conf(("home.example",), "192.0.2.53")
    assert 'zone "home.example" {' in text
    assert "update-policy { grant local-ddns zonesub any; grant * self * A AAAA; };" in text
    assert "forwarders { 192.0.2.53; };" in text
    assert "listen-on { 198.51.100.4; };" in text


def test_a_new_zone_holds_its_server_alone() -> None:
    assert dns.zone_file("home.example").splitlines() == [
        "$TTL 60",
        "@ IN SOA ns.hearth.lab. hostmaster.home.example. 1 3600 600 86400 60",
        "@ IN NS ns.hearth.lab.",
    ]
    assert dns.zone_file("hearth.lab").endswith("ns.hearth.lab. IN A 198.51.100.4\n")


def test_pebble_proves_names_on_the_real_ports_and_issues_for_as_long_as_it_is_told() -> None:
    settings = json.loads(acme.configuration(timedelta(hours=1)))["pebble"]
    assert (settings["tlsPort"], settings["httpPort"], settings["certificateValidityPeriod"]) == (443, 80, 3600)
    assert settings["managementListenAddress"].startswith("127.0.0.1:"), "it hands out private keys"


def test_pebbles_own_certificate_is_issued_by_the_root_that_goes_with_it() -> None:
    made = acme.api_certificate(datetime(2026, 1, 2, tzinfo=UTC))
    root, certificate = (x509.load_pem_x509_certificate(made[path].encode()) for path in (acme.ROOT, acme.CERTIFICATE))
    certificate.verify_directly_issued_by(root)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["acme.hearth.lab"]
    assert "PRIVATE KEY" in made[acme.KEY]
    assert "PRIVATE KEY" not in made[acme.ROOT] + made[acme.CERTIFICATE]


def test_a_router_that_refuses_denies_every_port_and_one_that_does_not_allows_only_its_own_home() -> None:
    on, refuse = (upnp.configuration("box-a", mode, IPv4Address("198.51.100.13")) for mode in ("on", "refuse"))
    assert [line for line in on.splitlines() if line.startswith(("allow", "deny"))] == [
        "allow 1-65535 192.168.1.0/24 1-65535",
        "deny 0-65535 0.0.0.0/0 0-65535",
    ]
    assert "allow 1" not in refuse and "deny 0-65535 0.0.0.0/0 0-65535" in refuse
    assert "ext_ip=198.51.100.13\n" in on


def test_a_daemons_files_are_roots_alone_and_are_written_only_when_they_differ(tmp_path: Path) -> None:
    daemon = Daemon(Names("one"), "dns", tmp_path, "hl.one.net.internet")
    assert daemons.configure(daemon, {"etc/key": "a"})
    assert not daemons.configure(daemon, {"etc/key": "a"})
    assert daemons.configure(daemon, {"etc/key": "b"})
    assert (daemon.upper / "etc/key").stat().st_mode & 0o777 == 0o600
    assert (daemon.upper / "etc/key").read_text() == "b"


def test_the_base_of_the_daemons_is_none_that_a_host_can_be_started_on() -> None:
    assert bases.RECIPES[bases.SERVICES][0] == "trixie"
    with pytest.raises(LabError, match="trixie, bookworm"):
        bases.check_suite(bases.SERVICES)


def test_down_removes_the_acme_root_that_its_lab_wrote_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = register.Entry(1, str(tmp_path / "state"), str(tmp_path / "inventory"))
    monkeypatch.setattr(register, "read", lambda: register.Register({"one": entry}))
    root = keys.acme_root(tmp_path / "inventory")
    root.parent.mkdir(parents=True)
    for header, stays in ((local.header("two"), True), ("", True), (local.header("one"), False)):
        root.write_text(f"{header}-----BEGIN CERTIFICATE-----\n")
        cleanup.remove_files("one", tmp_path / "state")
        assert root.exists() is stays
    assert root.parent.is_dir(), "the operator made it"
