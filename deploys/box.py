"""A household's box: pyinfra inventory/ deploys/box.py."""

from pyinfra import host

from hearth import beginning, layout, services
from roles import apache, base, certs, database, owncloud, php, sshd, tunnel, updates

box = host.data.get("box")
cloud = box.household.owncloud if box else None

if box is not None and beginning.begun(
    box,
    (
        *base.PACKAGES,
        *sshd.PACKAGES,
        *tunnel.PACKAGES,
        *updates.PACKAGES,
        *php.packages(cloud.release.php),
        *apache.PACKAGES,
        *certs.PACKAGES,
        *database.PACKAGES,
        *owncloud.PACKAGES,
    ),
    room_bytes=cloud.room,
):
    base.base(box)
    sshd.sshd(box, tunnel_port=layout.SSH_TUNNEL_PORT)
    tunnel.tunnel(box)
    updates.updates(box.household.updates, key=box.household.id)
    php.php(cloud)
    certs.certs(box)
    apache.apache(box.household)
    database.database(box)
    owncloud.owncloud(box)
    services.running(
        name="See that every service runs",
        names=(
            "ssh.service",
            *tunnel.services(box),
            apache.PROXY_GUARD,
            "apache2.service",
            f"php{cloud.release.php}-fpm.service",
            "mariadb.service",
            "redis-server.service",
            "systemd-timesyncd.service",
            "apt-daily.timer",
            "apt-daily-upgrade.timer",
            "hearth-cloud-cron.timer",
        ),
    )
