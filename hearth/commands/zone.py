"""``hearth zone``: the records that the operator's DNS zone needs for the fleet."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from hearth import zone as records
from hearth.commands.loading import fleet_or_end
from hearth.commands.options import DEFAULT_INVENTORY, Inventory


class ZoneFormat(StrEnum):
    """How the records are told: as lines of a zone file, or for programs."""

    bind = "bind"
    json = "json"


def zone(
    inventory: Inventory = DEFAULT_INVENTORY,
    output: Annotated[ZoneFormat, typer.Option("--format", help="How the records are told.")] = ZoneFormat.bind,
) -> None:
    """Print the DNS records that the fleet needs: relays, households, keys of boxes that bring their address."""
    fleet = fleet_or_end(inventory)
    if output is ZoneFormat.json:
        print(json.dumps(records.data(fleet), indent=2, ensure_ascii=False))
    else:
        print(records.bind(fleet), end="")
