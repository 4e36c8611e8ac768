"""The verbs of ``/usr/lib/hearth/backup``."""

from __future__ import annotations

import argparse
import json
import os
import sys

from . import keys, prove
from .common import ended, need_root
from .nightly import nightly, prepare
from .repository import look, the_store
from .settings import Settings, load
from .system import Waits, locked, run

PATIENCE_S = 60
PAGE = "hearth-key-page.service"
STEPS = ("secrets", "repository")


def arguments(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="backup", description="Keep this box's backup; see docs/backup.md.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("status").add_argument("step", choices=STEPS)
    for verb in (*STEPS, "nightly", "prove", "settle"):
        verbs.add_parser(verb)
    return parser.parse_args(argv)


def status(settings: Settings, step: str) -> dict[str, object]:
    """Whether a step is still to be done, and what else is to be told; reads only."""
    if step == "secrets":
        return {"pending": not keys.secrets_are_made(settings), "sentence": ""}
    try:
        there = look(settings, the_store(settings))
    except Waits as fault:
        return {"pending": False, "sentence": f"the backup waits: {fault}"}
    return {"pending": not there or not keys.read_paper(settings.paths).repository, "sentence": ""}


def forget_page() -> None:
    """End the page's service: it holds the key as it was when it started."""
    run(["systemctl", "stop", PAGE], timeout_s=60)


def act(settings: Settings, verb: str) -> None:
    """Do what the verb says, under the lock. Raises Fault."""
    with locked(settings.paths.lock, PATIENCE_S):
        if verb == "secrets":
            keys.make_secrets(settings)
        elif verb == "repository":
            prepare(settings)
        elif verb == "nightly":
            nightly(settings)
        elif verb == "prove":
            prove.prove(settings, prepare(settings))
        else:
            keys.settle(settings)
    if verb in ("repository", "settle"):
        forget_page()


def obey(given: argparse.Namespace) -> None:
    """Tell the status, which anybody may ask for, or do what the verb says. Raises Fault."""
    try:
        settings = load()
        if given.verb == "status":
            print(json.dumps(status(settings, given.step)))  # noqa: T201
            return
        need_root()
        act(settings, given.verb)
    except Waits as fault:
        # Nothing has gone wrong yet; that no backup comes is for the health check to say.
        print(f"the backup waits: {fault}", file=sys.stderr)  # noqa: T201


def main(argv: list[str]) -> int:
    """Run one verb and return the exit status: 0, or 1 with one sentence on standard error."""
    given = arguments(argv)
    os.umask(0o022)
    return ended(given.verb, lambda: obey(given))
