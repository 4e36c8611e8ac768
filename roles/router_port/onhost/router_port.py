#!/usr/bin/python3
# This file belongs to hearth and is replaced whole; changes made here are lost.
"""Ask the home's router by UPnP (upnpc) to lead visitors' ports to this box, and keep it so.

    router-port open       ask for the ports, or renew them; exit 1 with one sentence when visitors cannot come in
    router-port close      take back what leads to this box
    router-port address    print the home's public address, as the router knows it
    router-port status     print "open", or the sentence of the last ``open``; exit 1 with the latter

Only the router through which this box reaches the internet is asked: any device in the home may answer a UPnP search,
and one that named itself as the public address would be given the household's name. What leads to another machine is
never touched.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CONFIG = Path("/etc/hearth/router-port.toml")
STATE = Path("/var/lib/hearth/router-port/state.json")
ROUTES = Path("/proc/self/net/route")
UPNPC_TIMEOUT_S = 30
SEARCHES = 2

# UPnP's WANIPConnection:2, table 2-22 and the actions' own error tables.
ONLY_PERMANENT = 725
REASONS = {
    501: "it could not do it",
    606: "it does not allow this box to do that",
    718: "another machine has the port, or the router keeps it for itself",
    724: "it wants the same port inside and outside",
    728: "its table is full",
    729: "another rule of it is in the way",
}
# What the internet reaches nobody at (IANA's registry for special purposes, RFC 6890). Networks for documentation are
# not among them: they are nobody's in the world, and the internet of laboratories.
NOT_PUBLIC = tuple(
    IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3"),
    )
)


class Fault(Exception):
    """Why visitors cannot come in, and what to do: one sentence."""


@dataclass(frozen=True)
class Config:
    """``household``: marks our mappings. ``ports``: to be led to the same ports of this box. ``lease_s``: seconds."""

    household: str
    ports: tuple[int, ...]
    lease_s: int

    @property
    def mark(self) -> str:
        """The description that our mappings carry in the router's list."""
        return f"hearth {self.household}"


@dataclass(frozen=True)
class Mapping:
    """One TCP port of the router's public address, and where it leads."""

    port: int
    address: str
    inner_port: int
    description: str


@dataclass(frozen=True)
class Router:
    """What ``upnpc -l`` shows. ``devices``: description URLs of whatever answered the search (none without a search).

    ``own``: this box's address as the router sees it. ``external``: the router's public address, or what it says of it.
    """

    devices: tuple[str, ...] = ()
    own: str = ""
    external: str = ""
    mappings: tuple[Mapping, ...] = ()


def parse(output: str) -> Router:
    """Given what upnpc prints, return what it says; other lines do not count. Descriptions are others' words."""
    lines = output.split("\n")

    def values(form: str) -> list[str]:
        return [found[1] for line in lines if (found := re.fullmatch(form, line))]

    entry = re.compile(r" *\d+ TCP +(\d+)->([0-9.]+):(\d+) +'(.*)' '.*' \d+")
    return Router(
        devices=tuple(values(r" desc: (http://\S+)")),
        own="".join(values(r"Local LAN ip address : ([0-9.]+)")[:1]),
        external="".join(values(r"ExternalIPAddress = ([0-9.]+)")[:1]),
        mappings=tuple(
            Mapping(int(found[1]), found[2], int(found[3]), found[4])
            for line in lines
            if (found := entry.fullmatch(line))
        ),
    )


def refusal(output: str) -> tuple[int, str] | None:
    """Given what ``upnpc -a`` prints, return the router's error code and its name; None when the port is led here."""
    if re.search(r"^external \S+ TCP is redirected to internal ", output, re.MULTILINE):
        return None
    found = re.search(r"failed with code (-?\d+) \((.*)\)", output)
    return (int(found[1]), found[2]) if found else (0, "no answer")


def gateway(routes: str) -> str | None:
    """Given /proc/net/route (addresses in hex, lowest byte first), return the default gateway of the lowest metric."""
    rows = [line.split() for line in routes.splitlines()[1:]]
    found = [(int(row[6]), row[2]) for row in rows if row[1] == row[7] == "00000000" and int(row[3], 16) & 2]
    return str(IPv4Address(bytes.fromhex(min(found)[1])[::-1])) if found else None


def is_public(text: str) -> bool:
    """Whether ``text`` is an IPv4 address that the internet can reach."""
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return False
    return not any(address in network for network in NOT_PUBLIC)


def stray(router: Router, config: Config) -> list[int]:
    """The ports that lead to this box under our mark, but shall not (any more)."""
    return [
        mapping.port
        for mapping in router.mappings
        if mapping.address == router.own and mapping.description == config.mark and mapping.port not in config.ports
    ]


def taken(router: Router, port: int) -> str | None:
    """The other machine that ``port`` leads to, or None."""
    return next((one.address for one in router.mappings if one.port == port and one.address != router.own), None)


