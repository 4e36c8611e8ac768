"""A host judges itself: well after a converge, what breaks is named with a next step, and a login tells of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hearth.lab.lab import Lab
from tests.lab.boxes import DOMAIN, MUELLER, RELAY, REPOSITORY, Operator, wait_for
from tests.lab.logins import log_in, ssh

pytestmark = pytest.mark.lab

HEARTH = Path(sys.executable).with_name("hearth")
HEALTH = "/usr/lib/hearth/health"
TLS = "/etc/hearth/tls"
OCC = (
    "cd /srv/hearth/www/owncloud && "
    "runuser -u www-data -- php8.4 -d auto_prepend_file=/usr/lib/hearth/owncloud-prepend.php occ"
)

# How the box is broken, how it is mended, what must be told: the check, its level, words of the sentence.
BOX_BREAKS = (
    (
        "mount -t tmpfs -o size=16m tmpfs /srv/hearth/spool && head -c 16000000 /dev/zero > /srv/hearth/spool/fill",
        "umount /srv/hearth/spool",
        ("disk", "required", "the disk of /srv/hearth/spool is full"),
    ),
    ("systemctl stop mariadb", "systemctl start mariadb", ("database", "required", "the database does not answer")),
    (
        "systemctl stop apache2",
        "systemctl start apache2",
        ("cloud", "required", "does not answer on port 443 (Connection refused)"),
    ),
    (f"{OCC} maintenance:mode --on", f"{OCC} maintenance:mode --off", ("cloud", "required", "in maintenance mode")),
    (
        f"cp {TLS}/certificate.pem /root/kept.pem && openssl req -x509 -key {TLS}/key.pem -days 900 -subj /CN={DOMAIN} "
        f"-addext subjectAltName=DNS:{DOMAIN} -out {TLS}/certificate.pem && systemctl reload apache2",
        f"cp /root/kept.pem {TLS}/certificate.pem && systemctl reload apache2",
        ("certificate", "required", "which no device trusts"),
    ),
    (
        "systemctl stop hearth-cloud-cron.timer",
        "systemctl start hearth-cloud-cron.timer",
        ("units", "required", "hearth-cloud-cron.timer does not run"),
    ),
    (
        "systemd-run --quiet --unit=household-own false; sleep 1",
        "systemctl reset-failed household-own",
        ("failed units", "wanted", "a unit has failed: household-own.service"),
    ),
)
RELAY_BREAKS = (
    ("nft flush chain inet hearth input", "systemctl reload hearth-firewall", ("firewall", "required", "firewall")),
    ("systemctl stop haproxy", "systemctl start haproxy", ("router", "required", "the router does not answer")),
    (
        "systemctl stop hearth-tunnel-sshd",
        "systemctl start hearth-tunnel-sshd",
        ("tunnel sshd", "required", "the tunnels' sshd does not answer"),
    ),
)


def run(lab: Lab, host: str, command: str) -> subprocess.CompletedProcess[str]:
    return lab.exec(host, ["sh", "-c", command], check=False)


def judged(lab: Lab, host: str) -> dict[str, Any]:
    """What the account of the timer finds now; it is not root."""
    now = datetime.now(UTC)
    while True:
        # Joins a judgement that the timer has begun before; that one may not have seen what the test has done.
        lab.exec(host, ["systemctl", "start", "hearth-health.service"])
        verdict: dict[str, Any] = json.loads(lab.exec(host, ["cat", "/run/hearth-health/verdict.json"]).stdout)
        if datetime.fromisoformat(verdict["at"]) > now:
            return verdict
        time.sleep(0.5)


def wait_until_well(lab: Lab, host: str) -> None:
    """A host that has just booted, or was just mended, is well in a moment."""
    wait_for(lambda: judged(lab, host)["verdict"] == "good", 90, f"{host} to be well")


def finds(lab: Lab, host: str, check: str, level: str, words: str) -> bool:
    """Whether a check finds something of this level, in a sentence with these words."""
    found = (each for each in judged(lab, host)["findings"] if (each["check"], each["level"]) == (check, level))
    return any(words in each["sentence"] for each in found)


def breaks_and_mends(lab: Lab, host: str, broken: str, mended: str, told: tuple[str, str, str]) -> None:
    """Break the host, find exactly that told, mend it, find it well."""
    check, level, words = told
    lab.exec(host, ["sh", "-c", broken])
    try:
        # PHP looks at a changed config.php after two seconds only (opcache.revalidate_freq).
        wait_for(lambda: finds(lab, host, check, level, words), 20, f"{host} to tell: {words}")
        findings = judged(lab, host)["findings"]
        assert all(each["next"] for each in findings)
        wanted = 2 if level == "required" else 1
        assert run(lab, host, HEALTH).returncode == wanted
    finally:
        lab.exec(host, ["sh", "-c", mended])
    # Background jobs that failed in the meantime count until they next succeed: not in a quarter of an hour, but now.
    run(
        lab,
        host,
        "! test -e /etc/systemd/system/hearth-cloud-cron.service || systemctl start hearth-cloud-cron.service",
    )
    wait_until_well(lab, host)


@pytest.fixture(scope="module")
def well(box: Operator, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """The operator of a converged box, which is well. It makes no backup: on the bench it would miss its store."""

    def without_backup(fleet: dict[str, Any], household: dict[str, Any]) -> None:
        household["backup"] = {"enabled": False}

    operator = box.with_fleet(tmp_path_factory.mktemp("well") / "inventory", without_backup)
    run = operator.converge()
    assert run.status == 0, run.output[-4000:]
    wait_until_well(box.lab, MUELLER)
    return operator


def test_a_converged_box_is_well_in_every_check(well: Operator) -> None:
    verdict = judged(well.lab, MUELLER)
    assert set(verdict["checks"]) >= {"units", "database", "redis", "certificate", "cloud", "cron", "disk", "packages"}
    assert verdict["facts"]["cloud_version"]
    assert verdict["facts"]["certificate_until"]
    by_root = run(well.lab, MUELLER, f"{HEALTH} --json")
    assert (by_root.returncode, json.loads(by_root.stdout)["findings"]) == (0, [])
    assert run(well.lab, MUELLER, HEALTH).stdout.startswith(f"{MUELLER} is well (")


def test_the_timer_judges_and_its_account_owns_nothing_but_its_verdict(well: Operator) -> None:
    assert well.lab.exec(MUELLER, ["systemctl", "is-active", "hearth-health.timer"]).stdout == "active\n"
    shown = well.lab.exec(MUELLER, ["stat", "--format", "%U %a", "/run/hearth-health/verdict.json"]).stdout
    assert shown == "hearth-health 644\n"
    owned = ["find", "/", "-xdev", "-user", "hearth-health", "-not", "-path", "/proc/*"]
    assert well.lab.exec(MUELLER, owned).stdout == ""


@pytest.mark.parametrize(
    ("broken", "mended", "told"), BOX_BREAKS, ids=[f"{each[2][0]}: {each[2][2]}" for each in BOX_BREAKS]
)
def test_what_breaks_on_a_box_is_named_and_forgotten_once_it_is_mended(
    well: Operator, broken: str, mended: str, told: tuple[str, str, str]
) -> None:
    breaks_and_mends(well.lab, MUELLER, broken, mended, told)


def status(operator: Operator) -> dict[str, Any]:
    """The box's row in ``hearth status --live``."""
    done = subprocess.run(
        [
            str(HEARTH),
            "status",
            "--live",
            "--limit",
            MUELLER,
            "--format",
            "json",
            "--inventory",
            str(operator.inventory),
        ],
        cwd=REPOSITORY,
        env=os.environ | {"XDG_STATE_HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["hosts"]
    return dict(row)


def test_a_login_tells_the_verdict_a_command_prints_nothing_and_the_status_knows(well: Operator) -> None:
    identity = well.lab.folder / "keys/operator"
    healthy = status(well)
    assert (healthy["state"], healthy["why"]) == ("good", "")
    assert healthy["certificate_days"] > 80
    well.lab.exec(MUELLER, ["systemctl", "stop", "redis-server"])
    try:
        judged(well.lab, MUELLER)
        assert log_in(well, "anna", identity, "true").stdout == ""
        interactive = typed(well, "anna", identity, "exit\n")
        assert "is NOT well" in interactive
        assert "Redis, which keeps the cloud's locks, does not answer. Next: " in interactive
        sick = status(well)
        assert sick["state"] == "failed"
        assert "Redis" in sick["why"]
    finally:
        well.lab.exec(MUELLER, ["systemctl", "start", "redis-server"])
    wait_until_well(well.lab, MUELLER)


def typed(box: Operator, user: str, identity: Path, words: str) -> str:
    """What somebody sees who logs in at a terminal and types ``words``."""
    command = ssh(box, user, identity, options=("-tt",))
    return subprocess.run(command, input=words, capture_output=True, text=True, timeout=60, check=False).stdout


@pytest.fixture(scope="module")
def relay(lab: Lab, lab_inventory: Path, start: Callable[..., None], bare_relay: None) -> Operator:
    """The operator of a converged relay, which is well."""
    operator = Operator(lab, lab_inventory)
    run = operator.converge(limit=RELAY, deploy="deploys/relay.py")
    assert run.status == 0, run.output[-4000:]
    wait_until_well(lab, RELAY)
    return operator


def test_a_second_converge_of_a_relay_changes_nothing(relay: Operator) -> None:
    again = relay.converge(limit=RELAY, deploy="deploys/relay.py")
    assert (again.status, again.changed) == (0, [])


@pytest.mark.parametrize(("broken", "mended", "told"), RELAY_BREAKS, ids=[each[2][0] for each in RELAY_BREAKS])
def test_what_breaks_on_a_relay_is_named_and_forgotten_once_it_is_mended(
    relay: Operator, broken: str, mended: str, told: tuple[str, str, str]
) -> None:
    breaks_and_mends(relay.lab, RELAY, broken, mended, told)
