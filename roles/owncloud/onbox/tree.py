"""The release on the disk: which one it is, whether it is installed, and its ``occ``."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .common import Fault
from .settings import Pin, Settings
from .system import WEB, last_words, run, write_whole

STAMP = "hearth.release"
UPGRADE_TIMEOUT_S = 4 * 3600


@dataclass(frozen=True)
class Stamp:
    """Which release a tree holds, and for which configuration its ``.htaccess`` was last written (SHA-256, hex).

    ``ignore_deprecations``: as its pin had it; ``owncloud-prepend.php`` reads it before each PHP script.
    It lies in the tree's own ``config/`` (left out of ownCloud's integrity check), so it moves with the tree.
    """

    product: str
    version: str
    sha256: str
    configured: str = ""
    ignore_deprecations: bool = False


def read_stamp(tree: Path) -> Stamp | None:
    """The stamp of a tree, or None when there is no such tree or hearth did not put it."""
    try:
        return Stamp(**json.loads((tree / "config" / STAMP).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def stamp_of(pin: Pin) -> Stamp:
    """The stamp that a tree of the pinned release bears when it is new."""
    return Stamp(pin.product, pin.version, pin.sha256, ignore_deprecations=pin.ignore_deprecations)


def write_stamp(tree: Path, stamp: Stamp) -> None:
    """Put the stamp of a tree."""
    write_whole(tree / "config" / STAMP, json.dumps(asdict(stamp)) + "\n", 0o644)


def parse_version(text: str) -> str | None:
    """Given ``version.php``, return the release's version as people write it (``11.0.0``), or None."""
    found = re.search(r"""\$OC_VersionString\s*=\s*['"]([^'"]+)['"]""", text)
    return found.group(1) if found else None


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, for comparing: ``11.0.10`` is above ``11.0.9``."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def refused_move(here: Stamp, settings: Settings) -> str | None:
    """Why the pinned release may not follow the one that is here, as a sentence, or None when it may."""
    pin = settings.pin
    if here.product != pin.product:
        return (
            f"the pin is {pin.product} {pin.version} and this box runs {here.product} {here.version}: one product does "
            f"not upgrade to the other; pin a release of {here.product}"
        )
    old, new = numbers(here.version), numbers(pin.version)
    if new < old:
        return (
            f"the pin is {pin.version} and this box runs {here.version}: {settings.product.title} cannot go back; "
            f"pin {here.version} or later"
        )
    if not settings.product.skips_majors and new[0] > old[0] + 1:
        return (
            f"the pin is {pin.version} and this box runs {here.version}: {settings.product.title} must not skip a "
            f"major version; pin a release of {old[0] + 1} first"
        )
    return None


def says(config: str, key: str) -> bool:
    """Whether the text of a ``config.php`` has ``'key' => true``."""
    return re.search(rf"'{key}'\s*=>\s*true\b", config) is not None


def config_text(tree: Path) -> str:
    """The tree's ``config.php``, or the empty string."""
    try:
        return (tree / "config/config.php").read_text(errors="replace")
    except OSError:
        return ""


def installed(tree: Path) -> bool:
    """Whether ``config.php`` says so; ``occ status`` has no JSON before the install, and needs a database."""
    return says(config_text(tree), "installed")


def keep_config(settings: Settings) -> None:
    """Keep a copy of a good ``config.php``: the product writes its own in place, so a full disk can empty it."""
    text = config_text(settings.paths.tree)
    good = says(text, "installed") and not says(text, "maintenance") and text.rstrip().endswith(");")
    kept = settings.paths.kept_config
    if good and not (kept.exists() and kept.read_text(errors="replace") == text):
        write_whole(kept, text)


def restore_config(settings: Settings) -> None:
    """Put the kept ``config.php`` into the tree, whole."""
    write_whole(
        settings.paths.tree / "config/config.php", settings.paths.kept_config.read_bytes(), 0o640, owner=WEB, group=WEB
    )


