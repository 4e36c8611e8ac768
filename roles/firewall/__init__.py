"""firewall: nftables, in a table of hearth's own; what is not named is dropped. The relay's and the support Pi's.

Debian's /etc/nftables.conf is left alone, and so is every other table: the unit loads ``inet hearth`` alone, whole and
in one transaction, before the network comes up.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import DeployError
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from typing_extensions import override

from hearth import artefacts
from hearth.render import template

PACKAGES = ("nftables",)

UNIT = "hearth-firewall.service"
RULES = "/etc/hearth/firewall.nft"
LOADED = "/run/hearth-firewall.loaded"
"""The SHA-256 of the table as the kernel printed it when the unit had loaded it."""
GUARD_S = 60

# Without `destroy`, which the nft of Debian 12 does not know: there or not, the table is gone afterwards.
DROP = "nft 'add table inet hearth; delete table inet hearth'"

_LISTED = "nft --stateless --terse list table inet hearth"
INTACT = f'test "$({_LISTED} 2>/dev/null | sha256sum)" = "$(cat {LOADED} 2>/dev/null)"'
"""The shell command that looks whether the kernel still has the table that was loaded."""


@dataclass(frozen=True)
class Service:
    """TCP ports that the world may reach, and how much of them one source may have (IPv4: an address; IPv6: a /64).

    ``connections``: how many it may hold at a time. ``per_second`` and ``burst``: how fast it may open new ones.
    ``sources``: the addresses that alone may reach them; none for the whole world.
    ``name``: lower-case letters and underscores. Whole families share an address behind their provider's NAT, hence
    wide limits.
    """

    name: str
    ports: tuple[int, ...]
    connections: int
    per_second: int
    burst: int
    sources: tuple[str, ...] = ()

    @property
    def guards(self) -> tuple[str, ...]:
        """What a packet has to be before its port counts, in nft's words."""
        families: dict[str, list[str]] = {"ip saddr": [], "ip6 saddr": []} if self.sources else {}
        for source in self.sources:
            families["ip6 saddr" if ":" in source else "ip saddr"].append(source)
        listed = tuple(f"{family} {{ {', '.join(some)} }} " for family, some in families.items() if some)
        return listed if self.sources else ("",)


def operators_ssh(port: int) -> Service:
    """The operators' sshd: a converge of the whole fleet comes from one address, a login or two a box."""
    return Service("ssh", (port,), connections=2000, per_second=100, burst=1000)


def tunnels(*ports: int) -> Service:
    """The tunnel sshd: a household or a person needs one connection, and up to 100 may share an address."""
    return Service("tunnels", ports, connections=100, per_second=5, burst=200)


def web(ports: Iterable[int]) -> Service:
    """The router's ports: browsers and sync clients hold several connections each."""
    return Service("web", tuple(ports), connections=500, per_second=50, burst=500)


def backups(ports: Iterable[int], relays: Iterable[str]) -> Service:
    """A store's ports, for relays alone, by address: each carries its households' backups."""
    # Without any relay nobody comes: this host's own address stands for nobody else.
    sources = tuple(dict.fromkeys(relays)) or ("127.0.0.1",)
    return Service("backups", tuple(ports), connections=5000, per_second=500, burst=5000, sources=sources)


def addresses(names: Iterable[str]) -> tuple[str, ...]:
    """The IP addresses of hosts, as the host asks for them itself. Raises DeployError when one has none."""
    found: dict[str, None] = {}
    for name in names:
        told = host.get_fact(Addresses, of=name)
        if not told:
            raise DeployError(f"{host.name} finds no address of {name}; correct it in fleet.yaml, or mend the DNS")
        found |= dict.fromkeys(told)
    return tuple(found)


class Addresses(FactBase[tuple[str, ...]]):
    """The IP addresses of a host by its name, in an order that stays."""

    @override
    @staticmethod
    def default() -> tuple[str, ...]:
        return ()

    @override
    def command(self, of: str) -> str:
        return f"getent ahosts {quote(of)} | cut -d' ' -f1 | sort -u; true"

    @override
    def process(self, output: list[str]) -> tuple[str, ...]:
        return tuple(line for line in output if line)


