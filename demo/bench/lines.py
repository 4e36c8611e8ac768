"""Lines of some length in front of hosts: one ``demo.delay_proxy`` for all of them, in a control group of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from demo.bench.measure import inside
from demo.bench.peers import REPOSITORY, Host
from hearth.lab import cgroups
from hearth.lab.process import LabError

Address = tuple[str, int]


def free_ports(count: int) -> tuple[int, ...]:
    """Ports of the loopback that nobody has now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = tuple(one.getsockname()[1] for one in held)
    for one in held:
        one.close()
    return ports


@contextmanager
def laid(lines: Sequence[tuple[Address, Address]], milliseconds: int, group: Path) -> Iterator[None]:
    """Lay lines (where to listen, where it leads) until the block ends. Raises LabError when they cannot be laid."""
    words = [f"{host}:{port}" for line in lines for host, port in line]
    argv = [sys.executable, "-m", "demo.delay_proxy"]
    for listen, target in zip(words[::2], words[1::2], strict=True):
        argv += [listen, target, str(milliseconds)]
    cgroups.create(group)
    try:
        with subprocess.Popen(
            inside(group, argv),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                if process.stdout is None or process.stdout.readline() != "ready\n":
                    raise LabError("The lines to the benchmark's hosts cannot be laid; see above.")
                yield
            finally:
                cgroups.kill(group)
                process.kill()  # interrupted before it was in the group
    finally:
        cgroups.remove(group)


@contextmanager
def far(hosts: Sequence[Host], milliseconds: int, group: Path) -> Iterator[tuple[Host, ...]]:
    """The hosts as they are reached over lines of so many milliseconds; with none, straight."""
    if milliseconds == 0:
        yield tuple(hosts)
        return
    ports = free_ports(len(hosts))
    lines = [(("127.0.0.1", port), (host.address, host.port)) for port, host in zip(ports, hosts, strict=True)]
    with laid(lines, milliseconds, group):
        yield tuple(replace(host, address="127.0.0.1", port=port) for port, host in zip(ports, hosts, strict=True))
