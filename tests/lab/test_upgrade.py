"""The pin moves: the box ends on the new version, serving, or on the old one, serving, with the household's data."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.boxes import MUELLER, Operator, wait_for
from tests.lab.clouds import SUMS, interpose, move_in, pin, pinned, remove_interposed, serves

pytestmark = pytest.mark.lab

PROGRAM = "/usr/lib/hearth/owncloud"
PLACES = "/srv/hearth/www /var/cache/hearth /var/lib/hearth/owncloud"


def files(operator: Operator) -> str:
    """Every file where a release is fetched to, unpacked and served, with its content."""
    return operator.lab.exec(MUELLER, ["sh", "-c", f"find {PLACES} -type f -exec sha256sum {{}} + | sort -k 2"]).stdout


def test_a_moved_pin_upgrades_the_box_and_keeps_the_households_data(old_cloud: Operator, tmp_path: Path) -> None:
    mine = move_in(old_cloud, tmp_path)
    new = pinned(old_cloud, tmp_path / "new", "11.0.1")

    run = new.converge()

    assert run.status == 0, run.output
    assert "owncloud | Upgrade to ownCloud 11.0.1" in run.changed
    assert serves(new, "11.0.1")
    assert mine.are_there(new)
    again = new.converge()
    assert (again.status, again.changed) == (0, [])
    old_release = old_cloud.lab.exec(MUELLER, ["ls", "-A", "/srv/hearth/www"]).stdout.split()
    assert old_release == ["owncloud"]


def test_a_pin_that_goes_back_is_refused_and_the_newer_version_serves(old_cloud: Operator, tmp_path: Path) -> None:
    assert pinned(old_cloud, tmp_path / "new", "11.0.1").converge().status == 0
    mine = move_in(old_cloud, tmp_path)
    before = files(old_cloud)

    run = pinned(old_cloud, tmp_path / "old", "11.0.0").converge()

    assert run.status != 0
    assert "the pin is 11.0.0 and this box runs 11.0.1: ownCloud cannot go back; pin 11.0.1 or later" in run.output
    assert files(old_cloud) == before
    assert serves(old_cloud, "11.0.1")
    assert mine.are_there(old_cloud)


def test_a_release_for_the_window_is_staged_and_the_boxs_own_timer_upgrades(
    old_cloud: Operator, tmp_path: Path
) -> None:
    mine = move_in(old_cloud, tmp_path)
    new = pinned(old_cloud, tmp_path / "new", "11.0.1", when="window")

    run = new.converge()
    again = new.converge()

    assert (run.status, again.status) == (0, 0), run.output
    assert again.changed == []
    for told in (run.output, again.output):
        assert "11.0.1 waits for the household's window" in told
    assert serves(new, "11.0.0"), "the old release serves until then"
    assert mine.are_there(new)

    new.lab.exec(MUELLER, ["systemctl", "start", "hearth-cloud-update.service"], timeout_s=300)

    assert serves(new, "11.0.1")
    assert mine.are_there(new)
    after = new.converge()
    assert (after.status, after.changed) == (0, [])
    assert "waits for" not in after.output


def test_the_update_timer_runs_in_the_households_window_and_time_zone(old_cloud: Operator) -> None:
    asked = ["systemctl", "show", "hearth-cloud-update.timer", "--property=TimersCalendar,NextElapseUSecRealtime"]
    told = old_cloud.lab.exec(MUELLER, asked).stdout
    assert re.search(r"OnCalendar=\*-\*-\* 0[34]:\d\d:\d\d Europe/Berlin", told), told
    assert re.search(r"NextElapseUSecRealtime=\w+ [\d-]+ 0[34]:\d\d:\d\d CES?T", told), told


def test_a_release_whose_upgrade_fails_ends_on_the_old_version_serving(old_cloud: Operator, tmp_path: Path) -> None:
    mine = move_in(old_cloud, tmp_path)
    broken = pinned(old_cloud, tmp_path / "broken", "11.0.2")

    first, second = broken.converge(), broken.converge()

    for run in (first, second):
        assert run.status != 0
        assert "the upgrade to 11.0.2 failed: occ upgrade ended with status 5" in run.output
    assert "this box is back on 11.0.0, serving, with the data it had before" in first.output
    assert "this box stays on 11.0.0: move the pin" in second.output
    assert serves(old_cloud, "11.0.0")
    assert mine.are_there(old_cloud)

    back = pinned(old_cloud, tmp_path / "back", "11.0.0")
    assert back.converge().status == 0
    assert back.converge().changed == []
    assert mine.are_there(back)

    forward = pinned(old_cloud, tmp_path / "forward", "11.0.1")
    assert forward.converge().status == 0
    assert serves(forward, "11.0.1")
    assert mine.are_there(forward)


def test_a_tarball_with_another_sha256_changes_nothing_and_a_mirror_with_the_right_one_helps(
    old_cloud: Operator, tmp_path: Path
) -> None:
    mine, before = move_in(old_cloud, tmp_path), files(old_cloud)
    other = str(pin("11.0.2")["url"])
    wrong = pinned(old_cloud, tmp_path / "wrong", "11.0.1", url=other)

    run = wrong.converge()

    assert run.status != 0
    assert (
        f"has the SHA-256 {SUMS['owncloud-11.0.2.tar.bz2']}, and the pin says {pin('11.0.1')['sha256']}" in run.output
    )
    assert "was not fetched and nothing was changed" in run.output
    assert files(old_cloud) == before
    assert serves(old_cloud, "11.0.0")
    assert mine.are_there(old_cloud)

    mirror = [str(pin("11.0.1")["url"])]
    mirrored = pinned(old_cloud, tmp_path / "mirrored", "11.0.1", url=other, mirrors=mirror)
    assert mirrored.converge().status == 0
    assert serves(mirrored, "11.0.1")
    assert mine.are_there(mirrored)


def test_an_address_that_has_nothing_says_so_and_a_mirror_is_asked_next(old_cloud: Operator, tmp_path: Path) -> None:
    before, nowhere = files(old_cloud), "http://releases.hearth.lab/nothing-here.tar.bz2"
    lost = pinned(old_cloud, tmp_path / "lost", "11.0.1", url=nowhere, mirrors=["http://releases.hearth.lab:81/x"])

    run = lost.converge()

    assert run.status != 0
    assert f"{nowhere} answered 404; http://releases.hearth.lab:81/x cannot be fetched" in run.output
    assert files(old_cloud) == before
    assert serves(old_cloud, "11.0.0")
    found = pinned(old_cloud, tmp_path / "found", "11.0.1", url=nowhere, mirrors=[str(pin("11.0.1")["url"])])
    assert found.converge().status == 0
    assert serves(found, "11.0.1")


# At each moment a program waits for the power cut in those of its calls that hold the words; `after` waits when it has
# done its work. /run is empty after the next boot, so then nothing waits any more.
HOLD = """
case "$* " in
  *"{words}"*) if [ -e /run/hold ]; then {before} touch /run/hold/held; sleep 600; fi ;;
