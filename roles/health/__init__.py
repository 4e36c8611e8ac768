"""health: a program on the host that judges it, a timer that keeps its verdict fresh, and the login banner.

Two kinds of finding, as greenboot has them: ``required`` (the host does not do its work) and ``wanted`` (it does, and
soon may not). What runs by the timer has an account of its own that may read and ask, and change nothing. The verdict
lies in memory, so that a full disk does not keep it from being told. See docs/status.md.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy

from hearth import artefacts, layout
from hearth.programs import package
from hearth.render import OWNED, template
from roles.health.description import Stored, Wanted, description, of_box, of_server

__all__ = ["PACKAGES", "TIMER", "Stored", "Wanted", "files", "health", "of_box", "of_server"]

# dbus: whoever is not root asks systemd over it.
PACKAGES = ("dbus", "python3", "openssl")

TIMER = "hearth-health.timer"
SERVICE = "hearth-health.service"
ACCOUNT = "hearth-health"
SYSUSERS = "/etc/sysusers.d/hearth-health.conf"
_UNITS = "/etc/systemd/system"
_HERE = Path(__file__).parent


def files(wanted: Wanted) -> tuple[artefacts.File | artefacts.Link, ...]:
    """The program, its description, the account, the units, and the banner's place in what pam_motd shows."""
    own = {"account": ACCOUNT, "program": layout.HEALTH, "folder": layout.HEALTH_FOLDER}
    groups, capabilities = wanted.groups, wanted.capabilities
    return (
        artefacts.File(layout.HEALTH, (_HERE / "files/health").read_text(), mode="755"),
        *package("hearth_health", _HERE / "onhost"),
        artefacts.File("/etc/hearth/health.toml", OWNED + description(wanted)),
        artefacts.File(SYSUSERS, template(__file__, "sysusers.conf.j2", groups=groups, **own)),
        artefacts.File(
            f"{_UNITS}/{SERVICE}", template(__file__, "health.service.j2", capabilities=capabilities, **own)
        ),
        artefacts.File(f"{_UNITS}/{TIMER}", template(__file__, "health.timer.j2")),
        # Not a script in /etc/update-motd.d, which would run at every login, pyinfra's included.
        artefacts.Link("/etc/motd.d/50-hearth-health", f"{layout.HEALTH_FOLDER}/banner"),
    )


@deploy("health")
def health(wanted: Wanted) -> None:
    """Judge the host every few minutes, and tell the verdict to whoever logs in."""
    artefacts.put(
        name="Judge the host's health",
        change="health",
        artefacts=files(wanted),
        check=f"systemd-analyze verify {_UNITS}/{TIMER}",
        # An undone first put has taken the units away again. The account stays, as every account does. The service
        # fails when the program or its description cannot be used; it judges here once, which takes seconds.
        activate=f"systemctl daemon-reload; if ! test -e {_UNITS}/{TIMER}; then systemctl stop {TIMER}; "
        f"rm -f {_UNITS}/timers.target.wants/{TIMER}; exit 0; fi; "
        f"systemd-sysusers {SYSUSERS} && systemctl enable --quiet {TIMER} && systemctl restart {TIMER} && "
        f"systemctl start {SERVICE}",
        verify=f"test -s {layout.HEALTH_VERDICT}",
    )
