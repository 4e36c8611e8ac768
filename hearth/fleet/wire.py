"""The words between a run and the ``pyinfra`` that it starts: names of environment variables.

Apart from ``hearth.fleet.reporter``, since importing pyinfra's command line makes gevent replace threads and sockets:
right in that process, and wrong in the run's own.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator
from typing import Any

REPORT = "HEARTH_REPORT"
"""The file that the reporter appends its lines to."""
PARENT = "HEARTH_PARENT"
"""The id of the process without which this one must not go on."""
PLAN = "HEARTH_PLAN"
"""Set when nothing is to be executed, and what would change is to be reported."""


def told_of(lines: Iterable[str], hosts: Container[str]) -> Iterator[dict[str, Any]]:
    """What the lines of a slice's report tell of ``hosts``; a line that a kill cut off counts as not written."""
    for line in lines:
        try:
            told: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if told["host"] in hosts:
            yield told
