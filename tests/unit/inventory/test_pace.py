"""What hearth mends in pyinfra's inventory comes out as pyinfra makes it, without its square."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Stock pyinfra and the mended one, side by side in a process of their own: pyinfra changes Python's sockets.
PROGRAM = """
import json, sys
import pyinfra_cli.main
from pyinfra.api import Config, State
from pyinfra.api.inventory import Inventory
import pyinfra.api.inventory
from hearth.inventory.pace import quicken_pyinfra

HOSTS = [("@hearth/box-a", {"x": 1}), ("@hearth/box-a-longer-one", {}), ("plain", {"y": 2}), ("@local", {})]
GROUPS = {"boxes": (HOSTS[:2], {"z": 3}), "twice": ([HOSTS[0], HOSTS[2], HOSTS[0]], {}), "empty": ([], {"e": 1})}

def told():
    made = Inventory((HOSTS, {"all": 1}), **{name: (list(hosts), dict(data)) for name, (hosts, data) in GROUPS.items()})
    state = State(made, Config())
    return {
        "groups": {name: [host.name for host in hosts] for name, hosts in made.groups.items()},
        "kinds": [type(made.groups).__name__, *sorted({type(hosts).__name__ for hosts in made.groups.values()})],
        "unknown": made.groups["unknown"],
        "hosts": {
            host.name: [
                sorted(vars(host)), host.groups, host.data.dict(), host.print_prefix_padding,
                type(host.connector).__name__, host.state is state, host.connector.host is host,
            ]
            for host in made
        },
    }

stock = told()
quicken_pyinfra()
quicken_pyinfra()
mended = told()

reads, compared = [], []
connectors = sys.modules["pyinfra.api.connectors"]
load = connectors._load_connector
connectors._load_connector = lambda entry: reads.append(entry.name) or load(entry)
class Name(str):
    def __len__(self):
        compared.append(1)
        return super().__len__()
many = Inventory(([f"@hearth/box-{n}" for n in range(1000)], {}))
for host in many:
    host.name = Name(host.name)
State(many, Config())
print(json.dumps({"stock": stock, "mended": mended, "reads": len(reads), "compared": len(compared)}))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, object]:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    found: dict[str, object] = json.loads(run.stdout)
    return found


def test_hosts_and_groups_are_as_stock_pyinfra_makes_them(told: dict[str, object]) -> None:
    assert told["mended"] == told["stock"]


def test_the_list_of_connectors_is_not_read_again_for_a_thousand_hosts(told: dict[str, object]) -> None:
    reads = told["reads"]

    assert isinstance(reads, int)
    assert reads < 100, "a few connectors, once or twice"


def test_a_name_is_measured_a_few_times_and_not_once_a_host(
    told: dict[str, object],
) -> None:
    compared = told["compared"]

    assert isinstance(compared, int)
    assert compared <= 5 * 1000
