"""Runs inside ``pyinfra --dry``: tells what each change would do to a host's files, for ``hearth plan``.

The wanted text is in this process already; the present one is fetched from the host in one batch a host, readable
text alone and never from a place of secrets. What leaves this process is a masked diff.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from shlex import quote
from typing import Any

from pyinfra import context
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from typing_extensions import override

from hearth import artefacts, preflight
from hearth.artefacts import Pending
from hearth.fleet.differences import LARGEST_BYTES, SECRET_PATHS, file_changes, gone

STAMPS = "/var/lib/hearth/applied"
MOST_STAMPED = 500
Tell = Callable[..., None]


@dataclass(frozen=True)
class Present:
    """What ``Contents`` saw: the ``paths`` that are there, those that the change put last time (``stamped``), and the
    ``contents`` of plain files."""

    paths: frozenset[str] = frozenset()
    stamped: frozenset[str] = frozenset()
    contents: dict[str, bytes] = field(default_factory=dict)


def parse_present(lines: Iterable[str]) -> Present:
    """Given the output of ``Contents``'s command, return the Present. Raises ValueError on lines of another form."""
    paths: set[str] = set()
    stamped: set[str] = set()
    contents: dict[str, bytes] = {}
    for line in lines:
        word, _, rest = line.partition("\t")
        if word == "there":
            paths.add(rest)
        elif word == "stamped":
            stamped.add(rest)
        elif word == "content":
            path, _, text = rest.rpartition("\t")
            contents[path] = base64.b64decode(text, validate=True)
        elif word:
            raise ValueError(f"unexpected line: {word!r}")
    return Present(frozenset(paths), frozenset(stamped), contents)


class Contents(FactBase[Present]):
    """The present content of a change's files, and of those that it put last time, in one command that only reads."""

    @override
    @staticmethod
    def default() -> Present:
        return Present()

    @override
    def command(self, change: str | None, paths: tuple[str, ...], stamps: str) -> str:
        stamp = f"tail -n +2 {quote(f'{stamps}/{change}')} 2>/dev/null | head -n {MOST_STAMPED}" if change else "true"
        # Both the name and what it leads to, so that a link into a folder of secrets tells nothing either.
        secret = " | ".join(_pattern(pattern) for pattern in SECRET_PATHS)
        named = " ".join(quote(path) for path in paths)
        return (
            f"{{ {stamp} | sed 's/^/stamped\\t/'; printf 'named\\t%s\\n' {named}; }} | "
            "while IFS= read -r line; do path=${line#*\t}; "
            'case "$line" in stamped*) printf "%s\\n" "$line";; esac; '
            'test -e "$path" || test -L "$path" || continue; printf "there\\t%s\\n" "$path"; '
            f'case "$path$(readlink -f -- "$path")" in {secret}) continue;; esac; '
            'test -f "$path" && ! test -L "$path" || continue; '
            f'test "$(stat -c %s -- "$path")" -le {LARGEST_BYTES} || continue; '
            'printf "content\\t%s\\t%s\\n" "$path" "$(base64 -w 0 -- "$path")"; done; true'
        )

    @override
    def process(self, output: list[str]) -> Present:
        try:
            return parse_present(output)
        except (ValueError, binascii.Error) as fault:
            raise FactProcessError(str(fault)) from fault


def _pattern(pattern: str) -> str:
    """A pattern of ``fnmatch`` as the shell's ``case`` has it, anywhere in two paths that follow one another."""
    return f"*{pattern.strip('*')}*"


def install(tell: Tell) -> None:
    """From now on tell of each change, and of each refusal, of the host that pyinfra is preparing.

    ``tell`` takes the host, a word, and more by name, as ``hearth.fleet.reporter.Reporter.tell`` does.
    """

    def changing(pending: Pending) -> None:
        host = _current()
        tell(host, "files", operation=host.current_op_hash, **_told(host, pending))

    def refused(sentence: str) -> None:
        tell(_current(), "refused", reason=sentence)

    artefacts.watchers.append(changing)
    preflight.refusals.append(refused)


def _current() -> Host:
    # Not the stand-in that deploys see, which is whatever host is current.
    return context.state.inventory.get_host(context.host.name)


def _told(host: Host, pending: Pending) -> dict[str, Any]:
    wanted = tuple(artefact.path for artefact in pending.artefacts)
    present: Present = host.get_fact(Contents, change=pending.change, paths=wanted + pending.absent, stamps=STAMPS)
    going = gone(present.stamped, pending.absent, wanted, present.paths)
    changes = file_changes(pending.artefacts, going, pending.state.paths, present.contents)
    return {"files": [asdict(change) for change in changes], "note": None if changes else _why(pending)}


def _why(pending: Pending) -> str:
    """Why a change acts although all its files are there."""
    if pending.state.unsettled:
        return "an earlier change was not finished; it is put again"
    if not pending.artefacts:
        return "nothing is put here, which is noted"
    if not pending.state.applied:
        return "the files are there, and it is not known that anything has taken them"
    return "the files are there; its commands have changed, or an earlier run was cut off before they ran"
