"""Killed anywhere, a converge that is run again ends in the same state as one that was never killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.boxes import MUELLER, Converge, Operator
from tests.lab.clouds import difference, manifest, move_in

pytestmark = pytest.mark.lab

# Enough for the host to be in the middle of what it was told.
AMID_S = 0.4


@pytest.fixture(scope="module")
def in_one_go(box: Operator) -> list[str]:
    """What the box is that was converged without a crash."""
    return manifest(box)


def steps(run: Converge, *holding: str) -> list[str]:
    """The operations of a first converge that change something after the packages; those with ``holding`` in them."""
    names = [name for name in run.changed if not name.startswith("Install the packages")]
    return [name for name in names if not holding or any(word in name for word in holding)]


def crash(operator: Operator, step: str, how: Callable[[], object], after_s: float = AMID_S) -> None:
    """Begin a converge, wait until ``step`` is at work, and end the converge by SIGKILL after ``how``."""

    def strike() -> None:
        time.sleep(after_s)
        how()

    assert operator.converge_until(f"Starting operation: {step}", strike), f"the converge did not come to {step}"


def cut_power(operator: Operator) -> Callable[[], None]:
    """The host's plug is pulled and put back."""

    def cut() -> None:
        operator.lab.kill(operator.host)

    return cut


def kill_processes(operator: Operator) -> Callable[[], object]:
    """Everything that hearth runs on the host is killed, and the database under it."""
    command = ["pkill", "-KILL", "-f", "^/usr/bin/python3.*/usr/lib/hearth| occ |^/usr/sbin/mariadbd|apt-get|dpkg"]
    return lambda: operator.lab.exec(operator.host, command, check=False)


def assert_same_state(operator: Operator, wanted: list[str], folder: Path) -> None:
    """Converge to the end: the box is as one that never crashed, converging again changes nothing, the cloud works."""
    run = operator.converge()
    assert run.status == 0, run.output[-3000:]
    assert difference(manifest(operator), wanted) == []
    again = operator.converge()
    assert (again.status, again.changed) == (0, [])
    assert move_in(operator, folder).are_there(operator)


def test_the_operators_machine_dies_in_every_step(
    in_one_go: list[str], first_run: Converge, packaged_box: Operator, tmp_path: Path
) -> None:
    """Each converge is killed one step further on; the host goes on alone with what it was told, and meets the next."""
    for step in steps(first_run):
        crash(packaged_box, step, lambda: None)
    assert_same_state(packaged_box, in_one_go, tmp_path)


def test_the_power_goes_in_one_step_after_the_other(
    in_one_go: list[str], first_run: Converge, packaged_box: Operator, tmp_path: Path
) -> None:
    words = ("Harden sshd", "Let PHP", "signed by", "Serve ", "MariaDB", "Fetch ", "database", "Install own", "users")
    struck = steps(first_run, *words)
    assert len(struck) >= len(words)
    for step in struck:
        crash(packaged_box, step, cut_power(packaged_box))
        packaged_box.lab.start(MUELLER)
    assert_same_state(packaged_box, in_one_go, tmp_path)


@pytest.mark.parametrize("step", ["Harden sshd", "Install ownCloud", "MariaDB"])
def test_the_hosts_processes_are_killed_in_one_step(
    in_one_go: list[str], first_run: Converge, packaged_box: Operator, tmp_path: Path, step: str
) -> None:
    crash(packaged_box, steps(first_run, step)[0], kill_processes(packaged_box))
    assert_same_state(packaged_box, in_one_go, tmp_path)


def test_crashes_amid_the_packages_of_a_bare_host(in_one_go: list[str], bare_box: Operator, tmp_path: Path) -> None:
    """A power cut while apt unpacks, the death of apt while it configures, and of the operator's machine at once."""
    crash(bare_box, "Install the packages", cut_power(bare_box), after_s=10)
    bare_box.lab.start(MUELLER)
    crash(bare_box, "Install the packages", kill_processes(bare_box), after_s=8)
    crash(bare_box, "Install the packages", lambda: None, after_s=6)
    assert_same_state(bare_box, in_one_go, tmp_path)


def fill(operator: Operator, folder: str) -> None:
    """Put a full disk of some kilobytes over a folder of the host."""
    script = (
        f"mkdir -p {folder} && mount -t tmpfs -o size=16k,mode=$(stat -c %a {folder}) full {folder} && "
        f"! cat /dev/zero > {folder}/ballast 2>/dev/null"
    )
    operator.lab.exec(operator.host, ["sh", "-c", script])


def test_a_full_disk_ends_a_converge_with_a_sentence_and_room_mends_it(
    in_one_go: list[str], packaged_box: Operator, tmp_path: Path
) -> None:
    places = {
        "/var/lib/hearth": "the disk of /var/lib/hearth: No space left on device",
        "/var/cache/hearth": "fetching the release needs",
        "/srv/hearth/www": "cannot be unpacked: [Errno 28] No space left on device; nothing was changed",
    }
    for folder, sentence in places.items():
        fill(packaged_box, folder)
        run = packaged_box.converge()
        packaged_box.lab.exec(MUELLER, ["umount", "--lazy", folder])
        assert run.status != 0
        assert sentence in run.output
        assert "Traceback" not in run.output
    assert_same_state(packaged_box, in_one_go, tmp_path)


def test_a_full_tmp_does_not_stop_a_converge(in_one_go: list[str], fresh_box: Operator) -> None:
    fill(fresh_box, "/tmp")
    broken = ["/usr/lib/hearth/apply", "/etc/php/8.4/fpm/pool.d/zz-hearth.conf"]
    fresh_box.lab.exec(MUELLER, ["rm", *broken])

    run = fresh_box.converge()

    assert run.status == 0, run.output[-3000:]
    assert difference(manifest(fresh_box), in_one_go) == []


def test_a_database_that_somebody_stopped_is_started_before_the_cloud_needs_it(fresh_box: Operator) -> None:
    fresh_box.lab.exec(MUELLER, ["systemctl", "stop", "mariadb.service", "redis-server.service"])
    run = fresh_box.converge()
    assert run.status == 0, run.output[-3000:]
    assert run.changed == ["database | See that MariaDB and Redis run"]
