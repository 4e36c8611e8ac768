"""updates: Debian's own unattended-upgrades, in the household's window, a box at a time over the fleet."""

from __future__ import annotations

from datetime import time

from pyinfra.api.deploy import deploy

from hearth import artefacts, schedule, services
from hearth.inventory.model import Updates, Window
from hearth.render import template

PACKAGES = ("unattended-upgrades",)

AT_NIGHT = Updates(Window(time(3), time(5)))
"""When hosts that belong to no household update, in the fleet's time zone."""

# Upgrades start in the first half of the window; what asks for a reboot gets it late in the window, when they are
# done. A reboot that is missed waits for the same time of the next night.
REBOOT_AT_SHARE = 0.75


def apt_settings(updates: Updates) -> str:
    """What apt and unattended-upgrades do."""
    return template(
        __file__,
        "apt.conf.j2",
        reboot="true" if updates.reboot else "false",
        reboot_at=f"{schedule.at(updates.window, REBOOT_AT_SHARE):%H:%M}",
    )


def timer(updates: Updates, key: str, task: str) -> str:
    """The drop-in for one of apt's timers; ``key`` spreads the fleet over the window, ``task`` one box's timers."""
    return template(__file__, "timer.conf.j2", at=f"{schedule.spread(updates.window, key):%H:%M}", task=task)


@deploy("updates")
def updates(wanted: Updates, key: str) -> None:
    """Keep Debian up to date in the window; ``key`` is what spreads hosts over it (the household's id)."""
    artefacts.put(
        name=f"Update Debian between {wanted.window.start:%H:%M} and {wanted.window.end:%H:%M}",
        change="updates",
        artefacts=(
            artefacts.File("/etc/apt/apt.conf.d/52hearth", apt_settings(wanted)),
            artefacts.File(
                "/etc/systemd/system/apt-daily.timer.d/hearth.conf", timer(wanted, key, "fetch package lists")
            ),
            artefacts.File(
                "/etc/systemd/system/apt-daily-upgrade.timer.d/hearth.conf", timer(wanted, key, "upgrade packages")
            ),
        ),
        check="apt-config dump >/dev/null && systemd-analyze verify apt-daily.timer apt-daily-upgrade.timer",
        activate=f"systemctl daemon-reload && {services.enabling('apt-daily.timer', 'apt-daily-upgrade.timer')} && "
        "systemctl restart apt-daily.timer apt-daily-upgrade.timer",
    )
