"""What ``hearth gitops`` remembers of a fleet between its runs: one small JSON file beside the fleet's records."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from hearth.fleet.errors import RunError
from hearth.fleet.records import fleet_folder

FILE = "gitops.json"


@dataclass(frozen=True)
class State:
    """The last commit that was converged, or was begun to be.

    ``commit``: what comes next must come after it. ``desired_sha256``: of all hosts' desired states together.
    ``is_done``: the run came to its end; otherwise the next one goes on. ``tried``: when hosts were last gone to, in
    seconds since 1970.
    """

    commit: str
    desired_sha256: str
    is_done: bool
    tried: float


def read(fleet: str) -> State | None:
    """The state of a fleet; None before its first run. Raises RunError when the file is none."""
    path = fleet_folder(fleet) / FILE
    try:
        data = json.loads(path.read_bytes())
        return State(str(data["commit"]), str(data["desired_sha256"]), bool(data["is_done"]), float(data["tried"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise RunError(f"cannot read {path}: move it away; the next run then begins as the first one") from fault


def write(fleet: str, state: State) -> None:
    """Put the state, whole and on the disk. Raises RunError when it cannot be."""
    path = fleet_folder(fleet) / FILE
    new = path.with_suffix(".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with new.open("w") as file:
            json.dump(asdict(state), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as fault:
        raise RunError(f"cannot write {path}: {fault.strerror}") from fault


def digest(desired: Mapping[str, str]) -> str:
    """The SHA-256 (hex) of all hosts' desired states."""
    return hashlib.sha256(json.dumps(sorted(desired.items())).encode()).hexdigest()
