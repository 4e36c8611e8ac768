"""What a new box is told of the backup that it is to be restored from: data in, text out."""

from __future__ import annotations

from typing import Any

import tomli_w

from hearth import artefacts, layout
from hearth.inventory.hosts import Box
from hearth.render import OWNED

PROGRAM = f"{layout.PROGRAMS}/hearth-restore"
COMMAND = "/usr/local/sbin/hearth-restore"
DESCRIPTION = "/etc/hearth/restore.toml"
HTTPS_PORT = 443


def door(box: Box) -> dict[str, Any]:
    """Where the old box would answer, were it still on: behind the relay by its name, or at the name itself."""
    household = box.household
    if household.access == "relay" and box.relay is not None:
        return {"address": box.relay.address, "port": HTTPS_PORT, "domain": household.domain}
    return {"address": household.domain, "port": household.public_port or HTTPS_PORT, "domain": household.domain}


def description(box: Box) -> str:
    """``/etc/hearth/restore.toml``: what ``hearth-restore`` reads; it holds no secret."""
    return tomli_w.dumps(
        {
            "source": box.household.restore_from or "",
            "repository": box.household.restore_repository or "",
            "door": door(box),
        }
    )


def files(box: Box, program: str) -> tuple[artefacts.File | artefacts.Link, ...]:
    """``hearth-restore``, whose text is ``program``; and its description, while there is something to restore."""
    told = (artefacts.File(DESCRIPTION, OWNED + description(box)),) if box.household.awaits_restore else ()
    return (artefacts.File(PROGRAM, program, mode="755"), artefacts.Link(COMMAND, PROGRAM), *told)
