"""The options that the commands over a fleet share, each in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_INVENTORY = Path("inventory")
Inventory = Annotated[Path, typer.Option(help="The folder that holds fleet.yaml.")]
Limit = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="NAME", help="Only these hosts, households, groups or patterns; repeatable."),
]
Since = Annotated[
    str | None,
    typer.Option(metavar="REV", help="Only hosts that should be something else than at this git revision."),
]
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
