"""Sets of files that are put whole, as one change that holds or is undone: the one way in which roles write to hosts.

``put`` compares the files on the host with what they shall be (content, mode, owner, link target, absence) and with
the digest of what was last *activated*. A converge that died between putting a file and reloading its service is
therefore finished by the next one, which comparing files alone would miss. The host's side is
``hearth/onhost/apply.py``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from typing_extensions import override

from hearth import guard, layout, services

_ONHOST = Path(__file__).parent / "onhost"
_RECOVER = "hearth-recover.service"


@dataclass(frozen=True)
class File:
    """A file to be there: absolute ``path``, ``content``, ``mode`` in octal digits, ``owner`` and ``group`` by name."""

    path: str
    content: str | bytes
    mode: str = "644"
    owner: str = "root"
    group: str = "root"

    @property
    def raw(self) -> bytes:
        """The content as bytes."""
        return self.content.encode() if isinstance(self.content, str) else self.content


@dataclass(frozen=True)
class Link:
    """A symbolic link to be there: absolute ``path``, and the ``target`` exactly as written into it."""

    path: str
    target: str


@dataclass(frozen=True)
class PathState:
    """What the host has at one path; ``kind`` as find(1) prints it with %y."""

    kind: str
    mode: str
    owner: str
    group: str
    target: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class State:
    """What ``ArtefactState`` saw: the paths that exist, the digest last applied, whether an undo is waiting."""

    paths: dict[str, PathState]
    applied: str = ""
    unsettled: bool = False


def parse_state(lines: Iterable[str]) -> State:
    """Given the output of ``ArtefactState``'s command, return the State. Raises ValueError on lines of another form."""
    paths: dict[str, PathState] = {}
    sums: dict[str, str] = {}
    applied, unsettled = "", False
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "applied":
            applied = rest.strip()
        elif word == "unsettled":
            unsettled = True
        elif word == "path":
            kind, mode, owner, group, path, target = rest.split("\t")
            paths[path] = PathState(kind, mode, owner, group, target)
        elif word == "sum":
            digest, _, path = rest.partition("  ")
            sums[path] = digest
        else:
            raise ValueError(f"unexpected line: {line!r}")
    return State(
        paths={
            path: PathState(p.kind, p.mode, p.owner, p.group, p.target, sums.get(path, "")) for path, p in paths.items()
        },
        applied=applied,
        unsettled=unsettled,
    )


class ArtefactState(FactBase[State]):
    """What a host has of the paths of one change, in one command; works on a bare host too."""

    @override
    def command(self, change: str, paths: tuple[str, ...]) -> str:
        listed = " ".join(quote(path) for path in paths)
        return (
            f"printf 'applied %s\\n' \"$(head -n 1 /var/lib/hearth/applied/{quote(change)} 2>/dev/null)\"; "
            f"test -e /var/lib/hearth/changes/{quote(change)} && echo 'unsettled'; "
            f"find {listed} -maxdepth 0 -printf 'path %y\\t%m\\t%u\\t%g\\t%p\\t%l\\n' 2>/dev/null; "
            f"sha256sum -- {listed} 2>/dev/null | sed 's/^/sum /'; true"
        )

    @override
    def process(self, output: list[str]) -> State:
        try:
            return parse_state(output)
        except ValueError as fault:
            raise FactProcessError(str(fault)) from fault


def digest(artefacts: Iterable[File | Link], absent: Iterable[str], commands: Iterable[str]) -> str:
    """The SHA-256 (hex) of a whole change: its files, what shall be absent, and the commands that are run for it."""
    parts: list[Any] = [
        [a.path, a.target]
        if isinstance(a, Link)
        else [a.path, hashlib.sha256(a.raw).hexdigest(), a.mode, a.owner, a.group]
        for a in artefacts
    ]
    whole = json.dumps([parts, sorted(absent), list(commands)])
    return hashlib.sha256(whole.encode()).hexdigest()


def is_as_wanted(artefact: File | Link, found: PathState | None) -> bool:
    """Whether the host has exactly this artefact."""
    if found is None:
        return False
    if isinstance(artefact, Link):
        return found.kind == "l" and found.target == artefact.target
    return (
        found.kind == "f"
        and found.mode == artefact.mode.lstrip("0")
        and (found.owner, found.group) == (artefact.owner, artefact.group)
        and found.sha256 == hashlib.sha256(artefact.raw).hexdigest()
    )


def is_settled(state: State, artefacts: Collection[File | Link], absent: Iterable[str], wanted: str) -> bool:
    """Whether the host has all of it, activated, with no undo waiting.

    Where nothing is to be there and nothing ever was, there is nothing to activate: a role that a host never had.
    """
    never_there = not artefacts and not state.applied
    return (
        (state.applied == wanted or never_there)
        and not state.unsettled
        and all(is_as_wanted(artefact, state.paths.get(artefact.path)) for artefact in artefacts)
        and not any(path in state.paths for path in absent)
    )


