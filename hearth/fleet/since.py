"""Which hosts a change since a git revision touches: what each should be now, compared with what it should have been.

The revision is written out into a temporary folder by way of an index of its own, so neither the checkout, nor its
index, nor any hook has a part in it. Inventory and roles are taken from there and resolved as always. What git ignores
(a machine's own local.yaml, a lab's authority) has no past: it counts as unchanged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hearth.fleet.desired import CHECKOUT, desired_states
from hearth.fleet.errors import RunError
from hearth.fleet.origin import commit_of
from hearth.inventory import load
from hearth.inventory.faults import quoted, shown
from hearth.inventory.hosts import Fleet

GIT_S = 300


class SinceError(RunError):
    """There is nothing to compare with; the message says why and what to do."""


@dataclass(frozen=True)
class Since:
    """``commit``: of the revision. ``touched``: hosts of the present inventory that should be something else now.
    ``removed``: households that are gone, each with its slot; ``known``: how many there were."""

    commit: str
    touched: frozenset[str]
    removed: Mapping[str, int]
    known: int


def since(fleet: Fleet, revision: str, checkout: Path = CHECKOUT, present: Mapping[str, str] | None = None) -> Since:
    """Compare a fleet with itself at a git revision. Raises SinceError.

    + checkout: the folder of hearth's roles; when it lies in the inventory's repository its past counts as well,
      else only the inventory's
    + present: the fleet's ``desired_states``, for whoever has them already: they cost as much as the past's
    """
    folder = fleet.folder.resolve()
    top = _top(folder)
    commit = _commit(top, revision)
    with _written_out(top, commit) as tree:
        before = _fleet_at(folder, top, tree, revision)
        own = checkout.resolve()
        there = tree / own.relative_to(top) if own.is_relative_to(top) else checkout
        try:
            past = desired_states(before, there)
        except (SyntaxError, OSError) as fault:
            raise SinceError(f"--since {revision}: the roles at that revision cannot be read ({fault})") from fault
    try:
        present = desired_states(fleet, checkout) if present is None else present
    except OSError as fault:
        raise SinceError(f"a file of the inventory cannot be read: {fault}") from fault
    kept = {each.id for each in fleet.households}
    return Since(
        commit,
        frozenset(name for name, sha256 in present.items() if past.get(name) != sha256),
        {each.id: each.slot for each in before.households if each.id not in kept},
        len(before.households),
    )


def since_commit(fleet: Fleet, revision: str, present: Mapping[str, str]) -> Since:
    """The same for a converge, which takes committed files alone: what is converged and then taken back without a
    commit, no later comparison could tell. Raises SinceError."""
    found = since(fleet, revision, present=present)
    if commit_of(fleet.folder)[1]:
        raise SinceError(
            f"{shown(fleet.folder)} has changes that are in no commit, and no later --since could tell them: commit "
            "them, or leave --since out"
        )
    return found


def _top(folder: Path) -> Path:
    found = _git(folder, "rev-parse", "--show-toplevel")
    if found is None:
        raise SinceError(f"--since needs the inventory's history, and {shown(folder)} is in no git repository")
    return Path(found.rstrip("\n")).resolve()


def _commit(top: Path, revision: str) -> str:
    found = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found is None:
        raise SinceError(
            f"--since {quoted(revision)}: the inventory's repository has no such revision; "
            "is it written as git knows it, and has it been fetched?"
        )
    return found.strip()


@contextmanager
def _written_out(top: Path, commit: str) -> Iterator[Path]:
    """The files of a commit in a temporary folder of their own."""
    with tempfile.TemporaryDirectory(prefix="hearth-since-") as name:
        tree, index = Path(name).resolve() / "tree", {"GIT_INDEX_FILE": str(Path(name) / "index")}
        tree.mkdir()
        read = _git(top, "read-tree", commit, environment=index)
        # checkout-index, and not archive: an export-ignore in .gitattributes would leave files out.
        if read is None or _git(top, "checkout-index", "--all", f"--prefix={tree}/", environment=index) is None:
            raise SinceError(f"the files of {commit[:12]} cannot be written out: see `git fsck` and the room in /tmp")
        yield tree


def _fleet_at(folder: Path, top: Path, tree: Path, revision: str) -> Fleet:
    """The fleet as it was. Raises SinceError when its inventory cannot be read."""
    past = tree / folder.relative_to(top)
    # Links of that revision lead to this machine's present, and what is put or taken away below would land there.
    if past.resolve() != past:
        raise SinceError(f"--since {quoted(revision)}: the inventory was a link at that revision: name a later one")
    # How this machine reaches hosts is no part of what they should be, and names hosts that were not there yet.
    (past / "local.yaml").unlink(missing_ok=True)
    lent = _lend(folder, past, _ignored(folder)) if past.is_dir() else []
    loaded = load(past)
    # What a host told that the fleet did not have at that time.
    too_new = [path for path in lent if any(fault.file == path for fault in loaded.faults)]
    for path in too_new:
        path.unlink()
    loaded = load(past) if too_new else loaded
    if loaded.fleet is None:
        first = loaded.faults[0]
        place = f"{first.file.relative_to(tree)}:{first.line}" if first.file.is_relative_to(tree) else shown(first.file)
        more = f" (and {len(loaded.faults) - 1} more)" if len(loaded.faults) > 1 else ""
        raise SinceError(
            f"--since {quoted(revision)}: the inventory at that revision cannot be read: "
            f"{place}: {first.sentence}{more}; name a later one, or leave --since out"
        )
    return loaded.fleet


def _ignored(folder: Path) -> list[Path]:
    """The files below ``folder`` that git ignores, relative to it."""
    found = _git(folder, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", ".") or ""
    return [Path(name) for name in found.split("\0") if name]


def _lend(folder: Path, past: Path, names: Collection[Path]) -> list[Path]:
    """Put ignored files where they are missing; return those put. Private halves stay where they are."""
    lent = []
    for name in names:
        place = past / name
        if name.name == "local.yaml" or os.path.lexists(place) or not _is_plain(past, place.parent):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        # The inventory's own files may not be links that lead out; of all others a link will do.
        if name.parts[0] == "collected" or name.name in ("tls-ca.pem", "ssh-user-ca.pub"):
            shutil.copyfile(folder / name, place)
        else:
            place.symlink_to(folder / name)
        lent.append(place)
    return lent


def _is_plain(top: Path, folder: Path) -> bool:
    """Whether ``folder`` is, or can be made, below ``top`` without following a link or replacing a file."""
    return folder.resolve() == folder and all(
        each.is_dir() or not os.path.lexists(each) for each in (folder, *folder.parents) if each.is_relative_to(top)
    )


def _git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str | None:
    """What git prints, None when it fails or is not there."""
    try:
        done = subprocess.run(
            # Writing an index runs hooks too (post-index-change).
            ["git", "-C", str(folder), "-c", "core.hooksPath=/dev/null", *arguments],
            env=os.environ | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return os.fsdecode(done.stdout) if done.returncode == 0 else None
