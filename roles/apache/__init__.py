"""apache: the household's name over HTTPS: the TLS profile, HTTP/2, PHP-FPM, and no page that trusts localhost.

Two listeners serve the same site: port 443 for the home, and one on the loopback alone for what comes through the
tunnel, where a PROXY header is mandatory that says who the visitor is. Anybody who may connect there can forge that
header, so the kernel lets nobody in but the tunnel's account (and root).
"""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from hearth import artefacts, layout, services
from hearth.inventory.model import Household
from hearth.render import template

PACKAGES = ("apache2", "nftables")

ENABLED = "/etc/apache2/mods-enabled"
# Each with the files it has in mods-available.
MODULES = {
    "headers": ("load",),
    "http2": ("load", "conf"),
    "proxy": ("load", "conf"),
    "proxy_fcgi": ("load",),
    "remoteip": ("load",),
    "rewrite": ("load",),
    "setenvif": ("load", "conf"),
    "socache_shmcb": ("load",),
    "ssl": ("load", "conf"),
}
# What comes through the tunnel comes from 127.0.0.1, so nothing may trust that address.
UNWANTED = (f"{ENABLED}/status.load", f"{ENABLED}/status.conf", "/etc/apache2/sites-enabled/000-default.conf")

# Mozilla's intermediate profile, version 5.8; Debian 13's OpenSSL 3.5 knows the post-quantum group.
TLS_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
TLS_GROUPS = ("X25519MLKEM768", "X25519", "prime256v1", "secp384r1")

# Apache's own logs must fit as well, however small the household's limit is.
SMALLEST_FILE_LIMIT = 2 << 30

# Ask Apache itself: a graceful reload can return 0 and leave no Apache behind.
_CURL = "curl --silent --insecure --max-time 5 --output /dev/null"
ANSWERS = (
    "for try in 1 2 3 4 5 6 7 8 9 10; do "
    f"{_CURL} https://127.0.0.1/ && "
    f"{_CURL} --haproxy-protocol https://127.0.0.1:{layout.HTTPS_TUNNEL_PORT}/ && exit 0; sleep 0.5; done; "
    f"echo 'Apache does not answer on the ports 443 and {layout.HTTPS_TUNNEL_PORT}' >&2; "
    "journalctl -u apache2 -n 5 -o cat >&2; exit 1"
)

PROXY_RULES = "/etc/hearth/proxy-listener.nft"
PROXY_GUARD = "hearth-proxy-guard.service"

UNIT_IN_EFFECT = (
    "systemctl is-active --quiet apache2 && "
    'grep -q "^Max file size *$(systemctl show --property=LimitFSIZE --value apache2) " '
    '"/proc/$(systemctl show --property=MainPID --value apache2)/limits"'
)


def module_links() -> tuple[artefacts.Link, ...]:
    """The links by which Debian enables Apache's modules (what a2enmod makes)."""
    return tuple(
        artefacts.Link(f"{ENABLED}/{module}.{ending}", f"../mods-available/{module}.{ending}")
        for module, endings in MODULES.items()
        for ending in endings
    )


def server_settings(domain: str) -> str:
    """What holds for the whole server: TLS profile, time limits, headers."""
    return template(
        __file__, "server.conf.j2", domain=domain, tls_ciphers=":".join(TLS_CIPHERS), tls_groups=":".join(TLS_GROUPS)
    )


def unit(upload_bytes: int) -> str:
    """The service's drop-in: spool on the data disk, and no file without end (``upload_bytes``: the largest upload)."""
    return template(__file__, "unit.conf.j2", spool=layout.SPOOL, file_bytes=max(2 * upload_bytes, SMALLEST_FILE_LIMIT))


def site(household: Household) -> str:
    """The household's virtual hosts."""
    return template(
        __file__,
        "site.conf.j2",
        domain=household.domain,
        root=layout.CLOUD_ROOT,
        key=layout.TLS_KEY,
        certificate=layout.TLS_CERTIFICATE,
        fpm=layout.fpm_socket(household.owncloud.release.php),
        upload_bytes=household.owncloud.upload_limit,
        tunnel_port=layout.HTTPS_TUNNEL_PORT,
    )


def proxy_guard() -> tuple[artefacts.File, ...]:
    """The rules that keep everybody but the tunnel's account away from its listener, and the unit that loads them."""
    return (
        artefacts.File(
            PROXY_RULES,
            template(__file__, "proxy-listener.nft.j2", port=layout.HTTPS_TUNNEL_PORT, account=layout.TUNNEL_USER),
        ),
        artefacts.File(
            f"/etc/systemd/system/{PROXY_GUARD}", template(__file__, "proxy-guard.service.j2", rules=PROXY_RULES)
        ),
    )


@deploy("apache")
def apache(household: Household) -> None:
    """Serve the household's name; needs the files of the certs role and the tunnel's account."""
    artefacts.put(
        name="Let only the tunnel reach the listener for visitors from outside",
        change="proxy-guard",
        artefacts=proxy_guard(),
        check=f"nft --check --file {PROXY_RULES}",
        activate=f"systemctl enable --quiet --no-reload {PROXY_GUARD} && systemctl daemon-reload && "
        f"systemctl reload-or-restart {PROXY_GUARD}",
    )
    artefacts.put(
        name=f"Serve {household.domain} over HTTPS",
        change="apache",
        artefacts=(
            *module_links(),
            artefacts.File("/etc/apache2/conf-enabled/zz-hearth.conf", server_settings(household.domain)),
            artefacts.File("/etc/apache2/sites-enabled/hearth.conf", site(household)),
            artefacts.File("/etc/systemd/system/apache2.service.d/hearth.conf", unit(household.owncloud.upload_limit)),
        ),
        absent=UNWANTED,
        check="apache2ctl -t",
        # A reload keeps connections, but the unit's limits hold for a new process only.
        activate=f"systemctl daemon-reload && {services.enabling('apache2.service')} && "
        f"if {UNIT_IN_EFFECT}; then systemctl reload apache2; else systemctl restart apache2; fi",
        verify=ANSWERS,
    )
