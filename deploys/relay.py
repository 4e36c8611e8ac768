"""A relay: pyinfra inventory/ deploys/relay.py."""

from datetime import time

from pyinfra import host

from hearth import artefacts, layout, packages, preflight, services
from hearth.inventory.model import Updates, Window
from roles import base, firewall, health, router, sshd, tunnel_server, updates
from roles.tunnel_server.accounts import household_account

MIB = 1 << 20

relay_host = host.data.get("relay")

if relay_host is not None:
    relay = relay_host.relay
    why_not = preflight.refusal(host.get_fact(preflight.MachineFact), releases=("13",), room_bytes=2048 * MIB)
    if why_not:
        preflight.refuse(name=f"Refuse {relay_host.name}", sentence=why_not)
    else:
        packages.installed(
            name="Install the packages",
            names=(
                *base.PACKAGES,
                *sshd.PACKAGES,
                *updates.PACKAGES,
                *firewall.PACKAGES,
                *tunnel_server.PACKAGES,
                *router.PACKAGES,
                *health.PACKAGES,
            ),
        )
        artefacts.bootstrap()
        base.base(relay_host)
        sshd.sshd(relay_host, forwarding=f"*:{layout.SSH_TUNNEL_PORT}")
        updates.updates(Updates(Window(time(3), time(5))), key=relay_host.name)
        firewall.firewall(
            (
                firewall.operators_ssh(relay_host.ssh_port),
                firewall.tunnels(relay.tunnel_port),
                firewall.web(router.public_ports(relay_host)),
            )
        )
        tunnel_server.tunnel_server((household_account(relay_host.households),), relay.tunnel_port)
        router.router(relay_host)
        units = (
            "ssh.service",
            firewall.UNIT,
            *tunnel_server.SERVICES,
            "haproxy.service",
            "systemd-timesyncd.service",
            "apt-daily.timer",
            "apt-daily-upgrade.timer",
            health.TIMER,
        )
        health.health(
            health.of_server(
                relay_host,
                units,
                firewall=f'test "$({firewall.FirewallState().command()})" = intact',
                tunnel_sshd=tunnel_server.verify(relay.tunnel_port),
            )
        )
        services.running(name="See that every service runs", names=units)
