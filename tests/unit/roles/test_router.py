"""The router's files as text, and what its program on the relay concludes from HAProxy's answers."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from hearth.inventory.hosts import RelayHost
from hearth.inventory.model import AccessKind, Household, Relay
from roles import router
from roles.router import render
from roles.router.onhost import router_maps

from .samples import ANNA, HOUSEHOLD

SCHMIDT = replace(HOUSEHOLD, id="schmidt", slot=18, domain="schmidt.home.example", public_port=20443)
DISTANT = replace(HOUSEHOLD, id="distant", slot=65534, domain="distant.home.example")


def relay(*households: Household) -> RelayHost:
    return RelayHost(
        name="relay1",
        roads=(),
        operators=(ANNA,),
        ssh_port=2222,
        time_zone="Europe/Berlin",
        authority=None,
        relay=Relay("relay1", "relay1.home.example", ssh_port=2222, tunnel_port=9212),
        households=households,
    )


def entries(name: str, *households: Household) -> dict[str, str]:
    return router_maps.parse_map(render.maps(relay(*households))[name])


def test_names_and_public_ports_lead_to_the_households_addresses() -> None:
    everybody = (SCHMIDT, HOUSEHOLD, DISTANT)
    assert entries("hosts.map", *everybody) == {
        "mueller.home.example": "127.10.0.17",
        "schmidt.home.example": "127.10.0.18",
        "distant.home.example": "127.10.255.254",
    }
    assert entries("ports.map", *everybody) == {"20443": "127.10.0.18"}
    assert entries("households.map", *everybody)["127.10.255.254"] == "distant"


def test_maps_are_the_same_in_whatever_order_the_households_come() -> None:
    assert render.maps(relay(SCHMIDT, HOUSEHOLD)) == render.maps(relay(HOUSEHOLD, SCHMIDT))


@pytest.mark.parametrize("access", ["forwarded", "upnp"])
def test_a_household_that_is_reached_without_the_relay_is_not_published(access: AccessKind) -> None:
    alone = replace(SCHMIDT, access=access)
    assert entries("hosts.map", alone, HOUSEHOLD) == {"mueller.home.example": "127.10.0.17"}
    assert router.public_ports(relay(alone)) == (80, 443)


def test_a_relay_without_households_has_empty_maps_and_no_ports_of_households() -> None:
    assert all(router_maps.parse_map(text) == {} for text in render.maps(relay()).values())
    assert "frontend ports" not in render.config(relay())
    assert router.public_ports(relay()) == (80, 443)


def test_the_firewall_is_told_every_port_on_which_the_router_listens() -> None:
    households = (replace(HOUSEHOLD, public_port=20500), SCHMIDT)
    assert router.public_ports(relay(*households)) == (80, 443, 20443, 20500)
    config = render.config(relay(*households))
    assert {f"bind :{port}" for port in (80, 443, 20443, 20500)} <= {line.strip() for line in config.splitlines()}


@pytest.mark.parametrize("slot", [0x10000, 0x10000 * 2, -1])
def test_an_address_outside_of_the_tunnels_is_refused(slot: int) -> None:
    class Elsewhere(Household):
        @property
        def tunnel_address(self) -> IPv4Address:
            return IPv4Address("127.10.0.0") + slot

    stray = Elsewhere(**{**vars(HOUSEHOLD), "id": "stray"})
    with pytest.raises(ValueError, match=r"^stray would be sent to 127\.\d+\.\d+\.\d+, outside of .*: give it a slot"):
        router.files(relay(stray))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(SCHMIDT, relay="relay2"), "schmidt belongs to relay2, not to relay1"),
        (replace(SCHMIDT, slot=17), "mueller and schmidt have the same address 127.10.0.17"),
        (replace(SCHMIDT, domain=HOUSEHOLD.domain), "mueller and schmidt have the same domain"),
        *((replace(SCHMIDT, public_port=port), f"public port {port}") for port in (8404, 9212, 10022, 10443, 2222)),
    ],
)
def test_households_that_would_get_into_each_others_way_are_refused(other: Household, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        router.files(relay(HOUSEHOLD, other))


def test_the_configuration_changes_its_name_with_its_text_and_not_with_the_households() -> None:
    def mark(text: str) -> str:
        return router_maps.mark(text, "description")

    two, three = render.config(relay(HOUSEHOLD)), render.config(relay(HOUSEHOLD, DISTANT))
    assert two == three, "a household more must not mean a reload"
    assert mark(two).startswith("hearth-")
    assert mark(render.config(relay(SCHMIDT))) != mark(two), "a port more must"
    assert mark(render.config(relay(HOUSEHOLD), replace(render.LIMITS, per_source=1))) != mark(two)


def test_descriptors_suffice_for_every_connection() -> None:
    limits = render.LIMITS
    assert limits.descriptors >= 2 * (2 * limits.tls + limits.http + limits.metrics) + 40
    assert f"LimitNOFILE={limits.descriptors}" in render.unit()
    assert f"fd-hard-limit {limits.descriptors}" in render.config(relay())
    assert limits.per_source <= limits.per_household <= limits.tls // 10


def test_program_and_role_agree_on_paths_and_addresses() -> None:
    assert str(router_maps.CONFIG) == render.CONFIG
    assert set(router_maps.MAPS) == set(render.maps(relay()))
    assert router_maps.NETWORK == render.NETWORK
    assert f"set-dst-port int({router_maps.TUNNEL_PORT})" in render.config(relay())


def test_every_file_says_that_it_belongs_to_hearth() -> None:
    for file in router.files(relay(HOUSEHOLD, SCHMIDT)):
        assert "This file belongs to hearth" in str(file.content).splitlines()[0]


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        ([("a", "1"), ("b", "2")], ((), (), ())),
        ([("a", "1")], (("b",), (), ())),
        ([("a", "1"), ("b", "2"), ("c", "3")], ((), ("c",), ())),
        ([("a", "1"), ("b", "9")], ((), (), ("b",))),
        ([("a", "1"), ("b", "2"), ("b", "2")], ((), (), ("b",))),
        ([("a", "1"), ("b", "2"), ("b", "9")], ((), (), ("b",))),
        ([], (("a", "b"), (), ())),
    ],
)
def test_a_running_map_differs_by_what_is_missing_too_much_or_other(
    running: list[tuple[str, str]], expected: tuple[tuple[str, ...], ...]
) -> None:
    found = router_maps.difference({"a": "1", "b": "2"}, running)
    assert (found.added, found.removed, found.changed) == expected
    assert bool(found) == any(expected)


def test_a_shown_map_is_read_and_anything_else_is_a_fault() -> None:
    shown = "0x7f75a7441800 mueller.home.example 127.10.0.17\n0x7f75a7441880 b 127.10.0.18\n"
    assert router_maps.parse_shown_map(shown) == [("mueller.home.example", "127.10.0.17"), ("b", "127.10.0.18")]
    with pytest.raises(router_maps.Fault, match="Unknown map identifier"):
        router_maps.parse_shown_map("Unknown map identifier. Please use #<id> or <file>.")


def test_a_large_map_is_cut_into_whole_lines_that_fit_haproxys_buffer() -> None:
    wanted = {f"household{number}.home.example": f"127.10.{number // 256}.{number % 256}" for number in range(1, 2000)}
    parts = list(router_maps.payloads(wanted))
    assert len(parts) > 5
    assert all(len(part) <= router_maps.PAYLOAD_BYTES for part in parts)
    assert router_maps.parse_map("".join(parts)) == wanted
    assert list(router_maps.payloads({})) == []


def test_workers_are_found_the_current_one_first() -> None:
    shown = """#<PID>          <type>          <reloads>       <uptime>        <version>
