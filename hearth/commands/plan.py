"""``hearth plan``: what a converge would do, with the differences of files; nothing is changed."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hearth.commands.loading import fleet_or_end
from hearth.commands.options import DEFAULT_INVENTORY, Inventory, Limit, Parallel, Since
from hearth.fleet.errors import RunError

if TYPE_CHECKING:
    from hearth.fleet.plan import HostPlan, Plan

USAGE = 1


class PlanFormat(StrEnum):
    """How a plan is told: for people, for a pull request's comment, for programs."""

    text = "text"
    markdown = "markdown"
    json = "json"


def plan(
    limit: Limit = None,
    since: Since = None,
    max_removals: Annotated[
        str, typer.Option(metavar="N|P%", help="Warn when a converge with this limit would refuse the removals.")
    ] = "1",
    parallel: Parallel = None,
    inventory: Inventory = DEFAULT_INVENTORY,
    output: Annotated[PlanFormat, typer.Option("--format", help="How the plan is told.")] = PlanFormat.text,
) -> None:
    """Show what a converge would do, removals first. Hosts are asked, and nothing on them is changed.

    Exit status: 0 every host was asked, whatever would change; 1 usage or inventory; 2 some cannot be planned; 4 some
    were not reached.
    """
    fleet = fleet_or_end(inventory)
    # Imported here: pyinfra and SSH cost most of a second that no other command needs to pay.
    from hearth.fleet.plan import Asked, planned  # noqa: PLC0415

    watched, come = sys.stderr.isatty(), 0

    def count(_host: HostPlan) -> None:
        nonlocal come
        come += 1
        if watched:
            print(f"\r{come} hosts asked", end="", file=sys.stderr, flush=True)

    try:
        found = planned(fleet, Asked(tuple(limit or ()), since, max_removals, parallel), count)
    except RunError as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(USAGE) from refusal
    if watched and come:
        print(file=sys.stderr)
    _show(found, output)
    raise typer.Exit(found.exit_status)


def _show(found: Plan, output: PlanFormat) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from hearth.fleet import plan_text  # noqa: PLC0415

    if output is PlanFormat.json:
        print(json.dumps(plan_text.data(found), indent=2, ensure_ascii=False))
    elif output is PlanFormat.markdown:
        print(plan_text.markdown(found), end="")
    else:
        console = Console(highlight=False, soft_wrap=True)
        for line in plan_text.lines(found):
            console.print(Text(line.text, line.style))
