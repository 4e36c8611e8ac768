"""What the box is told of its cloud: the description and the units. Data in, text out."""

from __future__ import annotations

from typing import Any

import tomli_w

from hearth import layout, schedule
from hearth.inventory.model import Household, Release, Updates
from hearth.render import OWNED, template
from roles.owncloud.onbox.products import PRODUCTS, Product

HTTPS_PORT = 443


def product(release: Release) -> Product:
    """The habits of the pinned product."""
    return PRODUCTS[release.product]


def title(release: Release) -> str:
    """The release as people say it: ``ownCloud 11.0.0``."""
    return f"{product(release).title} {release.version}"


def public_url(household: Household) -> str:
    """How the household reaches its cloud from anywhere."""
    port = household.public_port
    return f"https://{household.domain}" + (f":{port}" if port not in (None, HTTPS_PORT) else "")


def description(household: Household) -> str:
    """``/etc/hearth/owncloud.toml``: what the program on the box reads; it holds no secret."""
    cloud, release = household.owncloud, household.owncloud.release
    values: dict[str, Any] = {
        "domain": household.domain,
        "url": public_url(household),
        "when": household.updates.release,
        "apps": list(cloud.apps),
        "release": {
            "product": release.product,
            "version": release.version,
            "urls": [release.url, *release.mirrors],
            "sha256": release.sha256.lower(),
            "archive_top": release.archive_top,
            "php": release.php,
            "ignore_deprecations": release.ignore_deprecations,
        },
        "web": {"address": "127.0.0.1", "port": HTTPS_PORT, "tls": True},
        "users": [{"name": user.name, "display_name": user.display_name, "admin": user.admin} for user in cloud.users],
    }
    return OWNED + tomli_w.dumps(values)


def cron_service(release: Release) -> str:
    """The unit that runs the product's background jobs once."""
    return template(
        __file__,
        "cron.service.j2",
        title=product(release).title,
        root=layout.CLOUD_ROOT,
        php=release.php,
        prepend=layout.DEPRECATIONS_SHIM,
        arguments=" ".join(product(release).cron),
    )


def cron_timer(release: Release) -> str:
    """The timer of the background jobs."""
    return template(__file__, "cron.timer.j2", title=product(release).title, every_min=product(release).cron_minutes)


def update_timer(updates: Updates, household_id: str, time_zone: str) -> str:
    """The timer of the release's update: once a night, in the household's window and time zone, spread by household."""
    moment = schedule.spread(updates.window, f"{household_id} release")
    return template(__file__, "update.timer.j2", calendar=f"*-*-* {moment:%H:%M:%S} {time_zone}")
