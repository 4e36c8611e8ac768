"""The box's tunnel: two forwards and nothing else, one trusted relay, back soon and not all at once."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from hearth.inventory.hosts import Box
from hearth.inventory.model import Relay
from roles import apache, tunnel

from .samples import BOX, HOUSEHOLD

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMIvScik939+AuX714xMbrQJMOfQtSEVEM3CbJtNkYb"
RELAY = Relay("relay1", "relay1.home.example", 2222, 9212, (KEY,))
BACK_AFTER_S = 60


def options() -> tuple[str, ...]:
    return tunnel.ssh_options(HOUSEHOLD, RELAY)


def setting(name: str) -> str:
    return next(word.partition("=")[2] for word in options() if word.startswith(f"{name}="))


def seconds(name: str) -> float:
    found = re.search(rf"^{name}=(\d+)(ms)?$", tunnel.unit(HOUSEHOLD, RELAY), re.MULTILINE)
    assert found
    return int(found[1]) / (1000 if found[2] else 1)


def test_the_tunnel_publishes_the_listener_and_sshd_at_the_households_address_and_nothing_else() -> None:
    words = options()
    assert [words[place + 1] for place, word in enumerate(words) if word == "-R"] == [
        "127.10.0.17:10443:127.0.0.1:10443",
        "127.10.0.17:10022:127.0.0.1:10022",
    ]
    assert not {"-L", "-D", "-w", "-A", "-X"} & set(words)
    assert words[-5:] == ("-p", "9212", "-l", "hearth-tunnel", "relay1.home.example")


def test_a_forward_that_is_refused_ends_the_tunnel_and_a_dead_line_is_noticed() -> None:
    assert setting("ExitOnForwardFailure") == "yes"
    assert (setting("ServerAliveInterval"), setting("ServerAliveCountMax")) == ("15", "3")
    assert setting("ConnectTimeout") == "20"
    assert setting("BatchMode") == "yes"


def test_the_relay_is_trusted_by_its_collected_keys_alone() -> None:
    assert setting("StrictHostKeyChecking") == "yes"
    assert setting("UserKnownHostsFile") == tunnel.KNOWN_HOSTS
    assert setting("GlobalKnownHostsFile") == "none"
    assert setting("UpdateHostKeys") == "no"
    assert options()[4:6] == ("-F", "none")
    lines = [line for line in tunnel.known_hosts(RELAY).splitlines() if not line.startswith("#")]
    assert lines == [f"[relay1.home.example]:9212 {KEY}"]
    assert f"\nrelay1.home.example {KEY}\n" in tunnel.known_hosts(replace(RELAY, tunnel_port=22))


def test_the_key_exchange_prefers_post_quantum() -> None:
    assert setting("KexAlgorithms").startswith("mlkem768x25519-sha256,sntrup761x25519-sha512")


def test_a_household_is_back_within_a_minute_of_the_relays_return() -> None:
    # The worst case: an attempt began just before the relay came back, timed out, and then waits its longest.
    for slot in (1, 17, 65534):
        assert int(setting("ConnectTimeout")) + tunnel.delays_ms(slot)[1] / 1000 < BACK_AFTER_S
    assert seconds("StartLimitIntervalSec") == 0
    assert "\nRestart=always\n" in tunnel.unit(HOUSEHOLD, RELAY)


def test_each_mishap_begins_with_the_first_delay_again() -> None:
    """systemd counts a unit's restarts for ever; as root, since the account may not tell it to forget them."""
    assert "\nExecStartPost=+-/usr/bin/systemctl reset-failed hearth-tunnel.service\n" in tunnel.unit(HOUSEHOLD, RELAY)


def test_a_crowd_is_spread_over_the_whole_delay() -> None:
    """A thousand neighbours, and as many households whose slots are not in a row, fill every tenth of it alike."""
    for step in (1, 7, 64):
        for place in (0, 1):
            delays = [tunnel.delays_ms(slot)[place] for slot in range(1, 1000 * step, step)]
            low, high = (tunnel.FIRST_DELAY_MS, tunnel.LONGEST_DELAY_MS)[place]
            tenths = [0] * 10
            for delay in delays:
                tenths[min(9, (delay - low) * 10 // (high - low))] += 1
            assert min(tenths) > 80, (step, place, tenths)


def test_a_household_keeps_its_rhythm_so_that_a_converge_changes_nothing() -> None:
    assert tunnel.unit(HOUSEHOLD, RELAY) == tunnel.unit(HOUSEHOLD, RELAY)


def test_the_unit_is_fenced_in_and_depends_on_nothing_of_the_cloud() -> None:
    unit = tunnel.unit(HOUSEHOLD, RELAY)
    for line in (
        "User=hearth-tunnel",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "PrivateTmp=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    ):
        assert f"\n{line}\n" in unit
    assert not re.search("apache|php|mariadb|redis", unit)


def test_where_visitors_come_directly_the_tunnel_carries_the_operator_alone() -> None:
    options = tunnel.ssh_options(replace(HOUSEHOLD, access="forwarded"), RELAY)
    forwards = [word for option, word in itertools.pairwise(options) if option == "-R"]
    assert forwards == ["127.10.0.17:10022:127.0.0.1:10022"]


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        (replace(BOX, relay=RELAY), True),
        (replace(BOX, relay=replace(RELAY, tunnel_host_keys=())), False),
        (replace(BOX, relay=RELAY, household=replace(HOUSEHOLD, access="upnp")), True),
        (replace(BOX, household=replace(HOUSEHOLD, access="forwarded", relay=None)), False),
    ],
)
def test_only_a_household_behind_a_collected_relay_opens_a_tunnel(box: Box, wanted: bool) -> None:
    assert tunnel.has_tunnel(box) is wanted
    assert tunnel.services(box) == ((tunnel.UNIT,) if wanted else ())


def test_the_listener_for_visitors_is_on_the_loopback_and_demands_the_proxy_header() -> None:
    site = apache.site(HOUSEHOLD)
    assert re.findall(r"^Listen (.*)$", site, re.MULTILINE) == ["127.0.0.1:10443 https"]
    straight, inner = site.split("<VirtualHost *:443>")[1].split("<VirtualHost 127.0.0.1:10443>")
    assert "RemoteIPProxyProtocol On" in inner
    assert "RemoteIPProxyProtocol" not in straight
    assert inner.replace("    RemoteIPProxyProtocol On\n", "").strip() == straight.strip()


def test_only_the_tunnels_account_and_root_may_reach_the_listener() -> None:
    rules = str(apache.proxy_guard()[0].content)
    assert 'ip daddr 127.0.0.0/8 tcp dport 10443 meta skuid != { "root", "hearth-tunnel" } reject' in rules
    assert rules.index("delete table inet hearth-proxy-listener") < rules.index("chain output")
