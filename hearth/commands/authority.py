"""``hearth ca``: the fleet's own authority, on the operator's machine."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
import yaml

from hearth import authority
from hearth.authority import AuthorityError
from hearth.commands.options import DEFAULT_INVENTORY, Inventory
from hearth.inventory import InventoryError, load_or_raise
from hearth.inventory.hosts import Authority, Fleet

app = typer.Typer(
    help="The fleet's own authority: it signs the boxes' certificates and operators' SSH keys.", no_args_is_help=True
)

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


@app.command()
def init(
    inventory: Inventory = DEFAULT_INVENTORY,
    folder: Annotated[
        Path | None, typer.Option(help="Where the private keys shall lie; outside the inventory.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Take the passphrase from this file's first line instead of asking.")
    ] = None,
) -> None:
    """Make the fleet's authority: private keys on this machine, public halves in the inventory."""
    with _one_sentence():
        fleet = load_or_raise(inventory)
        usual = _private_folder(fleet)
        private, public = (folder or usual).expanduser().absolute(), fleet.folder / "authority"
        passphrase = authority.read_passphrase_file(passphrase_file) if passphrase_file else _chosen_passphrase()
        authority.init(private, public, fleet.name, fleet.zone, passphrase)
        typer.echo(f"Private keys, encrypted: {private}. Back this folder up, and keep the passphrase elsewhere.")
        typer.echo(f"Public halves: {public}. They belong to the inventory: commit them.")
        if private != usual:
            typer.echo(f"Tell hearth where they lie, in {fleet.folder / 'local.yaml'}:")
            typer.echo(f"authority:\n  folder: {private}")


@app.command()
def show(inventory: Inventory = DEFAULT_INVENTORY) -> None:
    """Show the authority: who it is, until when, and whether its private keys are on this machine."""
    with _one_sentence():
        for line in authority.described(_authority(load_or_raise(inventory))):
            typer.echo(line)


@app.command("ssh-sign")
def ssh_sign(
    public_key: Annotated[Path, typer.Argument(metavar="PUBKEY_FILE", help="An operator's OpenSSH public key.")],
    operator: Annotated[str, typer.Option("--as", help="The operator whose account the certificate opens.")],
    valid: Annotated[str, typer.Option(help="For how long: 30m, 8h, 5d; at most 30d.")] = "8h",
    inventory: Inventory = DEFAULT_INVENTORY,
) -> None:
    """Sign an operator's SSH key for some hours; writes KEY-cert.pub beside it, where ssh looks for it."""
    with _one_sentence():
        fleet = load_or_raise(inventory)
        known = [person.name for person in fleet.operators]
        if operator not in known:
            raise AuthorityError(f"{operator} is no operator of the fleet: choose one of {', '.join(known)}")
        root, valid_for, now = _authority(fleet), _duration(valid), datetime.now(UTC)
        line = authority.sign_ssh_user_key(
            root.folder,
            authority.passphrase(root),
            _text(public_key),
            [operator],
            valid_for,
            key_id=f"{operator} of {fleet.name}, signed {now:%Y-%m-%dT%H:%M:%SZ}",
            now=now,
        )
        certificate = public_key.with_name(public_key.name.removesuffix(".pub") + "-cert.pub")
        authority.write_file(certificate, line.encode(), 0o644)
        typer.echo(
            f"{certificate}: opens {operator}'s account on every host until {now + valid_for:%Y-%m-%d %H:%M} UTC."
        )


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Whatever is refused ends as a sentence on stderr and exit status 1."""
    try:
        yield
    except (AuthorityError, InventoryError) as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(1) from refusal
    except OSError as error:
        typer.echo(f"cannot write {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(1) from error


def _authority(fleet: Fleet) -> Authority:
    if fleet.authority is None:
        raise AuthorityError("the fleet has no authority yet: make it with `hearth ca init`")
    return fleet.authority


def _private_folder(fleet: Fleet) -> Path:
    """Where this machine keeps the private keys: local.yaml's ``authority.folder``, else below the state folder.

    ``fleet.authority`` says the same, but only once the public halves are there.
    """
    local = fleet.folder / "local.yaml"
    settings = (yaml.safe_load(local.read_text()) if local.exists() else None) or {}
    named = settings.get("authority", {}).get("folder")
    if named:
        return fleet.folder / Path(named).expanduser()
    state = Path(os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser())
    return state / "hearth" / "authority" / fleet.name


def _chosen_passphrase() -> bytes:
    if not sys.stdin.isatty():
        raise AuthorityError("nobody is at a terminal to choose a passphrase: give --passphrase-file")
    chosen: str = typer.prompt("Passphrase for the new authority", hide_input=True, confirmation_prompt=True)
    return chosen.encode()


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    if found is None:
        raise AuthorityError(f"--valid {text} is no time: write it as 30m, 8h or 5d")
    return int(found[1]) * _UNITS[found[2]]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise AuthorityError(f"cannot read the public key {path}: give the file that ends in .pub") from error
