"""A home's line in software: so many megabits a second, so many milliseconds away. netem is missing in many kernels.

    slow_line.py PORT MEGABITS_PER_S ROUND_TRIP_MS

Run as root on the home's host, for what the kernel redirects to PORT: it connects to where the traffic was bound for,
and hands each byte on when the line would have. Both directions have the line's speed, and all connections share it.
What has passed since the last time is printed as JSON whenever a line comes on standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys

CHUNK_BYTES = 16_384
MARK = 7212
"""Of the proxy's own connections, which are not to be redirected."""
_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h


class Direction:
    """One direction of the line."""

    def __init__(self, bytes_per_s: float, one_way_s: float) -> None:
        self.bytes_per_s, self.one_way_s = bytes_per_s, one_way_s
        self.free_at, self.carried = 0.0, 0

    def due(self, size_bytes: int) -> float:
        """When a piece that comes now has arrived; the line is busy with it until then."""
        now = asyncio.get_running_loop().time()
        self.free_at = max(now, self.free_at) + size_bytes / self.bytes_per_s
        self.carried += size_bytes
        return self.free_at + self.one_way_s

    def backlog_s(self) -> float:
        """How long a piece that comes now waits for its turn."""
        return self.free_at - asyncio.get_running_loop().time()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Direction) -> None:
    """Hand on what ``reader`` gives as the line lets it, until its end."""
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def read() -> None:
        piece = b"more"
        while piece:
            piece = b""
            with contextlib.suppress(OSError):
                piece = await reader.read(CHUNK_BYTES)
            pieces.put_nowait((line.due(len(piece)), piece))
            # A router keeps a tenth of a second's traffic; the sender feels the rest.
            await asyncio.sleep(max(0.0, line.backlog_s() - 0.1))

    reading = asyncio.create_task(read())
    try:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            if not piece:
                writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()
    except OSError:
        return
    finally:
        reading.cancel()


def bound_for(connection: socket.socket) -> tuple[str, int]:
    """Where a redirected connection wanted to go."""
    raw = connection.getsockopt(socket.SOL_IP, _ORIGINAL_DST, 16)
    port, address = struct.unpack("!2xH4s8x", raw)
    return socket.inet_ntoa(address), port


async def opened(target: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of the proxy's own."""
    outward = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    outward.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
    outward.setblocking(False)
    await asyncio.get_running_loop().sock_connect(outward, target)
    return await asyncio.open_connection(sock=outward)


async def run(port: int, megabits_per_s: float, round_trip_ms: float) -> None:
    """Serve until standard input ends."""
    up, down = (Direction(megabits_per_s * 125_000, round_trip_ms / 2000) for _ in range(2))

    async def accept(from_home: asyncio.StreamReader, to_home: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip_ms / 1000)
        try:
            from_world, to_world = await opened(bound_for(to_home.get_extra_info("socket")))
        except OSError:
            to_home.close()
            return
        try:
            await asyncio.gather(carry(from_home, to_world, up), carry(from_world, to_home, down))
        finally:
            to_home.close()
            to_world.close()

    await asyncio.start_server(accept, "0.0.0.0", port)  # noqa: S104 (a lab's host)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        print(json.dumps({"up_bytes": up.carried, "down_bytes": down.carried}), flush=True)  # noqa: T201
        up.carried = down.carried = 0


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
