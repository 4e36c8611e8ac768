"""What a connection remembers: exactly what was asked, and only until something may have been written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.hiddenvalue import HiddenValue

from hearth.asking import batch
from hearth.asking.answers import Answers, AskedError, question_of

# As pyinfra hands them over for a fact.
PLAIN: dict[str, Any] = {
    "_sudo": False,
    "_sudo_user": None,
    "_shell_executable": "sh",
    "_env": {},
    "_success_exit_codes": [0],
    "_timeout": None,
    "_get_pty": False,
    "_stdin": None,
    "_retries": 0,
    "_retry_delay": 5,
    "_retry_until": None,
    "_temp_dir": None,
}


class Host:
    """This machine in place of a host; counts what is sent to it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def __call__(self, script: bytes) -> bytes:
        self.sent.append(script)
        command = batch.COMMAND.replace("python3", sys.executable).split()
        return subprocess.run(command, input=script, capture_output=True, check=True).stdout


@pytest.fixture
def host() -> Host:
    return Host()


def test_what_was_gathered_is_answered_any_number_of_times(host: Host) -> None:
    answers = Answers()
    answers.gather(["echo one", "echo two", "echo one"], host)
    for _ in range(2):
        found = answers.to("echo one", host)
        assert found is not None
        assert found.stdout_lines == ["one"]
    assert len(host.sent) == 1


@pytest.mark.parametrize("question", ["exit 3", "echo no; false", "printf '\\377'", "kill $$"])
def test_what_fails_or_cannot_be_read_is_asked_alone(host: Host, question: str) -> None:
    answers = Answers()
    answers.gather([question, "echo one"], host)
    assert answers.to(question, host) is None
    assert answers.to("echo one", host) is not None, "a question that was asked to be asked writes nothing"


@pytest.mark.parametrize(
    "write",
    [
        lambda answers, host: answers.to("rm file", host),
        lambda answers, host: answers.to(None, host),
        lambda answers, host: answers.forget(),
    ],
)
def test_nothing_holds_any_more_once_something_may_have_been_written(
    host: Host, write: Callable[[Answers, Host], object]
) -> None:
    answers = Answers()
    answers.gather(["echo one"], host)
    write(answers, host)
    assert answers.to("echo one", host) is None
    assert len(host.sent) == 1


def test_after_a_write_a_question_takes_the_next_ones_along(host: Host) -> None:
    answers = Answers()
    answers.know(["echo one", "echo two"])
    answers.ahead = lambda: ("echo one", "echo two")
    assert answers.to("echo one", host) is not None
    assert answers.to("echo two", host) is not None
    answers.to("rm file", host)
    assert answers.to("echo two", host) is not None
    assert len(host.sent) == 2


def test_one_question_alone_goes_as_it_is(host: Host) -> None:
    answers = Answers()
    answers.know(["echo one"])
    answers.ahead = lambda: ("echo one",)
    assert answers.to("echo one", host) is None
    assert host.sent == []


def test_a_host_that_cannot_be_asked_in_a_batch_is_not_asked_so_twice() -> None:
    sent: list[bytes] = []

    def refuse(script: bytes) -> bytes:
        sent.append(script)
        raise ConnectError("no python3")

    answers = Answers()
    for _ in range(2):
        answers.gather(["echo one"], refuse)
        assert answers.to("echo one", refuse) is None
    assert len(sent) == 1


@pytest.mark.parametrize("printed", [b"", b"Welcome!\n", b"hearth-answers 0\nend 0\n"])
def test_a_host_that_prints_something_else_is_asked_alone(printed: bytes) -> None:
    answers = Answers()
    answers.gather(["echo one"], lambda script: printed)
    assert answers.to("echo one", lambda script: printed) is None


def test_by_heart_nothing_is_sent_and_the_question_is_heard(host: Host) -> None:
    answers = Answers()
    answers.gather(["echo one"], host)
    with answers.by_heart():
        assert answers.to("echo one", host) is not None
        with pytest.raises(AskedError) as heard:
            answers.to("echo two", host)
    assert heard.value.question == "echo two"
    assert len(host.sent) == 1


def test_a_fact_as_pyinfra_asks_it_is_a_question() -> None:
    command = StringCommand("test", "-e", QuoteString("a file"))
    assert question_of("true", PLAIN, sudo=False) == "true"
    assert question_of(command, PLAIN, sudo=False) == "test -e 'a file'"
    assert question_of("true", PLAIN | {"_sudo": True}, sudo=True) == "true"


@pytest.mark.parametrize(
    "unusual",
    [
        {"_sudo": True},
        {"_sudo_user": "www-data"},
        {"_sudo_password": "secret"},
        {"_use_sudo_login": True},
        {"_preserve_sudo_env": True},
        {"_su_user": "www-data"},
        {"_doas": True},
        {"_dzdo": True},
        {"_shell_executable": "bash"},
        {"_chdir": "/srv"},
        {"_env": {"LANG": "C"}},
        {"_success_exit_codes": [0, 1]},
        {"_timeout": 5},
        {"_get_pty": True},
        {"_stdin": "secret"},
    ],
)
def test_whatever_is_unusual_is_sent_as_it_is(unusual: dict[str, Any]) -> None:
    assert question_of("true", PLAIN | unusual, sudo=False) is None


def test_a_command_with_a_secret_in_it_is_no_question() -> None:
    secret = StringCommand("login", QuoteString(HiddenValue("secret")))
    assert question_of(secret, PLAIN, sudo=False) is None
