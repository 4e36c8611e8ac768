"""A stand-in for the ``pyinfra`` command in ``make bench-fleet``: every host of a slice converges at once.

It takes a slice and tells its report as the real one does, so that what is measured is hearth's own part. Asked what it
would do (``--dry``), it names one change of a file on one host of a hundred.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
import zlib
from pathlib import Path

OPERATIONS = 36
DRIFTS_OF = 100
FILE = {"path": "/etc/hearth/file", "kind": "changed", "note": None, "diff": "@@ -1 +1 @@\n-one\n+another"}


def lines(host: str) -> list[dict[str, object]]:
    """What the report of a host without a change holds."""
    told: list[dict[str, object]] = [{"what": "begun"}]
    for number in range(OPERATIONS):
        ran = {"name": f"role | Operation {number}", "changed": False, "failed": False, "duration_s": 0.01}
        told.append({"what": "operation", **ran, "reason": None})
    told.append({"what": "left", "operations": OPERATIONS, "executed": True})
    return [{"host": host, "at": time.time(), **each} for each in told]


def prepared(host: str) -> list[dict[str, object]]:
    """What the report of a host holds that is only asked."""
    drifts = zlib.crc32(host.encode()) % DRIFTS_OF == 0
    told: list[dict[str, object]] = [{"what": "begun"}]
    if drifts:
        told.append({"what": "files", "operation": "0", "files": [FILE], "note": None})
    for number in range(OPERATIONS):
        name = f"role | Operation {number}"
        told.append({"what": "prepared", "operation": str(number), "name": name, "changes": drifts and not number})
    told.append({"what": "left", "operations": OPERATIONS, "executed": False})
    return [{"host": host, "at": time.time(), **each} for each in told]


class Anything:
    """Stands for each class of a slice, so that none has to be imported."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class Names(pickle.Unpickler):
    """Reads a slice for its hosts' names alone."""

    def find_class(self, _module: str, _name: str) -> type:
        """Whatever the class, ``Anything`` takes its place."""
        return Anything


if __name__ == "__main__":
    with Path(sys.argv[1]).open("rb") as work:
        hosts = [name.removeprefix("@hearth/") for name, _ in Names(work).load()["all"]]
    with Path(os.environ["HEARTH_REPORT"]).open("a") as report:
        tell = prepared if "--dry" in sys.argv else lines
        report.writelines(json.dumps(line) + "\n" for host in hosts for line in tell(host))
