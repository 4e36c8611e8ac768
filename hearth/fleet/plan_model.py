"""What a plan consists of: hosts, the operations that would change something, and what becomes of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hearth.fleet.moves import Move

Outcome = Literal["changes", "unchanged", "failed", "unreported"]
ChangeKind = Literal["removed", "changed", "added"]


@dataclass(frozen=True)
class FileChange:
    """What becomes of one file or link. ``note``: what its text does not tell (mode, owner, why there is no text).

    ``diff``: unified, masked, without its heading; empty when only the note differs.
    """

    path: str
    kind: ChangeKind
    note: str | None = None
    diff: str = ""


@dataclass(frozen=True)
class Step:
    """An operation that would change something, by its name. ``files``: removals first; none when it is about others.

    ``note``: why it would act although no file differs.
    """

    name: str
    files: tuple[FileChange, ...] = ()
    note: str | None = None

    @property
    def removes(self) -> bool:
        """Whether a file would go."""
        return any(file.kind == "removed" for file in self.files)


@dataclass(frozen=True)
class HostPlan:
    """What a converge would do to a host. ``reason``: why it cannot be planned, or was not reached; masked."""

    host: str
    outcome: Outcome
    reason: str | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a converge would do to a fleet.

    + since: the revision that was compared with, as a commit; None when all hosts were asked
    + hosts: those that were asked, in the fleet's order
    + untouched: how many hosts were left alone, since nothing about them changed
    + removed: households that lose access, each with its slot
    + moves: households whose name would go to a new box
    + warning: why a converge would refuse these removals as they stand
    + without_deploy: hosts of a kind that this version has no deploy for
    """

    fleet: str
    since: str | None = None
    hosts: tuple[HostPlan, ...] = ()
    untouched: int = 0
    removed: Mapping[str, int] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()
    warning: str | None = None
    without_deploy: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """2 when some host cannot be planned, else 4 when some was not reached, else 0, whatever would change."""
        outcomes = {each.outcome for each in self.hosts}
        return 2 if "failed" in outcomes else 4 if "unreported" in outcomes else 0

    @property
    def changes(self) -> bool:
        """Whether a converge would change anything that could be seen."""
        return bool(self.removed) or any(each.outcome == "changes" for each in self.hosts)
