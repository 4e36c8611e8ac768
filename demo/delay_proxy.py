"""A TCP proxy that is as far away as a line of so many milliseconds; netem is missing in many kernels.

    python -m demo.delay_proxy LISTEN_HOST:PORT TARGET_HOST:PORT MS [LISTEN TARGET MS …]

Each byte arrives MS later than it was sent, in either direction, and none waits for another: it is latency, not
bandwidth. Opening a connection costs what it costs on such a line: the target sees it after three times MS (SYN,
SYN-ACK, ACK). Prints ``ready`` when it listens on all, and runs until it is told to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from dataclasses import dataclass

CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Line:
    """Where to listen, where it leads, and how long a byte takes one way."""

    listen: tuple[str, int]
    target: tuple[str, int]
    one_way_s: float


def parse_line(listen: str, target: str, milliseconds: str) -> Line:
    """Given the three words of the command line, return the Line. Raises ValueError in one sentence."""
    return Line(_parse_address(listen), _parse_address(target), _parse_milliseconds(milliseconds) / 1000)


def _parse_address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is no HOST:PORT")
    return host, int(port)


def _parse_milliseconds(text: str) -> float:
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = -1
    if not 0 <= milliseconds < 60_000:
        raise ValueError(f"{text!r} is no number of milliseconds from 0 to 60000")
    return milliseconds


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, one_way_s: float, not_before: float
) -> None:
    """Hand on what ``reader`` gives, each piece so much later than it came, until its end has been handed on too.

    ``not_before``: the loop's time before which nothing can have been sent, since the connection was still opening.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def read() -> None:
        piece = b"more"
        while piece:
            piece = b""
            with contextlib.suppress(OSError):
                piece = await reader.read(CHUNK_BYTES)
            pieces.put_nowait((max(loop.time(), not_before) + one_way_s, piece))

    reading = asyncio.create_task(read())
    try:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()
    except OSError:
        return
    finally:
        reading.cancel()


def _without_nagle(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def serve(line: Line) -> asyncio.Server:
    """Listen, and carry every connection to the target until the server is closed."""

    async def accept(from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        opened = asyncio.get_running_loop().time()
        await asyncio.sleep(3 * line.one_way_s)
        try:
            from_target, to_target = await asyncio.open_connection(*line.target)
        except OSError:
            to_client.close()
            return
        for writer in (to_client, to_target):
            _without_nagle(writer)
        try:
            # Cancelled when the proxy ends; Python 3.11 would print that as a fault of the connection.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(
                    # The client may speak when the SYN-ACK is there; here it believed so at once.
                    _carry(from_client, to_target, line.one_way_s, opened + 2 * line.one_way_s),
                    _carry(from_target, to_client, line.one_way_s, 0),
                )
        finally:
            for writer in (to_client, to_target):
                writer.close()

    return await asyncio.start_server(accept, *line.listen, backlog=1024)


async def run(lines: list[Line]) -> None:
    """Serve all lines until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    servers = [await serve(line) for line in lines]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await ended.wait()
    for server in servers:
        server.close()


def main(words: list[str]) -> int:
    """Run; exit status 2 with one sentence when the command line is wrong, 1 when it cannot listen."""
    if not words or len(words) % 3:
        sys.stderr.write("usage: python -m demo.delay_proxy LISTEN_HOST:PORT TARGET_HOST:PORT MS […]\n")
        return 2
    try:
        lines = [parse_line(*words[at : at + 3]) for at in range(0, len(words), 3)]
    except ValueError as fault:
        sys.stderr.write(f"{fault}\n")
        return 2
    try:
        asyncio.run(run(lines))
    except OSError as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
