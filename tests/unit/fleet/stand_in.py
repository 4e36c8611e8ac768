"""A stand-in for the ``pyinfra`` command: it takes a slice as the real one does, and reports what it is told to.

    stand_in.py SLICE DEPLOY -y --no-wait [--dry]

$STAND_IN names a folder. In it the file ``HOST`` holds what the host does, word by word: ``fail``, ``away`` (cannot be
reached), ``drift`` (one change), ``die`` (the process ends at once), ``wait`` (it works until ``HOST.go`` is there);
nothing means no change. ``log`` gets a line when work on a host begins and when it ends, so a test can see who was in
work at a time. $STAND_IN_MODE ``orphan``: it does not end with the process that started it.

Without $STAND_IN, as in ``make bench-fleet``, each host has the operations of a real box, and converges at once; asked
what it would do, one of a hundred tells a change of a file. There a start of it is a good part of what is measured, so
it imports little; a start of the real ``pyinfra`` takes some twenty times as long.
"""

# pathlib would be a third of its start.
# ruff: noqa: PTH110, PTH123

from __future__ import annotations

import ctypes
import json
import os
import pickle
import signal
import sys
import time
import zlib

FOLDER = os.environ.get("STAND_IN")
OPERATIONS = 2 if FOLDER else 36
DRIFTS_OF = 100
FILE = {"path": "/etc/hearth/file", "kind": "changed", "note": None, "diff": "@@ -1 +1 @@\n-one\n+another"}
# Opened once, as by the real one: a report that the run has taken away gets nothing any more.
REPORT = os.open(os.environ["HEARTH_REPORT"], os.O_WRONLY | os.O_APPEND)


def words(host: str) -> list[str]:
    """What the host does."""
    if FOLDER is None:
        return ["drift", "file"] if "--dry" in sys.argv and zlib.crc32(host.encode()) % DRIFTS_OF == 0 else []
    if not os.path.exists(f"{FOLDER}/{host}"):
        return []
    with open(f"{FOLDER}/{host}") as file:
        return file.read().split()


def log(word: str, host: str) -> None:
    if FOLDER is not None:
        with open(f"{FOLDER}/log", "a") as file:
            file.write(f"{word} {host} {os.getpid()}\n")


def tell(host: str, what: str, **more: object) -> None:
    os.write(REPORT, json.dumps({"host": host, "what": what, "at": time.time(), **more}).encode() + b"\n")


def name_of(number: int) -> str:
    """An operation's name; the first and the last one are in every deploy."""
    return {0: "base | Prepare the host", OPERATIONS - 1: "apache | Serve"}.get(number, f"role | Operation {number}")


def operation(host: str, number: int, changed: bool = False, failed: bool = False) -> None:
    reason = "it will not" if failed else None
    tell(host, "operation", name=name_of(number), changed=changed, failed=failed, duration_s=0.01, reason=reason)


class Anything:
    """Stands for each class of a slice, so that none has to be imported."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class Names(pickle.Unpickler):
    """Reads a slice for its hosts' names alone."""

    def find_class(self, _module: str, _name: str) -> type:
        return Anything


def look(host: str, does: list[str]) -> None:
    """Tell what would change."""
    log("look", host)
    if "file" in does:
        tell(host, "files", operation="0", files=[FILE], note=None)
    for number in range(OPERATIONS):
        changes = "drift" in does and number == 0
        tell(host, "prepared", operation=str(number), name=name_of(number), changes=changes)
    tell(host, "left", operations=OPERATIONS, executed=False)


def converge(host: str, does: list[str]) -> None:
    """Tell what was done."""
    log("begin", host)
    if "die" in does:
        os._exit(1)
    operation(host, 0, changed="drift" in does)
    while "wait" in does and not os.path.exists(f"{FOLDER}/{host}.go"):
        time.sleep(0.02)
    for number in range(1, OPERATIONS):
        operation(host, number, failed="fail" in does and number == OPERATIONS - 1)
    tell(host, "left", operations=OPERATIONS, executed=True)
    log("end", host)


def work(host: str) -> None:
    does = words(host)
    tell(host, "begun")
    if "away" in does:
        tell(host, "unreachable", reason="the relay answers, the box's tunnel is not up")
    elif "--dry" in sys.argv:
        look(host, does)
    else:
        converge(host, does)


if __name__ == "__main__":
    # As hearth.fleet.reporter has it, which would import all of pyinfra.
    if "orphan" not in os.environ.get("STAND_IN_MODE", ""):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(os.environ["HEARTH_PARENT"]):
        sys.exit(1)
    with open(sys.argv[1], "rb") as slice_file:
        hosts = Names(slice_file).load()["all"]
    for name, _ in hosts:
        work(name.removeprefix("@hearth/"))
