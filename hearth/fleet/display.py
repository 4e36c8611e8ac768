"""How a run is shown: progress on a terminal, plain lines in a pipeline, the record's own events for programs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hearth.fleet.events import (
    Check,
    Event,
    Gate,
    HostBegin,
    HostEnd,
    RunBegin,
    RunEnd,
    RunResume,
    WaveBegin,
    WaveEnd,
    to_data,
)


class Display(AbstractContextManager["Display"], Protocol):
    """Shows events as they come; ``say`` is for what is no event."""

    def tell(self, event: Event) -> None:
        """Show an event."""

    def say(self, sentence: str) -> None:
        """Show a sentence of the moment."""


def line(event: Event) -> str | None:
    """The event as a line for people; None when it is not worth one."""
    if isinstance(event, RunBegin | RunResume):
        hosts, waves = sum(len(wave) for wave in event.waves), len(event.waves)
        verb = f"Run {event.run}" if isinstance(event, RunBegin) else "Go on"
        return f"{verb}: {_counted(hosts, 'host')} in {_counted(waves, 'wave')}"
    if isinstance(event, WaveBegin):
        return f"Wave {event.wave}: {_counted(event.hosts, 'host')}"
    if isinstance(event, HostEnd):
        return _host_line(event)
    if isinstance(event, Gate) and not event.passed:
        return f"  {event.host}: failed, from outside: {_faults(event.checks)}"
    if isinstance(event, WaveEnd) and not event.passed:
        return f"Stopped after wave {event.wave}: {event.reason}"
    return event.reason if isinstance(event, RunEnd) else None


def _host_line(event: HostEnd) -> str:
    changes = [
        f"{count} {word}" for count, word in ((event.intended, "changed"), (event.corrective, "repaired")) if count
    ]
    told = f"{', '.join(changes) or 'no change'} ({event.duration_s:.1f} s)" if event.result == "converged" else ""
    return f"  {event.host}: {event.result}{', ' if told else ': '}{told or event.reason or ''}"


def _faults(checks: tuple[Check, ...]) -> str:
    return "; ".join(f"{check.name}: {check.reason}" for check in checks if not check.passed)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


class Lines:
    """Plain lines, for a pipeline's log."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stdout

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to undo."""

    def tell(self, event: Event) -> None:
        """Write the event's line, if it has one."""
        text = line(event)
        if text is not None:
            self.say(text)

    def say(self, sentence: str) -> None:
        """Write a line."""
        print(sentence, file=self._file, flush=True)


class JsonLines:
    """The events as they stand in the record, a line each; sentences go to standard error."""

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to undo."""

    def tell(self, event: Event) -> None:
        """Write the event."""
        print(json.dumps(to_data(event), ensure_ascii=False), flush=True)  # noqa: T201 (this is the output)

    def say(self, sentence: str) -> None:
        """Write the sentence where it does not mix with the events."""
        print(sentence, file=sys.stderr, flush=True)  # noqa: T201


class Live:
    """A bar over all hosts, with what is noteworthy scrolling above it: who failed, who changed, who was not there."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[told]}", markup=False),
            console=console or Console(highlight=False),
        )
        self._task: TaskID | None = None
        self._working: set[str] = set()
        self._results: dict[str, str] = {}
        # Counted as they come: of thousands of hosts a count for each event would cost more than the run.
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def tell(self, event: Event) -> None:
        """Move the bar, and print the event's line when it says more than that all is well."""
        if isinstance(event, RunBegin | RunResume):
            self._task = self._progress.add_task(
                "Converge", total=sum(len(wave) for wave in event.waves), told="", start=True
            )
        elif isinstance(event, HostBegin):
            self._working.add(event.host)
        elif isinstance(event, HostEnd):
            self._working.discard(event.host)
            self._note(event.host, event.result)
        elif isinstance(event, Gate) and not event.passed:
            self._note(event.host, "failed")
        self._update(event)
        text = line(event)
        if text is not None and not (isinstance(event, HostEnd) and _is_quiet(event)):
            self.say(text)

    def say(self, sentence: str) -> None:
        """Print above the bar."""
        self._progress.console.print(sentence, markup=False, soft_wrap=True)

    def _note(self, host: str, result: str) -> None:
        before = self._results.get(host)
        if before is not None:
            self._counts[before] -= 1
        self._results[host] = result
        self._counts[result] += 1

    def _update(self, event: Event) -> None:
        if self._task is None:
            return
        told = [f"{self._counts[word]} {word}" for word in ("failed", "unreported", "skipped") if self._counts[word]]
        description = f"Wave {event.wave}" if isinstance(event, WaveBegin) else None
        more = {"description": description} if description else {}
        working = f"{len(self._working)} in work" if self._working else ""
        self._progress.update(
            self._task,
            completed=len(self._results),
            told=", ".join([*told, working] if working else told),
            **more,  # type: ignore[arg-type]
        )


def _is_quiet(event: HostEnd) -> bool:
    return event.result == "converged" and not event.operations
