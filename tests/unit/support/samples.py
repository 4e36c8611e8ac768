"""A small fleet with two households, two helpers and a support Pi whose host keys are known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

from hearth.inventory.hosts import Fleet
from hearth.inventory.model import Certificates, Helper, PersonKey, RouterPage, Screen, SupportPi
from tests.unit.roles.samples import ANNA, HOUSEHOLD

OMAS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMIvScik939+AuX714xMbrQJMOfQtSEVEM3CbJtNkYb oma"
OPAS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIpXP9AFoGk1W0fpexBZwAiJPu0Je/YLODK3EBYBnCqp opa"
KARLS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINo129hDt7UwAUhC+0eT4ZitkRYwCFt+vNZ+kGRWOR2g karl"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIsCbkhXTXsHzBYmBWoNiMN0zGsJArQ6lcN67nWNsYFU"
HOST_FINGERPRINT = "SHA256:qX7y+JNf+DdkpYfn1dlzJmFvWsCCJaa+EOjUSXXeDSk"

PI = SupportPi(
    "pi1",
    "pi1.home.example",
    ssh_port=2222,
    tunnel_port=9212,
    tunnel_host_keys=(HOST_KEY,),
    routers=(RouterPage("192.168.1.1", 80, "router.lan"), RouterPage("fd00::1", 8443)),
)
OMA = Screen("oma", 17934, PersonKey(OMAS_KEY), ("karl",))
OPA = Screen("opa", 17935, PersonKey(OPAS_KEY, date(2027, 1, 31)), ("karl",))
KARL = Helper("karl", (PersonKey(KARLS_KEY),), ("pi1",))
LENE = Helper("lene", (PersonKey(KARLS_KEY),))


def fleet(
    pis: tuple[SupportPi, ...] = (PI,), helpers: tuple[Helper, ...] = (KARL, LENE), second_pi: str = "pi1"
) -> Fleet:
    """The fleet, with some of it replaced; ``second_pi``: over which opa is helped."""
    return Fleet(
        name="example",
        zone="home.example",
        time_zone="Europe/Berlin",
        folder=Path("/fleet"),
        operators=(ANNA,),
        helpers=helpers,
        relays=(),
        pis=pis,
        certificates=Certificates(),
        releases=(),
        households=(
            replace(HOUSEHOLD, screens=(OMA,), pi="pi1"),
            replace(HOUSEHOLD, id="schmidt", slot=18, screens=(OPA, replace(OMA, port=17936)), pi=second_pi),
        ),
    )
