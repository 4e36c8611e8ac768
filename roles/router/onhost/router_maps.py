#!/usr/bin/python3
# This file belongs to hearth and is replaced whole; changes made here are lost.
"""Bring the running HAProxy to what the files in /etc/hearth/router say, and no further than needed.

    router-maps check    print how the running HAProxy differs from the files, a line each; exit 1 when it does
    router-maps apply    end every difference; exit 1 with one sentence when that fails

What is done is derived from what runs, never remembered, so that a run which was killed is finished by the next:

    another configuration file on HAProxy's command line    restart
    another ``description`` in it than the file's           reload; old processes keep their connections
    another entry in a map                                  a transaction on the map: lookups see old or new, no mixture
    a connection to an address that no map has any more     its session is ended, in old processes too

HAProxy is spoken to over its master's socket, which only root can open and which reaches old processes.
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from pwd import getpwnam

FOLDER = Path("/etc/hearth/router")
CONFIG = FOLDER / "haproxy.cfg"
MAPS = ("hosts.map", "ports.map", "households.map")
NETWORK = IPv4Network("127.10.0.0/16")
TUNNEL_PORT = 10443

UNIT = "haproxy.service"
USER = "haproxy"
MASTER = "/run/haproxy-master.sock"
ANSWER_TIMEOUT_S = 60
# A command with what belongs to it must fit into one of HAProxy's buffers (tune.bufsize, 16,384 bytes).
PAYLOAD_BYTES = 8192
START_TIMEOUT_S = 20
ENDING_TRIES = 20
TCP_LISTEN = "0A"


class Fault(Exception):
    """What stands in the way, in one sentence."""


@dataclass(frozen=True)
class Difference:
    """How a running map differs from its file: keys to add, to remove, and to give another value."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        return f"{len(self.added)} to add, {len(self.removed)} to remove, {len(self.changed)} to change"


def parse_map(text: str) -> dict[str, str]:
    """Given a map file's text, return its entries."""
    lines = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return dict(lines)


def parse_shown_map(text: str) -> list[tuple[str, str]]:
    """Given what ``show map`` prints (a reference, key, value a line), return its entries, doubles included."""
    entries = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[0].startswith("0x"):
            entries.append((words[1], words[2]))
        elif words:
            raise Fault(f"HAProxy answers `show map` with: {line}")
    return entries


def difference(wanted: dict[str, str], running: Sequence[tuple[str, str]]) -> Difference:
    """What must be done to the running map; a key that stands there twice must be changed too."""
    found: dict[str, set[str]] = {}
    for key, value in running:
        found.setdefault(key, set()).add(value)
    twice = {key for key, count in Counter(key for key, _ in running).items() if count > 1}
    return Difference(
        added=tuple(key for key in wanted if key not in found),
        removed=tuple(key for key in found if key not in wanted),
        changed=tuple(key for key, value in wanted.items() if key in found and (found[key] != {value} or key in twice)),
    )


def payloads(entries: dict[str, str], size: int = PAYLOAD_BYTES) -> Iterator[str]:
    """Cut a map's entries into texts of at most ``size`` bytes, whole lines each."""
    text = ""
    for key, value in entries.items():
        line = f"{key} {value}\n"
        if text and len(text) + len(line) > size:
            yield text
            text = ""
        text += line
    if text:
        yield text


def parse_workers(text: str) -> list[int]:
    """Given what ``show proc`` prints, return the workers' process ids, the one that accepts connections first."""
    return [int(line.split()[0]) for line in text.splitlines() if len(line.split()) > 1 and line.split()[1] == "worker"]


def parse_targets(lines: Iterable[str], owner: int) -> frozenset[str]:
    """Given the lines of /proc/net/tcp, return the tunnels' addresses to which user ``owner`` has connections.

    A connection without an inode belongs to no process any more: the kernel is seeing it out.
    """
    targets = set()
    for line in lines:
        words = line.split()
        if len(words) < 10 or words[3] == TCP_LISTEN or words[7] != str(owner) or words[9] == "0":
            continue
        number, _, port = words[2].partition(":")
        address = IPv4Address(socket.inet_ntoa(struct.pack("=I", int(number, 16))))
        if int(port, 16) == TUNNEL_PORT and address in NETWORK:
            targets.add(str(address))
    return frozenset(targets)


def parse_sessions(text: str, addresses: frozenset[str]) -> list[str]:
    """Given what ``show sess all`` prints, return the ids of the sessions whose server is at one of ``addresses``."""
    found, session = [], ""
    for line in text.splitlines():
        head = re.match(r"(0x[0-9a-f]+): ", line)
        server = re.match(rf"\s+server=\S+ .*\baddr=([0-9.]+):{TUNNEL_PORT}\b", line)
        if head:
            session = head[1]
        elif server and server[1] in addresses:
            found.append(session)
    return found


def ask(command: str, worker: int | None = None) -> str:
    """Give HAProxy's master, or one of its workers, a command and return the answer. Raises Fault without one."""
    text = f"@!{worker} {command}\n" if worker else f"{command}\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(MASTER)
            connection.sendall(text.encode())
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    except OSError as fault:
        raise Fault(
            f"HAProxy does not answer on {MASTER} ({fault}): is EXTRAOPTS set in /etc/default/haproxy?"
        ) from fault
    return answer.decode(errors="replace").strip()


def told(worker: int, command: str) -> None:
    """Give a worker a command that answers nothing when it succeeds; raise Fault with what it answers."""
    answer = ask(command, worker)
    if answer:
        raise Fault(f"HAProxy refuses `{command.splitlines()[0]}`: {answer.splitlines()[0]}")


