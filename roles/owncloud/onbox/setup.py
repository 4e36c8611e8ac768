"""From an unpacked release to a cloud with its users: install, configure, users, apps."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import shutil
from dataclasses import replace

from . import database
from .common import Fault, sync_folder
from .settings import Account, Settings
from .system import WEB, exchange, run, write_whole
from .tree import (
    installed,
    keep_config,
    numbers,
    occ,
    parse_apps,
    parse_users,
    read_stamp,
    restore_config,
    update_htaccess,
    write_stamp,
)

REDIS = "/run/redis/redis-server.sock"
# Neither l nor o, neither 0 nor 1: read off paper, typed on a phone. 32 letters are five bits each.
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
HEADING = """\
# This file belongs to hearth: the first passwords of this household's cloud accounts, made on this box and kept only
# here. They go to the household on a printed sheet. A password that somebody has changed since is not written here.
"""


def make_password() -> str:
    """A password of 100 random bits: five groups of four."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(5))


def parse_passwords(text: str) -> dict[str, str]:
    """Given the password file, return user name -> password."""
    rows = [line.rpartition(": ") for line in text.splitlines() if ": " in line and not line.startswith("#")]
    return {name: password for name, _, password in rows}


def password_for(settings: Settings, name: str) -> str:
    """The password of a user to be made; on the disk before anything is made with it, so no kill can lose it."""
    path = settings.paths.passwords
    known = parse_passwords(path.read_text()) if path.exists() else {}
    if name not in known:
        known[name] = make_password()
        write_whole(path, HEADING + "".join(f"{user}: {word}\n" for user, word in known.items()))
    return known[name]


def is_installed(settings: Settings) -> bool:
    """Whether the cloud is installed and the install has come to its end."""
    paths = settings.paths
    return installed(paths.tree) and paths.kept_config.exists() and not paths.installing.exists()


def install(settings: Settings) -> None:
    """Install the pinned release, or go on with what an interrupted install left. Raises Fault."""
    paths = settings.paths
    if is_installed(settings):
        return
    mend_config(settings)
    place_tree(settings)
    mend_config(settings)
    paths.data.mkdir(parents=True, exist_ok=True)
    shutil.chown(paths.data, WEB, WEB)
    paths.data.chmod(0o770)
    if not installed(paths.tree):
        clear_ground(settings)
        run_install(settings)
    finish_install(settings)


def mend_config(settings: Settings) -> None:
    """Put back the ``config.php`` of a cloud that was installed once and lost it.

    The product writes it in place, so a full disk empties it. The database is full of the household's then, and must
    never be installed anew over.
    """
    paths, stamp = settings.paths, read_stamp(settings.paths.tree)
    if stamp is None or installed(paths.tree) or not paths.kept_config.exists():
        return
    version = re.search(r"'version'\s*=>\s*'([^']+)'", paths.kept_config.read_text(errors="replace"))
    if version and numbers(version.group(1))[:3] != numbers(stamp.version)[:3]:
        raise Fault(
            f"the tree holds {stamp.version} and this cloud was at {version.group(1)} when it was last well; "
            f"pin the release {version.group(1)} belongs to, and move the pin after that"
        )
    restore_config(settings)


def place_tree(settings: Settings) -> None:
    """Put the unpacked release into its place, unless a cloud runs there."""
    paths, stamp = settings.paths, read_stamp(settings.paths.tree)
    if stamp is not None and (stamp.sha256 == settings.pin.sha256 or installed(paths.tree)):
        return
    if read_stamp(settings.beside) is None:
        raise Fault(f"{settings.product.title} {settings.pin.version} is not fetched yet; run fetch first")
    if not paths.tree.exists():
        settings.beside.rename(paths.tree)
        sync_folder(paths.www)
        return
    if stamp is None:
        raise Fault(f"{paths.tree} is not from hearth; move it away and converge again")
    exchange(paths.tree, settings.beside)
    shutil.rmtree(settings.beside)


def clear_ground(settings: Settings) -> None:
    """Make sure that an install starts from nothing: remove what an interrupted one of ours left, and only that."""
    paths = settings.paths
    if not paths.installing.exists():
        if database.has_tables() or any(entry.is_dir() for entry in paths.data.iterdir()):
            raise Fault(
                f"the cloud is not installed, yet its database or {paths.data} holds data that hearth did not put "
                "there; bring the config.php that belongs to it, or move the data away"
            )
        paths.state.mkdir(parents=True, exist_ok=True)
        write_whole(paths.installing, "An install has begun; all that is in the database stems from it.\n")
    elif database.has_tables():
        database.drop(settings)
    # occ runs only for the owner of config.php, so an empty one is there before it first looks.
    write_whole(paths.tree / "config/config.php", "", 0o640, owner=WEB, group=WEB)


def run_install(settings: Settings) -> None:
    """Let the product install itself. Raises Fault; the next run begins anew."""
    secret = database.password_file(settings).read_text().strip()
    occ(
        settings,
        "maintenance:install",
        "--database=mysql",
        f"--database-host=localhost:{database.SOCKET}",
        f"--database-name={database.NAME}",
        f"--database-user={database.NAME}",
        f"--data-dir={settings.paths.data}",
        f"--admin-user={settings.admin.name}",
        hidden=(f"--database-pass={secret}", f"--admin-pass={password_for(settings, settings.admin.name)}"),
    )
    if not installed(settings.paths.tree):
        raise Fault("maintenance:install ended well, yet config.php does not say installed; look at the cloud's log")


