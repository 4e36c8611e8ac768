"""The proxy carries what it is given and delays it at least as long as it says; how much longer decides nothing."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.delay_proxy import Line, main, parse_line

REPOSITORY = Path(__file__).parents[3]


@contextmanager
def echo() -> Iterator[int]:
    """A server that sends back what it gets, and then ends the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while piece := connection.recv(65536):
                    connection.sendall(piece)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@contextmanager
def proxy(target: int, milliseconds: int) -> Iterator[int]:
    """A proxy before a port of this machine; told to end, it ends well and without a word."""
    port = a_free_port()
    words = [f"127.0.0.1:{port}", f"127.0.0.1:{target}", str(milliseconds)]
    command = [sys.executable, "-m", "demo.delay_proxy", *words]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield port
        finally:
            process.terminate()
            assert (process.communicate(timeout=10)[1], process.returncode) == ("", 0)


def everything(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_bytes_come_through_whole_in_order_and_late() -> None:
    sent = bytes(range(256)) * 4096
    with echo() as target, proxy(target, 30) as port, socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        began = time.monotonic()
        threading.Thread(target=lambda: (line.sendall(sent), line.shutdown(socket.SHUT_WR)), daemon=True).start()
        received = everything(line)

        assert received == sent
        # Opening, there and back: no sooner than light would.
        assert time.monotonic() - began >= 4 * 0.030


def test_what_nobody_serves_ends_at_once_for_the_client() -> None:
    with proxy(a_free_port(), 0) as port, socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        assert everything(line) == b""


def test_a_connection_that_is_open_when_the_proxy_ends_is_no_fault() -> None:
    with echo() as target, proxy(target, 0) as port:
        line = socket.create_connection(("127.0.0.1", port), timeout=30)
        line.sendall(b"hello")
        assert line.recv(5) == b"hello"
    with line:
        assert everything(line) == b""


def test_a_line_is_read_from_three_words() -> None:
    assert parse_line("127.0.0.1:2200", "10.0.0.1:22", "12.5") == Line(("127.0.0.1", 2200), ("10.0.0.1", 22), 0.0125)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["here", "127.0.0.1:22", "20"], "'here' is no HOST:PORT\n"),
        (["127.0.0.1:70000", "127.0.0.1:22", "20"], "'127.0.0.1:70000' is no HOST:PORT\n"),
        (["127.0.0.1:2200", "127.0.0.1:22", "soon"], "'soon' is no number of milliseconds from 0 to 60000\n"),
        (["127.0.0.1:2200", "127.0.0.1:22", "-1"], "'-1' is no number of milliseconds from 0 to 60000\n"),
    ],
)
def test_a_wrong_word_is_refused_in_one_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == said


def test_half_a_line_is_refused_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["127.0.0.1:2200"]) == 2
    assert capsys.readouterr().err.startswith("usage: ")
