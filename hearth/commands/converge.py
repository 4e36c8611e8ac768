"""``hearth converge``: bring the whole fleet, or some of it, to what the inventory says."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from hearth.commands.loading import fleet_or_end
from hearth.commands.options import (
    DEFAULT_INVENTORY,
    Attempts,
    Gate,
    Inventory,
    Limit,
    MaxFailures,
    MaxRemovals,
    Parallel,
    Patience,
    Scheduler,
    Since,
)
from hearth.fleet.errors import RunError
from hearth.fleet.limits import DEFAULT_WAVES

if TYPE_CHECKING:
    from hearth.fleet.conduct import Prepared
    from hearth.fleet.display import Display

USAGE = 1


class Format(StrEnum):
    """How a run is told: for people (a bar on a terminal, lines elsewhere), or as the record's events for programs."""

    text = "text"
    json = "json"


def converge(
    limit: Limit = None,
    since: Since = None,
    waves: Annotated[
        str | None, typer.Option(help=f"How far each wave of boxes goes; {DEFAULT_WAVES} if not given.")
    ] = None,
    max_failures: MaxFailures = "10%",
    max_removals: MaxRemovals = "1",
    remove_all: Annotated[
        bool, typer.Option("--remove-all", help="Remove however many are gone, all of them included.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run where it stopped.")] = False,
    pending: Annotated[bool, typer.Option("--pending", help="Only hosts that earlier runs did not reach.")] = False,
    attempts: Attempts = 3,
    parallel: Parallel = None,
    scheduler: Scheduler = None,
    gate: Gate = True,
    patience: Patience = 60.0,
    inventory: Inventory = DEFAULT_INVENTORY,
    output: Annotated[Format, typer.Option("--format", help="How the run is told.")] = Format.text,
) -> None:
    """Converge the fleet: canary first, then in waves, each looked at from outside.

    Exit status: 0 all converged, 1 usage or inventory, 2 some failed, 3 stopped by a budget, 4 some not reached, 130
    stopped by Ctrl-C.
    """
    fleet = fleet_or_end(inventory)
    # Imported here: pyinfra and SSH cost most of a second that no other command needs to pay.
    from hearth.fleet import conduct  # noqa: PLC0415
    from hearth.fleet.display import JsonLines, Lines, Live  # noqa: PLC0415

    asked = conduct.Asked(
        limit=tuple(limit or ()),
        since=since,
        waves=waves,
        max_failures=max_failures,
        max_removals=max_removals,
        remove_all=remove_all,
        resume=resume,
        pending=pending,
        attempts=attempts,
        parallel=parallel,
        scheduler=scheduler,
        gate=gate,
        patience_s=patience,
    )
    display: Display = JsonLines() if output is Format.json else Live() if sys.stdout.isatty() else Lines()
    try:
        with conduct.prepared(fleet, asked) as run:
            for line in run.announcement:
                typer.echo(line, err=output is Format.json)
            if not run.has_work:
                raise typer.Exit(0)
            if not yes:
                _ask()
            with display, stoppable(run, display):
                end = run.go(display.tell)
    except RunError as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(USAGE) from refusal
    raise typer.Exit(end.exit_status)


def _ask() -> None:
    """Ask whether to go on. Raises RunError when nobody is there to answer, or the answer is no."""
    if not sys.stdin.isatty():
        raise RunError("nobody is at a terminal to agree: look at the plan above, and give --yes")
    if not typer.confirm("Go on?", err=True):
        raise RunError("nothing was done")


@contextmanager
def stoppable(run: Prepared, display: Display) -> Iterator[None]:
    """Let Ctrl-C, a hang-up, and the end that a pipeline or a service sends, stop the run instead of this process."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        meaning = run.interrupt()
        # After a hang-up there is nobody to read it.
        with suppress(OSError):
            display.say(meaning)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
