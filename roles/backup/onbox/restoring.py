"""What a box restores from, and how far a restore came: the description and the states on the disk.

``/etc/hearth/restore.toml`` names the old household; its backup is shown to this box below its own repository.
``state.json`` is on the disk before each step begins, so a restore that was killed goes on or starts over:

    (no file)   nothing has begun
    fetching    a snapshot was chosen, the staging folder fills; this box's own cloud is as it was.
                Again: the key, then the same snapshot goes on where it stopped.
    adopting    all of it is here and is as its manifest says; ``/usr/lib/hearth/owncloud adopt`` puts it in place and
                undoes that by itself when it does not come to its end. Again: finished, if the cloud says so; else
                as ``fetching``, since what was put back may have been written to.

The end of it is ``done``, which `hearth collect` reads.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from .common import Fault
from .system import text_of, write_whole

DESCRIPTION = Path("/etc/hearth/restore.toml")
Phase = Literal["fetching", "adopting"]


@dataclass(frozen=True)
class Places:
    """Where a restore keeps its things on the box."""

    staging: Path = Path("/srv/hearth/restore")
    state: Path = Path("/var/lib/hearth/restore")
    adopted: Path = Path("/var/lib/hearth/owncloud/adopted.json")

    @property
    def cloud(self) -> Path:
        """What came out of the backup, as ``owncloud adopt`` takes it."""
        return self.staging / "cloud"

    @property
    def done(self) -> Path:
        """The old household's id and when it was restored, in one line; there once that is so."""
        return self.state / "done"


@dataclass(frozen=True)
class Door:
    """Where visitors find the household's name at present: asked whether the old box still answers there."""

    address: str
    port: int
    domain: str


@dataclass(frozen=True)
class Description:
    """What this box restores from. ``source``: the old household's id. ``door``: where that one is reached.

    ``repository``: where its backup lies when that is no store of the fleet's, as restic has it.
    """

    source: str
    door: Door
    repository: str = ""
    places: Places = field(default_factory=Places)


@dataclass(frozen=True)
class State:
    """How far the restore of one snapshot (restic's id) of ``source`` came. ``key``: the paper key's fingerprint."""

    phase: Phase
    source: str
    snapshot: str
    key: str


def parse(text: str) -> Description:
    """Given the description's text, return it. Raises Fault when it is not as hearth writes it."""
    try:
        raw: dict[str, Any] = tomllib.loads(text)
        return Description(raw["source"], Door(**raw["door"]), raw["repository"])
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as fault:
        raise Fault(f"{DESCRIPTION} is not as hearth writes it ({fault}); converge the box again") from None


def load(path: Path = DESCRIPTION) -> Description:
    """Read the description. Raises Fault where the inventory gives this box nothing to restore."""
    text = text_of(path)
    if not text:
        raise Fault(
            "the inventory gives this box nothing to restore: the operator writes `restore: {from: OLD}` into the "
            "household's file and converges relay and box"
        )
    return parse(text)


def now() -> str:
    """This moment, ISO 8601, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_state(places: Places) -> State | None:
    """How far a restore came, or None when none is under way."""
    try:
        return State(**json.loads(text_of(places.state / "state.json")))
    except (ValueError, TypeError):
        return None


def write_state(places: Places, state: State) -> None:
    """Put the state on the disk before the step that it speaks of."""
    write_whole(places.state / "state.json", json.dumps(asdict(state)) + "\n")


def forget_state(places: Places) -> None:
    """Nothing is under way any more."""
    (places.state / "state.json").unlink(missing_ok=True)


def is_adopted(places: Places, snapshot: str) -> bool:
    """Whether the cloud says that what came out of ``snapshot`` is in place."""
    try:
        return bool(json.loads(text_of(places.adopted))["of"] == snapshot)
    except (ValueError, KeyError, TypeError):
        return False
