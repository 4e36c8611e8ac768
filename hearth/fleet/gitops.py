"""From a branch to a run: fetch, verify, compare, check the inventory, and only then let its files count.

A refusal at any of these steps touches no host, and leaves the last good commit checked out:

    fetch -> the signatures -> put aside and read the inventory -> a fast-forward? -> check out -> a run

The state (``hearth.fleet.gitops_state``) moves when a run begins, so a commit that no run could begin with is looked at
anew each time, and a crash between the check-out and the run leaves nothing to mend. A crash within the run neither:
the records tell which hosts are what they shall be, and the next run goes to the others.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from hearth.fleet import gitops_state, records
from hearth.fleet.conduct import RECORDS_READ, Asked
from hearth.fleet.desired import all_hosts, desired_states
from hearth.fleet.errors import RunError
from hearth.fleet.gitops_git import Repository, Signature, check_source
from hearth.fleet.gitops_state import State
from hearth.fleet.history import History, history
from hearth.fleet.locks import BusyError, fleet_lock
from hearth.fleet.origin import who
from hearth.inventory import Loaded, load
from hearth.inventory.faults import quoted
from hearth.inventory.hosts import Fleet

MARKER = "hearth-gitops"
PENDING_EVERY_S = 3600.0
"""How long a host that could not be reached is left alone: each try leaves a record, and a box may be off for weeks."""
LOOK_EVERY_S = 0.5
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Where the desired state comes from, and who may say so.

    ``signers``: a file of allowed signers (ssh-keygen(1)), never one of the repository. ``inventory``: its folder in
    the repository. ``folder``: where this machine keeps its checkout. ``local``: this machine's local.yaml, if any.
    """

    repository: str
    branch: str
    signers: Path
    inventory: str = "inventory"
    folder: Path | None = None
    local: Path | None = None


@dataclass(frozen=True)
class Candidate:
    """A commit that may be converged. ``fleet``: its inventory, read from a folder aside. ``title``: for people.

    ``desired_sha256``: of all its hosts' desired states. ``state``: what the last run left, None before the first.
    """

    commit: str
    title: str
    signature: Signature
    fleet: Fleet
    desired_sha256: str
    state: State | None


@dataclass(frozen=True)
class Clone:
    """This machine's own copy of the repository, and its lock, below ``folder``."""

    source: Source
    folder: Path

    @property
    def repository(self) -> Repository:
        """The repository with the working tree that runs are made from."""
        return Repository(self.folder / "tree")

    def candidate(self) -> Candidate:
        """Fetch and judge. Raises RunError for what must not be converged; nothing but the fetched objects is new."""
        repository = self.repository
        repository.make()
        commit = repository.fetch(self.source.repository, self.source.branch)
        signature = self._signature(commit)
        fleet = self._aside(commit)
        self._check_name(fleet)
        state = gitops_state.read(fleet.name)
        if state is not None:
            self._check_forward(state.commit, commit)
        desired = gitops_state.digest(desired_states(fleet))
        return Candidate(commit, repository.title(commit), signature, fleet, desired, state)

    def check_out(self, candidate: Candidate) -> Fleet:
        """Make the working tree the candidate's, and return its inventory as it is read from there."""
        self.repository.check_out(candidate.commit)
        (self.folder / MARKER).write_text(candidate.fleet.name)
        return self._read(self.repository.folder, candidate.title)

    def _signature(self, commit: str) -> Signature:
        signature = self.repository.signature(commit, self.source.signers)
        if signature is None:
            raise RunError(
                f"{self.repository.title(commit)} is not signed by anybody whom {self.source.signers} allows: nothing "
                f"was changed. Sign it (git commit --amend -S) or undo it on {self.source.branch}"
            )
        return signature

    def _aside(self, commit: str) -> Fleet:
        """The inventory of a commit, read from a folder that no run is made from."""
        aside = self.folder / "aside"
        self.repository.put(commit, aside)
        return self._read(aside, self.repository.title(commit))

    def _read(self, tree: Path, title: str) -> Fleet:
        inventory = tree / self.source.inventory
        mine = inventory / "local.yaml"
        if mine.exists() or mine.is_symlink():
            raise RunError(
                f"{title} holds {self.source.inventory}/local.yaml, which belongs to one machine: take it out of the "
                "repository, and name this machine's own with --local"
            )
        if self.source.local is not None and inventory.is_dir():
            mine.symlink_to(self.source.local.absolute())
        loaded = load(inventory)
        if loaded.fleet is None:
            faults = "\n".join(self._faults(loaded, tree))
            raise RunError(f"{title} has an inventory with faults; nothing was changed.\n{faults}")
        return loaded.fleet

    def _faults(self, loaded: Loaded, tree: Path) -> Iterator[str]:
        """The faults, by the names that the files have in the repository and on this machine."""
        for fault in loaded.faults:
            local = self.source.local if fault.file.name == "local.yaml" else None
            yield str(replace(fault, file=local or fault.file.relative_to(tree.absolute())))

    def _check_name(self, fleet: Fleet) -> None:
        """The state is kept by the fleet's name, so a commit that changes the name would begin without any."""
        known = (self.folder / MARKER).read_text()
        if known and known != fleet.name:
            raise RunError(
                f"the commit calls its fleet {quoted(fleet.name)}, and so far it was {quoted(known)}: nothing was "
                "changed. For another fleet, give another --checkout"
            )

    def _check_forward(self, base: str, commit: str) -> None:
        """``commit`` comes after ``base``, and the branch was at signed commits alone in between.

        The tip's signature vouches for every byte of its files; but whoever signs a merge on top of a main that
        somebody else has pushed to would vouch for that, too, without having seen it. So each commit that the branch
        was at needs a signature of its own. What was merged into it needs none: the merge has one.
        """
        repository, branch = self.repository, self.source.branch
        if not repository.has(base) or not repository.is_ancestor(base, commit):
            went_back = repository.has(base) and repository.is_ancestor(commit, base)
            how = "went back behind" if went_back else "was rewritten and does not come after"
            raise RunError(
                f"{branch} {how} the commit that was converged last ({base[:12]}): {repository.title(commit)} is not "
                f"taken, nothing was changed. Put {branch} back, and undo changes with new commits"
            )
        for each in repository.new_on_line(base, commit):
            self._signature(each)


