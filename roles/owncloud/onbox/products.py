"""What differs between ownCloud and Nextcloud, as data; observed on ownCloud 11.0.0 and Nextcloud 32."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """One product's habits.

    ``upgraded``: the exit statuses of ``occ upgrade`` after which the version may serve, as is then seen on the web
    (ownCloud: 3 is nothing to do, 2 is nothing to do in maintenance mode).
    ``skips_majors``: whether an upgrade may pass over a major version.
    ``cron``: what the timer runs, after ``php`` and in the root of the tree, every ``cron_minutes``.
    ``naming``: the ``occ`` command that gives a user a display name. ``collation``: of the database.
    ``password_env``: where ``--password-from-env`` looks.
    """

    title: str
    upgraded: tuple[int, ...]
    skips_majors: bool
    cron: tuple[str, ...]
    cron_minutes: int
    naming: tuple[str, ...]
    collation: str
    password_env: str = "OC_PASS"  # noqa: S105 - the name of a variable


PRODUCTS = {
    "owncloud": Product(
        title="ownCloud",
        upgraded=(0, 2, 3),
        skips_majors=True,
        cron=("occ", "system:cron"),  # cron.php of ownCloud 11 answers 0 and does nothing
        cron_minutes=15,
        naming=("user:modify", "{user}", "displayname", "{name}"),
        collation="utf8mb4_bin",
    ),
    "nextcloud": Product(
        title="Nextcloud",
        upgraded=(0,),
        skips_majors=False,
        cron=("-f", "cron.php"),
        cron_minutes=5,
        naming=("user:setting", "{user}", "settings", "display_name", "{name}"),
        collation="utf8mb4_general_ci",
    ),
}