def ruleset(services: Iterable[Service]) -> str:
    """The file for nft: the table emptied and filled in one transaction."""
    return template(__file__, "firewall.nft.j2", services=tuple(services))


def activate() -> str:
    """Load the table, whole; an undone first put takes it away again, so that the host is as open as it was."""
    return (
        f"systemctl daemon-reload; if test -e {RULES}; then systemctl reload-or-restart {UNIT}; "
        f"else systemctl stop {UNIT}; {DROP}; fi"
    )


def parse_ports(lines: Iterable[str]) -> frozenset[int]:
    """Given the chain of incoming packets as nft lists it, return the TCP ports that it lets in."""
    named = (re.match(r"\s*tcp dport (\{[^}]*\}|\d+) (?:accept|jump) ?", line) for line in lines)
    return frozenset(int(port) for found in named if found for port in re.findall(r"\d+", found[1]))


class OpenPorts(FactBase[frozenset[int]]):
    """The TCP ports that the loaded table lets in; none when there is no such table."""

    @override
    @staticmethod
    def default() -> frozenset[int]:
        return frozenset()

    @override
    def command(self) -> str:
        return "nft --stateless --terse list chain inet hearth input 2>/dev/null; true"

    @override
    def process(self, output: list[str]) -> frozenset[int]:
        return parse_ports(output)


@operation()
def open_way(port: int) -> Generator[StringCommand, None, None]:
    """Let ``port`` in through the table that is loaded, if there is one.

    sshd moves to another port before the firewall's file names it, and its guard would find the new one closed. The
    rule lives until the table is loaded anew: at the end of this converge, or by the next one should this one fail.
    """
    ports = host.get_fact(OpenPorts)
    if not ports or port in ports:
        host.noop(f"port {port} is not closed")
    else:
        yield StringCommand("nft", "insert", "rule", "inet", "hearth", "input", "tcp", "dport", str(port), "accept")


@dataclass(frozen=True)
class Loaded:
    """Whether the kernel has the table as the unit loaded it."""

    intact: bool = False


class FirewallState(FactBase[Loaded]):
    """Whether somebody has changed or flushed the table since it was loaded."""

    default = Loaded

    @override
    def command(self) -> str:
        return f"{INTACT} && echo intact; true"

    @override
    def process(self, output: list[str]) -> Loaded:
        return Loaded(intact=output == ["intact"])


@operation()
def loaded() -> Generator[StringCommand, None, None]:
    """Load the firewall again when the kernel's table is not the one that was loaded."""
    if host.get_fact(FirewallState).intact:
        host.noop("the firewall is loaded")
    else:
        yield StringCommand("systemctl", "reload-or-restart", UNIT)


@deploy("Firewall")
def firewall(services: tuple[Service, ...]) -> None:
    """Drop what comes in for none of ``services``, behind the lock-out guard, and see that the kernel still does."""
    own = {"rules": RULES, "listed": _LISTED, "loaded": LOADED, "drop": DROP}
    unit = f"/etc/systemd/system/{UNIT}"
    artefacts.put(
        name="Close every port but those that are named",
        change="firewall",
        artefacts=(
            artefacts.File(RULES, ruleset(services)),
            artefacts.File(unit, template(__file__, "unit.service.j2", **own)),
            # As `systemctl enable` would make it: a link of the change's own is undone with the change.
            artefacts.Link(f"/etc/systemd/system/sysinit.target.wants/{UNIT}", unit),
            artefacts.File("/etc/modules-load.d/hearth-firewall.conf", template(__file__, "modules.conf.j2")),
            artefacts.File("/etc/sysctl.d/60-hearth-firewall.conf", template(__file__, "sysctl.conf.j2")),
        ),
        check=f"nft --check --file {RULES}",
        activate=activate(),
        verify="nft list table inet hearth >/dev/null",
        guard_s=GUARD_S,
    )
    loaded(name="See that the firewall is loaded")