@contextmanager
def opened(source: Source) -> Iterator[Clone]:
    """This machine's clone, with its lock held. Raises BusyError when another run has it, RunError for bad options."""
    checked = replace(source, repository=check_source(source.repository, source.branch))
    folder = (source.folder or _default_folder(checked)).expanduser().absolute()
    for file, option in ((source.signers, "--signers"), (source.local, "--local")):
        if file is not None and not file.is_file():
            raise RunError(f"{option} {quoted(str(file))}: there is no such file")
    if source.signers.resolve().is_relative_to(folder.resolve()):
        raise RunError("--signers lies in the checkout: who may sign must not come from the repository that is judged")
    inside = Path(source.inventory)
    if inside.is_absolute() or ".." in inside.parts or ".git" in inside.parts:
        raise RunError(f"--inventory {quoted(source.inventory)}: give the folder's path within the repository")
    if folder.exists() and not (folder.is_dir() and ((folder / MARKER).is_file() or not any(folder.iterdir()))):
        raise RunError(f"{folder} holds something else: give --checkout a folder of its own, its files are replaced")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / MARKER).touch()
    with fleet_lock(folder, who()):
        yield Clone(replace(checked, signers=source.signers.absolute()), folder)


def _default_folder(source: Source) -> Path:
    """A folder for each repository and branch, below hearth's state."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", Path(source.repository).name.removesuffix(".git")).strip("-") or "fleet"
    digest = hashlib.sha256(f"{source.repository}\0{source.branch}\0{source.inventory}".encode()).hexdigest()
    return records.fleet_folder("gitops") / f"{name}-{digest[:8]}"


def to_ask(candidate: Candidate, asked: Asked, drift: bool, at: float) -> Asked | None:
    """What the run is about: all hosts, those that are not known to be right, those that were away, or none (None).

    ``asked``: what was typed otherwise. ``drift``: the nightly run. ``at``: now, in seconds since 1970.
    """
    asked = replace(asked, signer=candidate.signature.principal)
    if drift:
        return replace(asked, kind="drift")
    state = candidate.state
    done = state is not None and state.is_done and state.commit == candidate.commit
    # A new hearth on this machine wants something new of the hosts too.
    if state is None or not done or state.desired_sha256 != candidate.desired_sha256:
        return replace(asked, changed=True)
    if at - state.tried >= PENDING_EVERY_S and away(candidate.fleet):
        return replace(asked, pending=True)
    return None


def away(fleet: Fleet) -> list[str]:
    """The hosts that the last run about them did not reach."""
    hosts = all_hosts(fleet)
    found = history(islice(records.latest_first(records.runs_folder(fleet.name)), RECORDS_READ), hosts)
    return [host for host in found.pending if host in hosts]


def nothing_new(candidate: Candidate) -> str:
    """Why no run is made, and who is left as it is until then."""
    hosts = all_hosts(candidate.fleet)
    found = history(islice(records.latest_first(records.runs_folder(candidate.fleet.name)), RECORDS_READ), hosts)
    desired = desired_states(candidate.fleet)
    left = [f"{host} {_state(found, host)}" for host in hosts if not found.is_settled(host, desired[host])]
    if not left:
        return "That is converged already: there is nothing to do."
    some = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
    return (
        f"The run of that commit is over, with {some}. Who was away is tried again once an hour; to all go the next "
        "commit, the drift run, and `hearth converge --resume`."
    )


def _state(found: History, host: str) -> str:
    """A host that converged to something else, and was not gone to since, waits."""
    state = found.states.get(host, "waiting")
    return "waiting" if state == "converged" else state


def begin(candidate: Candidate, at: float) -> None:
    """Remember that a run of this commit begins. Raises RunError when another run has begun one since it was judged."""
    if gitops_state.read(candidate.fleet.name) != candidate.state:
        raise RunError("another run has gone on with this fleet meanwhile: nothing was changed, run again")
    gitops_state.write(candidate.fleet.name, State(candidate.commit, candidate.desired_sha256, False, at))


def finish(candidate: Candidate, at: float) -> None:
    """Remember that the run came to its end, whatever became of the hosts: the records tell that."""
    gitops_state.write(candidate.fleet.name, State(candidate.commit, candidate.desired_sha256, True, at))


@contextmanager
def patiently(enter: Callable[[], AbstractContextManager[T]], wait_s: float, say: Callable[[str], None]) -> Iterator[T]:
    """Enter what another run may hold: try for ``wait_s`` seconds, and ``say`` once for whom. Then raises BusyError."""
    until, told = time.monotonic() + wait_s, False
    with ExitStack() as stack:
        while True:
            try:
                entered = stack.enter_context(enter())
                break
            except BusyError as busy:
                if time.monotonic() >= until:
                    raise
                if not told:
                    say(f"Waiting: {busy}")
                    told = True
                time.sleep(LOOK_EVERY_S)
        yield entered
