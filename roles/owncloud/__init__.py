"""owncloud: the pinned release of ownCloud or Nextcloud, configured, with its users; see docs/owncloud.md."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth import artefacts, layout
from hearth.inventory.hosts import Box
from hearth.inventory.model import Household
from hearth.programs import package
from hearth.render import template
from roles.owncloud import render
from roles.owncloud.facts import PROGRAM, CloudStatus

PACKAGES = ("python3", "redis-tools", "mariadb-client")

_HERE = Path(__file__).parent


@operation()
def step(verb: str) -> Generator[StringCommand, None, None]:
    """Run one verb of the program on the box when the box says that it is still to be done."""
    cloud = host.get_fact(CloudStatus, step=verb)
    if cloud.pending:
        yield StringCommand(PROGRAM, verb)
        return
    host.noop(f"{verb}: nothing to do")
    if verb == "upgrade" and cloud.sentence:
        # A release that waits is no change of this converge, and yet the operator wants to know of it.
        host.log(cloud.sentence)


def program_files(household: Household) -> tuple[artefacts.File, ...]:
    """The program on the box, what PHP runs before it, and the description that the program reads."""
    return (
        artefacts.File(PROGRAM, (_HERE / "files/owncloud").read_text(), mode="755"),
        *package("hearth_cloud", _HERE / "onbox"),
        *(
            artefacts.File(f"{layout.PROGRAMS}/{path.name}", path.read_text())
            for path in sorted((_HERE / "files").glob("*.php"))
        ),
        artefacts.File("/etc/hearth/owncloud.toml", render.description(household)),
    )


def unit_files(household: Household) -> tuple[artefacts.File, ...]:
    """The systemd units: background jobs, the nightly update, the recovery at boot."""
    release = household.owncloud.release
    texts = {
        "hearth-cloud-cron.service": render.cron_service(release),
        "hearth-cloud-cron.timer": render.cron_timer(release),
        "hearth-cloud-update.service": template(__file__, "update.service.j2"),
        "hearth-cloud-update.timer": render.update_timer(household.updates, household.id, household.time_zone),
        "hearth-cloud-recover.service": template(__file__, "recover.service.j2"),
    }
    return tuple(artefacts.File(f"/etc/systemd/system/{name}", text) for name, text in texts.items())


@deploy("owncloud")
def owncloud(box: Box) -> None:
    """Bring the household's cloud to the pinned release, with its users and apps."""
    household = box.household
    release, updates = household.owncloud.release, household.updates
    title = render.title(release)
    nightly = "enable --now" if updates.release == "window" else "disable --now"
    artefacts.put(
        name=f"Describe {title} to the box",
        change="cloud",
        artefacts=program_files(household),
        check=f"{PROGRAM} status fetch >/dev/null",
    )
    step(name="Finish what an interrupted upgrade left", verb="recover")
    step(name=f"Fetch {title}", verb="fetch")
    step(name="Make the cloud's database", verb="database")
    step(name=f"Install {title}", verb="install")
    step(name="Configure the cloud", verb="configure")
    artefacts.put(
        name="Start the cloud's timers",
        change="cloud-timers",
        artefacts=unit_files(household),
        check="systemd-analyze verify /etc/systemd/system/hearth-cloud-*.timer",
        activate="systemctl daemon-reload && systemctl enable --quiet hearth-cloud-recover.service && "
        "systemctl enable --quiet --now hearth-cloud-cron.timer && systemctl restart hearth-cloud-cron.timer && "
        f"systemctl {nightly} --quiet hearth-cloud-update.timer",
    )
    step(name="Make the household's users", verb="users")
    step(name=f"Upgrade to {title}" if updates.release == "now" else f"Stage {title} for the window", verb="upgrade")
    step(name="Enable the cloud's apps", verb="apps")