def unit_property(name: str) -> str:
    """What systemd says of HAProxy's unit."""
    shown = subprocess.run(
        ["systemctl", "show", f"--property={name}", "--value", UNIT], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()


def runs_with_our_file() -> bool:
    """Whether the unit's HAProxy runs, and was started with our configuration file."""
    try:
        words = Path("/proc", unit_property("MainPID"), "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(CONFIG).encode() in words


def mark(text: str, pattern: str) -> str:
    """The digest by which a configuration calls itself, in its own text or in what ``show info`` prints."""
    found = re.search(rf"^\s*{pattern} (\S+)$", text, re.MULTILINE)
    return found[1] if found else ""


def current_worker() -> int:
    """The process that accepts connections. Raises Fault when there is none."""
    workers = parse_workers(ask("show proc"))
    if not workers:
        raise Fault(f"HAProxy has no worker: see `journalctl --unit {UNIT}`")
    return workers[0]


def runs_our_configuration(worker: int) -> bool:
    """Whether the worker has read the configuration file as it is now."""
    return mark(ask("show info", worker), "description:") == mark(CONFIG.read_text(), "description")


def map_difference(worker: int, name: str) -> Difference:
    """How a map that a worker uses differs from its file."""
    running = parse_shown_map(ask(f"show map {FOLDER / name}", worker))
    return difference(parse_map((FOLDER / name).read_text()), running)


def used_maps() -> tuple[str, ...]:
    """The maps that the configuration names: the ports' only when a household has a port."""
    text = CONFIG.read_text()
    return tuple(name for name in MAPS if str(FOLDER / name) in text)


def strays() -> frozenset[str]:
    """The tunnels' addresses to which HAProxy has connections although no household has them any more."""
    published = parse_map((FOLDER / "households.map").read_text()).keys()
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return parse_targets(lines, getpwnam(USER).pw_uid) - published


def differences() -> Iterator[str]:
    """Yield how the running HAProxy differs from the files, in words."""
    if not runs_with_our_file():
        yield f"{UNIT} does not run with {CONFIG}"
        return
    if unit_property("NeedDaemonReload") == "yes":
        yield f"systemd has not read {UNIT} anew"
    worker = current_worker()
    if not runs_our_configuration(worker):
        yield f"HAProxy runs another configuration than {CONFIG}"
        return
    for name in used_maps():
        if found := map_difference(worker, name):
            yield f"{name}: {found}"
    if gone := strays():
        yield f"connections to {', '.join(sorted(gone))}, where no household is any more"


def systemctl(*words: str) -> None:
    """Run systemctl; raise Fault when it fails."""
    if subprocess.run(["systemctl", *words], capture_output=True, check=False).returncode != 0:
        raise Fault(f"`systemctl {' '.join(words)}` fails: see `journalctl --unit {UNIT}`")


def restart() -> None:
    """Start HAProxy with the file that its unit names."""
    systemctl("daemon-reload")
    systemctl("restart", UNIT)
    if not CONFIG.exists():
        return
    # The master starts itself anew once its first worker runs, and cuts off whoever asks just then.
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            current_worker()
            return
        except Fault:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def reload() -> None:
    """Have HAProxy read the configuration; the master answers when the new worker has taken over."""
    answer = ask("reload")
    if not answer.startswith("Success=1"):
        raise Fault(f"HAProxy does not take {CONFIG}: {' / '.join(answer.splitlines()[-3:])}")


def replace_map(worker: int, name: str) -> None:
    """Give a worker a map's entries as one transaction."""
    path = FOLDER / name
    answer = ask(f"prepare map {path}", worker)
    version = mark(answer, "New version created:")
    if not version:
        raise Fault(f"HAProxy refuses to prepare {path}: {answer}")
    for payload in payloads(parse_map(path.read_text())):
        told(worker, f"add map @{version} {path} <<\n{payload}")
    told(worker, f"commit map @{version} {path}")


def end_sessions() -> None:
    """End the sessions of households that are no longer here, in every process. Raises Fault when some remain."""
    for _ in range(ENDING_TRIES):
        gone = strays()
        if not gone:
            return
        for worker in parse_workers(ask("show proc")):
            for session in parse_sessions(ask("show sess all", worker), gone):
                # A session that has ended by itself meanwhile is as good.
                ask(f"shutdown session {session}", worker)
        time.sleep(0.2)
    raise Fault(f"connections to {', '.join(sorted(strays()))} do not end")


def apply() -> None:
    """End every difference. Raises Fault when that fails."""
    if not CONFIG.exists():
        # The very first configuration was undone: Debian's own is what the unit has again.
        restart()
        return
    if not runs_with_our_file():
        restart()
    elif unit_property("NeedDaemonReload") == "yes":
        # What changed in the unit besides the file's name waits for the next start: no connection is worth it.
        systemctl("daemon-reload")
    if not runs_our_configuration(current_worker()):
        reload()
    worker = current_worker()
    for name in used_maps():
        if map_difference(worker, name):
            replace_map(worker, name)
    end_sessions()
    if left := list(differences()):
        raise Fault(f"HAProxy still differs: {'; '.join(left)}")


def main(arguments: list[str]) -> int:
    """Run one verb; exit status 0, or 1 with the differences or one sentence."""
    try:
        match arguments:
            case ["check"]:
                found = list(differences())
                print("".join(f"{line}\n" for line in found), end="")
                return 1 if found else 0
            case ["apply"]:
                apply()
            case _:
                raise Fault("usage: router-maps check | apply")
    except (Fault, OSError) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
