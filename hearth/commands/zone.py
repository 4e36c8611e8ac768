"""``hearth zone``: the records that the operator's DNS zone needs for the fleet."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from hearth import zone as records
from hearth.commands.options import DEFAULT_INVENTORY, Inventory
from hearth.inventory import load


class ZoneFormat(StrEnum):
    """How the records are told: as lines of a zone file, or for programs."""

    bind = "bind"
    json = "json"


def zone(
    inventory: Inventory = DEFAULT_INVENTORY,
    output: Annotated[ZoneFormat, typer.Option("--format", help="How the records are told.")] = ZoneFormat.bind,
) -> None:
    """Print the DNS records that the fleet needs: relays, households, keys of boxes that bring their address."""
    loaded = load(inventory)
    if loaded.fleet is None:
        for fault in loaded.faults:
            typer.echo(str(fault), err=True)
        raise typer.Exit(1)
    if output is ZoneFormat.json:
        print(json.dumps(records.data(loaded.fleet), indent=2, ensure_ascii=False))
    else:
        print(records.bind(loaded.fleet), end="")
