"""The words between a run and the ``pyinfra`` that it starts: names of environment variables.

Apart from ``hearth.fleet.reporter``, since importing pyinfra's command line makes gevent replace threads and sockets:
right in that process, and wrong in the run's own.
"""

from __future__ import annotations

REPORT = "HEARTH_REPORT"
"""The file that the reporter appends its lines to."""
PARENT = "HEARTH_PARENT"
"""The id of the process without which this one must not go on."""
PLAN = "HEARTH_PLAN"
"""Set when nothing is to be executed, and what would change is to be reported."""
