"""What becomes of a host's files under a change: which are added, changed, removed, and how their text differs.

Both sides of a text are masked whole before they are compared, so a diff's few lines of context cannot show half of a
secret whose first line would have given it away. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import unified_diff
from fnmatch import fnmatch

from hearth.artefacts import File, Link, PathState, is_as_wanted
from hearth.fleet.masking import masked_text
from hearth.fleet.plan_model import ChangeKind, FileChange

LARGEST_BYTES = 128 * 1024
"""A file beyond this is compared by its sum alone; its text is neither fetched nor shown."""
LINES_SHOWN, LINES_OF_WHOLE = 400, 60
"""Of a diff, and of a file that comes or goes as a whole (which is read elsewhere), so many lines are told."""
# What hosts keep for themselves, and where programs keep passwords: never read, whatever a change names.
SECRET_PATHS = (
    "/etc/hearth/*key*",
    "/etc/ssh/*_key",
    "/etc/ssl/private/*",
    "/etc/shadow*",
    "/etc/gshadow*",
    "/root/.ssh/id_*",
    "*/private/*",
    "*.private",
    "*.key",
    "*config.php",
    "*password*",
    "*/secret*",
)


def is_secret(path: str) -> bool:
    """Whether the content of ``path`` is never looked at."""
    return any(fnmatch(path, pattern) for pattern in SECRET_PATHS)


def file_changes(
    artefacts: Iterable[File | Link],
    gone: Iterable[str],
    found: Mapping[str, PathState],
    contents: Mapping[str, bytes],
) -> tuple[FileChange, ...]:
    """What becomes of the files of one change, removals first.

    + artefacts: what shall be there
    + gone: paths that are there and shall not be
    + found: what the host has at the paths of the artefacts
    + contents: of files that the host has, as far as they were fetched
    """
    removed = [_removed(path, contents.get(path)) for path in sorted(set(gone))]
    others = [
        _wanted(artefact, found.get(artefact.path), contents.get(artefact.path))
        for artefact in artefacts
        if not is_as_wanted(artefact, found.get(artefact.path))
    ]
    return (*removed, *sorted(others, key=lambda change: (change.kind == "added", change.path)))


def _removed(path: str, content: bytes | None) -> FileChange:
    if content is None:
        return FileChange(path, "removed")
    diff, note = compared(path, content, b"")
    return FileChange(path, "removed", note, diff)


def _wanted(artefact: File | Link, found: PathState | None, content: bytes | None) -> FileChange:
    kind: ChangeKind = "added" if found is None else "changed"
    if isinstance(artefact, Link):
        was = f"; was {_kind(found)}" if found is not None else ""
        return FileChange(artefact.path, kind, f"a link to {artefact.target}{was}")
    notes = _attributes(artefact, found)
    if found is not None and found.kind == "f" and content is None:
        unseen = "holds secrets, so its text is not looked at" if is_secret(artefact.path) else "its text is not shown"
        return FileChange(artefact.path, kind, "; ".join((*notes, unseen)))
    diff, note = compared(artefact.path, content or b"", artefact.raw)
    return FileChange(artefact.path, kind, "; ".join((*notes, *filter(None, [note]))) or None, diff)


def _attributes(wanted: File, found: PathState | None) -> tuple[str, ...]:
    """What is to say of mode and owner, and of what stands in the file's place."""
    owner, mode = f"{wanted.owner}:{wanted.group}", wanted.mode.lstrip("0")
    if found is None:
        return () if (mode, owner) == ("644", "root:root") else (f"mode {mode}, {owner}",)
    if found.kind != "f":
        return (f"was {_kind(found)}",)
    was = f"{found.owner}:{found.group}"
    notes = [f"mode {found.mode} becomes {mode}"] if found.mode != mode else []
    return (*notes, f"owner {was} becomes {owner}") if was != owner else tuple(notes)


def _kind(found: PathState) -> str:
    return f"a link to {found.target}" if found.kind == "l" else {"d": "a folder"}.get(found.kind, "a file")


def compared(path: str, old: bytes, new: bytes) -> tuple[str, str | None]:
    """The diff of two contents, masked, and what else there is to say about it."""
    if is_secret(path):
        return "", "holds secrets, so its text is not shown"
    if old == new:
        return "", None
    if max(len(old), len(new)) > LARGEST_BYTES:
        return "", f"{len(new) // 1024} KiB: too large to show"
    try:
        before, after = (masked_text(side.decode()).splitlines() for side in (old, new))
    except UnicodeDecodeError:
        return "", "no text"
    lines = [line for line in unified_diff(before, after, lineterm="") if not line.startswith(("--- ", "+++ "))]
    if not lines:
        return "", "its text differs only in what is masked here, at the end of long lines, or in how lines end"
    shown = LINES_SHOWN if old and new else LINES_OF_WHOLE
    note = f"{len(lines) - shown} more lines of the diff are not shown" if len(lines) > shown else None
    return "\n".join(lines[:shown]), note


def gone(paths: Collection[str], absent: Iterable[str], wanted: Iterable[str], there: Iterable[str]) -> list[str]:
    """Which paths would be removed.

    + paths: those that the host's stamp says the change put last time
    + absent: those that shall not be there
    + wanted: those that shall
    + there: those that the host has
    """
    shall_go = (set(paths) | set(absent)) - set(wanted)
    return sorted(shall_go & set(there))