def occ(
    settings: Settings,
    *arguments: str,
    hidden: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    good: Sequence[int] = (0,),
    timeout_s: int = 900,
) -> str:
    """Run ``occ`` of the served tree as www-data and return its stdout.

    ``hidden`` are further arguments that must not show in ``ps``: they go through standard input, and
    ``prepend-args.php`` appends them to ``$argv`` before ``occ`` looks. PHP's notices go to stderr and are not read.
    Raises Fault with occ's last words when its status is none of ``good``.
    """
    code, pin = settings.paths.code, settings.pin
    prepend = str(code / ("prepend-args.php" if hidden else "owncloud-prepend.php"))
    stdin = json.dumps(hidden).encode() if hidden else b""
    command = [f"/usr/bin/php{pin.php}", "-d", "log_errors=0", "-d", "display_errors=stderr", "-d", "apc.enable_cli=1"]
    done = run(
        [*command, "-d", f"auto_prepend_file={prepend}", "occ", *arguments, "--no-interaction"],
        stdin=stdin,
        env=env,
        cwd=settings.paths.tree,
        web=True,
        timeout_s=timeout_s,
    )
    if done.returncode not in good:
        secrets = [word for word in [*hidden, *(env or {}).values()] if word]
        secrets += [word.partition("=")[2] for word in hidden if "=" in word]
        words = last_words(done.stdout, done.stderr, hide=secrets)
        raise Fault(f"occ {arguments[0]} ended with status {done.returncode}: {words}")
    return done.stdout.decode(errors="replace")


def parse_users(output: str) -> frozenset[str]:
    """Given ``user:list --output=json`` of either product, return the user names. Raises Fault on another form.

    ownCloud says ``{"anna": {"displayName": …}}``, Nextcloud ``{"anna": "Anna"}``; PHP writes an empty map as ``[]``.
    """
    users = parse_json(output, "user:list")
    return frozenset(users if isinstance(users, dict) else [])


def parse_apps(output: str) -> frozenset[str]:
    """Given ``app:list --output=json``, return the names of the enabled apps. Raises Fault on another form."""
    apps = parse_json(output, "app:list")
    enabled = apps.get("enabled", {}) if isinstance(apps, dict) else {}
    return frozenset(enabled)


def parse_json(output: str, command: str) -> Any:
    """The first line of ``output`` that is a JSON object or list; occ may say other things before. Raises Fault."""
    for line in output.splitlines():
        if line.startswith(("{", "[")):
            try:
                return json.loads(line)
            except ValueError:
                continue
    raise Fault(f"occ {command} gave no JSON; run it by hand in the tree to see why")


def pristine_htaccess(tree: Path) -> Path:
    """Where a release's own ``.htaccess`` is kept, as it was unpacked."""
    return tree / "config/hearth.htaccess"


def update_htaccess(settings: Settings) -> None:
    """Let the product write its part of ``.htaccess``, the one file of the code it may write, and only meanwhile.

    It writes in place and appends to what it finds, so each run starts from the release's own file: a kill or a full
    disk in the middle must not leave a box whose data folder is open to the web.
    """
    path, pristine = settings.paths.tree / ".htaccess", pristine_htaccess(settings.paths.tree)
    if not pristine.exists():
        return
    original = pristine.read_bytes()
    write_whole(path, original, 0o640, owner=WEB, group=WEB)
    try:
        occ(settings, "maintenance:update:htaccess")
        written = path.read_bytes()
        kept = original.partition(b"#### DO NOT CHANGE ANYTHING ABOVE THIS LINE")[0].rstrip()
        whole = written.startswith(kept)
    except BaseException:
        write_whole(path, original, 0o640, group=WEB)
        raise
    if not whole:
        write_whole(path, original, 0o640, group=WEB)
        raise Fault(".htaccess was not written whole; look whether the disk is full, and converge again")
    shutil.chown(path, "root", WEB)
    path.chmod(0o640)
