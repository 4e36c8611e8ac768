"""``hearth support``: what each side of a remote help starts, ready to send, and who is connected now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from hearth.commands.loading import fleet_or_end
from hearth.commands.options import DEFAULT_INVENTORY, Inventory
from hearth.inventory.faults import quoted, shown, suggestion
from hearth.inventory.hosts import Fleet, PiHost
from hearth.support import pages, scripts
from hearth.support.cases import SupportError, find

if TYPE_CHECKING:
    from hearth.support.sessions import Told

AT_ONCE = 16


class Platform(StrEnum):
    """What the person's computer runs."""

    linux = "linux"
    windows = "windows"
    macos = "macos"


class Format(StrEnum):
    """How it is told: in words, as a page for a phone, as a script to start; ``json`` is for --sessions."""

    text = "text"
    html = "html"
    script = "script"
    json = "json"


def support(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME|[PI]...", help="A screen or a helper; with --sessions, the Pis to ask."),
    ] = None,
    platform: Annotated[Platform, typer.Option(help="What the person's computer runs.")] = Platform.linux,
    output: Annotated[Format, typer.Option("--format", help="How it is told; json with --sessions.")] = Format.text,
    identity: Annotated[
        str | None, typer.Option(help="The file of the person's private key, on their own side.")
    ] = None,
    pi: Annotated[str | None, typer.Option(help="Which Pi, for a helper of screens on several.")] = None,
    sessions: Annotated[bool, typer.Option("--sessions", help="Show who is connected now.")] = False,
    inventory: Inventory = DEFAULT_INVENTORY,
) -> None:
    """Print what a supported person or a helper starts, ready to send; or show who is connected now."""
    fleet = fleet_or_end(inventory)
    if sessions:
        _sessions(fleet, names or [], output)
    elif names is None or len(names) != 1:
        _end("say whose screen, or which helper: hearth support NAME")
    else:
        _instruction(fleet, names[0], platform, output, identity, pi)


def _instruction(
    fleet: Fleet, name: str, platform: Platform, output: Format, identity: str | None, pi: str | None
) -> None:
    if output is Format.json:
        _end("--format json is for --sessions; take text, html or script")
    tell = {Format.text: pages.text, Format.html: pages.page, Format.script: scripts.script}[output]
    try:
        told = tell(find(fleet, name, pi), platform.value, identity)
    except SupportError as refusal:
        _end(f"{shown(fleet.folder)}: {refusal}")
    # As bytes: a Windows script has Windows' line ends, whatever this machine's are.
    typer.get_binary_stream("stdout").write(told.encode())


def _sessions(fleet: Fleet, wanted: Sequence[str], output: Format) -> None:
    if output not in (Format.text, Format.json):
        _end("--sessions is told as --format text or json")
    chosen = _pis(fleet, wanted)
    # Imported here: SSH costs most of a second that no other command needs to pay.
    from hearth.support.sessions import ask, data  # noqa: PLC0415

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, chosen))
    if output is Format.json:
        print(json.dumps([each for told in answers for each in data(told)], indent=2))
    else:
        _table(answers)
    for told in answers:
        if told.failure:
            typer.echo(f"{told.pi}: not asked: {told.failure}", err=True)
    if any(told.failure for told in answers):
        raise typer.Exit(1)


def _table(answers: Sequence[Told]) -> None:
    if all(told.failure for told in answers):
        return
    if not any(told.sessions for told in answers):
        print("nobody is connected")
        return
    # Imported here: rich costs a tenth of a second that no other command needs to pay.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("Pi", "person", "kind", "since", "from", "port"):
        table.add_column(column, overflow="fold")
    for each in (session for told in answers for session in told.sessions):
        since = f"{each.since.astimezone():%Y-%m-%d %H:%M:%S}" if each.since else ""
        table.add_row(each.pi, each.person or "not known", each.kind, since, each.source or "", str(each.port or ""))
    Console(highlight=False, markup=False).print(table)


def _pis(fleet: Fleet, wanted: Sequence[str]) -> list[PiHost]:
    known = {host.name: host for host in fleet.pi_hosts()}
    if not known:
        _end(f"{shown(fleet.folder)}: the fleet has no support Pi")
    unknown = [name for name in wanted if name not in known]
    for name in unknown:
        typer.echo(
            f"{shown(fleet.folder)}: there is no support Pi {quoted(name)}{suggestion(name, known)}",
            err=True,
        )
    if unknown:
        raise typer.Exit(1)
    return [known[name] for name in dict.fromkeys(wanted or known)]


def _end(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
