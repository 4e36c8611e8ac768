"""Builds the small releases that stand in for ownCloud's and Nextcloud's own tarballs. They are neither.

    python tests/release/build.py OUTDIR

writes the tarballs and ``SHA256SUMS``. The bytes depend on the sources alone, so their SHA-256 can be pinned.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import sys
import tarfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Literal

SOURCES = Path(__file__).parent / "src"

SUMS = "SHA256SUMS"
APPS = (
    *("calendar", "comments", "contacts", "dav", "files", "files_external", "files_sharing", "files_trashbin"),
    *("files_versions", "provisioning_api"),
)


@dataclass(frozen=True)
class StandIn:
    """One release to build.

    ``version`` has three parts, as in the tarball's name; ``build`` is the fourth one, which ``occ status`` adds.
    ``released`` is the time of all its files, at 00:00 UTC. Releases must differ in it, as real ones do: OPcache
    tells a changed file by its time alone and would keep running the code of the release before.
    ``overlays`` are folders below ``src`` whose files replace the common ones. ``migrations`` are the steps that this
    release brings, by the release that first had them. ``behaviour`` goes into ``lib/release.php``.
    """

    product: Literal["owncloud", "nextcloud"]
    version: str
    build: int
    released: date
    overlays: tuple[str, ...] = ()
    migrations: tuple[str, ...] = ()
    behaviour: dict[str, str | int | bool] = field(default_factory=dict)

    @property
    def archive(self) -> str:
        """The tarball's file name."""
        return f"{self.product}-{self.version}.tar.bz2"

    @property
    def mtime_s(self) -> int:
        """The time of its files, in seconds since the epoch."""
        return int(datetime.combine(self.released, time(), UTC).timestamp())


# What was observed of ownCloud 11.0.0. The keys are explained where the PHP sources read them.
OWNCLOUD: dict[str, str | int | bool] = {
    "name": "ownCloud",
    "edition": "Community",
    "error_handler": "static",
    "sentence_before_install": True,
    "status_full": False,
    "idle_upgrade_status": 3,
    "user_list": "nested",
    "app_list": "nested",
    "cron": "occ",
    "echoes_set_values": True,
}
OWNCLOUD_SINCE_11_0_1 = OWNCLOUD | {"echoes_set_values": False}
# What was observed of Nextcloud 32, where it differs.
NEXTCLOUD = OWNCLOUD | {
    "name": "Nextcloud",
    "edition": "",
    "error_handler": "instance",
    "sentence_before_install": False,
    "status_full": True,
    "idle_upgrade_status": 0,
    "user_list": "flat",
    "app_list": "flat",
    "cron": "cron.php",
}

RELEASES = (
    StandIn("owncloud", "11.0.0", 4, date(2026, 7, 30), overlays=("deprecation",), behaviour=OWNCLOUD),
    StandIn("owncloud", "11.0.1", 1, date(2026, 10, 15), migrations=("11.0.1",), behaviour=OWNCLOUD_SINCE_11_0_1),
    StandIn(
        "owncloud", "11.0.2", 1, date(2026, 11, 2), migrations=("11.0.1", "11.0.2"), behaviour=OWNCLOUD_SINCE_11_0_1
    ),
    StandIn("nextcloud", "35.0.1", 2, date(2026, 10, 8), overlays=("nextcloud",), behaviour=NEXTCLOUD),
)


def files(release: StandIn) -> dict[str, bytes]:
    """The release's files by their path below its top folder, ``core/signature.json`` included."""
    tree: dict[str, bytes] = {}
    for folder in ("common", *release.overlays):
        source = SOURCES / folder
        tree |= {path.relative_to(source).as_posix(): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    for version in release.migrations:
        tree[f"core/Migrations/{version}.php"] = (SOURCES / "migrations" / f"{version}.php").read_bytes()
    for app in APPS:
        tree[f"apps/{app}/appinfo/info.xml"] = _app_info(app, release.version).encode()
    tree["version.php"] = _version_php(release).encode()
    tree["lib/release.php"] = _release_php(release).encode()
    tree["core/signature.json"] = _signature(tree).encode()
    return tree


def tarball(release: StandIn) -> bytes:
    """The compressed archive, the same bytes whenever and wherever it is built."""
    tree = files(release)
    folders = {parent.as_posix() for path in tree for parent in Path(path).parents if parent.name} | {"apps-external"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(_member(release.product, tarfile.DIRTYPE, 0o755, release.mtime_s))
        for path in sorted(folders | tree.keys()):
            name = f"{release.product}/{path}"
            if path in folders:
                archive.addfile(_member(name, tarfile.DIRTYPE, 0o755, release.mtime_s))
                continue
            member = _member(name, tarfile.REGTYPE, 0o755 if path == "occ" else 0o644, release.mtime_s)
            member.size = len(tree[path])
            archive.addfile(member, io.BytesIO(tree[path]))
    return bz2.compress(buffer.getvalue(), 9)


def build(directory: Path) -> dict[str, str]:
    """Write every release and ``SHA256SUMS`` into ``directory`` (made when missing); return SHA-256 by file name."""
    directory.mkdir(parents=True, exist_ok=True)
    sums: dict[str, str] = {}
    for release in RELEASES:
        data = tarball(release)
        (directory / release.archive).write_bytes(data)
        sums[release.archive] = hashlib.sha256(data).hexdigest()
    (directory / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), "ascii")
    return sums


def _member(name: str, kind: bytes, mode: int, mtime_s: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = kind, mode, mtime_s
    return member


def _app_info(app: str, version: str) -> str:
    return f'<?xml version="1.0"?>\n<info><id>{app}</id><version>{version}</version></info>\n'


def _version_php(release: StandIn) -> str:
    parts = ", ".join([*release.version.split("."), str(release.build)])
    return (
        "<?php\n"
        f"$OC_Version = [{parts}];\n"
        f"$OC_VersionString = '{release.version}';\n"
        f"$OC_Edition = '{release.behaviour['edition']}';\n"
        "$OC_Channel = 'stand-in';\n"
        "$OC_Build = '';\n"
    )


def _release_php(release: StandIn) -> str:
    facts = {
        "product": release.product,
        "version": f"{release.version}.{release.build}",
        "versionstring": release.version,
        **release.behaviour,
    }
    # JSON's strings, numbers and true or false are PHP's too, for the plain words used here.
    lines = [f"    '{key}' => {json.dumps(value)}," for key, value in facts.items()]
    return "\n".join(["<?php", "// Written by tests/release/build.py.", "return [", *lines, "];", ""])


def _signature(tree: dict[str, bytes]) -> str:
    hashes = {
        path: hashlib.sha512(_signed_part(path, tree[path])).hexdigest() for path in sorted(tree) if _is_signed(path)
    }
    return json.dumps({"hashes": hashes}, indent=1) + "\n"


def _is_signed(path: str) -> bool:
    return not path.startswith("config/")


def _signed_part(path: str, text: bytes) -> bytes:
    # Below this mark `occ maintenance:update:htaccess` may write; lib/private/Integrity.php has the same words.
    return text.split(b"#### DO NOT CHANGE ANYTHING ABOVE THIS LINE ####")[0] if path == ".htaccess" else text


def main(arguments: list[str]) -> int:
    """Build into the folder that the one argument names; return the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python tests/release/build.py OUTDIR\n")
        return 2
    for name, digest in build(Path(arguments[0])).items():
        sys.stdout.write(f"{digest}  {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
