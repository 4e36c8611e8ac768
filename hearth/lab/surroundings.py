"""What a lab is by its name, and all that can happen around its hosts: cables, routers, addresses, the public DNS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

from hearth.lab import acme, dns, hosts, keys, network, register, state, upnp
from hearth.lab.internet import Internet
from hearth.lab.process import LabError
from hearth.lab.progress import Step, silently
from hearth.lab.topology import Bench, Member, Names, check_lab_name

DEFAULT_NAME = "hearth"


class Surroundings:
    """A lab as its hosts find it, by its name; making the object touches nothing."""

    def __init__(self, name: str = DEFAULT_NAME, step: Step = silently) -> None:
        self.name = check_lab_name(name)
        self.names = Names(self.name)
        self._step = step

    @property
    def folder(self) -> Path:
        """Where the lab keeps its state."""
        return register.folder(self.name)

    @property
    def number(self) -> int:
        """The lab's number on this machine; raises ``LabError`` if the lab is down."""
        return register.entry(self.name).number

    @property
    def inventory(self) -> Path:
        """The inventory that the lab is up for; raises ``LabError`` if the lab is down."""
        return Path(register.entry(self.name).inventory)

    def bench(self, host: str, is_up: bool) -> None:
        """Plug a host's bench link in or take it out; it stays so when the host boots again."""
        with state.locked(self.name):
            self._started(host)
            record = state.load(self.folder)
            state.save(self.folder, record.with_host(host, replace(record.hosts[host], bench=is_up)))
            network.set_bench(self.names, Bench(self.number), record.member(host), is_up)

    def address(self, host: str) -> str:
        """Where this machine finds a host over the bench."""
        return str(Bench(self.number).host(self._member(host).number))

    def public_address(self, host: str) -> str:
        """A host's address on the lab's internet, or its router's."""
        return str(self._member(host).public_address)

    def netns(self, host: str) -> str:
        """The name of a host's network namespace, as ``ip netns exec`` takes it."""
        return self.names.host(self._member(host).name)

    def publish(self, records: str) -> None:
        """Put records (lines ``NAME [TTL] [IN] TYPE DATA``) into the lab's DNS, as the operator does by hand.

        Each record set takes the place of the one that was there.
        """
        with state.locked(self.name):
            self.internet.publish(records)

    def resolve(self, name: str, kind: str = "A") -> tuple[str, ...]:
        """What the lab's DNS answers now for a name and record type, one string a record."""
        return dns.resolve(self.internet.dns, name, kind)

    def acme_roots(self) -> str:
        """The root of the certificates that the lab's ACME server issues, PEM; another each time that it starts."""
        return acme.issuing_roots(self.internet.acme)

    def restart_acme(self, valid_for: timedelta = acme.VALID_FOR) -> None:
        """Start the ACME server anew, with another root; its certificates are then valid for that long."""
        with state.locked(self.name):
            self.internet.restart_acme(valid_for)
            self.internet.write_roots(keys.acme_root(Path(register.entry(self.name).inventory)))

    def set_router(self, host: str, forwards: Sequence[int] = (), upnp_mode: upnp.Mode = "off") -> None:
        """Have the router before ``host`` pass on these TCP ports to it, and let itself be asked for more or not.

        What it was asked for is forgotten when the mode changes. ``up`` sets a box's router as the fleet has it.
        """
        with state.locked(self.name):
            self._started(host)
            self._set_router(self._at_home(host), forwards, upnp_mode)

    def cable(self, host: str, is_up: bool) -> None:
        """Plug a host's network cable in or pull it out; its bench link is another. A host boots with it plugged in."""
        with state.locked(self.name):
            self._started(host)
            network.set_cable(self.names, self._member(host), is_up)

    def readdress(self, host: str, address: str) -> None:
        """Let the provider give the router before ``host`` another public address, or its own one back.

        One of 100.64.0.0/10 puts it behind the provider's own NAT: it gets out, and nobody gets in.
        The fleet does not learn of it: ``public_address`` goes on to be the one that the lab gave out.
        """
        with state.locked(self.name):
            self._started(host)
            member = self._at_home(host)
            network.readdress_router(self.names, member, IPv4Address(address))
            upnp.readdress(upnp.daemon(self.names, self.folder, member), self._base())

    def _set_router(self, member: Member, forwards: Sequence[int], upnp_mode: upnp.Mode) -> None:
        network.forward(self.names, member, forwards)
        upnp.switch(upnp.daemon(self.names, self.folder, member), self._base(), member.name, upnp_mode)

    def _at_home(self, host: str) -> Member:
        member = self._member(host)
        if not member.at_home:
            raise LabError(f"{host} stands behind no router: only hosts at home do.")
        return member

    def _base(self) -> Path:
        """The file system that the lab's daemons run from."""
        register.entry(self.name)
        return Path(state.load(self.folder).services)

    @property
    def internet(self) -> Internet:
        """The servers of the lab's internet; raises ``LabError`` if the lab is down."""
        return Internet(self.names, self.folder, self._base())

    def _member(self, host: str) -> Member:
        return state.load(self.folder).member(host)

    def _machine(self, host: str) -> hosts.Machine:
        return hosts.Machine(self.names, host, self.folder / "hosts" / host)

    def _started(self, host: str) -> hosts.Machine:
        """The machine of a host that the lab has started at least once."""
        record = state.load(self.folder)
        register.entry(self.name)
        if record.member(host).name not in record.hosts:
            raise LabError(f"{host} was never started: run `hearth lab up {host} --name {self.name}`.")
        return self._machine(host)
