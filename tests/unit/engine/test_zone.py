"""The records that the operator's zone needs, from the inventory alone; what it cannot know is left to the operator."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hearth import zone
from hearth.cli import app
from hearth.inventory import load_or_raise
from hearth.inventory.hosts import Fleet
from hearth.inventory.model import LETS_ENCRYPT, DynamicDns, Household
from hearth.zone import Record

EXAMPLE = Path(__file__).parents[3] / "inventory"
KEY = "512 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="
DNS = DynamicDns("ns.home.example", "home.example")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """The example fleet, all of it behind its relay."""
    ignored = shutil.ignore_patterns("local.yaml", "authority", "collected")
    found = load_or_raise(Path(shutil.copytree(EXAMPLE, tmp_path / "inventory", ignore=ignored)))
    return with_households(found, lambda household: replace(household, issuer="operator"))


def with_households(fleet: Fleet, change: Callable[[Household], Household]) -> Fleet:
    return replace(fleet, households=tuple(change(household) for household in fleet.households))


def of(fleet: Fleet, name: str) -> list[Record]:
    return [record for record in zone.records(fleet) if record.name == name]


def with_mueller(fleet: Fleet, **values: object) -> Fleet:
    def change(household: Household) -> Household:
        return replace(household, **values) if household.id == "mueller" else household  # type: ignore[arg-type]

    return with_households(fleet, change)


def test_a_household_behind_its_relay_is_an_alias_of_it(fleet: Fleet) -> None:
    [record] = of(fleet, "mueller.home.example")
    assert (record.zone, record.type, record.data) == ("home.example", "CNAME", "relay1.home.example.")


@pytest.mark.parametrize(("address", "kind"), [("198.51.100.11", "A"), ("2001:db8::11", "AAAA")])
def test_behind_a_relay_that_is_known_by_address_it_has_that(fleet: Fleet, address: str, kind: str) -> None:
    known = replace(fleet, relays=(replace(fleet.relays[0], address=address),))
    [record] = of(known, "mueller.home.example")
    assert (record.type, record.data) == (kind, address)
    assert of(known, address) == []


def test_a_household_that_brings_its_address_has_its_key_there_and_no_address(fleet: Fleet) -> None:
    [record] = of(with_mueller(fleet, access="upnp", dynamic_dns=DNS, dns_key=KEY), "mueller.home.example")
    assert (record.type, record.data) == ("KEY", KEY)


def test_a_key_that_was_not_collected_yet_is_asked_for(fleet: Fleet) -> None:
    direct = with_mueller(fleet, access="forwarded", dynamic_dns=DNS, dns_key=None)
    [record] = of(direct, "mueller.home.example")
    assert (record.type, record.data) == ("KEY", None)
    assert "; mueller.home.example. 300 IN KEY (not known yet: converge box-mueller, then `hearth collect" in zone.bind(
        direct
    )


def test_a_fixed_address_is_the_operators_to_know(fleet: Fleet) -> None:
    [record] = of(with_mueller(fleet, access="forwarded", dynamic_dns=None), "mueller.home.example")
    assert (record.type, record.data) == ("A", None)


def test_a_zones_own_name_is_no_alias(fleet: Fleet) -> None:
    [record] = of(with_mueller(fleet, domain="home.example"), "home.example")
    assert (record.type, record.data) == ("A", None)


def test_domains_of_the_households_own_are_told_apart(fleet: Fleet) -> None:
    own = with_mueller(fleet, domain="wolke.mueller.example")
    head, _, tail = zone.bind(own).partition("\n; Domains of the households' own: for whoever keeps their zones\n")
    assert tail == "wolke.mueller.example. 300 IN CNAME relay1.home.example. ; mueller through relay1\n"
    assert "schmidt.home.example." in head
    with_a_server = with_mueller(
        own,
        domain="wolke.mueller.example",
        access="upnp",
        dynamic_dns=replace(DNS, zone="mueller.example"),
        dns_key=KEY,
    )
    assert "\n; Zone mueller.example\nwolke.mueller.example. 300 IN KEY" in zone.bind(with_a_server)


def test_the_suggestion_of_who_may_issue_is_a_comment_and_follows_the_issuers(fleet: Fleet) -> None:
    assert '\n; home.example. 300 IN CAA 0 issue ";"' in zone.bind(fleet)
    public = replace(
        with_mueller(fleet, issuer="acme"), certificates=replace(fleet.certificates, directory=LETS_ENCRYPT)
    )
    assert '\n; home.example. 300 IN CAA 0 issue "letsencrypt.org; validationmethods=tls-alpn-01"' in zone.bind(public)


def test_programs_get_the_same_records(fleet: Fleet) -> None:
    printed = CliRunner().invoke(app, ["zone", "--inventory", str(fleet.folder), "--format", "json"])
    assert printed.exit_code == 0
    records = json.loads(printed.stdout)
    assert {"zone", "name", "type", "data", "why", "ttl_s"} == set(records[0])
    assert [record["name"] for record in records] == [record.name for record in zone.records(fleet)]


def test_a_faulty_inventory_prints_its_faults_and_no_record(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("name: x\n")
    printed = CliRunner().invoke(app, ["zone", "--inventory", str(tmp_path)])
    assert printed.exit_code == 1
    assert "fleet.yaml" in printed.stderr
    assert printed.stdout == ""


def test_every_line_is_one_that_a_name_server_reads(fleet: Fleet) -> None:
    """A zone file's line is NAME TTL CLASS TYPE DATA with a comment behind a semicolon (RFC 1035, 5.1)."""
    everything = with_mueller(fleet, access="upnp", dynamic_dns=DNS, dns_key=KEY)
    for line in zone.bind(everything).splitlines():
        if line and not line.startswith(";"):
            name, ttl, network, kind, *data = line.partition(" ; ")[0].split()
            assert name.endswith(".")
            assert (int(ttl), network) == (zone.TTL_S, "IN")
            assert kind in ("A", "AAAA", "CNAME", "KEY")
            assert data
