"""The wire of a batch: one command, the questions as its standard input, the answers as frames of its output. Pure.

Nothing is written on the host, nothing goes through /tmp, and neither the number of questions nor their length meets
the limit of a command line. Frames carry their length, so an answer may hold anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COMMAND = "python3 -ISB -"
"""I: whatever lies in the home folder or the environment is not Python's. S: starts in half the time."""

# Far above what any question takes on a slow board; one that hangs is then asked alone, where it may hang as long as
# it likes.
LIMIT_S = 30.0
TOTAL_S = 60.0
ANSWER_S = TOTAL_S + 15
MOST_BYTES = 8 << 20
# Most questions wait for a disk or for systemd; a box has its visitors to serve meanwhile.
MOST_AT_ONCE = 4

_PROGRAM = (Path(__file__).parents[1] / "onhost/answer.py").read_text()
_FRAME = re.compile(rb"(\d{1,6}) (-?\d{1,3}) (\d{1,9}) (\d{1,9})\n")


@dataclass(frozen=True)
class Answer:
    """What a question's command said, and its exit status (negative: the signal that ended it)."""

    status: int
    stdout: bytes
    stderr: bytes


def script(
    questions: Sequence[str], nonce: str, *, limit_s: float | None = None, total_s: float | None = None
) -> bytes:
    """The standard input of ``COMMAND``: the program, and the questions in Python's own notation.

    ``limit_s``: how long a question may take, ``LIMIT_S`` by default; ``total_s``: all of them together.
    ``nonce``: hexadecimal digits that nobody can guess, so that nothing on the host passes for the answers.
    """
    request = (list(questions), nonce, limit_s or LIMIT_S, total_s or TOTAL_S, MOST_BYTES, MOST_AT_ONCE)
    return f"{_PROGRAM}\n\nmain(*{request!a})\n".encode()


def parse(output: bytes, nonce: str, questions: Sequence[str]) -> dict[str, Answer]:
    """Given all that the command printed, return question -> Answer; a question without a frame is missing.

    Raises ValueError when there is anything before, between or behind the frames, or the end is missing.
    """
    head, tail = f"hearth-answers {nonce}\n".encode(), f"end {nonce}\n".encode()
    if not output.startswith(head):
        raise ValueError("something else was printed before the answers")
    at = len(head)
    found: dict[str, Answer] = {}
    while not output.startswith(tail, at):
        frame = _FRAME.match(output, at)
        if frame is None:
            raise ValueError("the answers end early, or something else is among them")
        number, status, out_length, err_length = (int(part) for part in frame.groups())
        out_end = frame.end() + out_length
        err_end = out_end + err_length
        if number >= len(questions) or questions[number] in found or output[err_end : err_end + 1] != b"\n":
            raise ValueError("the answers are not to these questions")
        found[questions[number]] = Answer(status, output[frame.end() : out_end], output[out_end:err_end])
        at = err_end + 1
    if at + len(tail) != len(output):
        raise ValueError("something else was printed behind the answers")
    return found


def lines(stream: bytes) -> list[str]:
    """The lines of a stream, as pyinfra's SSH connector hands them out. Raises UnicodeDecodeError."""
    whole = stream.split(b"\n")
    return [line.decode() for line in (whole if whole[-1] else whole[:-1])]
