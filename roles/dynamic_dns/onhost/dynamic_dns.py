#!/usr/bin/python3
# This file belongs to hearth and is replaced whole; changes made here are lost.
"""Keep the household's name at the home's public address, by DNS updates (RFC 2136) that this box signs.

    dynamic-dns update    learn the address, ask the zone's server what it has, and tell it when that differs;
                          exit 1 with one sentence when the name does not lead here
    dynamic-dns status    print "published", or the sentence of the last ``update``; exit 1 with the latter

It signs with the box's own key (SIG(0), RFC 2931), or with /etc/hearth/dns/tsig.key where the operator has put one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

CONFIG = Path("/etc/hearth/dynamic-dns.toml")
KEYS = Path("/etc/hearth/dns")
TSIG_KEY = KEYS / "tsig.key"
STATE = Path("/var/lib/hearth/dynamic-dns/state.json")
PROGRAM_TIMEOUT_S = 60
STALE_AFTER_S = 600
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
    """Why the name does not lead here, and what to do: one sentence."""


@dataclass(frozen=True)
class Config:
    """``name``: the household's domain. ``learn``: the command that prints the public address."""

    name: str
    zone: str
    server: str
    port: int
    ttl_s: int
    learn: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What the server says of the name: the reply's ``status``, whether it speaks for the zone, addresses, CNAME."""

    status: str = ""
    authoritative: bool = False
    addresses: frozenset[str] = frozenset()
    alias: str | None = None


def public_address(text: str) -> str:
    """Given what was answered, return the one public IPv4 address that it is. Raises Fault on anything else."""
    try:
        # IPv4Address takes neither blanks nor leading zeros; the one line's end may be there or not.
        address = IPv4Address(text.removesuffix("\n"))
    except AddressValueError:
        raise Fault(f"what was answered is no IPv4 address: {text[:40]!r}") from None
    if any(address in network for network in NOT_PUBLIC):
        raise Fault(f"{address} is not public, so no visitor can reach it: set access: relay")
    return str(address)


def parse_answer(output: str, name: str) -> Answer:
    """Given what ``dig +noall +comments +answer`` prints, return what it says of ``name``."""
    status = re.search(r"^;; ->>HEADER<<- .*status: (\w+)", output, re.MULTILINE)
    flags = re.search(r"^;; flags: ([a-z ]*);", output, re.MULTILINE)
    rows = [line.split() for line in output.splitlines() if line and not line.startswith(";")]
    records = [(row[3], row[4]) for row in rows if len(row) == 5 and row[0].lower() == f"{name}."]
    return Answer(
        status=status[1] if status else "",
        authoritative=bool(flags and "aa" in flags[1].split()),
        addresses=frozenset(value for kind, value in records if kind == "A"),
        alias=next((value for kind, value in records if kind == "CNAME"), None),
    )


def request(config: Config, address: str) -> str:
    """What nsupdate reads: the name's A records are replaced by the one."""
    return (
        f"server {config.server} {config.port}\n"
        f"zone {config.zone}\n"
        f"update delete {config.name} A\n"
        f"update add {config.name} {config.ttl_s} A {address}\n"
        "send\n"
    )


def refused(config: Config, output: str, tsig: bool) -> str:
    """Given what nsupdate printed when it failed, return the sentence that says what to do."""
    found = re.search(r"update failed: ([A-Z]+)|(could not|timed out|not reachable|no servers)", output)
    word = found[1] if found and found[1] else ""
    server = f"the DNS server {config.server}"
    if "tsig" in output.lower() or (tsig and word in ("NOTAUTH", "SERVFAIL")):
        return (
            f"{server} does not take the key in {TSIG_KEY}: compare name and secret with the server's, and the clocks"
        )
    if word == "SERVFAIL":
        return (
            f"{server} does not know this box's key: publish its KEY record (hearth collect, then hearth zone), and "
            "see that the clocks agree within five minutes"
        )
    if word == "REFUSED":
        return (
            f"{server} does not let this box change {config.name}: publish its KEY record (hearth collect, then hearth "
            "zone), and give the zone `update-policy { grant * self * A; };` (docs/access.md)"
        )
    if word in ("NOTAUTH", "NOTZONE"):
        return f"{server} is not the primary of the zone {config.zone}: correct dynamic_dns in the inventory"
    said = next((line for line in reversed(output.splitlines()) if line.strip()), "nothing")
    return f"{server} did not take the update ({word or said.strip()[:200]}): look whether it is up, and into its log"