esac
exec "$real" "$@"
"""


@dataclass(frozen=True)
class Moment:
    """A moment of an upgrade to ``version``: ``program`` is called with ``words``; ``served`` is what comes back."""

    program: str
    words: str
    after: bool = False
    version: str = "11.0.1"
    served: str = "11.0.0"


MOMENTS = {
    "preparing, in maintenance mode before the dump": Moment("/usr/bin/mariadb-dump", "hearth_cloud"),
    "upgrading, before the trees are exchanged": Moment("/usr/bin/mv", "--exchange"),
    "upgrading, after the exchange": Moment("/usr/bin/mv", "--exchange", after=True),
    "upgrading, after the database was changed": Moment("/usr/bin/php8.4", "occ upgrade ", after=True),
    "going back from a failed upgrade": Moment("/usr/bin/mariadb", ".sock hearth_cloud ", after=True, version="11.0.2"),
    "verified, before the jobs start": Moment("/usr/bin/systemctl", "start hearth-cloud-cron.timer", served="11.0.1"),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_a_power_cut_during_an_upgrade_leaves_a_version_that_serves(
    old_cloud: Operator, tmp_path: Path, name: str
) -> None:
    moment = MOMENTS[name]
    mine = move_in(old_cloud, tmp_path)
    assert pinned(old_cloud, tmp_path / "staged", moment.version, when="window").converge().status == 0
    before = '"$real" "$@";' if moment.after else ""
    interpose(old_cloud, moment.program, HOLD.format(words=moment.words, before=before))
    old_cloud.lab.exec(MUELLER, ["mkdir", "--mode=777", "/run/hold"])
    with subprocess.Popen(old_cloud.lab.exec_command(MUELLER, [PROGRAM, "update"])) as upgrade:
        wait_for(lambda: is_there(old_cloud, "/run/hold/held"), 60, name)
        old_cloud.lab.kill(MUELLER)
        upgrade.wait()

    old_cloud.lab.start(MUELLER)

    wait_for(lambda: serves(old_cloud, moment.served), 60, f"{moment.served} serves after a power cut {name}")
    assert mine.are_there(old_cloud)
    assert not is_there(old_cloud, "/var/lib/hearth/owncloud/upgrade.json")
    remove_interposed(old_cloud, moment.program)
    now = pinned(old_cloud, tmp_path / "now", "11.0.1")
    run = now.converge()
    assert run.status == 0, run.output
    assert serves(now, "11.0.1")
    assert mine.are_there(now)
    assert now.converge().changed == []


def is_there(operator: Operator, path: str) -> bool:
    return operator.lab.exec(MUELLER, ["test", "-e", path], check=False).returncode == 0