def finish_install(settings: Settings) -> None:
    """Name the admin, keep the configuration, and take away the mark of an unfinished install."""
    if settings.paths.installing.exists():
        with contextlib.suppress(Fault):  # a name that is not set is no reason to install anew
            name_user(settings, settings.admin)
    keep_config(settings)
    if not settings.paths.kept_config.exists():
        raise Fault("the cloud is installed and in maintenance mode; switch it off with occ maintenance:mode --off")
    settings.paths.installing.unlink(missing_ok=True)
    sync_folder(settings.paths.state)


def name_user(settings: Settings, user: Account) -> None:
    """Give a user the display name of the inventory."""
    words = (word.format(user=user.name, name=user.display_name) for word in settings.product.naming)
    occ(settings, *words)


def php_string(value: str) -> str:
    """A value as a PHP string literal in single quotes."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def render_config(settings: Settings) -> str:
    """``config/hearth.config.php``: what hearth decides, merged by the product over its own ``config.php``.

    A key that is once set here stays in the product's own file when it goes away here, so every key is always set.
    """
    return f"""<?php
// This file belongs to hearth and is replaced whole; changes made here are lost. It holds no secret.
$CONFIG = [
    'trusted_domains' => [{php_string(settings.domain)}],
    'overwrite.cli.url' => {php_string(settings.url)},
    'htaccess.RewriteBase' => '/',
    'memcache.local' => '\\\\OC\\\\Memcache\\\\APCu',
    'memcache.locking' => '\\\\OC\\\\Memcache\\\\Redis',
    'filelocking.enabled' => true,
    'redis' => ['host' => {php_string(REDIS)}, 'port' => 0, 'timeout' => 5.0],
    'log_type' => 'syslog',
    'syslog_tag' => 'hearth-cloud',
    'loglevel' => 2,
    'updatechecker' => false,
    'upgrade.disable-web' => true,
];
"""


def config_digest(settings: Settings) -> str:
    """What the stamp's ``configured`` is when everything below is done for the present configuration."""
    return hashlib.sha256(render_config(settings).encode()).hexdigest()


def is_configured(settings: Settings) -> bool:
    """Whether the configuration is in its place and everything that follows from it was done."""
    stamp, path = read_stamp(settings.paths.tree), settings.paths.tree / "config/hearth.config.php"
    return (
        stamp is not None
        and stamp.configured == config_digest(settings)
        and path.is_file()
        and path.read_text(errors="replace") == render_config(settings)
    )


def configure(settings: Settings) -> None:
    """Put the configuration and do what follows: ``.htaccess``, and jobs by the timer. Raises Fault."""
    if is_configured(settings):
        return
    stamp = read_stamp(settings.paths.tree)
    if stamp is None or not installed(settings.paths.tree):
        raise Fault("the cloud is not installed yet; run install first")
    redis_answers()
    path = settings.paths.tree / "config/hearth.config.php"
    write_whole(path, render_config(settings), 0o640, group=WEB)
    update_htaccess(settings)
    occ(settings, "background:cron")
    keep_config(settings)
    write_stamp(settings.paths.tree, replace(stamp, configured=config_digest(settings)))


def redis_answers() -> None:
    """Raise Fault unless Redis answers www-data: while it is away, locking by it fails every call of occ."""
    done = run(["redis-cli", "-s", REDIS, "PING"], web=True, timeout_s=20)
    if done.stdout.strip() != b"PONG":
        raise Fault(f"Redis does not answer www-data at {REDIS}, and the cloud's file locking needs it; start it first")


def missing_users(settings: Settings) -> tuple[Account, ...]:
    """The inventory's users whom the cloud does not have."""
    present = parse_users(occ(settings, "user:list", "--output=json"))
    return tuple(user for user in settings.users if user.name not in present)


def make_users(settings: Settings) -> None:
    """Make the users who are missing; who is there is left alone, and nobody is ever removed. Raises Fault."""
    for user in missing_users(settings):
        occ(
            settings,
            "user:add",
            "--password-from-env",
            f"--display-name={user.display_name}",
            *(["--group=admin"] if user.admin else []),
            user.name,
            env={settings.product.password_env: password_for(settings, user.name)},
        )


def missing_apps(settings: Settings) -> tuple[str, ...]:
    """The inventory's apps that are not enabled."""
    if not settings.apps:
        return ()
    enabled = parse_apps(occ(settings, "app:list", "--output=json"))
    return tuple(app for app in settings.apps if app not in enabled)


def enable_apps(settings: Settings) -> None:
    """Enable the apps of the inventory. Raises Fault for one that the release does not bring."""
    for app in missing_apps(settings):
        try:
            occ(settings, "app:enable", app)
        except Fault as fault:
            raise Fault(
                f"the app {app} cannot be enabled ({fault}); it does not come with "
                f"{settings.product.title} {settings.pin.version}, or does not fit it: take it out of the inventory"
            ) from None
    left = missing_apps(settings)
    if left:
        raise Fault(
            f"occ enabled {', '.join(left)} without a complaint, and app:list does not have it; look at the log"
        )
