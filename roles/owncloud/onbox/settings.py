"""What the box's cloud should be, read from ``/etc/hearth/owncloud.toml``, and where everything lies."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .common import Fault, description
from .products import PRODUCTS, Product

DESCRIPTION = Path("/etc/hearth/owncloud.toml")


@dataclass(frozen=True)
class Paths:
    """Where things lie on the box; docs/owncloud.md lists them for people."""

    www: Path = Path("/srv/hearth/www")
    data: Path = Path("/srv/hearth/data")
    cache: Path = Path("/var/cache/hearth/releases")
    frozen: Path = Path("/srv/hearth/frozen")
    state: Path = Path("/var/lib/hearth/owncloud")
    secrets: Path = Path("/etc/hearth/secrets")
    passwords: Path = Path("/root/household-passwords.txt")
    lock: Path = Path("/run/lock/hearth-cloud")
    code: Path = Path("/usr/lib/hearth")

    @property
    def tree(self) -> Path:
        """The release that is served: Apache's DocumentRoot."""
        return self.www / "owncloud"

    @property
    def kept_config(self) -> Path:
        """The last ``config.php`` known to be good. That it exists means: this cloud was installed once."""
        return self.state / "config.php"

    @property
    def installing(self) -> Path:
        """The mark that everything in the database stems from an install of ours that has not ended."""
        return self.state / "installing"

    @property
    def dump(self) -> Path:
        """The database as it was before an upgrade."""
        return self.state / "before-upgrade.sql"

    @property
    def adoption(self) -> Path:
        """How far the taking over of a backup's cloud came."""
        return self.state / "adoption.json"

    @property
    def adopted(self) -> Path:
        """Which backup's cloud this box took over last."""
        return self.state / "adopted.json"

    @property
    def before_adoption(self) -> Path:
        """The database as it was before a backup's cloud was taken over."""
        return self.state / "before-adoption.sql"


@dataclass(frozen=True)
class Pin:
    """The release that the inventory pins; ``sha256`` is what counts, ``urls`` only say where to look."""

    product: str
    version: str
    urls: tuple[str, ...]
    sha256: str
    archive_top: str
    php: str
    ignore_deprecations: bool = False


@dataclass(frozen=True)
class Account:
    """A user of the cloud; the password is made on the box."""

    name: str
    display_name: str
    admin: bool


@dataclass(frozen=True)
class Web:
    """Where the box's own web server answers; asked over loopback to see whether a version serves."""

    address: str
    port: int
    tls: bool


@dataclass(frozen=True)
class Settings:
    """The whole description. ``url`` is how the household reaches its cloud; ``when`` is ``window`` or ``now``."""

    domain: str
    url: str
    when: str
    pin: Pin
    web: Web
    users: tuple[Account, ...]
    apps: tuple[str, ...]
    paths: Paths = field(default_factory=Paths)

    @property
    def product(self) -> Product:
        """The habits of the pinned product."""
        return PRODUCTS[self.pin.product]

    @property
    def admin(self) -> Account:
        """The account that the install makes: the first admin, or one of hearth's own when the inventory has none."""
        return next((user for user in self.users if user.admin), Account("hearth-admin", "hearth-admin", True))

    @property
    def beside(self) -> Path:
        """Where the pinned release waits, unpacked, until it is exchanged with the tree that is served."""
        return beside(self.paths, self.pin.sha256)


def beside(paths: Paths, sha256: str) -> Path:
    """The place of an unpacked release that is not served."""
    return paths.www / f".beside-{sha256[:16]}"


def parse(text: str) -> Settings:
    """Given the description's text, return the Settings. Raises Fault when it does not hold together."""
    try:
        raw: dict[str, Any] = tomllib.loads(text)
        release = dict(raw["release"])
        release["urls"] = tuple(release["urls"])
        settings = Settings(
            domain=raw["domain"],
            url=raw["url"],
            when=raw["when"],
            pin=Pin(**release),
            web=Web(**raw["web"]),
            users=tuple(Account(**user) for user in raw.get("users", [])),
            apps=tuple(raw.get("apps", [])),
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as fault:
        raise Fault(f"{DESCRIPTION} is not as hearth writes it ({fault}); converge the box again") from None
    if settings.pin.product not in PRODUCTS:
        raise Fault(f"{DESCRIPTION} names the product {settings.pin.product!r}, which hearth does not know")
    return settings


def load(path: Path = DESCRIPTION) -> Settings:
    """Read the description. Raises Fault when it is missing or wrong."""
    return parse(description(path))
