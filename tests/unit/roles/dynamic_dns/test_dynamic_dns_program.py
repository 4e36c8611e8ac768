"""What the box believes of its address, tells the server, and says when the server does not take it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roles.dynamic_dns.onhost import dynamic_dns
from roles.dynamic_dns.onhost.dynamic_dns import Answer, Config, Fault
from roles.router_port.onhost import router_port

NAME = "mueller.home.example"
CONFIG = Config(NAME, "home.example", "ns.home.example", 53, 60, ("learn",))
# Recorded from dig 9.20 before BIND 9.20.
HEADER = """\
;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: {status}, id: 15391
;; flags: qr{aa}; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1

;; OPT PSEUDOSECTION:
; EDNS: version: 0, flags:; udp: 1232
; COOKIE: c40905c416e023c1010000006b03f9498df2f100fd2e6084 (good)
"""
NOT_PUBLIC = [
    IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
    )
]


def dig(*records: str, status: str = "NOERROR", authoritative: bool = True) -> str:
    head = HEADER.format(status=status, aa=" aa" if authoritative else " rd ra")
    return head + ";; ANSWER SECTION:\n" + "".join(f"{record}\n" for record in records)


def a(address: str, name: str = NAME) -> str:
    return f"{name}.\t60\tIN\tA\t{address}"


class Server:
    """A DNS server as dig and nsupdate show it, and where the box learns its address."""

    def __init__(self, *records: str, address: str = "198.51.100.13\n", failure: str = "") -> None:
        self.answer, self.address, self.failure = dig(*records), address, failure
        self.requests: list[str] = []
        self.commands: list[tuple[str, ...]] = []

    def run(self, command: Sequence[str], stdin: str = "") -> tuple[int, str]:
        self.commands.append(tuple(command))
        if command[0] == "learn":
            return 0, self.address
        if command[0] == "dig":
            return 0, self.answer
        self.requests.append(stdin)
        if self.failure:
            return 2, self.failure
        words = next(line for line in stdin.splitlines() if line.startswith("update add")).split()
        self.answer = dig(a(words[-1]))
        return 0, ""


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A box with its own key; returns the folder of its keys, beside which its state lies."""
    keys = tmp_path / "dns"
    keys.mkdir()
    (keys / f"K{NAME}.+015+10376.private").touch()
    (tmp_path / "dynamic-dns.toml").write_text(
        f'name = "{NAME}"\nzone = "home.example"\nserver = "ns.home.example"\n'
        'port = 53\nttl_s = 60\nlearn = ["learn"]\n'
    )
    for name, path in (("KEYS", keys), ("TSIG_KEY", keys / "tsig.key"), ("STATE", tmp_path / "state.json")):
        monkeypatch.setattr(dynamic_dns, name, path)
    monkeypatch.setattr(dynamic_dns, "CONFIG", tmp_path / "dynamic-dns.toml")
    return keys


def meets(monkeypatch: pytest.MonkeyPatch, server: Server) -> Server:
    monkeypatch.setattr(dynamic_dns, "run", server.run)
    return server


@given(st.ip_addresses(v=4))
def test_only_public_addresses_are_believed(address: IPv4Address) -> None:
    if any(address in network for network in NOT_PUBLIC):
        with pytest.raises(Fault, match="not public"):
            dynamic_dns.public_address(str(address))
    else:
        assert dynamic_dns.public_address(f"{address}\n") == str(address)


@given(st.text())
def test_nothing_but_one_address_is_believed(text: str) -> None:
    try:
        IPv4Address(text.removesuffix("\n"))
    except ValueError:
        with pytest.raises(Fault):
            dynamic_dns.public_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "1.1.1.1\n\n",
        "1.1.1.1\n2.2.2.2\n",
        " 1.1.1.1",
        "1.1.1.1\r\n",
        "01.1.1.1",
        "1.1.1.1/32",
        "1.1.1.1;x",
        "2606:4700::1111",
        "<html>1.1.1.1</html>",
        "1.1.1.1\nupdate add evil.example 60 A 1.1.1.1\n",
    ],
)
def test_a_page_with_anything_else_on_it_is_refused(text: str) -> None:
    with pytest.raises(Fault):
        dynamic_dns.public_address(text)


