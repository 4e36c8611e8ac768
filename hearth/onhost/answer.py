"""Answers many questions in one command; sent to a host's ``python3 -`` by ``hearth.asking.batch``, never put there.

Each question is a shell command that only reads. It gets what a command over SSH of its own would get: no input, a
session of its own, the environment of the login. What does not end in time, says too much, or cannot be started has no
frame among the answers: then it is asked alone.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time

CHUNK = 65536
# A process that has closed its output has as good as ended.
LAST_MOMENT_S = 1.0


def login_environment() -> dict[bytes, bytes]:
    """The environment that this process was started with: Python itself adds LC_CTYPE where it finds none."""
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 (pathlib takes longer to import than all else here)
        pairs = (entry.partition(b"=") for entry in file.read().split(b"\0") if entry)
        return {name: value for name, _, value in pairs}


class Running:
    """A question that is being answered: its number, its process, what it has said, and when it is given up.

    ``said``: by the descriptor from which it is read, standard output first. ``open``: those that have not ended.
    Raises OSError or ValueError when the command cannot be started.
    """

    def __init__(self, number: int, command: str, environment: dict[bytes, bytes], until: float) -> None:
        self.number = number
        self.until = until
        self.said: dict[int, bytearray] = {}
        ends = []
        try:
            for _ in ("stdout", "stderr"):
                here, there = os.pipe()
                self.said[here] = bytearray()
                ends.append(there)
            self.process = subprocess.Popen(
                ["sh", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=ends[0],
                stderr=ends[1],
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError):
            self.close()
            raise
        finally:
            for end in ends:
                os.close(end)
        self.open = set(self.said)

    def read(self, stream: int, most_bytes: int) -> bool:
        """Take what a stream has to say; False when it is too much."""
        part = os.read(stream, CHUNK)
        self.said[stream] += part
        if not part:
            self.open.discard(stream)
        return len(self.said[stream]) <= most_bytes

    def frame(self) -> bytes:
        """The answer: number, status and two lengths, then standard output and standard error as they came.

        Nothing when the process does not end.
        """
        out, err = (bytes(said) for said in self.said.values())
        try:
            status = self.process.wait(LAST_MOMENT_S)
        except subprocess.TimeoutExpired:
            self.give_up()
            return b""
        self.close()
        return b"%d %d %d %d\n" % (self.number, status, len(out), len(err)) + out + err + b"\n"

    def give_up(self) -> None:
        """Kill the question and all that it has started in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.close()
        self.process.wait()

    def close(self) -> None:
        """Close this side of its streams."""
        for stream in self.said:
            os.close(stream)


def main(commands: list[str], nonce: str, limit_s: float, total_s: float, most_bytes: int, most_at_once: int) -> None:
    """Answer ``commands`` on standard output, as many at once as there are cores, at most ``most_at_once``.

    Each has ``limit_s`` seconds and ``most_bytes`` a stream; ``total_s``: for all of them together.
    """
    environment = login_environment()
    at_once = min(most_at_once, len(os.sched_getaffinity(0)))
    end = time.monotonic() + total_s
    waiting = list(enumerate(commands))[::-1]
    running: set[Running] = set()
    out = sys.stdout.buffer
    out.write(b"hearth-answers %b\n" % nonce.encode())
    with selectors.DefaultSelector() as selector:

        def forget(question: Running) -> None:
            for stream in question.said:
                with contextlib.suppress(KeyError):
                    selector.unregister(stream)
            running.discard(question)

        while running or (waiting and time.monotonic() < end):
            while waiting and len(running) < at_once and time.monotonic() < end:
                number, command = waiting.pop()
                with contextlib.suppress(OSError, ValueError):
                    question = Running(number, command, environment, min(end, time.monotonic() + limit_s))
                    running.add(question)
                    for stream in question.said:
                        selector.register(stream, selectors.EVENT_READ, question)
            soonest = min((question.until for question in running), default=0.0)
            for key, _ in selector.select(max(0.0, soonest - time.monotonic())):
                question = key.data
                if question not in running:
                    continue
                if not question.read(key.fd, most_bytes):
                    forget(question)
                    question.give_up()
                elif key.fd not in question.open:
                    selector.unregister(key.fd)
                    if not question.open:
                        forget(question)
                        out.write(question.frame())
            for question in [question for question in running if question.until <= time.monotonic()]:
                forget(question)
                question.give_up()
    out.write(b"end %b\n" % nonce.encode())
    out.flush()
