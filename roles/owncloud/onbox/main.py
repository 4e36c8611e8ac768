"""The verbs of ``/usr/lib/hearth/owncloud``."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from . import adopt, archive, database, freeze, setup, status, upgrade
from .common import Fault, ended, need_root
from .settings import Settings, load
from .system import locked

PATIENCE_S = 900
VERBS = {
    "fetch": archive.fetch,
    "database": database.prepare,
    "install": setup.install,
    "configure": setup.configure,
    "users": setup.make_users,
    "apps": setup.enable_apps,
    "freeze": freeze.freeze,
    "thaw": freeze.thaw,
}


def arguments(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="owncloud", description="Keep this box's cloud; see docs/owncloud.md.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("status").add_argument("steps", nargs="*", choices=[*status.STEPS, []])
    for verb in (*VERBS, "recover"):
        verbs.add_parser(verb)
    for verb in ("upgrade", "update"):
        verbs.add_parser(verb).add_argument("--again", action="store_true", help="try a refused release once more")
    for verb in ("adoptable", "adopt"):
        taking = verbs.add_parser(verb)
        taking.add_argument("folder", type=Path, help="what a restore laid there; see adopt.py")
        taking.add_argument("--replace", action="store_true", help="put it in the place of data that people have here")
    return parser.parse_args(argv)


def act(settings: Settings, given: argparse.Namespace) -> str:
    """Do what the verb says, after finishing what an interrupted run left; return what to tell. Raises Fault."""
    told = upgrade.recover(settings) or adopt.recover(settings)
    freeze.recover(settings)
    if given.verb in VERBS:
        VERBS[given.verb](settings)
    elif given.verb in ("upgrade", "update"):
        upgrade.upgrade(settings, again=given.again)
    elif given.verb == "adoptable":
        why = adopt.refusal(settings, adopt.read_about(given.folder), replacing=given.replace)
        if why:
            raise Fault(why)
    elif given.verb == "adopt":
        told = adopt.adopt(settings, given.folder, replacing=given.replace)
    return told


def obey(given: argparse.Namespace) -> None:
    """Tell the status, which anybody may ask for, or do what the verb says and tell what came of it. Raises Fault."""
    settings = load()
    if given.verb == "status":
        print(json.dumps(status.report(settings, given.steps or status.STEPS)))  # noqa: T201
        return
    need_root()
    settings.paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(settings.paths.lock, PATIENCE_S):
        told = act(settings, given)
    if told:
        print(told)  # noqa: T201


def main(argv: list[str]) -> int:
    """Run one verb and return the exit status: 0, or 1 with one sentence on standard error."""
    given = arguments(argv)
    os.umask(0o022)
    return ended(given.verb, lambda: obey(given))
