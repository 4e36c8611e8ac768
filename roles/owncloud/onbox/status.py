"""What is still to be done, without touching anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import adopt, archive, database, freeze, setup, upgrade
from .common import Fault
from .settings import Settings
from .tree import read_stamp

STEPS = ("recover", "fetch", "database", "install", "configure", "users", "apps", "upgrade")


def probes(settings: Settings) -> dict[str, Callable[[], bool]]:
    """For each step, how to see that it is still to be done."""
    paths = settings.paths
    waits = upgrade.read_journal(paths) is not None or adopt.waits(settings)
    ready = setup.is_installed(settings) and not waits
    return {
        "recover": lambda: waits or freeze.mark(paths).exists(),
        "fetch": lambda: not archive.is_here(settings) and not refused(settings),
        "database": lambda: not database.is_ready(settings),
        "install": lambda: not setup.is_installed(settings),
        "configure": lambda: not setup.is_configured(settings),
        "users": lambda: not ready or bool(setup.missing_users(settings)),
        "apps": lambda: not ready or bool(setup.missing_apps(settings)),
        "upgrade": lambda: upgrade.is_due(settings) and (settings.when == "now" or bool(refused(settings))),
    }


def refused(settings: Settings) -> str:
    """Why the pinned release will not be tried again, or the empty string."""
    return upgrade.refusal(upgrade.read_tries(settings), settings.pin.version) if upgrade.is_due(settings) else ""


def is_pending(probe: Callable[[], bool]) -> bool:
    """A step that cannot be judged (MariaDB is down, occ fails) is pending: its verb then says why."""
    try:
        return probe()
    except (Fault, OSError):
        return True


def report(settings: Settings, steps: Sequence[str] = STEPS) -> dict[str, Any]:
    """What ``status`` prints. ``steps`` narrows the looking: users and apps cost a run of occ each."""
    stamp, looks, why = read_stamp(settings.paths.tree), probes(settings), refused(settings)
    waits = upgrade.is_due(settings) and settings.when == "window" and not why
    if why:
        sentence = f"{settings.pin.version} is refused: {why}"
    elif waits:
        sentence = f"{settings.pin.version} waits for the household's window"
    else:
        sentence = ""
    return {
        "pending": [step for step in steps if is_pending(looks[step])],
        "version": stamp.version if stamp else None,
        "pinned": settings.pin.version,
        "waits": waits,
        "refused": why or None,
        "sentence": sentence,
    }
