"""``hearth-restore``: the household's cloud comes back on a new box, with the key from its sheet; docs/restore.md.

Everything that can be refused is refused before this box is touched; see ``restoring`` for how far it came when.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from . import keys, nightly, paperkey, restoring, source, staged
from .asking import Wishes, chosen, named, opened, progress, show, typed_key
from .common import Fault, ended
from .restoring import Description, State
from .settings import Settings
from .settings import load as load_settings
from .source import Snapshot, Source
from .system import last_words, locked, run, text_of, write_whole
from .terminal import Terminal

PATIENCE_S = 5


@dataclass
class Report:
    """What a restore came to; ``seconds`` of each step."""

    source: str = ""
    snapshot: str = ""
    taken_at: str = ""
    users: int = 0
    files: int = 0
    bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step."""
        begun = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begun, 1)


def cloud(settings: Settings, *words: str) -> str:
    """Run the program that keeps the cloud and return what it told. Raises Fault with its sentence."""
    done = run([str(settings.paths.cloud), *words])
    if done.returncode:
        raise Fault(last_words(done.stderr, done.stdout).removeprefix(f"{words[0]}: "))
    return done.stdout.decode(errors="replace").strip()


def restore(settings: Settings, described: Description, wishes: Wishes, terminal: Terminal) -> None:
    """Bring the old household's cloud to this box. Raises Fault with why it is not there."""
    if described.places.done.exists() and not wishes.drill:
        raise Fault(f"this box was restored already ({described.places.done.read_text().strip()})")
    told = cloud(settings, "recover")
    if told:
        terminal.say(told)
    state = restoring.read_state(described.places)
    if state and state.phase == "adopting" and restoring.is_adopted(described.places, state.snapshot):
        finish(settings, described, wishes, terminal)
        return
    begin(settings, described, wishes, terminal)


def begin(settings: Settings, described: Description, wishes: Wishes, terminal: Terminal) -> None:
    """Ask for the key, judge, fetch, compare and put in place. Raises Fault."""
    repository = source.shown_to(settings, described.repository)
    away = source.refusal(settings, described.source, repository)
    if away:
        raise Fault(away)
    refuse_old_box(described, wishes)
    with typed_key(terminal, described) as key:
        old = Source(settings, described.source, repository, key)
        found = opened(old, terminal)
        snapshot, manifest = agreed(settings, old, described, found, wishes, terminal)
        report = Report(described.source, snapshot.id, manifest.taken_at, len(manifest.users))
        report.files, report.bytes = manifest.files, manifest.bytes
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that is closed ends nothing from here
        with report.step("check"):
            terminal.say("Looking whether the backup holds together …")
            old.must("check")
            staged.need_room(described.places.staging, restored_bytes(old, snapshot))
        state = State("fetching", old.name, snapshot.id, paperkey.fingerprint(text_of(key)))
        restoring.write_state(described.places, state)
        with report.step("fetch"):
            terminal.say("Fetching …")
            source.fetch(old, snapshot, described.places.cloud, lambda told: terminal.show(progress(told)))
        with report.step("compare"):
            terminal.say("Comparing with the backup's manifest …")
            staged.compare(described.places.cloud, manifest)
            staged.describe(described.places.cloud, manifest, snapshot.id)
        refuse_old_box(described, wishes)
        if not wishes.drill and source.snapshots(old)[0] != found[0]:
            raise Fault(
                "the old box made a backup meanwhile, so it is on; switch it off and start hearth-restore again"
            )
        keep_key(settings, text_of(key), wishes)
    put_in_place(settings, described, wishes, report, terminal)
    finish(settings, described, wishes, terminal)


def agreed(
    settings: Settings,
    old: Source,
    described: Description,
    found: tuple[Snapshot, ...],
    wishes: Wishes,
    terminal: Terminal,
) -> tuple[Snapshot, staged.Manifest]:
    """The backup that the household wants, and what it says of itself. Raises Fault when it is not to come here."""
    snapshot = chosen(found, restoring.read_state(described.places), wishes, terminal)
    while True:
        manifest = staged.parse(source.manifest(old, snapshot))
        judge(settings, described, manifest, snapshot, wishes)
        show(manifest, snapshot, terminal)
        answer = "yes" if wishes.sure else terminal.ask("Restore it? Type yes, or the beginning of another's name: ")
        if answer.lower() == "yes":
            return snapshot, manifest
        if not answer:
            raise Fault("nobody said yes; nothing was changed")
        snapshot = named(found, answer)


def refuse_old_box(described: Description, wishes: Wishes) -> None:
    """Raise Fault while the old box serves: what its people write there would be lost."""
    if not wishes.drill and source.answers(described.door):
        raise Fault(
            f"the box of {described.source} is still on: it answers at {described.door.domain}; switch it off first, "
            "since what is written there from now on would be lost"
        )


