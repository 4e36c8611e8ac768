"""php: PHP-FPM with every limit of an upload from the inventory's one value."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from hearth import artefacts, layout, services
from hearth.inventory.model import OwnCloud
from hearth.render import template

MODULES = ("bcmath", "cli", "curl", "fpm", "gd", "gmp", "intl", "mbstring", "mysql", "xml", "zip")

PREPEND = f"{layout.PROGRAMS}/prepend.php"

# A home line at 1 Mbit/s carries 3 GB in some seven hours, but PHP's clocks stop while it waits for the network;
# they bound the work on a file that has arrived.
EXECUTION_S = 3600


def packages(php: str) -> tuple[str, ...]:
    """Debian's packages for PHP ``php`` (a version such as ``8.4``)."""
    return (*(f"php{php}-{module}" for module in MODULES), "php-apcu", "php-redis")


def pool(cloud: OwnCloud) -> str:
    """The drop-in for FPM's own pool ``www``: php_admin_value wins over ownCloud's .user.ini and .htaccess."""
    return template(
        __file__,
        "pool.conf.j2",
        upload_bytes=cloud.upload_limit,
        post_bytes=cloud.post_limit,
        memory_bytes=cloud.memory_limit,
        execution_s=EXECUTION_S,
        spool=layout.SPOOL,
        prepend=PREPEND,
    )


def prepend(cloud: OwnCloud) -> str:
    """What PHP runs before every script: the limit for requests without a length, and what the release needs."""
    return template(
        __file__,
        "prepend.php.j2",
        upload_bytes=cloud.upload_limit,
        shim=layout.DEPRECATIONS_SHIM,
    )


def artefacts_of(cloud: OwnCloud) -> tuple[artefacts.File, ...]:
    """All files of the role."""
    php = cloud.release.php
    return (
        artefacts.File(PREPEND, prepend(cloud)),
        artefacts.File(f"/etc/php/{php}/fpm/pool.d/zz-hearth.conf", pool(cloud)),
        artefacts.File(f"/etc/php/{php}/cli/conf.d/99-hearth.ini", template(__file__, "cli.ini.j2")),
        artefacts.File("/etc/tmpfiles.d/hearth-spool.conf", template(__file__, "tmpfiles.conf.j2", spool=layout.SPOOL)),
    )


@deploy("php")
def php(cloud: OwnCloud) -> None:
    """Set PHP's limits and its spool folder."""
    service = f"php{cloud.release.php}-fpm"
    artefacts.put(
        name=f"Let PHP take uploads of {cloud.upload_limit} bytes",
        change="php",
        artefacts=artefacts_of(cloud),
        check=f"php-fpm{cloud.release.php} -t",
        activate="mkdir -p /srv/hearth && systemd-tmpfiles --create /etc/tmpfiles.d/hearth-spool.conf && "
        f"{services.enabling(service)} && systemctl reload-or-restart {service}",
    )
