"""The lab's public DNS: BIND at ns.hearth.lab, primary server of the fleet's zone and of the households' own domains.

It takes dynamic updates (RFC 2136) as an operator's server would: who holds the private half of the KEY record at a
name (SIG(0), RFC 2931) may change that name's addresses and nothing else. All other names it asks the machine's name
server for. Pure text above, the daemon below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from hearth.inventory.hosts import Fleet
from hearth.lab import daemons
from hearth.lab.daemons import Daemon
from hearth.lab.process import LabError
from hearth.lab.topology import LAB_NAMES, LAB_ZONE, NAME_SERVER_ADDRESS, NAME_SERVER_NAME, Member, is_address

TTL_S = 60
"""So that a moved address is seen within a minute; a resolver may keep it that long."""

CONFIGURATION = "etc/bind/named.conf"
SESSION_KEY = "/run/named/session.key"
"""A TSIG key named local-ddns, which BIND makes at each start for whoever is root on its host."""

# named leaves root behind by itself, once it has its port.
SCRIPT = """\
install -d -o bind -g bind /run/named /var/cache/bind
chown -R bind:bind /etc/bind /var/lib/bind
exec named -g -n 1 -u bind -c /etc/bind/named.conf
"""

OPTIONS = """\
options {{
  directory "/var/cache/bind";
  listen-on {{ {address}; }};
  listen-on-v6 {{ none; }};
  allow-query {{ any; }};
  allow-recursion {{ any; }};
  dnssec-validation no;
  forward only;
  forwarders {{ {forwarder}; }};
  notify no;
  pid-file none;
}};
controls {{ }};
"""

# `self`: the name that is changed is the name of the key (or of its KEY record); the second asterisk is not looked at.
ZONE = """\
zone "{zone}" {{
  type primary;
  file "/var/lib/bind/{zone}.zone";
  update-policy {{ grant local-ddns zonesub any; grant * self * A AAAA; }};
}};
"""


@dataclass(frozen=True)
class Record:
    """A resource record as a zone file has it, with an absolute ``name``; its TTL is a minute."""

    name: str
    kind: str
    data: str


def parse(text: str) -> tuple[Record, ...]:
    """The records of a zone file's lines ``NAME [TTL] [IN] TYPE DATA``; raise ``LabError`` for any other line."""
    found = []
    for line in (line.partition(";")[0].split() for line in text.splitlines()):
        words = [word for word in line[1:3] if not word.isdigit() and word != "IN"] + line[3:]
        if not line:
            continue
        if len(words) < 2:
            raise LabError(f"`{' '.join(line)}` is not a DNS record: write NAME TYPE DATA.")
        found.append(Record(line[0].rstrip("."), words[0], " ".join(words[1:])))
    return tuple(found)


def fixed_records(fleet: Fleet, members: Iterable[Member]) -> tuple[Record, ...]:
    """What the operator has put into his zones by hand.

    The addresses of relays, Pis and the lab's own servers; for a household with access ``relay`` that of its relay; and
    the KEY record of one whose box signs its DNS updates.
    """
    addresses: dict[str, IPv4Address] = dict(LAB_NAMES)
    relays = {member.name: member.public_address for member in members if member.kind == "relay"}
    addresses |= {name: member.public_address for member in members for name in member.names if not is_address(name)}
    addresses |= {
        house.domain: relays[house.relay]
        for house in fleet.households
        if house.access == "relay" and house.relay in relays and house.has_name
    }
    keys = [
        Record(house.domain, "KEY", house.dns_key) for house in fleet.households if house.dns_key and house.has_name
    ]
    return (*(Record(name, "A", str(address)) for name, address in addresses.items()), *keys)


def outdated_records(fleet: Fleet, members: Iterable[Member]) -> tuple[Record, ...]:
    """What may stand in a zone of earlier: a relay's address at a household that visitors now reach without it."""
    relays = [member.public_address for member in members if member.kind == "relay"]
    gone = [house.domain for house in fleet.households if house.access != "relay"]
    return tuple(Record(name, "A", str(address)) for name in gone for address in relays)


def zones(fleet: Fleet, records: Iterable[Record]) -> tuple[str, ...]:
    """The zones that the server is primary for: the fleet's, the lab's, and one for each name outside both."""
    found = {fleet.zone, LAB_ZONE} | {house.dynamic_dns.zone for house in fleet.households if house.dynamic_dns}
    names = {record.name for record in records} | {house.domain for house in fleet.households}
    return tuple(sorted(found | {name for name in names if not zone_of(name, found)}))


