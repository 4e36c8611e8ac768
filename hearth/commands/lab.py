"""``hearth lab``: real Debian hosts for a fleet, on this machine."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hearth.inventory.faults import shown
from hearth.lab import acme, generate, progress, releases
from hearth.lab.hosts import CLEAN_ENVIRONMENT
from hearth.lab.lab import Lab
from hearth.lab.process import LabError, require_machine
from hearth.lab.surroundings import DEFAULT_NAME
from hearth.lab.topology import NAME_SERVER_NAME

app = typer.Typer(help="Start the fleet's hosts as real Debian systems on this machine.", no_args_is_help=True)

Name = Annotated[str, typer.Option("--name", help="The lab's name; labs of different names do not meet.")]
Host = Annotated[str, typer.Argument(help="A host's name, as `hearth lab status` shows it.")]
Command = Annotated[list[str] | None, typer.Argument(help="The command, after `--`.")]


class Suite(StrEnum):
    """Debian releases that a Pi may run."""

    trixie = "trixie"
    bookworm = "bookworm"


class Format(StrEnum):
    """How a report is printed."""

    text = "text"
    json = "json"


class Switch(StrEnum):
    """Plugged in or not."""

    on = "on"
    off = "off"


@app.command()
def up(
    hosts: Annotated[list[str] | None, typer.Argument(metavar="[HOST]...", help="Which; all if none.")] = None,
    inventory: Annotated[Path | None, typer.Option(help="The fleet's folder.", show_default="inventory")] = None,
    name: Name = DEFAULT_NAME,
    suite: Annotated[Suite | None, typer.Option(help="Debian release of the support Pis.")] = None,
    releases: Annotated[Path | None, typer.Option(help="Serve this folder as the releases.")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build the Debian bases anew.")] = False,
) -> None:
    """Start hosts of the fleet (all, if none is named) and the network between them."""
    console = Console(highlight=False)
    with _sentences():
        lab = Lab(name, progress.on(console))
        lab.up(
            hosts or [],
            inventory,
            pi_suite=suite.value if suite else None,
            release_folder=releases,
            rebuild=rebuild,
        )
        running = [host.name for host in lab.status() if host.state == "running"]
        console.print(f"The lab {name} is up: {', '.join(running)}.", soft_wrap=True)


@app.command()
def down(name: Name = DEFAULT_NAME) -> None:
    """End the lab and remove all that it made, also after a crash."""
    with _sentences():
        Lab(name, progress.on(Console(highlight=False))).down()


@app.command()
def status(
    name: Name = DEFAULT_NAME,
    form: Annotated[Format, typer.Option("--format", help="For people or for programs.")] = Format.text,
) -> None:
    """Show the lab's hosts: what runs, and where it is found."""
    with _sentences():
        found = Lab(name).status()
        if form is Format.json:
            servers = {"releases": releases.URL, "acme": acme.DIRECTORY, "name_server": NAME_SERVER_NAME}
            report = {"name": name, **servers, "hosts": [asdict(host) for host in found]}
            typer.echo(json.dumps(report, indent=2))
            return
        if not found:
            typer.echo(f"The lab {name} is down.")
            return
        table = Table("host", "state", "Debian", "bench", "own address", "on the internet", box=None)
        for host in found:
            bench = f"{host.bench}{'' if host.bench_up else ' (off)'}" if host.suite else ""
            table.add_row(host.name, host.state, host.suite, bench, host.address, host.public_address)
        Console(highlight=False).print(table)


@app.command("generate")
def generate_fleet(
    households: Annotated[int, typer.Argument(help="How many.")],
    folder: Annotated[Path, typer.Argument(help="Where it goes: a new folder, or an empty one.")],
) -> None:
    """Write the inventory of a fleet that nobody has, of any size, for measuring; the same for the same number."""
    with _sentences():
        generate.write(households, folder)
    typer.echo(f"{shown(folder)}: an inventory with {households} {'household' if households == 1 else 'households'}")


@app.command("exec")
def execute(host: Host, command: Command = None, name: Name = DEFAULT_NAME) -> None:
    """Run a command as root inside a host, past its network and sshd; a shell if none is given."""
    with _sentences():
        require_machine()
        argv = Lab(name).exec_command(host, command or ["bash", "-l"])
        os.chdir("/")
        os.execvpe(argv[0], argv, CLEAN_ENVIRONMENT)  # noqa: S606 - no shell is meant


@app.command()
def ssh(host: Host, command: Command = None, name: Name = DEFAULT_NAME) -> None:
    """Log in to a host over the bench, or run a command there; its host key is pinned."""
    with _sentences():
        require_machine()
        argv = Lab(name).ssh_command(host, command or [])
        os.execvp(argv[0], argv)  # noqa: S606 - no shell is meant


@app.command()
def bench(host: Host, switch: Switch, name: Name = DEFAULT_NAME) -> None:
    """Take a host's bench link out (off), so that it is reached only as in life, or plug it in again (on)."""
    with _sentences():
        require_machine()
        Lab(name).bench(host, switch is Switch.on)


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Show what the lab cannot do as the sentence it is, and end with status 1."""
    try:
        yield
    except LabError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
