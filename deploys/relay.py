"""A relay: pyinfra inventory/ deploys/relay.py."""

from pyinfra import host

from hearth import beginning, layout, services
from roles import base, firewall, health, router, sshd, tunnel_server, updates
from roles.tunnel_server.accounts import household_account

ROOM_BYTES = 2 << 30

relay_host = host.data.get("relay")

if relay_host is not None and beginning.begun(
    relay_host,
    (
        *base.PACKAGES,
        *sshd.PACKAGES,
        *updates.PACKAGES,
        *firewall.PACKAGES,
        *tunnel_server.PACKAGES,
        *router.PACKAGES,
        *health.PACKAGES,
    ),
    room_bytes=ROOM_BYTES,
):
    relay = relay_host.relay
    base.base(relay_host)
    firewall.open_way(name="Open the way to the operators' sshd", port=relay_host.ssh_port)
    sshd.sshd(relay_host, forwarding=f"*:{layout.SSH_TUNNEL_PORT}")
    updates.updates(updates.AT_NIGHT, key=relay_host.name)
    firewall.firewall(
        (
            firewall.operators_ssh(relay_host.ssh_port),
            firewall.tunnels(relay.tunnel_port),
            firewall.web(router.public_ports(relay_host)),
        )
    )
    tunnel_server.tunnel_server((household_account(relay_host.households),), (relay.tunnel_port,))
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
            firewall=firewall.INTACT,
            tunnel_sshd=tunnel_server.verify((relay.tunnel_port,)),
        )
    )
    services.running(name="See that every service runs", names=units)