802             master          1 [failed: 0]   0d00h00m38s     3.0.11-1+deb13u5
# workers
823             worker          0               0d00h00m00s     3.0.11-1+deb13u5
# old workers
804             worker          1               0d00h00m38s     3.0.11-1+deb13u5
# programs
"""
    assert router_maps.parse_workers(shown) == [823, 804]


def test_connections_to_tunnels_are_haproxys_own_living_ones() -> None:
    def line(remote: str, state: str = "01", uid: int = 105, inode: int = 77) -> str:
        return f"   0: 0100007F:B2A4 {remote} {state} 00000000:00000000 00:00000000 00000000   {uid}        0 {inode} 1"

    lines = [
        line("11000A7F:28CB"),
        line("12000A7F:28CB", state="04"),
        line("13000A7F:28CB", uid=0),
        line("14000A7F:28CB", inode=0),
        line("15000A7F:2726"),
        line("16000B7F:28CB"),
        line("17000A7F:28CB", state="0A"),
    ]
    assert router_maps.parse_targets(lines, owner=105) == {"127.10.0.17", "127.10.0.18"}


def test_only_the_sessions_of_removed_households_are_named() -> None:
    def session(number: int, server: str) -> str:
        return f"""0x7f7d110f2c0{number}: [23/Nov/2026:06:17:16.714945] id=1 proto=tcpv4 source=198.51.100.15:4711
  flags=0x8, conn_retries=0, conn_exp=<NEVER> conn_et=0x000 srv_conn=(nil), pend_pos=(nil) waiting=0 epoch=0
  frontend=tls (id=4 mode=tcp), listener=? (id=1) addr=198.51.100.11:443
  backend=boxes (id=6 mode=tcp) addr=127.0.0.1:50222
  {server}
"""

    shown = (
        session(1, "server=any (id=1) addr=127.10.0.17:10443")
        + session(2, "server=any (id=1) addr=127.10.0.18:10443")
        + session(3, "server=<NONE> (id=-1)")
        + session(4, "server=any (id=1) addr=127.10.0.181:10443")
        + session(5, "server=any (id=1) addr=127.10.0.18:10443")
    )
    assert router_maps.parse_sessions(shown, frozenset({"127.10.0.18"})) == ["0x7f7d110f2c02", "0x7f7d110f2c05"]


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["check", "more"]])
def test_the_program_refuses_what_it_does_not_know(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert router_maps.main(arguments) == 1
    assert capsys.readouterr().err == "usage: router-maps check | apply\n"
