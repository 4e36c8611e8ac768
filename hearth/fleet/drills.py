"""What drills came to: of each household the last one that brought its backup back, in this machine's state folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from hearth.fleet.records import fleet_folder


def _file(fleet: str, household: str) -> Path:
    return fleet_folder(fleet) / "drills" / f"{household}.json"


def write(fleet: str, household: str, came_to: Mapping[str, Any], at: datetime) -> None:
    """Keep what a drill that succeeded at the time ``at`` came to, in place of the one before."""
    file = _file(fleet, household)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"at": at.isoformat(timespec="seconds"), **came_to}) + "\n")
    new.replace(file)


def last(fleet: str) -> dict[str, datetime]:
    """When each household's backup last came back in a drill, by household; what cannot be read is left out."""
    found = {}
    for file in fleet_folder(fleet).glob("drills/*.json"):
        try:
            at = datetime.fromisoformat(json.loads(file.read_text())["at"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if at.tzinfo:
            found[file.stem] = at
    return found
