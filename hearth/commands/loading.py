"""The inventory as the commands over a fleet begin with it."""

from __future__ import annotations

from pathlib import Path

import typer

from hearth.inventory import load
from hearth.inventory.hosts import Fleet


def fleet_or_end(inventory: Path) -> Fleet:
    """The fleet that the inventory describes; ends the command with all faults, and status 1, where it has any."""
    loaded = load(inventory)
    if loaded.fleet is None:
        for fault in loaded.faults:
            typer.echo(str(fault), err=True)
        raise typer.Exit(1)
    return loaded.fleet
