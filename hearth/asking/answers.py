"""What a connection remembers of a host: questions that may be asked in a batch, and the answers that still hold.

A *question* is the text of a command that a fact sends, with nothing unusual around it. An answer is repeated to
whoever asks with exactly that text, until something may have been written: the first command that is no question that
an operation was heard to ask, a file that is put or fetched, a second login, or the begin of another stage. Only an
answer that leaves no doubt is remembered; everything else is asked over SSH, alone, as stock pyinfra does it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.util import CommandOutput, OutputLine

from hearth.asking import batch

# What may stand beside a question: these say how often a *failed* command is tried, and where askpass scripts lie.
_HARMLESS = {"_retries", "_retry_delay", "_retry_until", "_temp_dir"}
_JUDGED = {"_sudo", "_shell_executable", "_success_exit_codes"}
_UNUSUAL = tuple(key for key in CONNECTOR_ARGUMENT_KEYS if key not in _HARMLESS | _JUDGED)

Send = Callable[[bytes], bytes]
"""Runs ``batch.COMMAND`` as root with this input and returns its output; raises ConnectError when anything is odd."""


class AskedError(BaseException):
    """Somebody asks what is not known. No Exception, so that no operation takes it for a fault of its own.

    ``question``: None when it cannot be asked in a batch.
    """

    def __init__(self, question: str | None) -> None:
        super().__init__(question)
        self.question = question


def question_of(command: StringCommand | str, arguments: Mapping[str, Any], *, sudo: bool) -> str | None:
    """The text by which a command is asked and answered, or None when it must be sent as it is.

    ``sudo``: whether whoever is logged in needs sudo to be root. What carries a password or input, runs as somebody
    else, in another place, shell or environment, or has a time limit of its own is no question.
    """
    if any(arguments.get(key) for key in _UNUSUAL):
        return None
    if bool(arguments.get("_sudo")) is not sudo or arguments.get("_shell_executable", "sh") != "sh":
        return None
    if list(arguments.get("_success_exit_codes") or [0]) != [0]:
        return None
    if isinstance(command, str):
        return command
    text = command.get_raw_value()
    # They differ where the command holds something that pyinfra hides from its logs.
    return text if text == str(command) else None


def output_of(answer: batch.Answer) -> CommandOutput | None:
    """The answer as pyinfra's connector would give it, or None when it had better be asked alone."""
    if answer.status != 0:
        return None
    try:
        return CommandOutput(
            [
                *(OutputLine("stdout", line) for line in batch.lines(answer.stdout)),
                *(OutputLine("stderr", line) for line in batch.lines(answer.stderr)),
            ]
        )
    except UnicodeDecodeError:
        return None


class Answers:
    """The answers of one host; see the module. ``ahead``: further questions to send along when one is asked."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._table: dict[str, CommandOutput] = {}
        self._alone = False
        self._refused = False
        self.ahead: Callable[[], Iterable[str]] = tuple

    def know(self, questions: Iterable[str]) -> None:
        """Remember that these commands only read."""
        self._known.update(questions)

    def forget(self) -> None:
        """Something may have been written: no answer holds any more."""
        self._table.clear()

    @contextmanager
    def by_heart(self) -> Iterator[None]:
        """Meanwhile nothing is sent: whoever asks what is not known gets an AskedError."""
        before, self._alone = self._alone, True
        try:
            yield
        finally:
            self._alone = before

    def gather(self, questions: Iterable[str], send: Send) -> None:
        """Ask in one command what is not known yet.

        Once that has not worked it is not tried again: there is no Python yet, a login shell prints, sudo asks.
        """
        missing = [question for question in dict.fromkeys(questions) if question not in self._table]
        self.know(missing)
        if not missing or self._refused:
            return
        nonce = secrets.token_hex(8)
        try:
            found = batch.parse(send(batch.script(missing, nonce)), nonce, missing)
        except (ConnectError, ValueError):
            self._refused = True
            return
        outputs = {question: output_of(answer) for question, answer in found.items()}
        self._table |= {question: output for question, output in outputs.items() if output is not None}

    def to(self, question: str | None, send: Send) -> CommandOutput | None:
        """The answer to a question, or None when it must be asked over SSH. Raises AskedError when nothing is sent."""
        if question is not None and question in self._table:
            return self._table[question]
        if self._alone:
            raise AskedError(question)
        if question is None or question not in self._known:
            self.forget()
            return None
        further = [one for one in self.ahead() if one != question]
        if further:
            self.gather((question, *further), send)
        return self._table.get(question)
