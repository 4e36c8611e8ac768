"""What pyinfra is spared changes nothing of what it finds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pyinfra
import pytest
from pyinfra.api import Inventory, State, arguments
from pyinfra.api.host import Host, HostData

from hearth.asking import thrift

DEPLOY = "deploys/made-up.py"


def both(state: SimpleNamespace) -> tuple[list[int], list[int]]:
    """The order as pyinfra finds it and as we do, from one line of one function."""
    found = [order(state) for order in (thrift.stock_operation_order, thrift.operation_order)]
    return found[0], found[1]


@pytest.mark.parametrize("deploy", [DEPLOY, "deploys/another.py", None])
@pytest.mark.parametrize("is_cli", [True, False])
def test_the_order_of_operations_is_the_stock_one(
    deploy: str | None, is_cli: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyinfra, "is_cli", is_cli)
    state = SimpleNamespace(current_deploy_filename=deploy, current_op_file_number=3)
    # As pyinfra runs a deploy file: compiled under its name, called from somewhere else.
    text = "\n\ndef role():\n    return both(state)\n\nfound = role()\n"
    scope = {"both": both, "state": state}
    exec(compile(text, DEPLOY, "exec"), scope)  # noqa: S102
    stock, ours = scope["found"]  # type: ignore[misc]
    assert ours == stock
    assert (6 in ours) is (deploy != "deploys/another.py"), "the deploy file's own line"


def test_the_global_arguments_are_the_stock_ones_and_pyinfra_takes_ours() -> None:
    assert list(thrift.global_arguments()) == list(thrift.stock_global_arguments())
    thrift.spare_work()
    assert arguments.all_global_arguments is thrift.global_arguments
    assert sys.modules["pyinfra.api.operation"].get_operation_order_from_stack is thrift.operation_order


@pytest.fixture
def host() -> Host:
    """A host with data of its own, of its group, of the inventory and of the command line."""
    inventory = Inventory(
        ([("@local", {"own": 1, "shared": "own"})], {"of_all": 2, "shared": "all"}),
        override_data={"given": 3},
        group=(["@local"], {"of_group": 4, "shared": "group"}),
    )
    State(inventory)
    found: Host = inventory.get_host("@local")
    return found


@pytest.mark.parametrize("key", ["own", "of_all", "given", "of_group", "shared", "set", "default", "_sudo", "nothing"])
def test_the_data_of_a_host_are_the_stock_ones(host: Host, key: str) -> None:
    def found(look: Callable[[HostData, str], object]) -> object:
        try:
            return look(host.data, key)
        except AttributeError as fault:
            return str(fault)

    for _ in range(2):
        assert found(thrift.data_of_host) == found(thrift.stock_data_of_host)
        host.data.set = {"by": "a deploy"}
        host.current_deploy_data = {"default": 5, "shared": "deploy"}
