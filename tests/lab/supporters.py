"""A support Pi, the people who may use it, and what stands in its home network, for the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hearth.inventory import load_or_raise
from hearth.lab.lab import Lab
from roles.tunnel_server.accounts import Account, support_accounts
from tests.lab.boxes import Converge, Operator, wait_for
from tests.lab.sshds import ATTACKER, Attack, Sshd, Variant, make_key, publish, reach

PI = "pi1"
PI_NAME = "pi1.home.example"
DEPLOY = "deploys/pi.py"
SESSIONS = "/usr/lib/hearth/tunnel-sessions"
ROUTER, ROUTER_NAME = "192.168.1.1", "router.lan"
# Another host of the Pi's home network, and a router page that nobody listed.
NEIGHBOUR = "192.168.1.50"
OTHER_PORT = 8080
PAGE = "the router's page"

# Who has which port on the Pi. Behind the last two stands a service of the tests, as if they were connected.
OMA, OPA, TANTE, ONKEL = 17934, 17935, 17940, 17941
HELPED = {"oma": (OMA, ["karl"]), "opa": (OPA, ["max"]), "tante": (TANTE, ["max"]), "onkel": (ONKEL, ["karl"])}
HELPERS = ("karl", "max", "lena")
KEYS = {"screen": "oma", "viewer": "karl", "socks": "lena"}
"""For each account a key that may use it: karl helps oma and onkel, lena opens router pages, max helps the others."""

# What a router has: its page, and services that are nobody's business.
ROUTER_SERVICES = f"""\
import http.server, socketserver, sys, threading

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(("{PAGE}" if self.server.server_port == 80 else "another page").encode())
    def log_message(self, *arguments):
        pass

places = [("{ROUTER}", 80), ("{ROUTER}", {OTHER_PORT}), ("{NEIGHBOUR}", {OTHER_PORT})]
for place in places:
    threading.Thread(target=http.server.ThreadingHTTPServer(place, Page).serve_forever).start()
"""


@dataclass(frozen=True)
class Pi:
    """The converged Pi and its operator."""

    lab: Lab
    operator: Operator
    first_run: Converge

    def sshd(self, variant: Variant, account: str) -> Sshd:
        return Sshd(self.lab, variant, PI, PI_NAME, account, KEYS[account])

    def converge(self) -> Converge:
        return self.operator.converge(limit=PI, deploy=DEPLOY)

    def on(self, *argv: str, check: bool = True) -> str:
        return self.lab.exec(PI, argv, check=check).stdout

    def listens(self, port: int) -> bool:
        return self.on("ss", "-Hltn", f"sport = :{port}") != ""

    def journal(self) -> str:
        return self.on("journalctl", "--namespace=hearth-tunnel", "--output=cat")

    def accounts(self) -> tuple[Account, ...]:
        """What the inventory grants."""
        return support_accounts(load_or_raise(self.operator.inventory).pi_hosts()[0])

    @contextmanager
    def with_people(self, change: Callable[[list[Any], list[Any]], None]) -> Iterator[None]:
        """Let ``change`` edit the inventory's helpers and mueller's screens; all is as before when the block ends."""
        files = [self.operator.inventory / name for name in ("fleet.yaml", "households/mueller.yaml")]
        texts = [file.read_text() for file in files]
        fleet, household = (yaml.safe_load(text) for text in texts)
        change(fleet["helpers"], household["support"]["screens"])
        for file, data in zip(files, (fleet, household), strict=True):
            file.write_text(yaml.safe_dump(data, allow_unicode=True, width=1000))
        try:
            yield
        finally:
            for file, text in zip(files, texts, strict=True):
                file.write_text(text)


def converged_pi(lab: Lab, inventory: Path, folder: Path) -> Pi:
    """Make the people's keys on the attacker's host, name them in a copy of the inventory, and converge the bare Pi."""
    keys = {name: make_key(lab, name) for name in (*HELPED, *HELPERS)}

    def people(fleet: dict[str, Any], household: dict[str, Any]) -> None:
        fleet["helpers"] = [{"name": name, "keys": [keys[name]]} for name in HELPERS]
        fleet["helpers"][-1]["socks"] = [PI]
        household["support"]["screens"] = [
            {"name": name, "port": port, "key": keys[name], "helpers": helpers}
            for name, (port, helpers) in HELPED.items()
        ]

    operator = Operator(lab, inventory).with_fleet(folder, people)
    schmidt = folder / "households/schmidt.yaml"
    household = yaml.safe_load(schmidt.read_text())
    household.pop("support", None)
    schmidt.write_text(yaml.safe_dump(household, allow_unicode=True, width=1000))
    run = operator.converge("-v", limit=PI, deploy=DEPLOY)
    assert run.status == 0, run.output[-4000:]
    return Pi(lab, operator, run)


def in_router(lab: Lab, *argv: str) -> list[str]:
    """The command that runs ``argv`` on the router before the Pi."""
    return ["ip", "netns", "exec", lab.names.router(PI), *argv]


def without(person: str) -> Callable[[list[Any], list[Any]], None]:
    """The change of an inventory that takes a helper or a screen out."""

    def change(helpers: list[Any], screens: list[Any]) -> None:
        helpers[:] = [helper for helper in helpers if helper["name"] != person]
        screens[:] = [screen for screen in screens if screen["name"] != person]
        for screen in screens:
            screen["helpers"] = [name for name in screen["helpers"] if name != person]

    return change


@contextmanager
def router_pages(lab: Lab) -> Iterator[None]:
    """Let the Pi's router show its page while the block runs, and have services beside it; a neighbour too."""
    subprocess.run(in_router(lab, "ip", "address", "replace", f"{NEIGHBOUR}/24", "dev", "lan"), check=True)
    process = subprocess.Popen(in_router(lab, sys.executable, "-c", ROUTER_SERVICES), stdin=subprocess.DEVNULL)
    listening = in_router(lab, "ss", "-Hltn", "sport = :80")
    try:
        wait_for(lambda: subprocess.run(listening, capture_output=True, check=True).stdout != b"", 20, "the router")
        yield
    finally:
        # The services' own process, since `ip netns exec` becomes the program that it runs.
        process.kill()
        process.wait()