def zone_of(name: str, among: Iterable[str]) -> str | None:
    """The closest of some zones that a name lies in; None if it lies in none of them."""
    return max((zone for zone in among if name == zone or name.endswith(f".{zone}")), key=len, default=None)


def named_conf(among: Iterable[str], forwarder: str) -> str:
    """BIND's configuration: primary server of the zones, and for all other names it asks ``forwarder``, an address."""
    options = OPTIONS.format(address=NAME_SERVER_ADDRESS, forwarder=forwarder)
    return options + "".join(ZONE.format(zone=zone) for zone in among)


def zone_file(zone: str) -> str:
    """A new zone, with nothing in it but its server."""
    lines = [
        f"$TTL {TTL_S}",
        f"@ IN SOA {NAME_SERVER_NAME}. hostmaster.{zone}. 1 3600 600 86400 {TTL_S}",
        f"@ IN NS {NAME_SERVER_NAME}.",
    ]
    if zone_of(NAME_SERVER_NAME, [zone]):
        lines.append(f"{NAME_SERVER_NAME}. IN A {NAME_SERVER_ADDRESS}")
    return "\n".join(lines) + "\n"


def update(among: Sequence[str], put: Iterable[Record], take: Iterable[Record] = ()) -> str:
    """What nsupdate is told: take records away, and replace the record sets of others, zone by zone.

    Raises ``LabError`` for a name that lies in none of the zones.
    """
    commands: dict[str, list[str]] = {}
    seen = set()
    for record in take:
        commands.setdefault(_zone(record, among), []).append(
            f"update delete {record.name}. {record.kind} {record.data}"
        )
    for record in put:
        lines = commands.setdefault(_zone(record, among), [])
        if (record.name, record.kind) not in seen:
            lines.append(f"update delete {record.name}. {record.kind}")
        seen.add((record.name, record.kind))
        lines.append(f"update add {record.name}. {TTL_S} {record.kind} {record.data}")
    parts = ["\n".join([f"zone {zone}.", *lines, "send"]) for zone, lines in commands.items()]
    return "\n".join([f"server {NAME_SERVER_ADDRESS}", *parts, ""])


def _zone(record: Record, among: Sequence[str]) -> str:
    zone = zone_of(record.name, among)
    if zone is None:
        raise LabError(f"The lab's name server has no zone for {record.name}: it has {', '.join(among)}.")
    return zone


def start(daemon: Daemon, base: Path, among: Sequence[str], forwarder: str) -> None:
    """Start BIND unless it runs as it should. Zones that it has already stay as they are, updates and all."""
    changed = daemons.configure(daemon, {CONFIGURATION: named_conf(among, forwarder)})
    if daemons.is_running(daemon):
        if not changed:
            return
        daemons.stop(daemon)
    missing = [zone for zone in among if not (daemon.upper / f"var/lib/bind/{zone}.zone").exists()]
    daemons.configure(daemon, {f"var/lib/bind/{zone}.zone": zone_file(zone) for zone in missing})
    daemons.start(daemon, base, SCRIPT)
    daemons.wait(daemon, lambda: _serves(daemon, among))


def served(daemon: Daemon) -> tuple[str, ...]:
    """The zones that BIND is primary server for."""
    return tuple(re.findall(r'^zone "(.+)"', (daemon.upper / CONFIGURATION).read_text(), re.MULTILINE))


def send(daemon: Daemon, commands: str) -> None:
    """Change zones as root of the name server's host may; raise ``LabError`` if BIND refuses."""
    daemons.execute(daemon, ["nsupdate", "-k", SESSION_KEY], stdin=commands)


def resolve(daemon: Daemon, name: str, kind: str = "A") -> tuple[str, ...]:
    """What BIND answers now for a name and record type, one string a record."""
    asked = ["dig", "+short", "+time=2", "+tries=3", f"@{NAME_SERVER_ADDRESS}", name, kind]
    return tuple(daemons.execute(daemon, asked).splitlines())


def _serves(daemon: Daemon, among: Sequence[str]) -> bool:
    """Whether BIND answers for all its zones; it listens a moment before it does."""
    try:
        argv = ["dig", "+short", "+time=1", "+tries=1", f"@{NAME_SERVER_ADDRESS}"]
        asked = [word for zone in among for word in (zone, "SOA")]
        return len(daemons.execute(daemon, [*argv, *asked]).splitlines()) == len(among)
    except LabError:
        return False
