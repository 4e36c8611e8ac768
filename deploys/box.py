"""A household's box: pyinfra inventory/ deploys/box.py."""

from pyinfra import host

from hearth import artefacts, layout, packages, preflight, services
from roles import apache, base, certs, database, health, owncloud, php, sshd, tunnel, updates

box = host.data.get("box")

if box is not None:
    cloud = box.household.owncloud
    why_not = preflight.refusal(host.get_fact(preflight.MachineFact), releases=("13",), room_bytes=cloud.room)
    if why_not:
        preflight.refuse(name=f"Refuse {box.name}", sentence=why_not)
    else:
        packages.installed(
            name="Install the packages",
            names=(
                *base.PACKAGES,
                *sshd.PACKAGES,
                *tunnel.PACKAGES,
                *updates.PACKAGES,
                *php.packages(cloud.release.php),
                *apache.PACKAGES,
                *certs.PACKAGES,
                *database.PACKAGES,
                *owncloud.PACKAGES,
                *health.PACKAGES,
            ),
        )
        artefacts.bootstrap()
        base.base(box)
        sshd.sshd(box, tunnel_port=layout.SSH_TUNNEL_PORT)
        tunnel.tunnel(box)
        updates.updates(box.household.updates, key=box.household.id)
        php.php(cloud)
        certs.certs(box)
        apache.apache(box.household)
        database.database(box)
        owncloud.owncloud(box)
        units = (
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
            health.TIMER,
        )
        health.health(health.of_box(box, units, tunnel.UNIT if tunnel.has_tunnel(box) else None))
        services.running(name="See that every service runs", names=units)
