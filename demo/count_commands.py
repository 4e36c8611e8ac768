"""Run pyinfra and count what leaves for the hosts: ``count_commands.py FILE PYINFRA-ARGUMENTS…``.

Writes ``{"commands": N, "files": N}`` to FILE; ends with pyinfra's exit status. A batch of questions is one command.
"""

from __future__ import annotations

import atexit
import json
import sys
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from pyinfra_cli.main import main as run_pyinfra  # first of all: it makes sockets cooperative

from hearth.connector import HearthConnector

counts: Counter[str] = Counter(commands=0, files=0)


def counted(method: Callable[..., Any], what: str) -> Callable[..., Any]:
    """The method, counting its calls."""

    @wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        counts[what] += 1
        return method(*args, **kwargs)

    return wrapper


def main() -> None:
    """Count until pyinfra exits."""
    from paramiko import Channel  # noqa: PLC0415 (not before pyinfra's command line)

    target = Path(sys.argv.pop(1))
    Channel.exec_command = counted(Channel.exec_command, "commands")
    HearthConnector._put_file = counted(HearthConnector._put_file, "files")  # type: ignore[method-assign]
    atexit.register(lambda: target.write_text(json.dumps(counts)))
    run_pyinfra()


if __name__ == "__main__":
    main()