def run(command: Sequence[str], stdin: str = "") -> tuple[int, str]:
    """Run a command; return its exit status and what it prints, standard error included."""
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PROGRAM_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, f"{command[0]} did not end within {PROGRAM_TIMEOUT_S} s"
    except OSError as fault:
        return 1, f"{command[0]}: {fault.strerror}"
    return done.returncode, done.stdout


def learn(config: Config) -> str:
    """The home's public address now. Raises Fault."""
    code, said = run(config.learn)
    if code != 0:
        raise Fault(f"this box does not learn its public address: {' '.join(said.split())[:300]}")
    return public_address(said)


def ask(config: Config) -> Answer:
    """What the zone's own server has, not a resolver's memory of it. Raises Fault when it cannot be had."""
    where = (f"@{config.server}", "-p", str(config.port), config.name, "A")
    code, said = run(("dig", "+norecurse", "+time=5", "+tries=2", "+noall", "+comments", "+answer", *where))
    answer = parse_answer(said, config.name)
    if code != 0 or not answer.status:
        raise Fault(f"the DNS server {config.server} does not answer on port {config.port}: look whether it is up")
    if answer.status not in ("NOERROR", "NXDOMAIN") or not answer.authoritative:
        raise Fault(
            f"{config.server} does not speak for {config.name} ({answer.status}): it must be the primary of "
            f"{config.zone}; correct dynamic_dns in the inventory"
        )
    return answer


def key() -> Path:
    """The key to sign with: the operator's if there is one, else the box's own. Raises Fault when there is none."""
    if TSIG_KEY.exists():
        return TSIG_KEY
    own = sorted(KEYS.glob("K*.private"))
    if not own:
        raise Fault("this box has no key to sign DNS updates with: converge it")
    return own[0]


def publish(config: Config, address: str) -> bool:
    """See that the name leads to ``address``; return whether it had to be changed. Raises Fault."""
    held = ask(config)
    if held.alias:
        # A server takes an address beside a CNAME without an error, and drops it (RFC 2136, 3.4.2.2).
        raise Fault(f"{config.name} is a CNAME (of {held.alias}) in the zone: take that record out, see hearth zone")
    if held.addresses == {address}:
        return False
    signer = key()
    code, said = run(("nsupdate", "-t", "20", "-k", str(signer)), request(config, address))
    if code != 0:
        raise Fault(refused(config, said, signer == TSIG_KEY))
    if (now := ask(config)).addresses != {address}:
        raise Fault(
            f"{config.server} took the update and still has {', '.join(now.addresses) or 'no address'}: see its log"
        )
    return True


def update(config: Config) -> tuple[dict[str, Any], bool]:
    """Bring the name here; return the new state, and whether the name was changed."""
    state: dict[str, Any] = {"name": config.name, "address": None, "sentence": None}
    try:
        state["address"] = learn(config)
        changed = publish(config, state["address"])
    except Fault as fault:
        return state | {"sentence": str(fault)}, False
    return state, changed


def read_config() -> Config:
    """What the converge put."""
    data = tomllib.loads(CONFIG.read_text())
    return Config(**{**data, "learn": tuple(data["learn"])})


def read_state() -> dict[str, Any]:
    """What the last ``update`` noted; nothing before the first."""
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
    """The word "published", or the sentence that says why not. ``now``: seconds since 1970."""
    if state.get("sentence"):
        return str(state["sentence"])
    if state.get("name") != config.name or now - state.get("checked_at", 0) > STALE_AFTER_S:
        return "the address has not been published"
    return "published"


def main(arguments: list[str]) -> int:
    """Run one verb; exit status 0, or 1 with one sentence."""
    config = read_config()
    try:
        match arguments:
            case ["update"]:
                new, changed = update(config)
                write_state(new | {"checked_at": int(time.time())})
                if new["sentence"]:
                    raise Fault(new["sentence"])
                if changed:
                    print(f"{config.name} leads to {new['address']} now")
            case ["status"]:
                print(said := status(config, read_state(), time.time()))
                return 0 if said == "published" else 1
            case _:
                raise Fault("usage: dynamic-dns update | status")
    except Fault as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
