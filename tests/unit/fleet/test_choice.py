"""Which hosts a run is about, in what order, and what each should be."""

from __future__ import annotations

import ast
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.fleet import desired
from hearth.fleet.choice import ChoiceError, limited, ordered_waves, with_deploys
from hearth.fleet.desired import AT_THE_PI, AT_THE_RELAY, CHECKOUT, desired_states, sources
from hearth.fleet.limits import parse_waves
from hearth.inventory.hosts import Road
from hearth.inventory.model import Household
from tests.unit.fleet.fleets import a_fleet

ENDS = parse_waves("1,10%,100%")


@pytest.mark.parametrize(
    ("patterns", "hosts"),
    [
        (["h001"], ["box-h001"]),
        (["box-h001"], ["box-h001"]),
        (["household_h001"], ["box-h001"]),
        (["relays"], ["relay1"]),
        (["h00*", "pi1"], ["pi1", "box-h000", "box-h001"]),
        (["h001,relay1"], ["relay1", "box-h001"]),
        (["boxes"], ["box-h000", "box-h001"]),
    ],
)
def test_limit_takes_hosts_households_groups_and_patterns(patterns: list[str], hosts: list[str]) -> None:
    assert list(limited(a_fleet(2, pis=1), patterns)) == hosts


def test_a_limit_that_names_nothing_is_refused_before_anything_runs() -> None:
    with pytest.raises(ChoiceError, match=r'--limit h0001: .* did you mean "h001"'):
        limited(a_fleet(2), ["h000", "h0001"])


def test_hosts_of_a_kind_without_a_deploy_are_left_out_and_named() -> None:
    chosen = with_deploys(a_fleet(1, pis=1), ["relay1", "pi1", "box-h000"], {"box", "relay"})
    assert chosen.hosts == ("relay1", "box-h000")
    assert chosen.without_deploy == ("pi1",)


@given(
    households=st.integers(0, 40), relays=st.integers(0, 3), pis=st.integers(0, 2), chosen=st.sets(st.integers(0, 44))
)
def test_servers_go_before_boxes_the_canary_alone_and_everybody_once(
    households: int, relays: int, pis: int, chosen: set[int]
) -> None:
    fleet = a_fleet(households, relays, pis, canary="h003")
    names = list(desired.all_hosts(fleet))
    hosts = {names[index] for index in chosen if index < len(names)}
    found = ordered_waves(fleet, hosts, ENDS)
    order = [host for wave in found for host in wave]
    assert sorted(order) == sorted(hosts)
    boxes = [host for host in order if host.startswith("box")]
    assert order[len(order) - len(boxes) :] == boxes
    if "box-h003" in hosts:
        assert ("box-h003",) in found
        assert boxes[0] == "box-h003"
    if servers := order[: len(order) - len(boxes)]:
        assert len(found[0]) == 1, servers


def test_the_canarys_relay_goes_before_other_relays() -> None:
    assert ordered_waves(a_fleet(4, relays=2, canary="h001"), ["relay1", "relay2", "box-h001"], ENDS) == (
        ("relay2",),
        ("relay1",),
        ("box-h001",),
    )


def test_a_change_of_one_household_is_one_of_its_box_and_not_of_the_others() -> None:
    fleet = a_fleet(3)
    cloud = replace(fleet.households[1].owncloud, upload_limit=1 << 30)
    other = replace(
        fleet, households=(fleet.households[0], replace(fleet.households[1], owncloud=cloud), *fleet.households[2:])
    )
    before, after = desired_states(fleet), desired_states(other)
    assert {host for host in before if before[host] != after[host]} == {"box-h001"}


def test_a_new_domain_is_a_change_of_the_relay_too() -> None:
    fleet = a_fleet(2)
    moved = replace(fleet.households[1], domain="other.home.example")
    before, after = desired_states(fleet), desired_states(replace(fleet, households=(fleet.households[0], moved)))
    assert {host for host in before if before[host] != after[host]} == {"relay1", "box-h001"}


def test_what_belongs_to_the_operators_machine_is_no_part_of_the_desired_state(tmp_path: Path) -> None:
    fleet = a_fleet(1)
    road = Road("10.0.0.5", 22, "anna", ("ssh-ed25519 AAAA",), tmp_path / "key")
    assert desired_states(fleet) == desired_states(replace(fleet, roads={"box-h000": (road,)}, folder=tmp_path))


def test_a_file_of_a_role_changes_the_hosts_that_have_the_role_and_no_others(tmp_path: Path) -> None:
    for name in ("hearth", "roles", "deploys"):
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    fleet = a_fleet(1)
    before = desired_states(fleet, tmp_path)
    assert before == desired_states(fleet, CHECKOUT), "the same files elsewhere are the same"
    template = next((tmp_path / "roles/apache/templates").iterdir())
    template.write_text(template.read_text() + "\n# other\n")
    after = desired_states(fleet, tmp_path)
    assert {host for host in before if before[host] != after[host]} == {"box-h000"}
    (tmp_path / "hearth/cli.py").write_text("")
    assert desired_states(fleet, tmp_path) == after, "the command line is no part of any host"


def test_the_sources_of_a_deploy_hold_its_roles_and_what_they_import() -> None:
    names = {str(path.relative_to(CHECKOUT)) for path in sources(CHECKOUT, "deploys/box.py")}
    assert {"deploys/box.py", "roles/sshd/__init__.py", "hearth/artefacts.py", "hearth/onhost/apply.py"} <= names
    assert any(name.startswith("roles/apache/templates/") for name in names)
    assert not any(name.startswith("roles/router/") for name in names)
    assert sources(CHECKOUT, "deploys/no-such.py") == []


def used_of_households(deploy: str, others: set[str]) -> set[str]:
    """The properties of households that the roles of a deploy read, by their code.

    ``others``: the names that hosts of other kinds go by; what takes one of these is not for this deploy.
    """
    known = {each.name for each in fields(Household)}
    found: set[str] = set()
    for path in sources(CHECKOUT, deploy):
        if path.suffix != ".py" or not path.is_relative_to(CHECKOUT / "roles"):
            continue
        for function in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)):
            if others & {argument.arg for argument in function.args.args}:
                continue
            for node in ast.walk(function):
                if (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "household"
                ):
                    found.add("slot" if node.attr == "tunnel_address" else node.attr)
    return found & known


def test_what_a_relay_reads_of_households_is_what_its_desired_state_holds() -> None:
    # The accounts of relays and Pis stand in one role, so each deploy's sources hold what the other's reads.
    at_the_relay = used_of_households("deploys/relay.py", {"box", "pi_host"}) - {"screens"}
    assert {"slot", "domain", "tunnel_key"} <= at_the_relay <= set(AT_THE_RELAY)
    at_the_pi = used_of_households("deploys/pi.py", {"box", "relay"}) - set(AT_THE_RELAY)
    assert {"screens"} <= at_the_pi <= set(AT_THE_PI)
