"""Retention without a key: the store decides what goes, the box clears up, the store judges and takes over.

The store offers a clone of a repository in which the forgotten snapshots are missing. Its box, which has the key,
removes what nothing needs any more (``restic prune``), looks it over and says so by an empty folder ``checked``. What
came back is then taken out of the box's reach, judged, and exchanged with the repository in one step; the old one
waits for a time of grace. A box in the wrong hands can spoil the clone, and thereby the repository for as long as the
grace lasts, but never what waits.

Each step is written down before it is done, so that whatever is killed is finished or discarded by the next run.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from . import trees
from .keep import DAY_S, kept, observed
from .model import Offer, Places, State, Tenant, read_state, without_offer, write_state

EVERY_S = 28 * DAY_S
"""From one clearing up to the next: it moves data over a home's uplink, and saves little when done often."""
AGAIN_S = DAY_S
"""After an offer that came to nothing."""
STALE_LOCK_S = 1800
"""restic takes a lock for stale when it is half an hour old."""
LEAST_SHARE = 0.5
"""A clone with less than this share of the data has collapsed."""
CHECKED = "checked"


@dataclass(frozen=True)
class Keeper:
    """Retention at one store. ``now``: its clock."""

    places: Places
    grace_days: int
    now: Callable[[], float] = time.time

    def keep(self, tenant: Tenant) -> State:
        """Do for one household what is to be done now; what came of it is written down and returned."""
        state = self._finished(tenant, read_state(self.places.state(tenant.id)))
        live = self.places.live(tenant.id)
        if not (live / "config").is_file():
            return state
        files = {
            entry.path.removeprefix("snapshots/"): entry.time
            for entry in trees.entries(live)
            if entry.path.startswith("snapshots/")
        }
        ledger, refusal = observed(state.ledger, files, self.now())
        state = self._write(tenant, replace(state, ledger=ledger, clock=refusal))
        if tenant.rests or refusal:
            return self._withdrawn(tenant, state, state.told)
        state = self._offer_looked_at(tenant, state) if state.offer else self._offered(tenant, state)
        self._expire(tenant)
        return state

    def _write(self, tenant: Tenant, state: State) -> State:
        write_state(self.places.state(tenant.id), state)
        return state

    def _finished(self, tenant: Tenant, state: State) -> State:
        """Finish or discard what a killed run has left."""
        offer, work = state.offer, self.places.work(tenant.id)
        trees.remove(work.with_name(f"{tenant.id}.new"))
        trees.remove(work.with_name(f"{tenant.id}.gone"))
        if offer is None:
            trees.remove(work)
            self._withdraw(tenant)
            return state
        if offer.phase == "swapping" and _inode(self.places.live(tenant.id)) == offer.inode:
            return self._settled(tenant, state, offer)
        if offer.phase != "offered" and work.exists():
            return self._judged(tenant, state, offer)
        trees.remove(work)
        if not self.places.offered(tenant.id).exists():
            return self._write(tenant, without_offer(state, state.told, state.next_at))
        return self._write(tenant, replace(state, offer=replace(offer, phase="offered")))

    def _withdraw(self, tenant: Tenant) -> None:
        """Take an offer away: out of the box's reach first."""
        offered = self.places.offered(tenant.id)
        if offered.exists():
            gone = self.places.work(f"{tenant.id}.gone")
            trees.move(offered, gone)
            trees.remove(gone)

    def _withdrawn(self, tenant: Tenant, state: State, told: str | None, wait_s: float = 0.0) -> State:
        if state.offer:
            self._withdraw(tenant)
            trees.remove(self.places.work(tenant.id))
        next_at = self.now() + wait_s if wait_s else state.next_at
        return self._write(tenant, without_offer(state, told, next_at))

    def _offered(self, tenant: Tenant, state: State) -> State:
        """Offer a clone when something is to be forgotten, it is time for it, and nobody is at work."""
        live = self.places.live(tenant.id)
        forgotten = frozenset(state.ledger.arrivals) - kept(state.ledger.arrivals)
        if not forgotten or self.now() < state.next_at or self._at_work(live):
            return state
        new = self.places.work(f"{tenant.id}.new")
        before = trees.fingerprint(live)
        trees.clone(live, new, without=forgotten)
        if trees.fingerprint(live) != before:
            trees.remove(new)
            return state  # a backup began; there is another run in some minutes
        offer = Offer(
            made_at=self.now(),
            live=before,
            data_bytes=trees.data_bytes(live),
            config=_digest(live / "config"),
            keys=tuple(sorted(trees.names(new, "keys"))),
            snapshots=tuple(sorted(trees.names(new, "snapshots"))),
            inode=_inode(new),
        )
        state = self._write(tenant, replace(state, offer=offer))
        trees.move(new, self.places.offered(tenant.id))
        return state

    def _offer_looked_at(self, tenant: Tenant, state: State) -> State:
        """Leave an offer, withdraw it, or take it over."""
        offer, offered = state.offer, self.places.offered(tenant.id)
        if offer is None:
            return state
        if trees.fingerprint(self.places.live(tenant.id)) != offer.live:
            # A backup came. What it relies on may be gone from the clone: there is another one in some minutes.
            return self._withdrawn(tenant, state, state.told)
        if trees.own_bytes(offered) > tenant.quota_bytes:
            told = "the box put more into the clone than its quota; the clone was discarded"
            return self._withdrawn(tenant, state, told, AGAIN_S)
        if not (offered / CHECKED).is_dir() or self._at_work(offered, self.places.live(tenant.id)):
            return state
        state = self._write(tenant, replace(state, offer=replace(offer, phase="judging")))
        trees.move(offered, self.places.work(tenant.id))
        return self._judged(tenant, state, offer)

    def _at_work(self, *repositories: Path) -> bool:
        """Whether somebody is at work in one of them, by its locks."""
        return any(self.now() - at < STALE_LOCK_S for each in repositories for at in trees.locks(each))

    def _judged(self, tenant: Tenant, state: State, offer: Offer) -> State:
        """Take over the clone in ``work``, which nobody reaches any more, or discard it with one sentence."""
        work = self.places.work(tenant.id)
        if trees.fingerprint(self.places.live(tenant.id)) != offer.live:
            return self._withdrawn(tenant, state, state.told)
        fault = judgement(work, offer, state.collapse_accepted)
        if fault:
            return self._withdrawn(tenant, state, f"{fault}; the clone was discarded", AGAIN_S)
        trees.remove(work / CHECKED)
        state = self._write(tenant, replace(state, offer=replace(offer, phase="swapping")))
        trees.exchange(self.places.live(tenant.id), work)
        return self._settled(tenant, state, offer)

    def _settled(self, tenant: Tenant, state: State, offer: Offer) -> State:
        """After the exchange: let the old repository wait, or bring it back when a backup began in that moment."""
        work, live = self.places.work(tenant.id), self.places.live(tenant.id)
        if work.exists() and (trees.fingerprint(work) != offer.live or self._at_work(work)):
            trees.add_missing(live, work)
            trees.exchange(live, work)
            return self._withdrawn(tenant, state, None)
        if work.exists():
            trees.move(work, self.places.grace(tenant.id, self.now()))
        arrivals = {name: at for name, at in state.ledger.arrivals.items() if name in offer.snapshots}
        ledger = replace(state.ledger, arrivals=arrivals)
        return self._write(tenant, without_offer(replace(state, ledger=ledger), None, self.now() + EVERY_S))

    def _expire(self, tenant: Tenant) -> None:
        """Remove what has waited long enough."""
        folder = self.places.root / "grace"
        for old in folder.glob(f"{tenant.id}@*"):
            since = float(old.name.rpartition("@")[2])
            if self.now() - since > self.grace_days * DAY_S:
                gone = self.places.work(f"{tenant.id}.gone")
                trees.move(old, gone)
                trees.remove(gone)


def judgement(clone: Path, offer: Offer, collapse_accepted: bool = False) -> str | None:
    """What is wrong with a clone that came back, in one sentence, or None."""
    try:
        config = _digest(clone / "config")
    except OSError:
        return "the clone came back without its config"
    if config != offer.config:
        return "the clone came back with another config"
    for part, wanted in (("keys", offer.keys), ("snapshots", offer.snapshots)):
        if tuple(sorted(trees.names(clone, part))) != wanted:
            return f"the clone came back with other {part} than it was offered with"
    if not trees.names(clone, "index"):
        return "the clone came back without an index"
    now_bytes = trees.data_bytes(clone)
    if now_bytes < offer.data_bytes * LEAST_SHARE and not collapse_accepted:
        return (
            f"the data would shrink from {offer.data_bytes} to {now_bytes} bytes; "
            "if the household really deleted that much, say accept"
        )
    return None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _inode(folder: Path) -> int:
    try:
        return folder.stat().st_ino
    except FileNotFoundError:
        return 0
