"""Which boxes tell their address, where they learn it, and that no key leaves them."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from hearth.inventory.hosts import Box
from hearth.inventory.model import AccessKind, DynamicDns, Relay
from roles import dynamic_dns
from roles.dynamic_dns import DnsState

from ..samples import BOX, HOUSEHOLD

DNS = DynamicDns("ns.home.example", "home.example")
RELAY = Relay("relay1", "relay1.home.example", 2222)


def box(access: AccessKind, dns: DynamicDns | None = DNS, relay: Relay | None = RELAY) -> Box:
    return replace(BOX, relay=relay, household=replace(HOUSEHOLD, access=access, dynamic_dns=dns))


def test_only_a_box_with_a_dns_server_tells_its_address() -> None:
    assert dynamic_dns.services(box("upnp")) == (dynamic_dns.TIMER,)
    assert dynamic_dns.services(box("forwarded", dns=None)) == ()
    assert dynamic_dns.packages(box("relay", dns=None)) == ()


def test_where_the_router_is_asked_it_tells_the_address() -> None:
    assert dynamic_dns.learn(box("upnp"), DNS) == ("/usr/lib/hearth/router-port", "address")


def test_where_ports_are_forwarded_by_hand_the_relay_tells_the_address_or_another_page() -> None:
    assert dynamic_dns.learn(box("forwarded"), DNS)[-1] == "http://relay1.home.example/.well-known/hearth/address"
    own = replace(DNS, address_url="https://address.home.example/")
    assert dynamic_dns.learn(box("forwarded"), own)[-1] == "https://address.home.example/"
    with pytest.raises(ValueError, match="address_url"):
        dynamic_dns.learn(box("forwarded", relay=None), DNS)


def test_the_page_is_asked_briefly_and_leads_nowhere_else() -> None:
    words = dynamic_dns.learn(box("forwarded"), DNS)
    assert words[0] == "curl"
    assert {"--ipv4", "--fail", "--max-time", "--max-filesize"} <= set(words)
    assert not {"-L", "--location"} & set(words)


def test_an_address_page_with_odd_characters_stays_one_word() -> None:
    odd = replace(DNS, address_url='https://address.home.example/?a="b"&c=\\d')
    data = tomllib.loads(dynamic_dns.config(box("forwarded", odd), odd))
    assert data["learn"][-1] == odd.address_url
    assert (data["name"], data["zone"], data["server"]) == ("mueller.home.example", "home.example", "ns.home.example")


def test_the_unit_is_nobodys_fenced_in_and_silent_while_all_is_well() -> None:
    unit = next(str(file.content) for file in dynamic_dns.files(box("upnp"), DNS) if file.path.endswith(".service"))
    for line in ("User=hearth-dns", "CapabilityBoundingSet=", "ProtectSystem=strict", "LogLevelMax=notice"):
        assert f"\n{line}\n" in unit


def test_no_file_that_the_converge_puts_is_a_key() -> None:
    assert not [file.path for file in dynamic_dns.files(box("upnp"), DNS) if file.path.startswith("/etc/hearth/dns")]


def test_what_the_box_has_is_read() -> None:
    key = "512 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="
    assert dynamic_dns.parse_state(["folder", f"key {key}", "kept-well", "published"]) == DnsState(
        has_folder=True, key=key, kept_well=True, published=True
    )
    assert dynamic_dns.parse_state(["folder", "tsig"]) == DnsState(has_folder=True, has_tsig_key=True)
    assert dynamic_dns.parse_state([]) == DnsState()
