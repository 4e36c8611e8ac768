"""The one place that starts ``pyinfra``: a slice is some hosts of one deploy, converged by a process of its own.

A slice carries its hosts' resolved data, so every host is converged to what was checked when the run began, whatever
happens to the inventory's files meanwhile, and a process need not read ten thousand households to converge ten.

What keeps a host from being converged twice at a time: its lock (``hearth.fleet.locks``), which the process inherits
and holds while it lives; the lock on the host itself (``hearth.hostlock``), for processes on other machines; and the
kernel, which kills the process when the run that started it dies (``hearth.fleet.reporter``).
"""

from __future__ import annotations

import os
import pickle
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from hearth.fleet.locks import host_locks
from hearth.fleet.records import fleet_folder
from hearth.fleet.verdict import Verdict, verdicts
from hearth.fleet.wire import PARENT, PLAN, REPORT
from hearth.hostlock import VARIABLE as HOST_LOCK
from hearth.inventory.groups import SLICE, plain
from hearth.inventory.hosts import Groups

CHECKOUT = Path(__file__).resolve().parents[2]
LOCK_PATIENCE_S = 10.0
# The longest that an operation may be silent: a release of 200 MB over a slow home line, unpacked on an old disk.
SILENCE_S = 3600.0
LOOK_EVERY_S = 0.1
LAST_WORDS = 5
"""Of so many lines that pyinfra printed last a sentence is made when it told nothing else."""


@dataclass(frozen=True)
class Slice:
    """Some hosts of one deploy. It can be pickled, and run on any machine that has the checkout and the keys.

    ``fleet`` and ``run``: name the state folder. ``number``: of the slice in its run. ``deploy``: relative to the
    checkout. ``groups``: pyinfra's groups of these hosts alone, "all" among them.
    """

    fleet: str
    run: str
    number: int
    deploy: str
    groups: Groups

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts' names, without their connector."""
        return tuple(plain(name) for name, _ in self.groups["all"])

    def only(self, hosts: set[str]) -> Slice:
        """The slice with some of its hosts."""
        kept = {
            group: [(name, data) for name, data in members if plain(name) in hosts]
            for group, members in self.groups.items()
        }
        return replace(self, groups={group: members for group, members in kept.items() if members})


def run_folder(fleet: str, run: str) -> Path:
    """Where the slices of a run keep their reports and logs."""
    return fleet_folder(fleet) / "slices" / run


def converge(work: Slice) -> dict[str, Verdict]:
    """Converge a slice; return what became of each of its hosts. Raises nothing for what a host does.

    When the process ends before it has told of all its hosts, each of those is converged once more, alone: one host
    that brings pyinfra down cannot take the others along.
    """
    found = _converge(work)
    lost = [host for host, verdict in found.items() if verdict.outcome == "lost"]
    if len(found) > 1 and not _ending.is_set():
        for host in lost:
            found |= _converge(work.only({host}))
    # Alone and still without a verdict: that is this host's own failure.
    return {host: _not_lost(verdict) for host, verdict in found.items()}


def _not_lost(verdict: Verdict) -> Verdict:
    if verdict.outcome != "lost":
        return verdict
    if _ending.is_set():
        return replace(verdict, outcome="unreported", reason="the operator ended the run while it was in work")
    return replace(verdict, outcome="failed")


def forget_old_runs(fleet: str, kept: int) -> None:
    """Remove the logs of all but the last ``kept`` runs on this machine."""
    folder = fleet_folder(fleet) / "slices"
    for path in sorted(folder.glob("*"))[: -kept or None]:
        shutil.rmtree(path, ignore_errors=True)


def forget_reports(work: Slice) -> None:
    """Remove the reports of a slice whose verdicts are recorded; on other machines they stay behind."""
    for path in run_folder(work.fleet, work.run).glob(f"{work.number:06}-*.report"):
        path.unlink(missing_ok=True)


def take_reports(folder: Path, hosts: Collection[str]) -> dict[str, Verdict]:
    """What the reports of a run that was killed tell of ``hosts``, for those that came to their end; removes them.

    ``folder``: the run's. Reports that were recorded are gone already.
    """
    found: dict[str, Verdict] = {}
    for path in sorted(folder.glob("*.report")):
        told = verdicts(path.read_text(errors="replace").splitlines(), hosts)
        found |= {host: verdict for host, verdict in told.items() if verdict.outcome != "lost"}
        path.unlink()
    return found


