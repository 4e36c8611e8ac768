"""A household's box: pyinfra inventory/ deploys/box.py."""

from pyinfra import host

from hearth import beginning, layout, services
from roles import (
    apache,
    backup,
    base,
    certs,
    database,
    dynamic_dns,
    health,
    owncloud,
    php,
    router_port,
    sshd,
    tunnel,
    updates,
)

box = host.data.get("box")
cloud = box.household.owncloud if box else None

if box is not None and beginning.begun(
    box,
    (
        *base.PACKAGES,
        *sshd.PACKAGES,
        *tunnel.PACKAGES,
        *router_port.packages(box.household),
        *dynamic_dns.packages(box),
        *updates.PACKAGES,
        *php.packages(cloud.release.php),
        *apache.PACKAGES,
        *certs.PACKAGES,
        *database.PACKAGES,
        *owncloud.PACKAGES,
        *backup.packages(box.household),
        *health.PACKAGES,
    ),
    room_bytes=cloud.room,
    unready=certs.refusal(box),
):
    base.base(box)
    sshd.sshd(box, tunnel_port=layout.SSH_TUNNEL_PORT)
    if box.relay is None:
        # The router's ports are the operator's only road then: they are there before the tunnel goes.
        router_port.router_port(box.household)
        tunnel.tunnel(box)
    else:
        tunnel.tunnel(box)
        router_port.router_port(box.household)
    dynamic_dns.dynamic_dns(box)
    updates.updates(box.household.updates, key=box.household.id)
    php.php(cloud)
    certs.certs(box)
    apache.apache(box.household)
    certs.issuance(box)
    database.database(box)
    owncloud.owncloud(box)
    backup.backup(box)
    units = (
        "ssh.service",
        *tunnel.services(box),
        *router_port.services(box.household),
        *dynamic_dns.services(box),
        *certs.services(box),
        apache.PROXY_GUARD,
        "apache2.service",
        f"php{cloud.release.php}-fpm.service",
        "mariadb.service",
        "redis-server.service",
        "systemd-timesyncd.service",
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "hearth-cloud-cron.timer",
        *backup.services(box.household),
        health.TIMER,
    )
    told = layout.BACKUP_FOLDER if box.household.backup.is_made else None
    health.health(health.of_box(box, units, tunnel.UNIT if tunnel.has_tunnel(box) else None, told))
    services.running(name="See that every service runs", names=units)
    # Last: what a router or a DNS server refuses keeps nothing else from the box.
    router_port.reachable(box.household)
    dynamic_dns.published(box)
