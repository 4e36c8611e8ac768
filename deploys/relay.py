"""A relay: pyinfra inventory/ deploys/relay.py."""

from pyinfra import host

from hearth import beginning, layout, services
from roles import backup_store, base, firewall, health, router, sshd, tunnel_server, updates
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
        *(backup_store.PACKAGES if relay_host.store else ()),
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
    tunnel_server.tunnel_server((household_account(relay_host.households, relay_host.stores),), (relay.tunnel_port,))
    router.router(relay_host)
    if relay_host.store:
        tenants = tuple(each for each in relay_host.households if each.backup.store == relay_host.name)
        backup_store.backup_store(relay_host.store, tenants)
    else:
        backup_store.removed()
    units = (
        "ssh.service",
        firewall.UNIT,
        *tunnel_server.SERVICES,
        "haproxy.service",
        *(backup_store.SERVICES if relay_host.store else ()),
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
            store=health.Stored(**backup_store.JUDGED) if relay_host.store else None,
        )
    )
    services.running(name="See that every service runs", names=units)
