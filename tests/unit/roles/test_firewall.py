"""The firewall, as text: what nobody named is dropped, and the table is never half there."""

from __future__ import annotations

import re

from roles import firewall

SERVICES = (firewall.operators_ssh(2222), firewall.tunnels(9212), firewall.web((80, 443, 20443)))
TEXT = firewall.ruleset(SERVICES)


def chain(name: str) -> list[str]:
    found = re.search(rf"^  chain {name} \{{\n(.*?)^  \}}", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return [line.strip() for line in found[1].splitlines() if not line.strip().startswith("#")]


def test_what_comes_in_for_no_service_is_dropped_and_nothing_is_passed_on() -> None:
    assert chain("input")[0].endswith("hook input priority filter; policy drop;")
    assert chain("forward") == ["type filter hook forward priority filter; policy drop;"]
    assert not any("hook output priority filter" in line for line in TEXT.splitlines())


def test_established_connections_and_loopback_are_judged_before_everything_else() -> None:
    assert chain("input")[1:3] == ['iif "lo" accept', "ct state established,related accept"]


def test_each_service_has_its_ports_and_its_limits_by_address_and_by_ipv6_network() -> None:
    assert "tcp dport { 2222 } jump ssh" in chain("input")
    assert "tcp dport { 9212 } jump tunnels" in chain("input")
    assert "tcp dport { 80, 443, 20443 } jump web" in chain("input")
    assert chain("tunnels") == [
        "update @tunnels_new4 { ip saddr limit rate over 5/second burst 200 packets } drop",
        "update @tunnels_new6 { ip6 saddr & ffff:ffff:ffff:ffff:: limit rate over 5/second burst 200 packets } drop",
        "add @tunnels_held4 { ip saddr ct count over 100 } reject with tcp reset",
        "add @tunnels_held6 { ip6 saddr & ffff:ffff:ffff:ffff:: ct count over 100 } reject with tcp reset",
        "accept",
    ]


def test_the_table_is_replaced_in_one_file_and_no_other_table_is_touched() -> None:
    statements = [line for line in TEXT.splitlines() if line and not line.startswith(("#", " ", "}"))]
    assert statements == ["table inet hearth", "delete table inet hearth", "table inet hearth {"]
    assert "flush ruleset" not in TEXT


def test_an_undone_first_firewall_leaves_no_table_behind() -> None:
    command = firewall.activate()
    assert "reload-or-restart hearth-firewall.service" in command
    assert command.endswith("nft 'add table inet hearth; delete table inet hearth'; fi")


def test_the_ports_that_the_loaded_table_lets_in_are_read() -> None:
    listed = [
        "table inet hearth {",
        "\tchain input {",
        "\t\ttype filter hook input priority filter; policy drop;",
        '\t\tiif "lo" accept',
        "\t\ttcp dport 2022 accept",
        "\t\ttcp dport 2023 reject with tcp reset",
        "\t\ttcp dport 2222 jump ssh",
        "\t\ttcp dport { 9212, 22999 } jump tunnels",
        "\t\tip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
    ]
    assert firewall.parse_ports(listed) == {2022, 2222, 9212, 22999}
    assert firewall.parse_ports([]) == frozenset()
