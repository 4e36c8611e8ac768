"""Files of the view: their hashes, and some of them by chance."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

SAMPLE, SAMPLE_BYTES = 40, 64 << 20
RESTS_S = 3600


def sample(data: Path, at: float) -> list[Path]:
    """Some of the household's files by chance: none so large that hashing takes long, and what rested for an hour if
    there is such, since an app may rewrite a file before it is sent."""
    resting: list[Path] = []
    fresh: list[Path] = []
    counts = {"resting": 0, "fresh": 0}
    dice = random.SystemRandom()
    for path, size_bytes, changed in files(data):
        if size_bytes > SAMPLE_BYTES:
            continue
        kind, chosen = ("resting", resting) if at - changed > RESTS_S else ("fresh", fresh)
        counts[kind] += 1
        # Each file has the same chance, in one walk (reservoir sampling).
        if len(chosen) < SAMPLE:
            chosen.append(path)
        elif (place := dice.randrange(counts[kind])) < SAMPLE:
            chosen[place] = path
    chosen, total, found = resting or fresh, 0, []
    for path in chosen:
        total += path.stat().st_size
        if total <= SAMPLE_BYTES:
            found.append(path)
    return sorted(found)


def files(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """Every regular file below a folder, with its size and the time of its last change."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            about = path.lstat()
            if stat.S_ISREG(about.st_mode):
                yield path, about.st_size, about.st_mtime


def sha256(path: Path) -> str:
    """A file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