def judge(
    settings: Settings, described: Description, manifest: staged.Manifest, snapshot: Snapshot, wishes: Wishes
) -> None:
    """Raise Fault when this backup is not to come to this box."""
    if manifest.household != described.source:
        raise Fault(
            f"this is a backup of {manifest.household}, and the inventory says restore.from: {described.source}"
        )
    staged.describe(described.places.cloud, manifest, snapshot.id)
    cloud(settings, "adoptable", str(described.places.cloud), *(["--replace"] if wishes.replacing else []))


def restored_bytes(old: Source, snapshot: Snapshot) -> int:
    """How much a backup needs on the disk."""
    told: dict[str, Any] = json.loads(old.must("stats", "--json", "--mode", "restore-size", snapshot.id))
    return int(told["total_size"])


def put_in_place(
    settings: Settings, described: Description, wishes: Wishes, report: Report, terminal: Terminal
) -> None:
    """Let the cloud take over what came out of the backup. Raises Fault, and this box has what it had then."""
    state = restoring.read_state(described.places)
    if state is None:
        raise Fault(f"{described.places.state} was emptied meanwhile; start hearth-restore again")
    restoring.write_state(described.places, replace(state, phase="adopting"))
    terminal.say("Putting it in place; the cloud repairs its database and looks at every file …")
    try:
        with report.step("adopt"):
            told = cloud(settings, "adopt", str(described.places.cloud), *(["--replace"] if wishes.replacing else []))
    except Fault:
        keep_key(settings, "", wishes)
        raise
    terminal.say(told)
    write_whole(described.places.state / "report.json", json.dumps(vars(report)) + "\n")


def keep_key(settings: Settings, key: str, wishes: Wishes) -> None:
    """Keep the typed key where the box keeps a key that its repository does not have yet."""
    if not wishes.drill and not keys.read_paper(settings.paths).repository:
        write_whole(settings.paths.paper_key, f"{key}\n" if key else "")


def take_key(settings: Settings, fingerprint: str, terminal: Terminal) -> None:
    """Let the household's sheet open this box's own backups too: it has proven that the sheet is there and right.

    Without it the household would need a second sheet, and the first would still be needed for the old backups.
    """
    if paperkey.fingerprint(text_of(settings.paths.paper_key)) != fingerprint:
        return
    try:
        nightly.prepare(settings)
        keys.confirm(settings)
        terminal.say("The same sheet opens the backups that this box makes from now on: keep it.")
    except Fault as fault:
        terminal.say(f"This box's own backups do not know the sheet yet, the first of them will: {fault}")


def finish(settings: Settings, described: Description, wishes: Wishes, terminal: Terminal) -> None:
    """Say that it is done, on the disk and to the household; can be repeated."""
    state = restoring.read_state(described.places)
    if state and not wishes.drill:
        take_key(settings, state.key, terminal)
    for verb in ("users", "apps"):
        try:
            cloud(settings, verb)
        except Fault as fault:
            terminal.say(f"One thing is left to the next converge: {fault}")
    shutil.rmtree(described.places.staging, ignore_errors=True)
    if not wishes.drill:
        write_whole(described.places.done, f"{described.source} {restoring.now()}\n", mode=0o644)
    restoring.forget_state(described.places)
    terminal.say(
        "The drill is over: this box has the household's cloud, and its name stays where it is."
        if wishes.drill
        else f"The cloud of {described.source} is on this box; everybody has the password of before. Tell the "
        f"operator, who collects this box and converges: then {described.door.domain} leads here."
    )


def arguments(argv: list[str]) -> Wishes:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="hearth-restore", description="Bring a household's cloud back from its backup; asks for its paper key."
    )
    parser.add_argument("--snapshot", default="", help="the beginning of a backup's id; the newest by default")
    parser.add_argument("--yes", action="store_true", dest="sure", help="do not ask for confirmation")
    parser.add_argument("--replace", action="store_true", dest="replacing", help="although this box holds data already")
    parser.add_argument("--drill", action="store_true", help="try it: the old box may be on and keeps its name")
    return Wishes(**vars(parser.parse_args(argv)))


def obey(wishes: Wishes) -> None:
    """Restore, or go on with it, alone on the box. Raises Fault."""
    if os.geteuid() != 0:
        raise Fault("only root can restore: sudo hearth-restore")
    settings, described = load_settings(), restoring.load()
    described.places.staging.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(settings.paths.lock, PATIENCE_S):
        restore(settings, described, wishes, Terminal())


def main(argv: list[str]) -> int:
    """Run ``hearth-restore`` and return the exit status: 0, or 1 with one sentence on standard error."""
    wishes = arguments(argv)
    os.umask(0o077)
    try:
        return ended("hearth-restore", lambda: obey(wishes))
    except KeyboardInterrupt:
        print("hearth-restore: interrupted; start it again and it goes on", file=sys.stderr)  # noqa: T201
        return 1
