"""Which boxes ask their router, for which ports, and how they are fenced in."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace

import pytest

from hearth.inventory.model import AccessKind
from roles import router_port

from ..samples import HOUSEHOLD

DIRECT = replace(HOUSEHOLD, access="upnp")


def text(path: str) -> str:
    return next(str(file.content) for file in router_port.files(DIRECT) if file.path.endswith(path))


@pytest.mark.parametrize(("access", "wanted"), [("relay", False), ("forwarded", False), ("upnp", True)])
def test_only_access_upnp_asks_the_router(access: AccessKind, wanted: bool) -> None:
    household = replace(HOUSEHOLD, access=access)
    assert router_port.is_wanted(household) is wanted
    assert router_port.services(household) == ((router_port.TIMER,) if wanted else ())
    assert ("miniupnpc" in router_port.packages(household)) is wanted


def test_sshd_stands_on_the_internet_only_where_there_is_no_tunnel() -> None:
    assert router_port.ports(DIRECT) == (80, 443)
    assert router_port.ports(replace(DIRECT, relay=None, ssh_port=2022)) == (80, 443, 2022)


def test_the_lease_outlives_several_failures_and_ends() -> None:
    assert tomllib.loads(text(".toml")) == {"household": "mueller", "ports": [80, 443], "lease_s": router_port.LEASE_S}
    assert 3 * router_port.EVERY_MIN * 60 < router_port.LEASE_S <= 2 * 3600


def test_the_unit_is_nobodys_and_fenced_in() -> None:
    unit = text(".service")
    for line in ("User=hearth-router", "CapabilityBoundingSet=", "ProtectSystem=strict", "NoNewPrivileges=yes"):
        assert f"\n{line}\n" in unit
    assert "Type=oneshot" in unit


def test_the_timer_catches_up_and_begins_at_boot() -> None:
    timer = text(".timer")
    assert "\nPersistent=true\n" in timer
    assert re.search(r"^OnBootSec=", timer, re.MULTILINE)
    assert re.search(r"^RandomizedDelaySec=", timer, re.MULTILINE)
