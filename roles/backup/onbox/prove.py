"""The monthly proof that a restore would work: a share of the data is read back, files are restored and compared."""

from __future__ import annotations

import json
import random
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from .common import Fault
from .files import sha256
from .repository import Repository
from .settings import Settings
from .system import text_of, write_whole

DUE_S = 28 * 86_400
# A twelfth a month: within a year every byte has been read back.
SHARES = 12
FILES = 10


def when_due(settings: Settings, repository: Repository) -> None:
    """Prove it unless that was done within four weeks. Raises Fault."""
    proven = settings.paths.last_proven
    if settings.paths.last_good.exists() and not (proven.exists() and time.time() - proven.stat().st_mtime < DUE_S):
        prove(settings, repository)


def prove(settings: Settings, repository: Repository) -> None:
    """Check the repository, read a share of it, restore the dump and some files and compare. Raises Fault."""
    paths = settings.paths
    text = text_of(paths.last_good)
    if not text:
        raise Fault("there is no backup yet, so there is nothing to prove")
    snapshot = str(json.loads(text)["snapshot"])
    share = next_share(text_of(paths.last_proven))
    repository.must("unlocking the repository", paths.box_key, "unlock")
    repository.must(
        "the check of the repository", paths.box_key, "check", "--quiet", f"--read-data-subset={share}/{SHARES}"
    )
    told = json.loads(
        repository.must(
            "reading the manifest", paths.box_key, "dump", "--quiet", "--no-lock", snapshot, "/manifest.json"
        )
    )
    entries = [{"path": "database.sql", **told["dump"]}, *some(told["sample"])]
    with tempfile.TemporaryDirectory(dir=paths.state) as folder:
        wanted = (word for entry in entries for word in ("--include", pattern(entry["path"])))
        repository.must(
            "restoring files", paths.box_key, "restore", "--quiet", "--no-lock", snapshot, "--target", folder, *wanted
        )
        for entry in entries:
            file = Path(folder, entry["path"])
            if not file.is_file() or sha256(file) != entry["sha256"]:
                raise Fault(f"{entry['path']} does not come back from the backup as it was; look at the store")
    proof = {"snapshot": snapshot, "share": share, "files": len(entries)}
    write_whole(paths.last_proven, json.dumps(proof) + "\n", 0o644)
    print(f"proven: {len(entries)} files restored and compared, share {share} of {SHARES} read back")  # noqa: T201


def next_share(last: str) -> int:
    """Which share is read after the one that the last proof (its JSON) read."""
    try:
        return int(json.loads(last)["share"]) % SHARES + 1
    except (ValueError, KeyError, TypeError):
        return 1


def some(sample: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Some entries by chance."""
    return random.SystemRandom().sample(sample, min(FILES, len(sample)))


def pattern(path: str) -> str:
    """A path as restic's ``--include`` takes it literally: its wildcards are those of Go's filepath.Match."""
    return "/" + re.sub(r"([*?\[\]\\])", r"\\\1", path)