def test_what_the_server_has_is_read() -> None:
    assert dynamic_dns.parse_answer(dig(a("198.51.100.13")), NAME) == Answer(
        "NOERROR", True, frozenset({"198.51.100.13"}), None
    )
    alias = dig(f"{NAME}.\t300\tIN\tCNAME\trelay1.home.example.", a("198.51.100.11", "relay1.home.example"))
    assert dynamic_dns.parse_answer(alias, NAME) == Answer("NOERROR", True, frozenset(), "relay1.home.example.")
    assert dynamic_dns.parse_answer(dig(authoritative=False), NAME).authoritative is False
    assert dynamic_dns.parse_answer("", NAME) == Answer()


def test_another_address_is_told_to_the_server_with_the_boxs_key_and_the_type_alone(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = meets(monkeypatch, Server(a("198.51.100.99")))
    assert dynamic_dns.main(["update"]) == 0
    assert server.requests == [
        f"server ns.home.example 53\nzone home.example\nupdate delete {NAME} A\n"
        f"update add {NAME} 60 A 198.51.100.13\nsend\n"
    ]
    command = next(words for words in server.commands if words[0] == "nsupdate")
    assert command[-2:] == ("-k", str(box / f"K{NAME}.+015+10376.private"))
    assert capsys.readouterr().out == f"{NAME} leads to 198.51.100.13 now\n"
    assert json.loads((box.parent / "state.json").read_text())["address"] == "198.51.100.13"
    assert dynamic_dns.main(["status"]) == 0


def test_the_same_address_asks_for_no_update(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = meets(monkeypatch, Server(a("198.51.100.13")))
    assert dynamic_dns.main(["update"]) == 0
    assert server.requests == []
    assert capsys.readouterr().out == ""
    query = next(words for words in server.commands if words[0] == "dig")
    assert "@ns.home.example" in query
    assert "+norecurse" in query


def test_an_address_too_many_is_replaced(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = meets(monkeypatch, Server(a("198.51.100.13"), a("198.51.100.99")))
    assert dynamic_dns.main(["update"]) == 0
    assert len(server.requests) == 1


def test_the_operators_key_comes_before_the_boxs_own(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (box / "tsig.key").touch()
    server = meets(monkeypatch, Server())
    assert dynamic_dns.main(["update"]) == 0
    assert server.commands[-2][-1] == str(box / "tsig.key")


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("update failed: SERVFAIL\n", "publish its KEY record (hearth collect, then hearth zone)"),
        ("update failed: REFUSED\n", "update-policy { grant * self * A; };"),
        ("update failed: NOTAUTH\n", "is not the primary of the zone home.example"),
        ("; TSIG error with server: tsig indicates error\nupdate failed: NOTAUTH(BADKEY)\n", "the clocks"),
        ("; Communication with 192.0.2.1#53 failed: timed out\n", "look whether it is up"),
        ("", "look whether it is up"),
    ],
)
def test_what_the_server_refuses_is_told_with_what_to_do(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failure: str, words: str
) -> None:
    meets(monkeypatch, Server(failure=failure or "\n"))
    assert dynamic_dns.main(["update"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said
    assert dynamic_dns.main(["status"]) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("", "does not answer on port 53"),
        (dig(status="REFUSED"), "does not speak for"),
        (dig(authoritative=False), "does not speak for"),
        (dig(f"{NAME}.\t300\tIN\tCNAME\trelay1.home.example."), "take that record out"),
    ],
)
def test_a_server_that_cannot_have_the_name_is_sent_no_update(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, words: str
) -> None:
    server = Server()
    server.answer = answer
    meets(monkeypatch, server)
    assert dynamic_dns.main(["update"]) == 1
    assert words in capsys.readouterr().err
    assert server.requests == []


def test_an_address_that_cannot_be_learnt_is_told_and_nothing_is_sent(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = meets(monkeypatch, Server(address="<html>\n"))
    assert dynamic_dns.main(["update"]) == 1
    assert "no IPv4 address" in capsys.readouterr().err
    assert server.requests == []


def test_an_old_success_is_none() -> None:
    state = {"name": NAME, "sentence": None, "checked_at": 1000}
    assert dynamic_dns.status(CONFIG, state, 1600) == "published"
    assert dynamic_dns.status(CONFIG, state, 1601) != "published"
    assert dynamic_dns.status(CONFIG, state | {"name": "other.home.example"}, 1000) != "published"


def test_the_program_that_asks_the_router_holds_the_same_addresses_for_public() -> None:
    """Each is a file by itself on the box, with a list of its own."""
    assert dynamic_dns.NOT_PUBLIC == router_port.NOT_PUBLIC
