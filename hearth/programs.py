"""Programs of several modules that roles put on hosts, beside the command that starts them (a role's ``files/``)."""

from __future__ import annotations

from pathlib import Path

from hearth import artefacts, layout
from hearth.render import OWNED


def package(name: str, folder: Path) -> tuple[artefacts.File, ...]:
    """The modules of ``folder`` as the package ``name`` on the host.

    What several programs share lies in ``hearth/onhost``, and a symbolic link to it in each one's folder. So each
    program has a copy of its own on the host: with a change that is undone, or a role that ends, nothing of another
    program goes.
    """
    return tuple(
        artefacts.File(f"{layout.PROGRAMS}/{name}/{path.name}", OWNED + path.read_text())
        for path in sorted(folder.glob("*.py"))
    )
