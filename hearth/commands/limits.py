"""The options that every command has which converges the fleet, each in one place."""

from __future__ import annotations

from typing import Annotated

import typer

MaxFailures = Annotated[
    str, typer.Option(metavar="N|P%", help="Stop when more hosts have failed; the canary always stops.")
]
MaxRemovals = Annotated[
    str, typer.Option(metavar="N|P%", help="Refuse when more households are gone from the inventory.")
]
Attempts = Annotated[int, typer.Option(min=1, max=10, help="How often a host that is not reached is tried.")]
Parallel = Annotated[
    int | None, typer.Option(min=1, max=1000, help="Slices at a time; twice the processors if not given.")
]
Scheduler = Annotated[
    str | None, typer.Option(metavar="tls://HOST:PORT", help="Run slices on the workers of a Dask cluster.")
]
Gate = Annotated[bool, typer.Option("--gate/--no-gate", help="Look at each host from outside.")]
Patience = Annotated[
    float, typer.Option(metavar="SECONDS", min=0, help="How long a host may take to look well from outside.")
]