def entry(artefact: File | Link) -> dict[str, str]:
    """An artefact as ``apply put`` reads it."""
    if isinstance(artefact, Link):
        return {"path": artefact.path, "link": artefact.target}
    return {
        "path": artefact.path,
        "content": base64.b64encode(artefact.raw).decode(),
        "mode": artefact.mode,
        "owner": artefact.owner,
        "group": artefact.group,
    }


@dataclass(frozen=True)
class Pending:
    """A change that a host does not have yet: what shall be there, what shall not, and what the host has.

    ``change``: its name on the host, None for a file that is put alone.
    """

    change: str | None
    artefacts: tuple[File | Link, ...]
    absent: tuple[str, ...]
    state: State


watchers: list[Callable[[Pending], None]] = []
"""Each is told of a change before the first of its commands; a plan's process adds one (``hearth.fleet.preview``)."""


def _tell(pending: Pending) -> None:
    for watcher in watchers:
        watcher(pending)


@operation()
def put(
    change: str,
    artefacts: tuple[File | Link, ...],
    absent: tuple[str, ...] = (),
    check: str = "",
    activate: str = "",
    verify: str = "",
    guard_s: int = 0,
) -> Generator[PyinfraCommand, None, None]:
    """Put a set of files whole; undo all of it when one of its commands fails.

    + change: the name of the set on the host, letters and hyphens
    + artefacts: the files and links to be there; what the same change put earlier and is not among them now is removed
    + absent: paths of others that shall not be there
    + check: shell command that judges the files in their place
    + activate: shell command that makes the service take them; run whenever anything differed, and again after an undo
    + verify: shell command that looks whether the service really does what the files say
    + guard_s: when positive, the host undoes the change by itself after so many seconds unless the operator's side
      reaches it anew over the operator's road (``hearth.guard``)
    """
    # Asked before anything is computed: an operation is first run only to hear what it asks (``hearth.asking``).
    paths = tuple(artefact.path for artefact in artefacts) + absent
    state = host.get_fact(ArtefactState, change=change, paths=paths)
    wanted = digest(artefacts, absent, (check, activate, verify))
    if is_settled(state, artefacts, absent, wanted):
        host.noop(f"{change} is as it shall be")
        return
    _tell(Pending(change, artefacts, absent, state))
    token = secrets.token_hex(16)
    text = json.dumps(
        {
            "name": change,
            "digest": wanted,
            "files": [entry(artefact) for artefact in artefacts],
            "absent": absent,
            "check": check,
            "activate": activate,
            "verify": verify,
            "guard_s": guard_s,
            "token": token,
        }
    )
    if guard_s:
        yield FunctionCommand(guard.put_and_confirm, (change, text, token, guard_s), {})
    else:
        yield StringCommand(layout.APPLY, "put", _stdin=text)


@operation()
def put_alone(artefact: File, then: str = "") -> Generator[StringCommand, None, None]:
    """Put one file without ``apply``, which is not there yet; owner and group are root's. ``then``: run after it.

    It comes through standard input, is written beside its place and renamed: pyinfra's own upload goes through /tmp,
    which may be full, and a kill in the middle of it leaves half a program that the next boot would run.
    """
    state = host.get_fact(ArtefactState, change="none", paths=(artefact.path,))
    if is_as_wanted(artefact, state.paths.get(artefact.path)):
        host.noop(f"{artefact.path} is as it shall be")
        return
    _tell(Pending(None, (artefact,), (), state))
    folder, path, new = (
        quote(word) for word in (str(Path(artefact.path).parent), artefact.path, f"{artefact.path}.new")
    )
    yield StringCommand(
        f"mkdir -p {folder} && cat > {new} && chown root:root {new} && chmod {artefact.mode} {new} && sync {new} && "
        f"mv {new} {path} || {{ rm -f {new}; exit 1; }}",
        _stdin=artefact.raw.decode(),
    )
    if then:
        yield StringCommand(then)


@deploy("Prepare the host")
def bootstrap() -> None:
    """Put the program that ``put`` relies on, and the unit that undoes at boot what a power cut left half done."""
    put_alone(
        name="Put the program that changes files as one",
        artefact=File(layout.APPLY, (_ONHOST / "apply.py").read_bytes(), mode="755"),
    )
    put_alone(
        name="Put the unit that undoes half done changes at boot",
        artefact=File(f"/etc/systemd/system/{_RECOVER}", (_ONHOST / _RECOVER).read_bytes()),
        then="systemctl daemon-reload",
    )
    services.enabled(name="Enable the unit that undoes half done changes at boot", unit=_RECOVER)
