"""The wire of a batch: whatever a command says comes over unchanged, or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paramiko.file import BufferedFile

from hearth.asking import batch
from hearth.asking.batch import Answer, lines, parse

NONCE = "0123456789abcdef"
LOOK_ALIKES = (
    f"hearth-answers {NONCE}\n".encode(),
    f"end {NONCE}\n".encode(),
    b"0 0 3 0\nabc\n",
    b"\0\xff\n",
    b"no end of line",
)
said = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(LOOK_ALIKES), max_size=5).map(b"".join))
answers = st.lists(st.one_of(st.none(), st.builds(Answer, st.integers(-64, 255), said, said)), max_size=6)


def framed(given_answers: list[Answer | None], nonce: str = NONCE) -> bytes:
    """Answers as the program on the host prints them; None for a question that got none."""
    parts = [f"hearth-answers {nonce}\n".encode()]
    for number, answer in enumerate(given_answers):
        if answer is not None:
            out, err = answer.stdout, answer.stderr
            parts.append(b"%d %d %d %d\n%b%b\n" % (number, answer.status, len(out), len(err), out, err))
    return b"".join((*parts, f"end {nonce}\n".encode()))


def questions(number: int) -> list[str]:
    return [f"question {one}" for one in range(number)]


def run(asked: list[str], **limits: float) -> dict[str, Answer]:
    """Ask this machine, as a host is asked."""
    done = subprocess.run(
        batch.COMMAND.replace("python3", sys.executable).split(),
        input=batch.script(asked, NONCE, **limits),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == b""
    return parse(done.stdout, NONCE, asked)


@given(answers)
def test_any_answer_comes_over_as_it_was_said(all_of_them: list[Answer | None]) -> None:
    asked = questions(len(all_of_them))
    wanted = {question: answer for question, answer in zip(asked, all_of_them, strict=True) if answer is not None}
    assert parse(framed(all_of_them), NONCE, asked) == wanted


@given(answers, st.data())
def test_what_is_cut_short_is_no_answer(all_of_them: list[Answer | None], data: st.DataObject) -> None:
    whole = framed(all_of_them)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError, match=r"printed before|end early|not to these"):
        parse(whole[:cut], NONCE, questions(len(all_of_them)))


@given(answers, st.binary(min_size=1, max_size=50))
def test_what_is_printed_before_or_behind_spoils_all_answers(all_of_them: list[Answer | None], noise: bytes) -> None:
    whole, asked = framed(all_of_them), questions(len(all_of_them))
    for spoilt in (noise + whole, whole + noise):
        with pytest.raises(ValueError, match="printed"):
            parse(spoilt, NONCE, asked)


@given(answers)
def test_answers_of_another_batch_are_none(all_of_them: list[Answer | None]) -> None:
    with pytest.raises(ValueError, match="before the answers"):
        parse(framed(all_of_them, "f" * 16), NONCE, questions(len(all_of_them)))


@pytest.mark.parametrize("frame", [b"1 0 0 0\n\n", b"0 0 0 0\n\n0 0 0 0\n\n", b"0 0 5 0\nabc\n", b"0 0 1 0\nabc\n"])
def test_frames_that_do_not_fit_the_questions_are_refused(frame: bytes) -> None:
    with pytest.raises(ValueError, match="answers"):
        parse(b"hearth-answers %b\n%bend %b\n" % (NONCE.encode(), frame, NONCE.encode()), NONCE, questions(1))


class Stream(BufferedFile):  # type: ignore[misc]
    """paramiko's own reader over bytes, a few at a time."""

    def __init__(self, content: bytes, step: int) -> None:
        super().__init__()
        self._rest, self._step = content, step
        self._set_mode("r", 1024)

    def _read(self, size: int) -> bytes:
        part, self._rest = self._rest[: self._step], self._rest[self._step :]
        return part


@given(st.one_of(st.text(alphabet="ab\r\n\0é\u2028\x0b", max_size=30).map(str.encode), st.binary(max_size=20)))
def test_lines_are_split_as_the_stock_connector_splits_them(content: bytes) -> None:
    try:
        stock = [line.rstrip("\n") for line in Stream(content, 3)]
    except UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            lines(content)
        return
    assert lines(content) == stock


@settings(max_examples=15)
@given(st.lists(st.tuples(said, said, st.integers(0, 255)), min_size=1, max_size=4))
def test_a_real_shell_is_asked_and_its_streams_come_over(wanted: list[tuple[bytes, bytes, int]]) -> None:
    def octal(content: bytes) -> str:
        return "".join(f"\\{byte:03o}" for byte in content)

    asked = [
        f"printf '{octal(out)}'; printf '{octal(err)}' >&2; exit {status} # {number}"
        for number, (out, err, status) in enumerate(wanted)
    ]
    assert run(asked) == {
        question: Answer(status, out, err) for question, (out, err, status) in zip(asked, wanted, strict=True)
    }


def test_what_hangs_is_given_up_and_keeps_no_other_answer_back() -> None:
    # The second leaves a process behind that holds its output open.
    asked = ["sleep 100", "sleep 100 & echo here", "echo alive"]
    assert run(asked, limit_s=1) == {"echo alive": Answer(0, b"alive\n", b"")}


def test_all_of_them_together_end_in_time() -> None:
    asked = [f"sleep 2; echo {number}" for number in range(40)]
    assert len(run(asked, total_s=3)) < len(asked)


def test_what_says_too_much_has_no_answer_and_much_is_not_too_much() -> None:
    much, endless = f"head -c {batch.MOST_BYTES} /dev/zero", "cat /dev/zero"
    assert run([much, endless, "true"]) == {
        much: Answer(0, bytes(batch.MOST_BYTES), b""),
        "true": Answer(0, b"", b""),
    }


def test_what_cannot_be_started_or_is_killed_is_told_apart_from_what_succeeds() -> None:
    asked = ["echo " + "x" * 200_000, "kill -9 $$", "echo a\0b"]
    assert run(asked) == {"kill -9 $$": Answer(-9, b"", b"")}


def test_a_command_of_a_batch_meets_what_a_command_alone_meets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment, folder, no input, a session of its own, and a pipe that ends whoever writes to nobody."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.delenv("LC_CTYPE", raising=False)
    monkeypatch.setenv("LANG", "C")
    look = (
        "env -0 | tr '\\0' '\\n' | grep -v '^_=' | sort; pwd; umask; cat; ulimit -a; "
        "grep -E '^Sig(Ign|Blk)' /proc/self/status; test $(ps -o sid= -p $$) -eq $$ && echo leader; yes | head -n 1"
    )
    alone = subprocess.run(
        ["sh", "-c", look], stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True, check=True
    )
    assert run([look])[look].stdout == alone.stdout
