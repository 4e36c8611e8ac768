"""The attacker of tests/lab/test_tunnel_attacks.py: a lab host with households' keys, and the relay's sshds."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import pytest
import yaml

from hearth import layout
from hearth.lab.lab import Lab
from roles.tunnel_server.accounts import Account, KeyLine
from tests.lab.boxes import RELAY, Converge, Operator
from tests.lab.sshds import OPEN_PORTS, Sshd, Variant, make_key, start_services, start_weaker_sshds

RELAY_NAME = "relay1.home.example"
SLOTS = {"mueller": 17, "schmidt": 18}
STORE = ("127.0.0.1:8444", "127.0.0.1:8445")
"""The store on the relay, which keeps the Müllers' backups; the Schmidts make none."""


@dataclass(frozen=True)
class Relay:
    """The converged relay and its operator."""

    lab: Lab
    operator: Operator
    first_run: Converge

    def sshd(self, variant: Variant) -> Sshd:
        return Sshd(self.lab, variant, RELAY, RELAY_NAME, layout.TUNNEL_USER, "mueller")

    def converge(self) -> Converge:
        run = self.operator.converge(limit=RELAY, deploy="deploys/relay.py")
        # A converge mends the firewall that the tests have opened.
        self.lab.exec(RELAY, shlex.split(OPEN_PORTS))
        return run

    def tell(self, household: str, public_key: str | None) -> None:
        """Make ``public_key`` the one that ``hearth collect`` found on the household's box."""
        path = self.operator.inventory / f"collected/box-{household}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        if public_key is not None:
            path.write_text(yaml.safe_dump({"host_keys": [public_key], "tunnel_key": public_key}, width=1000))


def account_of(keys: dict[str, str]) -> Account:
    """The relay's account as it is when households have these keys."""
    return Account(
        layout.TUNNEL_USER,
        "tunnel",
        tuple(
            KeyLine(
                key,
                name,
                listen=tuple(f"127.10.0.{SLOTS[name]}:{port}" for port in (10443, 10022)),
                open=STORE if name == "mueller" else (),
            )
            for name, key in keys.items()
        ),
    )


@pytest.fixture(scope="module")
def relay(lab: Lab, bare_relay: Operator) -> Relay:
    """A relay converged with two households' keys, which the attacker has, and the weaker sshds beside it."""
    keys = {name: make_key(lab, name) for name in SLOTS}
    made = Relay(lab, bare_relay, Converge(0, ""))
    for name, key in keys.items():
        made.tell(name, key)
    with (bare_relay.inventory / "households/schmidt.yaml").open("a") as file:
        file.write("\nbackup:\n  enabled: false\n")
    run = bare_relay.converge(limit=RELAY, deploy="deploys/relay.py")
    assert run.status == 0, run.output[-4000:]
    start_services(lab, RELAY)
    start_weaker_sshds(lab, RELAY, (account_of(keys),))
    lab.exec(RELAY, shlex.split(OPEN_PORTS))
    return Relay(lab, bare_relay, run)
