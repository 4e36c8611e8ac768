"""``hearth status``: the fleet from the records of its runs, and from its hosts when they are asked."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hearth.commands.loading import fleet_or_end
from hearth.commands.options import DEFAULT_INVENTORY, Inventory
from hearth.fleet import drills, records, status_text
from hearth.fleet.choice import ChoiceError, limited
from hearth.fleet.desired import all_hosts
from hearth.fleet.records import RecordError
from hearth.fleet.status import Answer, Status, history
from hearth.fleet.status import status as put_together
from hearth.inventory.faults import shown
from hearth.inventory.hosts import Fleet, Host


class StatusFormat(StrEnum):
    """How the status is told: for people, for programs, as a page."""

    text = "text"
    json = "json"
    html = "html"


def status(
    inventory: Inventory = DEFAULT_INVENTORY,
    live: Annotated[bool, typer.Option("--live", help="Ask the hosts too, over the operator's roads.")] = False,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Hosts, households, relays, pis, boxes, or patterns; by commas or repeated."),
    ] = None,
    output: Annotated[StatusFormat, typer.Option("--format", help="How the status is told.")] = StatusFormat.text,
    file: Annotated[Path | None, typer.Option("--output", help="Write it to this file, replaced whole.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How far back the records are read.")] = 30,
) -> None:
    """Show how the fleet is: what the runs did, what drifted, whom nobody reached; with --live how it is now."""
    fleet = fleet_or_end(inventory)
    at, hosts = datetime.now(UTC), all_hosts(fleet)
    try:
        chosen = [hosts[name] for name in (limited(fleet, limit) if limit else hosts)]
        told = history(records.latest_first(records.runs_folder(fleet.name)), at - timedelta(days=days))
    except (ChoiceError, RecordError) as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(1) from fault
    answers = _ask(fleet, chosen) if live else None
    whole = put_together(fleet, chosen, told, datetime.now(UTC) if live else at, days, answers, drills.last(fleet.name))
    _write(_rendered(whole, output), file)


def _ask(fleet: Fleet, hosts: Sequence[Host]) -> dict[str, Answer]:
    """The hosts' answers; somebody at a terminal sees how many have come."""
    # Imported here: SSH costs most of a second that the records need not pay.
    from hearth.fleet.live import ask_all  # noqa: PLC0415

    watched, come = sys.stderr.isatty(), 0

    def count(_name: str, _answer: Answer) -> None:
        nonlocal come
        come += 1
        if watched:
            print(f"\r{come} of {len(hosts)} hosts asked", end="", file=sys.stderr, flush=True)

    answers = ask_all(fleet, hosts, count)
    if watched:
        print(file=sys.stderr)
    return answers


def _rendered(whole: Status, output: StatusFormat) -> Iterator[str]:
    if output is StatusFormat.json:
        yield json.dumps(status_text.data(whole), indent=2, ensure_ascii=False)
    elif output is StatusFormat.html:
        from hearth.fleet.html import page  # noqa: PLC0415

        yield page(whole)
    else:
        yield from status_text.lines(whole)


def _write(lines: Iterator[str], file: Path | None) -> None:
    """Print the lines, or put them into a file, whole: a web server that reads it has the old one or the new."""
    if file is None:
        for line in lines:
            print(line)
        return
    new = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        new.write_text("".join(f"{line}\n" for line in lines))
        new.replace(file)
    except OSError as fault:
        typer.echo(f"cannot write {shown(file)}: {fault.strerror}", err=True)
        raise typer.Exit(1) from fault
