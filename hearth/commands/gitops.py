"""``hearth gitops``: converge what a signed commit changed; for a timer, or for a runner of any CI."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hearth.commands.converge import USAGE, Format, stoppable
from hearth.commands.options import Attempts, Gate, MaxFailures, MaxRemovals, Parallel, Patience, Scheduler
from hearth.fleet.errors import RunError
from hearth.fleet.limits import DEFAULT_WAVES

if TYPE_CHECKING:
    from hearth.fleet.conduct import Asked
    from hearth.fleet.display import Display
    from hearth.fleet.gitops import Candidate, Clone

INTERRUPTED = 130


def gitops(
    repository: Annotated[str, typer.Option(metavar="URL|PATH", help="Where the fleet's repository is.")],
    signers: Annotated[
        Path, typer.Option(metavar="FILE", help="Who may sign commits: a file of allowed signers, see ssh-keygen(1).")
    ],
    branch: Annotated[str, typer.Option(help="The branch that says what the fleet should be.")] = "main",
    inventory: Annotated[str, typer.Option(metavar="PATH", help="The inventory's folder in the repository.")] = (
        "inventory"
    ),
    checkout: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the checkout is kept; below hearth's state if not given.")
    ] = None,
    local: Annotated[
        Path | None, typer.Option(metavar="FILE", help="This machine's local.yaml, put beside fleet.yaml.")
    ] = None,
    drift: Annotated[bool, typer.Option("--drift", help="Converge all hosts: the nightly run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify, check and say what a run would do.")] = False,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for another run; if not given, leave.")
    ] = 0.0,
    waves: Annotated[
        str | None, typer.Option(help=f"How far each wave of boxes goes; {DEFAULT_WAVES} if not given.")
    ] = None,
    max_failures: MaxFailures = "10%",
    max_removals: MaxRemovals = "1",
    attempts: Attempts = 3,
    parallel: Parallel = None,
    scheduler: Scheduler = None,
    gate: Gate = True,
    patience: Patience = 60.0,
    output: Annotated[Format, typer.Option("--format", help="How the run is told.")] = Format.text,
) -> None:
    """Fetch a branch, verify its signatures, and converge what changed.

    Exit status: 0 all converged, or nothing new; 1 refused, and no host was touched; 2 some failed, 3 stopped by a
    budget, 4 some not reached, 130 stopped by Ctrl-C or SIGTERM.
    """
    # Imported here: pyinfra and SSH cost most of a second that no other command needs to pay.
    from hearth.fleet import conduct, gitops  # noqa: PLC0415

    asked = conduct.Asked(
        waves=waves,
        max_failures=max_failures,
        max_removals=max_removals,
        attempts=attempts,
        parallel=parallel,
        scheduler=scheduler,
        gate=gate,
        patience_s=patience,
    )
    source = gitops.Source(repository, branch, signers, inventory, checkout, local)
    say = partial(typer.echo, err=output is Format.json)
    try:
        with gitops.patiently(lambda: gitops.opened(source), wait, say) as clone:
            candidate = clone.candidate()
            signature = candidate.signature
            say(f"{branch} is at {candidate.title}, signed by {signature.principal} ({signature.key}).")
            to_do = gitops.to_ask(candidate, asked, drift, time.time())
            status = 0
            if to_do is None:
                say(gitops.nothing_new(candidate))
            elif dry_run:
                _announce(candidate, to_do, wait, say)
            else:
                status = _run(clone, candidate, to_do, wait, output, say)
    except RunError as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(USAGE) from refusal
    raise typer.Exit(status)


def _announce(candidate: Candidate, asked: Asked, wait: float, say: Callable[[str], None]) -> None:
    """Say what a run would do. Raises RunError when it would be refused."""
    from hearth.fleet import conduct, gitops  # noqa: PLC0415

    with gitops.patiently(lambda: conduct.prepared(candidate.fleet, asked), wait, say) as run:
        for line in run.announcement:
            say(line)
    say("Nothing was done (--dry-run).")


def _run(
    clone: Clone, candidate: Candidate, asked: Asked, wait: float, output: Format, say: Callable[[str], None]
) -> int:
    """Check out and converge; returns the exit status. Raises RunError when no run may begin."""
    from hearth.fleet import conduct, gitops  # noqa: PLC0415
    from hearth.fleet.display import JsonLines, Lines, Live  # noqa: PLC0415

    display: Display = JsonLines() if output is Format.json else Live() if sys.stdout.isatty() else Lines()
    fleet = clone.check_out(candidate)
    with gitops.patiently(lambda: conduct.prepared(fleet, asked), wait, say) as run:
        for line in run.announcement:
            say(line)
        gitops.begin(candidate, time.time())
        status = 0
        if run.hosts:
            with display, stoppable(run, display):
                status = run.go(display.tell).exit_status
        if status != INTERRUPTED:
            gitops.finish(candidate, time.time())
    return status
