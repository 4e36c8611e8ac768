"""The clients of demo/bench_relay.py: real ssh, many at once, each started again as the box's unit does it."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from hearth import layout
from hearth.inventory import load_or_raise
from hearth.inventory.model import Household, Relay
from hearth.lab.lab import Lab
from hearth.lab.process import LabError
from roles import tunnel

RELAY, VISITOR = "relay1", "visitor"
PER_ADDRESS = 90
"""Of the 100 connections that the relay's firewall allows an address."""

ADDRESSES = tuple(f"198.51.100.{last}" for last in range(121, 250))
"""Of the lab's internet; its hosts have lower ones."""

KEYS = "/root/households"
"""Where the visitor's host has their keys."""

GIVE_UP_S = 300.0


@dataclass
class Client:
    """A household's ssh, started again as the box's unit does it."""

    household: Household
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    due_at: float = 0.0
    failures: int = 0
    starts: int = 0

    def delay_s(self) -> float:
        """systemd's rule for RestartSteps=4 (service.c, service_restart_usec_next), with the household's own delays."""
        first, longest = (delay / 1000 for delay in tunnel.delays_ms(self.household.slot))
        return first * math.pow(longest / first, min(self.failures - 1, 4) / 4)

    def tick(self, now: float, log: IO[bytes]) -> None:
        """Start ssh when it is time to, and note when it has ended."""
        if self.process is not None:
            if self.process.poll() is None:
                return
            self.process = None
            self.failures += 1
            self.due_at = now + self.delay_s()
        if now >= self.due_at:
            self.starts += 1
            # Away from this terminal: on Ctrl-C the clients are ended below, and in order.
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
            )


@dataclass(frozen=True)
class Crowd:
    """All households' clients, and the relay that they come to."""

    lab: Lab
    clients: tuple[Client, ...]
    log: IO[bytes]

    def connected(self) -> set[str]:
        """The households' addresses on which the relay listens; none while it is down."""
        try:
            told = self.lab.exec(RELAY, ["ss", "-Hltn", "sport", "=", f":{layout.HTTPS_TUNNEL_PORT}"], check=False)
        except LabError:
            return set()
        return {line.split()[3].rsplit(":", 1)[0] for line in told.stdout.splitlines()}

    def run(self, is_over: Callable[[set[str]], bool]) -> set[str]:
        """Keep the clients going until ``is_over`` says so of the connected addresses, or GIVE_UP_S have passed."""
        began_at = time.monotonic()
        while True:
            for client in self.clients:
                client.tick(time.monotonic(), self.log)
            connected = self.connected()
            for client in self.clients:
                # The unit's ExecStartPost: who is in begins with the first delay the next time.
                if str(client.household.tunnel_address) in connected:
                    client.failures = 0
            if is_over(connected) or time.monotonic() - began_at > GIVE_UP_S:
                return connected
            time.sleep(0.2)

    def last_word(self) -> str:
        """The last line that any client wrote."""
        return Path(self.log.name).read_text().rstrip().rpartition("\n")[2]

    def end(self) -> None:
        """End every client."""
        running = [client.process for client in self.clients if client.process is not None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def put_keys(lab: Lab, keys: Path, relay: Relay) -> None:
    """Give the visitor's host every household's key, and the relay's host key."""
    (keys / "known_hosts").write_text(tunnel.known_hosts(relay))
    packed = subprocess.run(
        ["tar", "--create", "--exclude=*.pub", "--directory", str(keys), "."], stdout=subprocess.PIPE, check=True
    )
    unpack = lab.exec_command(
        VISITOR, ["sh", "-c", f"mkdir {KEYS} && tar --extract --no-same-owner --directory {KEYS}"]
    )
    subprocess.run(unpack, input=packed.stdout, check=True)


def client_command(pid: int, household: Household, relay: Relay, source: str) -> list[str]:
    """The box's own ssh command, with this household's key, in the foreground, from ``source``.

    It is the ssh of the visitor's Debian, whose process 1 is ``pid`` here; but it stays our child, to be ended by us.
    """
    places = {layout.TUNNEL_KEY: f"{KEYS}/{household.id}", tunnel.KNOWN_HOSTS: f"{KEYS}/known_hosts"}
    words = [word for word in tunnel.ssh_options(household, relay) if word not in ("-f", "-y")]
    for on_a_box, here in places.items():
        words = [word.replace(on_a_box, here) for word in words]
    return ["nsenter", f"--target={pid}", "--mount", "--net", "--", "ssh", "-b", source, *words]


@contextmanager
def crowd(lab: Lab, inventory: Path) -> Iterator[Crowd]:
    """The households' clients, not started yet; all of them end with the block."""
    fleet = load_or_raise(inventory)
    relay = replace(fleet.relays[0], address=lab.public_address(RELAY))
    put_keys(lab, inventory.parent / "keys", relay)
    pid = next(host.pid for host in lab.status() if host.name == VISITOR) or 0
    sources = ADDRESSES[: math.ceil(len(fleet.households) / PER_ADDRESS)]
    for address in sources:
        lab.exec(VISITOR, ["ip", "address", "replace", f"{address}/24", "dev", "eth0"])
    with (inventory.parent / "clients.log").open("wb") as log:
        clients = tuple(
            Client(household, client_command(pid, household, relay, sources[place % len(sources)]))
            for place, household in enumerate(fleet.households)
        )
        made = Crowd(lab, clients, log)
        try:
            yield made
        finally:
            made.end()
