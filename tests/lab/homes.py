"""A home as it is after the first day: the box behind its tunnel, the bench link out, the operator at his relay.

The first day is lived once in a test run (relay, collect, box, collect, relay, box, collect), and kept in snapshots
from which each test file that asks for ``home`` begins.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hearth.lab.lab import Lab
from tests.lab.boxes import DOMAIN, MUELLER, RELAY, REPOSITORY, VISITOR, Converge, Operator, wait_for

HEARTH = Path(sys.executable).with_name("hearth")
RELAY_DEPLOY = "deploys/relay.py"
ADDRESS = "127.10.0.17"
TRUSTED = "/root/tls-ca.pem"
"""The fleet's authority on the visitor's machine; he trusts no other."""

HOME_BOX, HOME_RELAY = "home-box", "home-relay"


def collect(operator: Operator, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``hearth collect`` to its end."""
    return subprocess.run(
        [str(HEARTH), "collect", *arguments, "--inventory", str(operator.inventory)],
        cwd=REPOSITORY,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def copied(operator: Operator, folder: Path) -> Operator:
    """The operator with a copy of the inventory, to spoil."""
    return operator.with_fleet(folder, lambda fleet, household: None)


def converged(run: Converge) -> None:
    assert run.status == 0, run.output[-4000:]


def collected(run: subprocess.CompletedProcess[str]) -> None:
    assert run.returncode == 0, run.stdout + run.stderr


def tunnel_is_up(lab: Lab) -> bool:
    return ADDRESS in lab.exec(RELAY, ["ss", "-Hltn", "sport = :10022"]).stdout


@pytest.fixture(scope="session")
def first_day(
    lab: Lab,
    lab_inventory: Path,
    first_run: Converge,
    relay_snapshot: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Operator:
    """Live the first day, and leave the snapshots ``home-box`` and ``home-relay``; the operator has what he collected.

    On the test run's lab the first converge of the box (``first_run``) went before it, over the bench.
    """
    lab.start_from(MUELLER, "converged")
    lab.start_from(RELAY, relay_snapshot)
    operator = copied(Operator(lab, lab_inventory), tmp_path_factory.mktemp("first-day") / "inventory")
    converged(operator.converge(limit=RELAY, deploy=RELAY_DEPLOY))
    collected(collect(operator, RELAY))
    converged(operator.converge())
    collected(collect(operator, "mueller"))
    converged(operator.converge(limit=RELAY, deploy=RELAY_DEPLOY))
    wait_for(lambda: tunnel_is_up(lab), 60, "the tunnel")
    # The store lets the box in only now, so this makes its backup's repository, and the household's key.
    converged(operator.converge())
    collected(collect(operator, "mueller"))
    lab.snapshot(MUELLER, HOME_BOX)
    lab.snapshot(RELAY, HOME_RELAY)
    return operator


@pytest.fixture(scope="module")
def home(lab: Lab, first_day: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The operator of a box that only its tunnel reaches, untouched by other test files; his inventory is a copy."""
    lab.start_from(RELAY, HOME_RELAY)
    lab.start_from(MUELLER, HOME_BOX)
    inventory = Path(shutil.copytree(first_day.inventory, tmp_path_factory.mktemp("home") / "inventory"))
    wait_for(lambda: tunnel_is_up(lab), 60, "the tunnel")
    lab.bench(MUELLER, False)
    yield replace(first_day, inventory=inventory)
    lab.bench(MUELLER, True)


@pytest.fixture(scope="module")
def visitor(home: Operator, start: Callable[..., None]) -> str:
    """The name of a host on the internet that has curl and trusts the fleet's authority."""
    start(VISITOR)
    apt = "apt-get -qq"
    tools = f"command -v curl >/dev/null || {{ {apt} update && {apt} -y --no-install-recommends install curl; }}"
    home.lab.exec(VISITOR, ["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", tools], timeout_s=300)
    known = ["getent", "ahostsv4", DOMAIN]
    wait_for(lambda: home.lab.exec(VISITOR, known, check=False).returncode == 0, 60, "the household's name")
    home.lab.exec(VISITOR, ["tee", TRUSTED], stdin=(home.inventory / "authority/tls-ca.pem").read_text())
    return VISITOR


def from_outside(path: str, *arguments: str, domain: str = DOMAIN) -> list[str]:
    """The visitor's curl command for a page of the household: by its name, over the internet, with TLS verified."""
    return ["curl", "--silent", "--show-error", "--cacert", TRUSTED, *arguments, f"https://{domain}{path}"]
