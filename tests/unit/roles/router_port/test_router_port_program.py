"""What the box concludes from its router's answers: recorded from upnpc 2.2.8 before miniupnpd 2.3.9 (``upnpc/``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roles.router_port.onhost import router_port
from roles.router_port.onhost.router_port import Config, Fault, Mapping, Router

RECORDED = Path(__file__).parent / "upnpc"
URL = "http://192.168.1.1:5000/rootDesc.xml"
# Linux' /proc/net/route of a box at home with a second, worse default route.
ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	0	00000000	0	0	0
wlan0	00000000	FE01A8C0	0003	0	0	600	00000000	0	0	0
eth0	0001A8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
"""
CONFIG = Config("mueller", (80, 443), 3600)


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text()


class Home:
    """A router that answers upnpc as the recorded one did; it notes what it was asked for."""

    def __init__(self, listed: str, added: str = "added", searched: str = "search") -> None:
        self.listed, self.added, self.searched = listed, added, searched
        self.asked: list[list[str]] = []

    def upnpc(self, *words: str) -> str:
        self.asked.append(list(words))
        if words == ("-l",):
            return recorded(self.searched)
        if "-a" in words:
            return recorded(self.added)
        return self.listed if "-l" in words else ""

    def requests(self, verb: str) -> list[Sequence[str]]:
        """The words behind ``-a`` or ``-d``, of each time."""
        return [words[words.index(verb) + 1 :] for words in self.asked if verb in words]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A box at home that knows its way to the internet; returns its state file."""
    (tmp_path / "route").write_text(ROUTES)
    (tmp_path / "router-port.toml").write_text('household = "mueller"\nports = [80, 443]\nlease_s = 3600\n')
    monkeypatch.setattr(router_port, "ROUTES", tmp_path / "route")
    monkeypatch.setattr(router_port, "CONFIG", tmp_path / "router-port.toml")
    monkeypatch.setattr(router_port, "STATE", tmp_path / "state.json")
    return tmp_path / "state.json"


def meets(monkeypatch: pytest.MonkeyPatch, home: Home) -> Home:
    monkeypatch.setattr(router_port, "upnpc", home.upnpc)
    return home


def listed(*mappings: str, external: str = "198.51.100.13") -> str:
    head = f"Local LAN ip address : 192.168.1.10\nExternalIPAddress = {external}\n"
    return head + "".join(f" {number} {mapping}\n" for number, mapping in enumerate(mappings))


MINE = "TCP   443->192.168.1.10:443   'hearth mueller' '' 3598"
OTHERS = "TCP   443->192.168.1.20:443   'NAS' '' 3598"


def test_the_recorded_list_is_read() -> None:
    assert router_port.parse(recorded("list")) == Router(
        devices=(),
        own="192.168.1.10",
        external="198.51.100.13",
        mappings=(
            Mapping(80, "192.168.1.10", 80, "hearth mueller"),
            Mapping(443, "192.168.1.20", 443, "NAS"),
        ),
    )
    assert router_port.parse(recorded("search")).devices == (URL,)
    for name in ("nothing", "gone"):
        assert router_port.parse(recorded(name)) == Router()


def test_the_recorded_refusals_are_read() -> None:
    assert router_port.refusal(recorded("added")) is None
    assert router_port.refusal(recorded("conflict")) == (718, "ConflictInMappingEntry")
    assert router_port.refusal(recorded("refused")) == (606, "Action not authorized")
    assert router_port.refusal("") == (0, "no answer")


@given(st.text())
def test_whatever_is_printed_is_read_without_an_error(output: str) -> None:
    router_port.parse(output)
    router_port.refusal(output)


@given(st.text(alphabet=st.characters(exclude_characters="\r\n")))
def test_a_description_of_another_machine_is_no_mapping_of_its_own(words: str) -> None:
    found = router_port.parse(listed(f"TCP  8080->192.168.1.66:80    '{words}' '' 0")).mappings
    assert all((one.port, one.address) == (8080, "192.168.1.66") for one in found)


def test_the_way_to_the_internet_is_the_best_default_route() -> None:
    assert router_port.gateway(ROUTES) == "192.168.1.1"
    assert router_port.gateway(ROUTES.splitlines()[0]) is None


@pytest.mark.parametrize("text", ["198.51.100.13", "1.1.1.1", "223.255.255.254"])
def test_an_address_that_the_internet_reaches_is_public(text: str) -> None:
    assert router_port.is_public(text)


@pytest.mark.parametrize(
    "text",
    [
        *("10.1.2.3", "172.16.0.1", "192.168.178.2", "100.64.0.5", "100.127.255.255", "169.254.1.1", "127.0.0.1"),
        *("192.0.0.2", "224.0.0.1", "240.0.0.1", "255.255.255.255", "", "2001:db8::1", "1.2.3.4 ", "01.2.3.4"),
    ],
)
def test_an_address_that_nobody_reaches_is_not_public(text: str) -> None:
    assert not router_port.is_public(text)


def test_the_ports_are_asked_for_with_a_lease_and_noted(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = meets(monkeypatch, Home(listed()))
    assert router_port.main(["open"]) == 0
    assert home.requests("-a") == [["192.168.1.10", str(port), str(port), "TCP", "3600"] for port in (80, 443)]
    state = json.loads(box.read_text())
    assert (state["mapped"], state["external"], state["sentence"]) == ([80, 443], "198.51.100.13", None)
    assert router_port.main(["status"]) == 0
    capsys.readouterr()
    # Renewed without a search and without a line in the journal.
    home.asked.clear()
    assert router_port.main(["open"]) == 0
    assert ["-l"] not in home.asked
    assert len(home.requests("-a")) == 2
    assert capsys.readouterr().out == ""


def test_a_port_that_leads_to_another_machine_is_left_alone_and_told(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = meets(monkeypatch, Home(listed(OTHERS)))
    assert router_port.main(["open"]) == 1
    assert "leads port 443 to another machine, 192.168.1.20" in capsys.readouterr().err
    assert [words[1] for words in home.requests("-a")] == ["80"]
    assert home.requests("-d") == []
    assert json.loads(box.read_text())["mapped"] == [80]


@pytest.mark.parametrize(("answer", "code"), [("refused", 606), ("conflict", 718), ("nothing", 0)])
def test_a_refusal_is_told_with_what_to_do(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, code: int
) -> None:
    meets(monkeypatch, Home(listed(), added=answer))
    assert router_port.main(["open"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"UPnP error {code}" in said
    assert "set access: relay" in said
    assert router_port.main(["status"]) == 1


def test_a_router_that_knows_no_leases_is_asked_for_good(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = meets(monkeypatch, Home(listed()))

    def upnpc(*words: str) -> str:
        if "-a" in words and words[-1] != "0":
            home.asked.append(list(words))
            return "AddPortMapping(80, 80, 192.168.1.10) failed with code 725 (OnlyPermanentLeasesSupported)\n"
        return home.upnpc(*words)

    monkeypatch.setattr(router_port, "upnpc", upnpc)
    assert router_port.main(["open"]) == 0
    assert [words[-1] for words in home.requests("-a")] == ["3600", "0", "3600", "0"]


@pytest.mark.parametrize("external", ["100.64.0.5", "192.168.178.2", "10.0.0.2"])
def test_behind_the_providers_own_nat_the_relay_is_the_way(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], external: str
) -> None:
    home = meets(monkeypatch, Home(listed(external=external)))
    assert router_port.main(["open"]) == 1
    said = capsys.readouterr().err
    assert external in said
    assert "set access: relay" in said
    assert home.requests("-a") == []
    assert router_port.main(["address"]) == 1


def test_without_a_router_that_answers_the_ways_out_are_named(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    meets(monkeypatch, Home(recorded("gone"), searched="nothing"))
    assert router_port.main(["open"]) == 1
    said = capsys.readouterr().err
    assert "the router 192.168.1.1 does not answer by UPnP: switch UPnP on" in said
    assert "access: forwarded" in said


def test_a_device_that_is_not_the_way_to_the_internet_is_not_asked(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (box.parent / "route").write_text(ROUTES.replace("0101A8C0", "0201A8C0"))
    home = meets(monkeypatch, Home(listed()))
    assert router_port.main(["open"]) == 1
    assert "only 192.168.1.1 does" in capsys.readouterr().err
    assert all("-u" not in words for words in home.asked)


def test_a_port_that_is_not_wanted_any_more_is_given_back(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = MINE.replace("443", "2222")
    home = meets(monkeypatch, Home(listed(MINE, ssh, OTHERS.replace("443", "8443"))))
    assert router_port.main(["open"]) == 0
    assert home.requests("-d") == [["2222", "TCP"]]


def test_giving_back_takes_ours_and_nobody_elses(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand = "TCP    25->192.168.1.10:25    'mail' '' 0"
    home = meets(monkeypatch, Home(listed(MINE, by_hand, OTHERS.replace("443", "8443"))))
    # The router keeps it: the list is the same afterwards, and that is told.
    assert router_port.main(["close"]) == 1
    assert "the router keeps 443" in capsys.readouterr().err
    assert home.requests("-d") == [["443", "TCP"]]


def test_the_state_of_a_box_that_slept_longer_than_the_lease_does_not_count() -> None:
    state = {"mapped": [80, 443], "sentence": None, "checked_at": 1000}
    assert router_port.status(CONFIG, state, 1000 + 3600) == "open"
    assert router_port.status(CONFIG, state, 1000 + 3601) != "open"
    assert router_port.status(CONFIG, {}, 0) != "open"


def test_the_address_is_printed_and_nothing_beside_it(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    meets(monkeypatch, Home(listed()))
    assert router_port.main(["address"]) == 0
    assert capsys.readouterr().out == "198.51.100.13\n"


def test_a_router_without_an_address_is_no_public_one() -> None:
    with pytest.raises(Fault, match="is up"):
        router_port.public_address(Router(own="192.168.1.10"))
