"""base: what every host is before it is anything else: refused or accepted, named, on time, with its operators."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.facts.server import Hostname

from hearth import artefacts, operators, services
from hearth.inventory.hosts import Host
from hearth.render import template

PACKAGES = ("ca-certificates", "curl", "libnss-myhostname", "python3", "systemd-timesyncd", "tzdata")


@operation()
def called(name_of_host: str) -> Generator[StringCommand, None, None]:
    """Give the host this name, now and at each boot."""
    if host.get_fact(Hostname) != name_of_host:
        yield StringCommand("hostnamectl", "set-hostname", QuoteString(name_of_host))


@deploy("base")
def base(machine: Host) -> None:
    """Name the host, set its time zone and time synchronisation, and make its operators' accounts."""
    called(name=f"Call the host {machine.name}", name_of_host=machine.name)
    artefacts.put(
        name=f"Set the time zone {machine.time_zone}",
        change="time-zone",
        artefacts=(artefacts.Link("/etc/localtime", f"/usr/share/zoneinfo/{machine.time_zone}"),),
        check="test -e /etc/localtime",
    )
    artefacts.put(
        name="Keep the time by the network",
        change="time-sync",
        artefacts=(
            artefacts.File("/etc/systemd/timesyncd.conf.d/hearth.conf", template(__file__, "timesyncd.conf.j2")),
        ),
        # In a container, where the machine outside keeps the clock, systemd skips the unit and start is no error.
        activate=f"{services.enabling('systemd-timesyncd')} && systemctl restart systemd-timesyncd",
    )
    operators.present(name="Make the operators' accounts", names=tuple(person.name for person in machine.operators))
