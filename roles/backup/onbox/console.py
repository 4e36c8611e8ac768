"""``hearth-key``: the household's key at the box's own console, for root."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from . import keys, paperkey
from .common import Fault, need_root
from .lan import own_addresses
from .main import PATIENCE_S, forget_page
from .nightly import made
from .page import confirmation, log_showing, showings
from .repository import opens, the_store
from .settings import Settings, load
from .sheet import Sheet, for_terminal, page, sheet
from .system import Waits, locked, text_of, write_whole


def arguments(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="hearth-key", description="The household's backup key; see docs/backup.md.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    show = verbs.add_parser("show", help="show the key until it has been confirmed that it is on paper")
    show.add_argument("--html", type=Path, metavar="FILE", help="write the sheet to print into a file, too")
    verbs.add_parser("confirm", help="it is on paper: type a group back, and the box forgets the key")
    verbs.add_parser("test", help="say whether a key that is typed opens the backup")
    verbs.add_parser("renew", help="make a new key and sheet; the old one goes on opening the backup")
    verbs.add_parser("where", help="the address of the page about the key on the home's network")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Do what the verb says; return the exit status: 0, or 1 with one sentence on standard error."""
    given = arguments(argv)
    os.umask(0o022)
    try:
        need_root()
        settings = load()
        if given.verb == "show":
            show(settings, given.html)
        elif given.verb == "where":
            print("\n".join(f"https://{address}:{settings.page_port}/" for address in own_addresses()))  # noqa: T201
        else:
            {"confirm": confirm, "test": test, "renew": renew}[given.verb](settings)
    except (Fault, paperkey.Mistyped) as fault:
        print(f"hearth-key: {fault}", file=sys.stderr)  # noqa: T201
        return 1
    except (KeyboardInterrupt, EOFError):
        return 1
    return 0


def the_sheet(settings: Settings) -> Sheet:
    """The sheet while the box has it. Raises Fault."""
    paper, key = keys.read_paper(settings.paths), text_of(settings.paths.paper_key)
    if not paper.repository:
        raise Waits("there is no key yet: the box has not reached its store; `systemctl start hearth-backup` says why")
    if not key:
        raise Fault(f"the key has been on paper since {paper.confirmed[:10]}, and the box has forgotten it")
    return Sheet(settings.household, settings.domain, paper.added[:10], key)


def show(settings: Settings, html: Path | None) -> None:
    """Show the sheet, and who saw it before."""
    told, before = the_sheet(settings), showings(settings.paths, keys.read_paper(settings.paths).added)
    log_showing(settings.paths.state, "at the console")
    if html:
        write_whole(html, page(f"Backup key of {told.domain}", sheet(told)))
    print(for_terminal(told))  # noqa: T201
    if before:
        print(f"It was shown before: {before[-1]}. If that was not you: hearth-key renew")  # noqa: T201
    print("When it is on paper: hearth-key confirm")  # noqa: T201


def confirm(settings: Settings) -> None:
    """Ask for a group, and forget the key."""
    told = the_sheet(settings)
    number = confirmation(told.key)
    if not paperkey.same_group(told.key, number, input(f"Group {number} of the key, from the paper: ")):
        raise Fault(f"that is not group {number}; compare it with the paper")
    with locked(settings.paths.lock, PATIENCE_S):
        if text_of(settings.paths.paper_key) != told.key:
            raise Fault("the key has changed meanwhile: hearth-key show, then confirm what it says")
        keys.confirm(settings)
    forget_page()
    print("The key is on paper, and only there; the box has forgotten it.")  # noqa: T201


def test(settings: Settings) -> None:
    """Say whether a typed key opens the repository. Raises Mistyped before the repository is asked, or Fault."""
    key = paperkey.parse(input("The key: "))
    if not opens(settings, the_store(settings), key):
        raise Fault("this is a whole key, and it does not open this box's backup; is it the sheet of another box?")
    print("This key opens the backup.")  # noqa: T201


def renew(settings: Settings) -> None:
    """Make a new key, also where nobody knows what became of the old one."""
    with locked(settings.paths.lock, PATIENCE_S):
        keys.renew(settings, made(settings))
    forget_page()
    print("There is a new key: hearth-key show. The old sheet still opens the backup; docs/backup.md says what to do")  # noqa: T201
