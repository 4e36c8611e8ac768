"""``hearth collect``: ask hosts for their public keys and write them into the inventory."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer

from hearth.commands.loading import fleet_or_end
from hearth.commands.options import DEFAULT_INVENTORY, Inventory
from hearth.fleet.desired import all_hosts
from hearth.inventory.faults import quoted, shown, suggestion
from hearth.inventory.hosts import Fleet, Host

AT_ONCE = 16


def collect(
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="[HOST|HOUSEHOLD]...", help="Which; all that have a road if none.")
    ] = None,
    inventory: Inventory = DEFAULT_INVENTORY,
    replace: Annotated[bool, typer.Option("--replace", help="Accept host keys other than the pinned ones.")] = False,
) -> None:
    """Ask hosts for their host keys and tunnel keys; writes collected/HOST.yaml in the inventory."""
    fleet = fleet_or_end(inventory)
    chosen = _chosen(fleet, hosts or [])
    # Imported here: SSH costs most of a second that no other command needs to pay.
    from hearth.collect import collect as collect_one  # noqa: PLC0415

    failed = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for report in pool.map(lambda host: collect_one(host, fleet.folder, replace=replace), chosen):
            told = f"not collected: {report.failure}" if report.failure else "; ".join(report.changes) or "no change"
            typer.echo(f"{report.host}: {told}", err=report.failure is not None)
            failed += report.failure is not None
    if failed:
        raise typer.Exit(1)


def _chosen(fleet: Fleet, wanted: Sequence[str]) -> list[Host]:
    """The hosts that the names stand for, each once; all that have a road when no name is given."""
    known = all_hosts(fleet)
    by_name = known | {box.household.id: box for box in fleet.boxes() if box.household.id not in known}
    unknown = [name for name in wanted if name not in by_name]
    for name in unknown:
        hint = suggestion(name, by_name)
        typer.echo(f"{shown(fleet.folder)}: there is no host or household {quoted(name)}{hint}", err=True)
    if unknown:
        raise typer.Exit(1)
    if not wanted:
        unreached = [name for name, host in known.items() if not host.roads]
        if unreached:
            typer.echo(f"no road from this machine, not asked: {', '.join(unreached)}", err=True)
        return [host for host in known.values() if host.roads]
    return list({by_name[name].name: by_name[name] for name in wanted}.values())
