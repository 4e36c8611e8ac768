"""A backup store on a host of its own: pyinfra inventory/ deploys/store.py."""

from pyinfra import host

from hearth import beginning, layout, services
from roles import backup_store, base, firewall, health, sshd, updates

ROOM_BYTES = 2 << 30

store_host = host.data.get("store")

if store_host is not None and beginning.begun(
    store_host,
    (
        *base.PACKAGES,
        *sshd.PACKAGES,
        *updates.PACKAGES,
        *firewall.PACKAGES,
        *backup_store.PACKAGES,
        *health.PACKAGES,
    ),
    room_bytes=ROOM_BYTES,
):
    base.base(store_host)
    firewall.open_way(name="Open the way to the operators' sshd", port=store_host.ssh_port)
    sshd.sshd(store_host)
    updates.updates(updates.AT_NIGHT, key=store_host.name)
    firewall.firewall(
        (
            firewall.operators_ssh(store_host.ssh_port),
            firewall.backups(
                (layout.STORE_PORT, layout.STORE_PRUNE_PORT),
                firewall.addresses(relay.address for relay in store_host.relays),
            ),
        )
    )
    backup_store.backup_store(store_host.store, store_host.households)
    units = (
        "ssh.service",
        firewall.UNIT,
        *backup_store.SERVICES,
        "systemd-timesyncd.service",
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        health.TIMER,
    )
    health.health(
        health.of_server(store_host, units, firewall=firewall.INTACT, store=health.Stored(**backup_store.JUDGED))
    )
    services.running(name="See that every service runs", names=units)
