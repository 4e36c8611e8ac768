"""The ``hearth`` command: one small module a verb under ``hearth/commands``, put together here."""

from __future__ import annotations

import typer

from hearth.commands import authority, collect, converge, gitops, inventory, lab, plan, restore, status, support, zone

app = typer.Typer(
    name="hearth",
    help="Keep a fleet of ownCloud boxes at home converged, from one validated inventory.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("check")(inventory.check)
app.command("show")(inventory.show)
app.command("collect")(collect.collect)
app.command("status")(status.status)
app.command("plan")(plan.plan)
app.command("converge")(converge.converge)
app.command("gitops")(gitops.gitops)
app.command("restore")(restore.restore)
app.command("support")(support.support)
app.command("zone")(zone.zone)
app.add_typer(lab.app, name="lab")
app.add_typer(authority.app, name="ca")


def main() -> None:
    """Run the command line; the entry point of the ``hearth`` program."""
    app()
