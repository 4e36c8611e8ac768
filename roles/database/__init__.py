"""database: MariaDB and Redis for the cloud, both by socket only; the cloud's account is made by the owncloud role."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from hearth import artefacts, layout, services
from hearth.inventory.hosts import Box
from hearth.render import template

PACKAGES = ("mariadb-server", "redis-server")

REDIS_PING = f'test "$(runuser -u www-data -- redis-cli -s {layout.REDIS_SOCKET} PING)" = PONG'


def mariadb_files() -> tuple[artefacts.File, ...]:
    """MariaDB's drop-in; read after Debian's own 50-server.cnf, so it wins."""
    return (artefacts.File("/etc/mysql/mariadb.conf.d/99-hearth.cnf", template(__file__, "mariadb.cnf.j2")),)


def redis_files() -> tuple[artefacts.File, ...]:
    """The unit's drop-in (arguments win over redis.conf, which is Debian's) and who may use the socket."""
    return (
        artefacts.File(
            "/etc/systemd/system/redis-server.service.d/hearth.conf",
            template(__file__, "redis.conf.j2", socket=layout.REDIS_SOCKET),
        ),
        artefacts.File("/etc/sysusers.d/hearth-redis.conf", template(__file__, "sysusers.conf.j2")),
    )


@deploy("database")
def database(box: Box) -> None:
    """Run MariaDB and Redis on this box, reachable by nobody but this box's own programs."""
    fpm = f"php{box.household.owncloud.release.php}-fpm.service"
    artefacts.put(
        name="Let MariaDB listen on its socket alone",
        change="mariadb",
        artefacts=mariadb_files(),
        # Prints its help when it understands every option, and fails when it does not.
        check="mariadbd --user=mysql --verbose --help >/dev/null",
        activate=f"{services.enabling('mariadb.service')} && systemctl restart mariadb.service",
    )
    artefacts.put(
        name="Let Redis listen on its socket alone",
        change="redis",
        artefacts=redis_files(),
        # PHP's workers learn of the group when they are started anew. The unit says that Redis is ready (Type=notify)
        # before it has made its socket available to others, so the last line waits for an answer.
        activate="systemd-sysusers /etc/sysusers.d/hearth-redis.conf && systemctl daemon-reload && "
        f"{services.enabling('redis-server.service')} && systemctl restart redis-server.service && "
        f"systemctl try-reload-or-restart {fpm} && "
        f"for _ in 1 2 3 4 5 6 7 8 9 10; do {REDIS_PING} && exit 0; sleep 0.5; done; "
        "echo 'Redis does not answer www-data' >&2; exit 1",
    )
    # Here, and not only with all the others at the end: the cloud's steps need them.
    services.running(name="See that MariaDB and Redis run", names=("mariadb.service", "redis-server.service"))
