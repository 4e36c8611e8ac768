"""From the pin to an unpacked release beside the served one. Nothing that serves is touched here."""

from __future__ import annotations

import grp
import hashlib
import http.client
import os
import secrets
import shutil
import tarfile
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

from .common import Fault, sync_folder
from .settings import Settings
from .system import WEB, need_room, write_whole
from .tree import Stamp, parse_version, pristine_htaccess, read_stamp, refused_move, stamp_of, write_stamp

CHUNK_BYTES = 1 << 20
CONNECT_TIMEOUT_S = 60
# A cloud on a full disk cannot even repair itself, so so much stays free whatever is fetched.
RESERVE_BYTES = 256 << 20
# ownCloud 11.0.0 unpacks to some five times its bzip2 tarball; the archive itself lies on the disk meanwhile.
UNPACKED_RATIO = 7
UNKNOWN_BYTES = 150 << 20


def trees_of_pin(settings: Settings) -> dict[Path, Stamp]:
    """The trees that hold the pinned release, served or waiting beside, with their stamps."""
    stamps = {tree: read_stamp(tree) for tree in (settings.paths.tree, settings.beside)}
    return {tree: stamp for tree, stamp in stamps.items() if stamp and stamp.sha256 == settings.pin.sha256}


def is_here(settings: Settings) -> bool:
    """Whether the pinned release is served already, or waits beside, and runs as the pin says."""
    switches = [stamp.ignore_deprecations for stamp in trees_of_pin(settings).values()]
    return bool(switches) and all(switch == settings.pin.ignore_deprecations for switch in switches)


def fetch(settings: Settings) -> None:
    """Fetch, verify and unpack the pinned release beside the served one. Raises Fault; then nothing has changed."""
    for tree, stamp in trees_of_pin(settings).items():
        write_stamp(tree, replace(stamp, ignore_deprecations=settings.pin.ignore_deprecations))
    if is_here(settings):
        return
    here = read_stamp(settings.paths.tree)
    refusal = refused_move(here, settings) if here else None
    if refusal:
        raise Fault(refusal)
    settings.paths.www.mkdir(parents=True, exist_ok=True)
    settings.paths.cache.mkdir(parents=True, exist_ok=True)
    archive = download(settings)
    sweep(settings)
    unpack(settings, archive)


def sweep(settings: Settings) -> None:
    """Remove what killed runs and former pins left in the cache and beside the tree."""
    for path in settings.paths.www.glob(".*-*"):
        if path.name.startswith((".unpack-", ".beside-")) and path != settings.beside:
            shutil.rmtree(path)
    for path in settings.paths.cache.iterdir():
        if not path.name.startswith(settings.pin.sha256):
            path.unlink()


def checksum(path: Path) -> str:
    """The SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(settings: Settings) -> Path:
    """Return the verified archive, fetched from the first address that has it. Raises Fault with every reason."""
    pin = settings.pin
    archive = settings.paths.cache / f"{pin.sha256}.tar"
    part = archive.with_suffix(".part")
    if archive.exists() and checksum(archive) == pin.sha256:
        return archive
    archive.unlink(missing_ok=True)
    reasons = []
    for url in pin.urls:
        try:
            transfer(url, part)
        except urllib.error.HTTPError as fault:
            reasons.append(f"{url} answered {fault.code}")
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as fault:
            reasons.append(f"{url} cannot be fetched ({getattr(fault, 'reason', None) or fault})")
        except ValueError:
            reasons.append(f"{url} is no http or https address")
        else:
            found = checksum(part)
            if found == pin.sha256:
                part.replace(archive)
                sync_folder(archive.parent)
                return archive
            part.unlink()
            reasons.append(f"{url} has the SHA-256 {found}, and the pin says {pin.sha256}")
    raise Fault(
        f"{settings.product.title} {pin.version} was not fetched and nothing was changed: {'; '.join(reasons)}; "
        "mend the release in the inventory, or the server, and converge again"
    )


def transfer(url: str, part: Path) -> None:
    """Fetch ``url`` into ``part``, going on where an earlier transfer ended. Raises what urllib raises, or Fault."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(url)
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        answer = urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as fault:
        if have and fault.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # it is all there; the checksum tells whether it is right
        raise
    with answer:
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        left = int(answer.headers.get("Content-Length") or UNKNOWN_BYTES)
        need_room(part.parent, left * UNPACKED_RATIO + RESERVE_BYTES, "fetching the release")
        with part.open("ab" if goes_on else "wb") as file:
            shutil.copyfileobj(answer, file, CHUNK_BYTES)
            file.flush()
            os.fsync(file.fileno())


def unpack(settings: Settings, archive: Path) -> None:
    """Unpack a verified archive to its place beside the tree, with owners, stamp and folders, or not at all."""
    pin = settings.pin
    place = settings.paths.www / f".unpack-{secrets.token_hex(8)}"
    place.mkdir(mode=0o700)
    try:
        extract(archive, place, pin.archive_top)
        root = place / pin.archive_top
        version = parse_version((root / "version.php").read_text()) if (root / "version.php").is_file() else None
        if version != pin.version or not (root / "occ").is_file():
            raise Fault(
                f"the archive with the pinned SHA-256 holds {version or 'no release'} and the pin says {pin.version}; "
                "mend the release in the inventory"
            )
        furnish(settings, root)
        # Before the name says that it is complete, it is on the disk: thousands of files, so one sync of them all.
        os.sync()
        if settings.beside.exists():
            shutil.rmtree(settings.beside)
        root.rename(settings.beside)
        sync_folder(settings.paths.www)
    except (tarfile.TarError, EOFError, OSError) as fault:
        raise Fault(f"{archive} cannot be unpacked: {fault}; nothing was changed") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)


def extract(archive: Path, place: Path, top: str) -> None:
    """Extract below ``place`` what lies in the folder ``top``; refuse an archive with anything beside it."""

    def judged(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        if member.name != "." and member.name.removeprefix("./").split("/")[0] != top:
            raise Fault(f"the archive has {member.name} beside its top folder {top}/; look at archive_top in the pin")
        return tarfile.data_filter(member, path)

    with tarfile.open(archive) as tar:
        tar.extractall(place, filter=judged)  # noqa: S202 - the filter is data_filter and more


def furnish(settings: Settings, root: Path) -> None:
    """Set owners and modes (code is root's, PHP may read it), make the two folders PHP writes to, and put the stamp.

    ``config/`` is sticky: PHP may make and change files of its own there, and cannot replace hearth's.
    """
    for name in ("config", "apps-external"):
        (root / name).mkdir(exist_ok=True)
    for folder, _, names in os.walk(root):
        own(Path(folder), 0o750)
        for name in names:
            own(Path(folder) / name, 0o640)
    (root / "config").chmod(0o1770)
    (root / "apps-external").chmod(0o770)
    htaccess = root / ".htaccess"
    if htaccess.is_file():
        write_whole(pristine_htaccess(root), htaccess.read_bytes(), 0o644)
    write_stamp(root, stamp_of(settings.pin))


def own(path: Path, mode: int) -> None:
    """Give a path to root, readable for www-data; a symbolic link keeps its target's mode."""
    os.chown(path, 0, grp.getgrnam(WEB).gr_gid, follow_symlinks=False)
    if not path.is_symlink():
        path.chmod(mode)
