"""A stand-in for the ``pyinfra`` command in ``make bench-fleet``: every host of a slice converges at once.

It takes a slice and tells its report as the real one does, so that what is measured is hearth's own part.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from pathlib import Path

OPERATIONS = 36


def lines(host: str) -> list[dict[str, object]]:
    """What the report of a host without a change holds."""
    told: list[dict[str, object]] = [{"what": "begun"}]
    for number in range(OPERATIONS):
        ran = {"name": f"role | Operation {number}", "changed": False, "failed": False, "duration_s": 0.01}
        told.append({"what": "operation", **ran, "reason": None})
    told.append({"what": "left", "operations": OPERATIONS, "executed": True})
    return [{"host": host, "at": time.time(), **each} for each in told]


if __name__ == "__main__":
    # The slice was written a moment ago by this user's own run.
    hosts = [name.removeprefix("@hearth/") for name, _ in pickle.loads(Path(sys.argv[1]).read_bytes())["all"]]  # noqa: S301
    with Path(os.environ["HEARTH_REPORT"]).open("a") as report:
        report.writelines(json.dumps(line) + "\n" for host in hosts for line in lines(host))
