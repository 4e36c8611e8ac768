"""What a store knows: its settings, and for each household what it wrote down. Data, and their files."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from .keep import Ledger

SETTINGS = Path("/etc/hearth/store/store.toml")

Phase = Literal["offered", "judging", "swapping"]


@dataclass(frozen=True)
class Tenant:
    """A household whose backups lie here. ``rests``: retention leaves its repository alone, as it is being restored."""

    id: str
    quota_bytes: int
    rests: bool = False


@dataclass(frozen=True)
class Settings:
    """What the operator's inventory says of this store."""

    root: Path
    grace_days: int
    tenants: tuple[Tenant, ...]


@dataclass(frozen=True)
class Offer:
    """A clone that a box may clear up: what it was made of, and how far its way back has come.

    ``live``: the fingerprint of the repository then; ``inode``: the clone's folder, by which it is known wherever it
    lies.
    """

    made_at: float
    live: str
    data_bytes: int
    config: str
    keys: tuple[str, ...]
    snapshots: tuple[str, ...]
    inode: int
    phase: Phase = "offered"


@dataclass(frozen=True)
class State:
    """What a store has written down of one household.

    ``clock``: why nothing may be forgotten now; ``told``: why what the box cleared up was discarded; None when all is
    well. ``next_at``: no offer before that.
    ``collapse_accepted``: somebody said that the data may shrink. ``full``: its quota is spent.
    """

    ledger: Ledger = field(default_factory=Ledger)
    offer: Offer | None = None
    clock: str | None = None
    told: str | None = None
    next_at: float = 0.0
    collapse_accepted: bool = False
    full: bool = False
    bytes: int = 0


@dataclass(frozen=True)
class Places:
    """Where things lie in a store, all on one file system."""

    root: Path

    def live(self, household: str) -> Path:
        """The repository that its box writes to."""
        return self.root / "repositories" / household

    def offered(self, household: str) -> Path:
        """The clone that its box may clear up."""
        return self.root / "offers" / household

    def work(self, household: str) -> Path:
        """A tree that nobody serves: a clone on its way, or the old repository after the exchange."""
        return self.root / "work" / household

    def grace(self, household: str, at: float) -> Path:
        """Where a replaced repository waits."""
        return self.root / "grace" / f"{household}@{round(at)}"

    def state(self, household: str) -> Path:
        """What was written down."""
        return self.root / "state" / f"{household}.json"


def read_settings(file: Path = SETTINGS) -> Settings:
    """What the inventory says; raises OSError or ValueError when it cannot be read."""
    data = tomllib.loads(file.read_text())
    tenants = tuple(Tenant(each["id"], each["quota_bytes"], each["rests"]) for each in data.get("tenants", ()))
    return Settings(Path(data["root"]), data["grace_days"], tenants)


def read_state(file: Path) -> State:
    """What was written down; nothing when there is no file."""
    try:
        data: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return State()
    offer = data.pop("offer")
    if offer:
        offer = Offer(**{**offer, "keys": tuple(offer["keys"]), "snapshots": tuple(offer["snapshots"])})
    return State(**{**data, "ledger": Ledger(**data["ledger"]), "offer": offer})


def write_state(file: Path, state: State) -> None:
    """Replace the file whole; killed at any moment, the old one or the new one is there."""
    new = file.with_suffix(".new")
    with new.open("w") as stream:
        json.dump(asdict(state), stream)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


def without_offer(state: State, told: str | None, next_at: float) -> State:
    """The state once an offer has ended, one way or the other."""
    return replace(state, offer=None, told=told, next_at=next_at, collapse_accepted=False)
