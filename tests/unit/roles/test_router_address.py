"""The page of a relay that tells boxes their homes' public address."""

from __future__ import annotations

from hearth import layout
from hearth.inventory.hosts import RelayHost
from hearth.inventory.model import Relay
from roles.router import render

from .samples import ANNA


def test_one_page_answers_with_the_askers_address_before_anything_is_looked_up() -> None:
    relay = RelayHost(
        name="relay1",
        roads=(),
        operators=(ANNA,),
        ssh_port=2222,
        time_zone="Europe/Berlin",
        authority=None,
        relay=Relay("relay1", "relay1.home.example", ssh_port=2222),
        households=(),
    )
    lines = [line.strip() for line in render.config(relay).splitlines()]
    [answer] = [line for line in lines if "lf-string" in line]
    # "path" is the whole path, exactly.
    assert answer.endswith(f'lf-string "%[src]\\n" if {{ path {layout.ADDRESS_PATH} }}')
    redirect = next(line for line in lines if line.startswith("http-request redirect"))
    assert lines.index("mode http") < lines.index(answer) < lines.index(redirect)