def upnpc(*words: str) -> str:
    """Run upnpc and return all that it prints; its exit status says less."""
    try:
        done = subprocess.run(
            ["upnpc", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=UPNPC_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout


def find(remembered: str) -> tuple[str, Router]:
    """Return the router's description URL and what it shows. Raises Fault when it cannot be asked.

    ``remembered``: the URL of the last time, which saves the search; routers change it.
    """
    home = gateway(ROUTES.read_text())
    if home is None:
        raise Fault("this box has no way to the internet: look whether its network cable is plugged in")
    if urlsplit(remembered).hostname == home:
        router = parse(upnpc("-u", remembered, "-l"))
        if router.own:
            return remembered, router
    others: set[str] = set()
    # A search is a few UDP packets, any of which may be lost.
    for _ in range(SEARCHES):
        for url in parse(upnpc("-l")).devices:
            if urlsplit(url).hostname != home:
                others.add(str(urlsplit(url).hostname))
                continue
            router = parse(upnpc("-u", url, "-l"))
            if router.own:
                return url, router
    instead = f" (only {', '.join(sorted(others))} does, which is not the way to the internet)" if others else ""
    raise Fault(
        f"the router {home} does not answer by UPnP{instead}: switch UPnP on in it, or forward the ports by hand and "
        "set access: forwarded, or set access: relay"
    )


def public_address(router: Router) -> str:
    """The router's public address. Raises Fault when visitors cannot reach it."""
    if not router.external or router.external == "0.0.0.0":  # noqa: S104
        raise Fault(
            "the router tells no public IPv4 address: look whether its line is up; without IPv4, set access: relay"
        )
    if not is_public(router.external):
        raise Fault(
            f"the router's own address {router.external} is not public, so no visitor can reach it (the provider "
            "shares addresses, or there is a second router before this one): set access: relay"
        )
    return router.external


def lead(url: str, router: Router, config: Config, port: int) -> str | None:
    """Ask for one port, or renew it; return None, or the sentence that says why visitors cannot use it."""
    other = taken(router, port)
    if other is not None:
        return f"the router leads port {port} to another machine, {other}: take that out in it, or set access: relay"
    asked = ("-u", url, "-e", config.mark, "-a", router.own, str(port), str(port), "TCP")
    refused = refusal(upnpc(*asked, str(config.lease_s)))
    if refused and refused[0] == ONLY_PERMANENT:
        refused = refusal(upnpc(*asked, "0"))
    if refused is None:
        return None
    code, words = refused
    return (
        f"the router refuses port {port} ({REASONS.get(code, words)}, UPnP error {code}): allow it for {router.own} in "
        "the router, or forward the ports by hand and set access: forwarded, or set access: relay"
    )


def open_ports(config: Config, remembered: str) -> dict[str, Any]:
    """Have every port led to this box; return the new state, whose ``sentence`` is None when visitors can come in."""
    state: dict[str, Any] = {"router": "", "own": "", "external": "", "mapped": [], "refused": {}, "sentence": None}
    try:
        url, router = find(remembered)
        state |= {"router": url, "own": router.own, "external": router.external}
        public_address(router)
    except Fault as fault:
        return state | {"sentence": str(fault)}
    take_back(url, stray(router, config))
    refused = {port: lead(url, router, config, port) for port in config.ports}
    return state | {
        "mapped": [port for port, sentence in refused.items() if sentence is None],
        "refused": {str(port): sentence for port, sentence in refused.items() if sentence},
        "sentence": "; ".join(sentence for sentence in refused.values() if sentence) or None,
    }


def take_back(url: str, ports: Iterable[int]) -> None:
    """Have the router forget ``ports``."""
    for port in ports:
        upnpc("-u", url, "-d", str(port), "TCP")


def close(config: Config, remembered: str) -> str:
    """Take back every port that leads to this box under our mark; return what came of it. Raises Fault."""
    nothing = Config(config.household, (), config.lease_s)
    url, router = find(remembered)
    ports = stray(router, nothing)
    take_back(url, ports)
    left = stray(parse(upnpc("-u", url, "-l")), nothing)
    if left:
        raise Fault(f"the router keeps {', '.join(map(str, left))}: take that out in the router")
    return f"the router leads {', '.join(map(str, ports)) or 'nothing'} to this box no more"


def read_config() -> Config:
    """What the converge put."""
    data = tomllib.loads(CONFIG.read_text())
    return Config(data["household"], tuple(data["ports"]), data["lease_s"])


def read_state() -> dict[str, Any]:
    """What the last ``open`` noted; nothing before the first."""
    try:
        state: dict[str, Any] = json.loads(STATE.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return state


def write_state(state: dict[str, Any]) -> None:
    """Note the state; readers find the old or the new one whole."""
    new = STATE.with_name(".state.new")
    new.write_text(json.dumps(state, indent=2) + "\n")
    new.chmod(0o644)
    new.replace(STATE)


def status(config: Config, state: dict[str, Any], now: float) -> str:
    """The word "open", or the sentence that says why not. ``now``: seconds since 1970."""
    if state.get("sentence"):
        return str(state["sentence"])
    if set(state.get("mapped", ())) != set(config.ports) or now - state.get("checked_at", 0) > config.lease_s:
        return "the router has not been asked"
    return "open"


def main(arguments: list[str]) -> int:
    """Run one verb; exit status 0, or 1 with one sentence."""
    config, state = read_config(), read_state()
    remembered = str(state.get("router", ""))
    try:
        match arguments:
            case ["open"]:
                new = open_ports(config, remembered) | {"checked_at": int(time.time())}
                write_state(new)
                if new["sentence"]:
                    raise Fault(new["sentence"])
                if (state.get("mapped"), state.get("external")) != (new["mapped"], new["external"]):
                    print(f"the router leads {', '.join(map(str, config.ports))} of {new['external']} to this box")
            case ["close"]:
                print(close(config, remembered))
            case ["address"]:
                print(public_address(find(remembered)[1]))
            case ["status"]:
                print(said := status(config, state, time.time()))
                return 0 if said == "open" else 1
            case _:
                raise Fault("usage: router-port open | close | address | status")
    except Fault as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
