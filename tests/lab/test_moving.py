"""A household moves to another relay: its box is found through the old one until it has moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hearth.lab.lab import Lab
from tests.lab.boxes import MUELLER, RELAY, Operator, wait_for
from tests.lab.conftest import copy_of_the_example, lab_name
from tests.lab.homes import ADDRESS, RELAY_DEPLOY, collect, collected, converged

pytestmark = pytest.mark.lab

NEW_RELAY = "relay2"
# What a box needs to be reached: the rest of it has nothing to do with relays.
DEPLOY = """
from pyinfra import host

from hearth import beginning, layout
from roles import base, sshd, tunnel

box = host.data.get("box")
if box and beginning.begun(box, (*base.PACKAGES, *sshd.PACKAGES, *tunnel.PACKAGES), room_bytes=0):
    base.base(box)
    sshd.sshd(box, tunnel_port=layout.SSH_TUNNEL_PORT)
    tunnel.tunnel(box)
"""


def listens(lab: Lab, relay: str) -> bool:
    """Whether the box's tunnel ends at ``relay``."""
    return f"{ADDRESS}:10022" in lab.exec(relay, ["ss", "-Hltn"]).stdout


@pytest.fixture(scope="module")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of ``DEPLOY``."""
    file = tmp_path_factory.mktemp("deploy") / "box.py"
    file.write_text(DEPLOY)
    return str(file)


@pytest.fixture(scope="module")
def operator(deploy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The operator of two relays, and of a box that is reached through the first; in a lab of their own."""
    lab = Lab(lab_name("m"))
    inventory = copy_of_the_example(tmp_path_factory.mktemp("moving") / "inventory")
    fleet = inventory / "fleet.yaml"
    other = f"relays:\n  - name: {NEW_RELAY}\n    address: {NEW_RELAY}.home.example\n"
    stores = f"stores:\n  - name: {NEW_RELAY}\n"
    fleet.write_text(fleet.read_text().replace("relays:\n", other, 1).replace("stores:\n", stores, 1))
    made = Operator(lab, inventory)
    try:
        lab.up([RELAY, NEW_RELAY, MUELLER], inventory)
        converged(made.converge(limit="relays", deploy=RELAY_DEPLOY))
        collected(collect(made, RELAY, NEW_RELAY))
        converged(made.converge(deploy=deploy))
        collected(collect(made, "mueller"))
        converged(made.converge(limit=RELAY, deploy=RELAY_DEPLOY))
        wait_for(lambda: listens(lab, RELAY), 60, "the tunnel")
        lab.bench(MUELLER, False)
        yield made
    finally:
        lab.down()


def move(inventory: Path) -> None:
    """Write the new relay into the household's file."""
    file = inventory / "households/mueller.yaml"
    file.write_text(file.read_text().replace(f"relay: {RELAY}", f"relay: {NEW_RELAY}"))


def test_a_household_moves_to_another_relay_while_only_its_tunnel_leads_to_it(operator: Operator, deploy: str) -> None:
    move(operator.inventory)
    converged(operator.converge(limit=NEW_RELAY, deploy=RELAY_DEPLOY))
    run = operator.converge(deploy=deploy)
    assert run.status == 0, run.output[-4000:]
    assert run.changed == [f"tunnel | Keep the tunnel to {NEW_RELAY} up"]
    assert listens(operator.lab, NEW_RELAY)
    wait_for(lambda: not listens(operator.lab, RELAY), 60, "the old relay to notice")


def test_afterwards_nothing_is_left_to_do_and_the_old_relay_knows_the_household_no_more(
    operator: Operator, deploy: str
) -> None:
    assert operator.converge(deploy=deploy).changed == []
    key_file = "/etc/ssh/tunnel-keys/hearth-tunnel"
    assert "mueller" in operator.lab.exec(RELAY, ["cat", key_file]).stdout
    converged(operator.converge(limit=RELAY, deploy=RELAY_DEPLOY))
    assert "mueller" not in operator.lab.exec(RELAY, ["cat", key_file]).stdout
