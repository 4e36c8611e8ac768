"""A household's quota: when it is spent, its folders take nothing new; locks may come and go, and all can be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from . import trees
from .model import Places, State, Tenant, read_state, write_state

ROOM_AGAIN = 0.95
"""Below this share of the quota there is room again."""
LOCKS_BYTES = 16 << 20
"""Locks are some hundred bytes each; more in that folder are no locks."""


def measured(places: Places, tenant: Tenant) -> State:
    """Measure a household's repository, and let its folders take new files or not."""
    file, live = places.state(tenant.id), places.live(tenant.id)
    state = read_state(file)
    size = trees.bytes_below(live)
    limit = tenant.quota_bytes * (ROOM_AGAIN if state.full else 1)
    full = size > limit
    if live.is_dir():
        let_in(live, not full, keep_locks=trees.bytes_below(live / "locks") <= LOCKS_BYTES)
    new = replace(state, full=full, bytes=size)
    if new != state:
        write_state(file, new)
    return new


def let_in(repository: Path, yes: bool, *, keep_locks: bool = True) -> None:
    """Let a repository's folders take new files, or not; its ``locks`` always, if ``keep_locks``."""
    for folder in (repository, *(path for path in repository.rglob("*") if path.is_dir() and not path.is_symlink())):
        mode = 0o700 if yes or (keep_locks and folder == repository / "locks") else 0o500
        if folder.stat().st_mode & 0o777 != mode:
            folder.chmod(mode)
