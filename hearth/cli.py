"""The ``hearth`` command: one small module a verb under ``hearth/commands``, put together here."""

from __future__ import annotations

from collections import UserDict
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

# Each verb with what it is: a function, or an app with verbs of its own. Its module is imported when somebody asks for
# it: all of them take longer to load than most verbs to run.
VERBS = {
    "check": "inventory:check",
    "show": "inventory:show",
    "collect": "collect:collect",
    "status": "status:status",
    "plan": "plan:plan",
    "converge": "converge:converge",
    "gitops": "gitops:gitops",
    "restore": "restore:restore",
    "support": "support:support",
    "zone": "zone:zone",
    "lab": "lab:app",
    "ca": "authority:app",
}


class _Verbs(UserDict[str, Any]):
    """Typer's commands by their names, each made when it is first taken."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(VERBS))

    def __getitem__(self, name: str) -> Any:
        if super().__getitem__(name) is None:
            self[name] = _made(name)
        return super().__getitem__(name)


class _Program(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Verbs()


def _made(name: str) -> Any:
    module, _, attribute = VERBS[name].partition(":")
    verb, holder = getattr(import_module(f"hearth.commands.{module}"), attribute), typer.Typer()
    if isinstance(verb, typer.Typer):
        holder.add_typer(verb, name=name)
    else:
        holder.command(name)(verb)
    return typer.main.get_group(holder).commands[name]


app = typer.Typer(name="hearth", cls=_Program, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def hearth() -> None:
    """Keep a fleet of ownCloud boxes at home converged, from one validated inventory."""


def main() -> None:
    """Run the command line; the entry point of the ``hearth`` program."""
    app()