def browse(lab: Lab, url: str, *arguments: str) -> str:
    """What curl on the helper's computer gets through its SOCKS proxy; empty when no answer came."""
    command = ["ip", "netns", "exec", lab.netns(ATTACKER), "curl", "--silent", "--max-time", "10", *arguments, url]
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=plain).stdout


def page(row: int, target: str, want: str = PAGE) -> Attack:
    """Open a page that the Pi can reach."""
    ask = "GET / HTTP/1.0\\r\\n\\r\\n"
    return Attack(row, f"-W {target}", lambda sshd: want in sshd.reads(target, ask))


def screens_attacks(key_alone: frozenset[str]) -> list[Attack]:
    """What oma's key could be tried for. ``key_alone``: the fences where sshd's configuration knows no key's port."""
    elsewhere = ("0.0.0.0", "*", "", "[::]", "[::1]", "192.168.1.10", "127.10.0.17")  # noqa: S104
    return [
        publish(3, f"{OPA}:localhost:22", key_alone),
        publish(3, f"127.0.0.1:{OPA}:localhost:22", key_alone),
        *(publish(4, f"{place}:{OMA}:localhost:22") for place in elsewhere),
        *(publish(5, spec) for spec in (f"{OMA + 2}:localhost:22", "0:localhost:22", "10123")),
        *(reach(7, place) for place in ("localhost:2222", "127.0.0.1:9212", "localhost:7777", "[::1]:7777")),
        *(reach(17, f"localhost:{port}") for port in (TANTE, ONKEL)),
    ]


def viewers_attacks(key_alone: frozenset[str]) -> list[Attack]:
    """What karl's key could be tried for, who may see onkel's screen and not tante's."""
    return [
        publish(3, f"{OMA}:localhost:22"),
        publish(4, f"0.0.0.0:{OMA}:localhost:22"),
        publish(5, "10123"),
        *(reach(7, place) for place in ("localhost:2222", "127.0.0.1:9212", "localhost:7777", "[::1]:7777")),
        reach(17, f"localhost:{TANTE}", key_alone),
        *(reach(17, f"{place}:{ONKEL}") for place in ("127.0.0.1", "[::1]", PI)),
    ]


def socks_attacks() -> list[Attack]:
    """What lena's key could be tried for, who may open the router's page."""
    return [
        publish(3, f"{OMA}:localhost:22"),
        publish(5, "10123"),
        *(reach(18, f"{place}:7777") for place in ("127.0.0.1", "localhost", "[::1]", PI)),
        *(reach(18, place) for place in ("localhost:2222", "localhost:9212", f"localhost:{ONKEL}")),
        page(18, f"{ROUTER}:{OTHER_PORT}", "another page"),
        page(18, f"{ROUTER_NAME}:{OTHER_PORT}", "another page"),
        page(18, f"{NEIGHBOUR}:{OTHER_PORT}", "another page"),
        *(page(18, f"{place}:80") for place in (f"[::ffff:{ROUTER}]", "fritz.box", "ROUTER.LAN", "192.168.257")),
    ]
