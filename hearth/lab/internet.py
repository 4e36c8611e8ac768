"""The servers of the lab's internet beside the release server: its DNS, and its certificate authority."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from hearth.inventory.hosts import Fleet
from hearth.lab import acme, daemons, dns, local, network
from hearth.lab.daemons import Daemon
from hearth.lab.topology import Member, Names


@dataclass(frozen=True)
class Internet:
    """Both servers of a lab. ``folder``: the lab's state folder; ``base``: the file system that they run from."""

    names: Names
    folder: Path
    base: Path

    @property
    def dns(self) -> Daemon:
        """The name server."""
        return Daemon(self.names, "dns", self.folder / "daemons/dns", self.names.internet)

    @property
    def acme(self) -> Daemon:
        """The certificate authority."""
        return Daemon(self.names, "acme", self.folder / "daemons/acme", self.names.internet)

    def up(self, fleet: Fleet, members: Sequence[Member]) -> None:
        """Start what does not run, and bring the zones in line with the fleet; updates of others stay in them.

        The certificate authority may not answer yet: ``acme.wait``.
        """
        acme.start(self.acme, self.base)
        records = dns.fixed_records(fleet, members)
        zones = dns.zones(fleet, records)
        dns.start(self.dns, self.base, zones, network.name_server())
        dns.send(self.dns, dns.update(zones, records, dns.outdated_records(fleet, members)))

    def publish(self, records: str) -> None:
        """Put records into their zones as the operator does by hand, each set in place of the one that was there."""
        dns.send(self.dns, dns.update(dns.served(self.dns), dns.parse(records)))

    def restart_acme(self, valid_for: timedelta) -> None:
        """Start the certificate authority anew: another issuing root, and certificates that are valid so long."""
        daemons.stop(self.acme)
        acme.start(self.acme, self.base, valid_for)
        acme.wait(self.acme)

    def write_roots(self, path: Path) -> None:
        """Tell the inventory by what to trust the certificate authority's own HTTPS, and what it issues."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(local.header(self.names.lab) + acme.root(self.acme) + acme.issuing_roots(self.acme))
