"""The lab's map: names, numbers and addresses, from a lab's name and a fleet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hearth.inventory import load_or_raise
from hearth.inventory.hosts import Fleet
from hearth.lab import rules
from hearth.lab.process import LabError
from hearth.lab.topology import HIGHEST_HOST, Bench, Names, check_lab_name, hosts_file, members, resolver

EXAMPLE = Path(__file__).parents[3] / "inventory"


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return load_or_raise(EXAMPLE)


def test_link_names_fit_into_the_kernels_fifteen_characters() -> None:
    names = Names("a-lab-of-twenty-char")
    for link in (names.bench, names.uplink, names.bench_port(HIGHEST_HOST)):
        assert len(link) <= 15
        assert link.startswith(names.link_prefix)


def test_a_lab_whose_name_begins_as_anothers_shares_no_name_with_it() -> None:
    short, long = Names("home"), Names("home-two")
    assert not long.internet.startswith(short.namespace_prefix)
    assert short.link_prefix != long.link_prefix
    assert short.nft_table != long.nft_table
    assert short.hardware_address(1) != long.hardware_address(1)


def test_the_example_fleet_has_the_hosts_of_the_manual(fleet: Fleet) -> None:
    found = {member.name: member for member in members(fleet, {})}
    assert list(found) == ["relay1", "pi1", "box-mueller", "box-schmidt", "visitor", "helper-pc", "oma-pc"]
    assert {name for name, member in found.items() if not member.at_home} == {"relay1", "visitor"}
    assert found["pi1"].forwards == (9212, 22999)
    assert found["relay1"].names == ("relay1.home.example",)


def test_no_two_hosts_share_a_public_or_a_bench_address(fleet: Fleet) -> None:
    found = members(fleet, {})
    assert len({member.public_address for member in found}) == len(found)
    assert len({Bench(7).host(member.number) for member in found}) == len(found)


def test_a_host_keeps_its_number_when_the_fleet_grows(fleet: Fleet) -> None:
    before = {member.name: member.number for member in members(fleet, {})}
    newcomer = replace(fleet.households[0], id="adler", slot=3, domain="adler.home.example")
    grown = replace(fleet, households=(newcomer, *fleet.households))
    after = {member.name: member.number for member in members(grown, before)}
    assert {name: after[name] for name in before} == before
    assert after["box-adler"] not in before.values()


def test_a_fleet_that_is_too_large_is_refused(fleet: Fleet) -> None:
    many = tuple(replace(fleet.households[0], id=f"h{number}", slot=number) for number in range(1, HIGHEST_HOST + 1))
    with pytest.raises(LabError, match="more than the 110 hosts"):
        members(replace(fleet, households=many), {})


def test_a_fleet_that_names_a_host_as_a_client_is_refused(fleet: Fleet) -> None:
    with pytest.raises(LabError, match="rename visitor"):
        members(replace(fleet, relays=(replace(fleet.relays[0], name="visitor"),)), {})


@pytest.mark.parametrize("name", ["", "Lab", "9lives", "a" * 21, "a.b", "../x", "a b", "ä"])
def test_a_name_that_cannot_name_a_namespace_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="cannot name a lab"):
        check_lab_name(name)


def test_hosts_of_the_fleet_find_relays_and_pis_in_a_file_and_clients_ask_the_dns(fleet: Fleet) -> None:
    found = members(fleet, {})
    relay, pi, box, visitor = found[0], found[1], found[2], found[4]
    in_the_lab = "198.51.100.2 releases.hearth.lab\n198.51.100.2 address.hearth.lab\n198.51.100.4 ns.hearth.lab\n"
    for member in (relay, box, visitor):
        assert f"127.0.1.1 {member.name}\n" in hosts_file(member, found)
        assert in_the_lab + "198.51.100.5 acme.hearth.lab\n" in hosts_file(member, found)
        assert "mueller.home.example" not in hosts_file(member, found)
    assert f"{relay.public_address} relay1.home.example\n" in hosts_file(box, found)
    assert f"{pi.public_address} pi1.home.example\n" in hosts_file(box, found)
    assert "home.example" not in hosts_file(visitor, found)
    assert (str(resolver(visitor)), str(resolver(box))) == ("198.51.100.4", "198.51.100.3")


def test_a_relay_known_by_its_address_alone_needs_no_line(fleet: Fleet) -> None:
    found = members(replace(fleet, relays=(replace(fleet.relays[0], address="192.0.2.9"),)), {})
    assert "192.0.2.9" not in hosts_file(found[2], found)


def test_routers_forward_what_the_fleet_says_and_no_more(fleet: Fleet) -> None:
    mueller, schmidt = fleet.households
    changed = (replace(mueller, access="forwarded", relay=None), replace(schmidt, access="upnp"))
    before = {member.name: member for member in members(fleet, {})}
    after = {member.name: member for member in members(replace(fleet, households=changed), {})}
    assert {name: one.forwards for name, one in before.items() if one.forwards} == {"pi1": (9212, 22999)}
    assert after["box-mueller"].forwards == (80, 443, mueller.ssh_port)
    assert (after["box-schmidt"].forwards, after["box-schmidt"].upnp) == ((), True)
    assert not any(one.upnp for one in before.values())


def test_a_routers_rules_name_each_port_that_it_passes_on(fleet: Fleet) -> None:
    box = {member.name: member for member in members(fleet, {})}["box-mueller"]
    assert [line.split()[-5:] for line in rules.router(box, (80, 443)).splitlines() if "dnat ip" in line] == [
        [port, "dnat", "ip", "to", "192.168.1.10"] for port in ("80", "443")
    ]
    assert "dnat ip" not in rules.router(box, ())