def _converge(work: Slice) -> dict[str, Verdict]:
    with host_locks(fleet_folder(work.fleet), work.hosts, LOCK_PATIENCE_S) as (held, busy):
        refused = {host: Verdict(host, "unreported", "another converge of it is at work") for host in busy}
        if not held:
            return refused
        folder = run_folder(work.fleet, work.run)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        token = secrets.token_hex(4)
        files = _Files(folder / f"{work.number:06}-{token}")
        files.write(work.only(set(held)))
        _run(work.deploy, files, {HOST_LOCK: token}, tuple(held.values()))
        told = verdicts(files.report.read_text().splitlines(), held)
        files.tidy(all(verdict.outcome == "converged" for verdict in told.values()))
        return refused | {host: _with_words(verdict, files.log) for host, verdict in told.items()}


@dataclass(frozen=True)
class _Files:
    """The files of a slice's process, side by side: the hosts' data, the report, and what pyinfra printed."""

    stem: Path

    @property
    def inventory(self) -> Path:
        return self.stem.with_suffix(SLICE)

    @property
    def report(self) -> Path:
        return self.stem.with_suffix(".report")

    @property
    def log(self) -> Path:
        return self.stem.with_suffix(".log")

    def write(self, work: Slice) -> None:
        for path, content in ((self.inventory, pickle.dumps(work.groups)), (self.report, b""), (self.log, b"")):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "wb") as opened:
                opened.write(content)

    def tidy(self, all_is_well: bool) -> None:
        """Remove what nobody will read. The report stays, for a run that is killed before it has recorded it."""
        self.inventory.unlink()
        if all_is_well:
            self.log.unlink()


def _with_words(verdict: Verdict, log: Path) -> Verdict:
    if verdict.outcome not in ("failed", "lost"):
        return verdict
    return replace(verdict, reason=f"{verdict.reason}; see {log}")


def look(work: Slice) -> tuple[list[str], str]:
    """Have pyinfra prepare a slice and execute nothing; return the lines of its report, and its last words.

    Takes no locks, since it changes nothing, and leaves no files behind.
    """
    with tempfile.TemporaryDirectory(prefix="hearth-plan-") as folder:
        files = _Files(Path(folder) / f"{work.number:06}")
        files.write(work)
        _run(work.deploy, files, {PLAN: "1"}, (), "--dry")
        words = files.log.read_text(errors="replace").split("\n")
        return files.report.read_text(errors="replace").splitlines(), " ".join(words[-LAST_WORDS:])


def _run(deploy: str, files: _Files, told: dict[str, str], locks: tuple[int, ...], *more: str) -> None:
    """Run pyinfra to its end, or until it has been silent for too long.

    ``told``: what its environment says besides. ``locks``: files that it holds open. ``more``: options.
    """
    command = [str(pyinfra_command()), str(files.inventory), deploy, "-y", "--no-wait", *more]
    environment = (
        os.environ
        | {
            "PYINFRA_PROGRESS": "off",
            "PYTHONUNBUFFERED": "1",
            REPORT: str(files.report),
            PARENT: str(os.getpid()),
        }
        | told
    )
    with files.log.open("ab") as log:
        # A session of its own: Ctrl-C at the terminal is for the run, which lets its hosts come to an end.
        process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=locks,
            start_new_session=True,
        )
        with _registered(process):
            _wait(process, files.report)


def _wait(process: subprocess.Popen[bytes], report: Path) -> None:
    size, since = 0, time.monotonic()
    while process.poll() is None:
        time.sleep(LOOK_EVERY_S)
        now_size = report.stat().st_size
        if now_size != size:
            size, since = now_size, time.monotonic()
        if time.monotonic() - since > SILENCE_S:
            process.kill()
            process.wait()


def pyinfra_command() -> Path:
    """The ``pyinfra`` beside this Python; $HEARTH_PYINFRA names another one."""
    named = os.environ.get("HEARTH_PYINFRA")
    return Path(named) if named else Path(sys.executable).with_name("pyinfra")


_running: set[subprocess.Popen[bytes]] = set()
_running_lock = threading.Lock()
_ending = threading.Event()


class _registered:  # noqa: N801 (read as a word of a with statement)
    """Lets ``end_all`` find a process while it runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def __enter__(self) -> None:
        with _running_lock:
            _running.add(self._process)
            if _ending.is_set():
                self._process.send_signal(signal.SIGTERM)

    def __exit__(self, *_: object) -> None:
        with _running_lock:
            _running.discard(self._process)


def end_all() -> None:
    """End this machine's slices now, and start no further ones; hosts undo by themselves what was guarded."""
    _ending.set()
    with _running_lock:
        for process in _running:
            process.send_signal(signal.SIGTERM)
