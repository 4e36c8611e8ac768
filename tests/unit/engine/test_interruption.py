"""A program that is ended several times cleans up once, and to its end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# Its cleaning up ends only when it is told to, by when it has had every signal.
PROGRAM = """
import subprocess, sys, time
from hearth.interruption import end_once

end_once()
try:
    print("at work", flush=True)
    time.sleep(60)
finally:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    print("cleaning up", child.pid, flush=True)
    sys.stdin.readline()
    child.communicate()
    print("clean", child.returncode, flush=True)
"""


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_what_is_cleaned_up_is_cleaned_up_whole(first: signal.Signals) -> None:
    with subprocess.Popen(
        # As a shell starts its background jobs.
        ["sh", "-c", 'trap \'\' INT; exec "$0" -c "$1"', sys.executable, PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as program:
        assert program.stdin and program.stdout
        assert program.stdout.readline() == "at work\n"
        program.send_signal(first)
        _, _, child = program.stdout.readline().rpartition(" ")
        for again in (signal.SIGINT, signal.SIGTERM):
            program.send_signal(again)
            subprocess.run(["kill", f"-{again.value}", child.strip()], check=True)
        assert program.communicate("\n")[0] == "clean 0\n"
    assert program.returncode != 0
