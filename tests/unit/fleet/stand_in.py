"""A stand-in for the ``pyinfra`` command: it takes a slice as the real one does, and reports what it is told to.

    stand_in.py SLICE DEPLOY -y --no-wait [--dry]

$STAND_IN names a folder. In it the file ``HOST`` holds what the host does, word by word: ``fail``, ``away`` (cannot be
reached), ``drift`` (one change), ``die`` (the process ends at once), ``wait`` (it works until ``HOST.go`` is there);
nothing means no change. ``log`` gets a line when work on a host begins and when it ends, so a test can see who was in
work at a time. $STAND_IN_MODE ``orphan``: it does not end with the process that started it.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import signal
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["STAND_IN"])
# Opened once, as by the real one: a report that the run has taken away gets nothing any more.
REPORT = os.open(os.environ["HEARTH_REPORT"], os.O_WRONLY | os.O_APPEND)


def log(word: str, host: str) -> None:
    with (FOLDER / "log").open("a") as file:
        file.write(f"{word} {host} {os.getpid()}\n")


def tell(host: str, what: str, **more: object) -> None:
    os.write(REPORT, json.dumps({"host": host, "what": what, "at": time.time(), **more}).encode() + b"\n")


def operation(host: str, name: str, changed: bool = False, failed: bool = False, reason: str | None = None) -> None:
    tell(host, "operation", name=name, changed=changed, failed=failed, duration_s=0.01, reason=reason)


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


def work(host: str) -> None:
    told = FOLDER / host
    words = told.read_text().split() if told.exists() else []
    tell(host, "begun")
    if "away" in words:
        tell(host, "unreachable", reason="the relay answers, the box's tunnel is not up")
        return
    if "--dry" in sys.argv:
        log("look", host)
        tell(host, "prepared", operation="1", name="base | Prepare the host", changes="drift" in words)
        tell(host, "left", operations=1, executed=False)
        return
    log("begin", host)
    if "die" in words:
        os._exit(1)
    operation(host, "base | Prepare the host", changed="drift" in words)
    while "wait" in words and not (FOLDER / f"{host}.go").exists():
        time.sleep(0.02)
    operation(host, "apache | Serve", failed="fail" in words, reason="it will not" if "fail" in words else None)
    tell(host, "left", operations=2, executed=True)
    log("end", host)


if __name__ == "__main__":
    # As hearth.fleet.reporter has it, which would import all of pyinfra.
    if "orphan" not in os.environ.get("STAND_IN_MODE", ""):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(os.environ["HEARTH_PARENT"]):
        sys.exit(1)
    with Path(sys.argv[1]).open("rb") as slice_file:
        hosts = Names(slice_file).load()["all"]
    for name, _ in hosts:
        work(name.removeprefix("@hearth/"))
