"""Run pyinfra without changing anything, and note what hearth asks and what it would put: ``record.py FOLDER ARGS…``.

Writes to FOLDER ``facts.sh``, a script that asks each question once (for the floor), and ``changes.json``: every change
that goes through ``hearth.artefacts.put``, with the packages and the services, for the peers, so that they put the
same bytes.
"""

from __future__ import annotations

import atexit
import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from pyinfra_cli.main import main as run_pyinfra  # first of all: it makes sockets cooperative

from demo.bench.questions import script
from hearth import artefacts, packages, services
from hearth.connector import HearthConnector

asked: dict[str, None] = {}
changes: list[dict[str, Any]] = []
names: dict[str, list[str]] = {"packages": [], "services": []}


def note_questions() -> None:
    """Have the connector note each command that it is given."""
    real = HearthConnector.run_shell_command

    @wraps(real)
    def noting(self: HearthConnector, command: Any, *args: Any, **arguments: Any) -> Any:
        asked[command.get_raw_value() if hasattr(command, "get_raw_value") else str(command)] = None
        return real(self, command, *args, **arguments)

    HearthConnector.run_shell_command = noting  # type: ignore[method-assign]


def described(artefact: artefacts.File | artefacts.Link) -> dict[str, str]:
    """A file or link for the peers' variables."""
    if isinstance(artefact, artefacts.Link):
        return {"path": artefact.path, "target": artefact.target}
    return artefacts.entry(artefact)


def note_changes() -> None:
    """Have ``artefacts.put`` and ``put_alone`` note what they are given."""
    put, put_alone = artefacts.put, artefacts.put_alone

    @wraps(put)
    def noting_put(**arguments: Any) -> Any:
        words = ("check", "activate", "verify")
        changes.append(
            {
                "change": arguments["change"],
                "artefacts": [described(artefact) for artefact in arguments["artefacts"]],
                "absent": list(arguments.get("absent", ())),
                **{word: arguments.get(word, "") for word in words},
            }
        )
        return put(**arguments)

    @wraps(put_alone)
    def noting_put_alone(**arguments: Any) -> Any:
        changes.append({"change": "beginning", "artefacts": [described(arguments["artefact"])], "absent": []})
        return put_alone(**arguments)

    artefacts.put, artefacts.put_alone = noting_put, noting_put_alone  # type: ignore[assignment]


def note_names() -> None:
    """Have the operations on packages and services note which."""
    for module, operation, kind in ((packages, "installed", "packages"), (services, "running", "services")):
        setattr(module, operation, _noting_names(getattr(module, operation), kind))


def _noting_names(real: Callable[..., Any], kind: str) -> Callable[..., Any]:
    @wraps(real)
    def noting(**arguments: Any) -> Any:
        names[kind] = sorted({*names[kind], *arguments["names"]})
        return real(**arguments)

    return noting


def main() -> None:
    """Note until pyinfra exits."""
    folder = Path(sys.argv.pop(1))
    note_questions()
    note_changes()
    note_names()

    @atexit.register
    def write() -> None:
        (folder / "facts.sh").write_text(script(list(asked)))
        (folder / "changes.json").write_text(json.dumps({"changes": changes, **names}))

    run_pyinfra()


if __name__ == "__main__":
    main()
