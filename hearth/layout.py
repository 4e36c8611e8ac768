"""Where things lie on a box: the paths that more than one role, or a role and the engine, must agree on."""

from __future__ import annotations

PROGRAMS = "/usr/lib/hearth"
"""hearth's programs on the host."""

APPLY = f"{PROGRAMS}/apply"
"""The program that puts a change, confirms it and undoes it (``hearth/onhost/apply.py``)."""

TLS_FOLDER = "/etc/hearth/tls"
TLS_KEY = f"{TLS_FOLDER}/key.pem"
TLS_CERTIFICATE = f"{TLS_FOLDER}/certificate.pem"

CLOUD_ROOT = "/srv/hearth/www/owncloud"
"""The product's tree and Apache's DocumentRoot."""

CLOUD_DATA = "/srv/hearth/data"
"""The household's files, outside the tree."""

SPOOL = "/srv/hearth/spool"
"""Where PHP spools uploads: on the data disk, since Debian 13's /tmp is in memory."""

DEPRECATIONS_SHIM = f"{PROGRAMS}/owncloud-prepend.php"
"""Run before every PHP script of a release that dies of deprecation notices."""

REDIS_SOCKET = "/run/redis/redis-server.sock"


def fpm_socket(php: str) -> str:
    """The FastCGI socket of Debian's PHP ``php`` (a version such as ``8.4``)."""
    return f"/run/php/php{php}-fpm.sock"


HTTPS_TUNNEL_PORT = 10443
"""On the relay's loopback address of a household, and on the box's own loopback: HTTPS behind PROXY protocol v2."""

SSH_TUNNEL_PORT = 10022
"""On the relay's loopback address of a household: the box's sshd, for the operator."""

METRICS_PORT = 8404
"""The relay's router: Prometheus' exporter, on 127.0.0.1 alone."""

STORE_PORT = 8444
"""Where a store takes backups: on its relay's loopback, or on a host of its own for relays alone."""

STORE_PRUNE_PORT = 8445
"""Where a store offers repositories for clearing up."""

STORE_TUNNEL_PORT = 18444
STORE_PRUNE_TUNNEL_PORT = 18445
"""The two ports of its store on a box's loopback, at the other end of its tunnel."""

STORE_REPOSITORIES = "/srv/hearth/store/repositories"
"""Where a store keeps the households' repositories, each in a folder of its id."""

STORE_CERTIFICATE = "/etc/hearth/store/certificate.pem"
"""The store's own certificate, made there."""

BACKUP_LOGIN = "/etc/hearth/backup/store-login"
"""The box's login at its store: a bcrypt hash; made on the box."""

STORE_PEM = "/etc/hearth/backup/store.pem"
"""The certificate of its store, on a box; no other is trusted there."""

BACKUP_FOLDER = "/var/lib/hearth/backup"
"""What a box keeps about its backup: ``last-good``, ``last-proven``, ``paper.json``; no secret."""

KEY_PAGE_PORT = 7443
"""A box's page about the household's backup key, on the home's own network alone."""

PAPER_KEY_FINGERPRINT = "/etc/hearth/backup/paper-key.fingerprint"
"""The fingerprint (``SHA256:…``) of the household's paper key."""

RESTORED = "/var/lib/hearth/restore/done"
"""Once a box has been restored: one line, ``OLD_ID TIME``, TIME in ISO 8601 and UTC."""

TUNNEL_KEY = "/etc/hearth/tunnel/key"
"""The box's private key for its tunnel; made on the box, readable by the tunnel's user alone."""

TUNNEL_USER = "hearth-tunnel"
"""The box's account whose unit opens the tunnel; and the relay's account where all households' tunnels end."""

SCREEN_USER = "screen"
"""The support Pi's account of the people whose screens are helped: each key binds one port of the Pi's loopback."""

VIEWER_USER = "viewer"
"""The support Pi's account of those who help: each key reaches the ports of the screens that name its owner."""

SOCKS_USER = "socks"
"""The support Pi's account for the pages of its routers."""

TUNNEL_SESSIONS = f"{PROGRAMS}/tunnel-sessions"
"""On a relay or Pi: ``list`` prints a JSON object for each live tunnel, with person, kind, since, from and port."""

TUNNEL_HOST_KEY = "/etc/ssh/hearth-tunnel/ssh_host_ed25519_key"
"""The host key of the relay's (and the Pi's) tunnel sshd."""

HEALTH = f"{PROGRAMS}/health"
"""The program that judges a host's health (``roles/health``)."""

HEALTH_FOLDER = "/run/hearth-health"
HEALTH_VERDICT = f"{HEALTH_FOLDER}/verdict.json"
"""The last verdict, at most some minutes old: in memory, since a full disk is one of the things that it tells of."""

DNS_KEY_FOLDER = "/etc/hearth/dns"
"""The keys with which a box signs its DNS updates: its own (SIG(0)), and the operator's ``tsig.key``, if any."""

DNS_PUBLIC_KEY = f"{DNS_KEY_FOLDER}/key.pub"
"""The public half of the box's own: the data of its KEY record."""

ADDRESS_PATH = "/.well-known/hearth/address"
"""The page of a relay (http) that answers with the asker's address."""
