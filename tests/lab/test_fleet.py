"""``hearth plan`` and ``hearth converge`` over a relay, a Pi and four boxes: a change, mishaps, a kill, a removal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hearth.fleet.events import Gate, HostBegin, HostEnd, RunResume
from hearth.hostlock import LOCK
from hearth.lab.lab import Lab
from tests.lab.boxes import MUELLER, PI, RELAY, Operator, wait_for
from tests.lab.clouds import interpose, pin, remove_interposed
from tests.lab.conftest import copy_of_the_example, lab_name
from tests.lab.fleets import (
    BOXES,
    KOCH,
    SCHMIDT,
    WEBER,
    Fleet,
    busiest,
    changes,
    ended,
    first_day,
    four_homes,
    leave_out,
    states,
    would_change,
)

pytestmark = pytest.mark.lab

SUMS = "/usr/bin/sha256sum"
SITE = "/etc/apache2/sites-enabled/hearth.conf"
HOSTS = (RELAY, PI, *BOXES)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The fleet after its first day, in a lab of its own; only relay and Pi are reached directly."""
    folder = tmp_path_factory.mktemp("fleet")
    inventory = four_homes(copy_of_the_example(folder / "example"), folder / "repository")
    lab = Lab(lab_name("f"))
    try:
        yield first_day(lab, inventory, folder / "state")
    finally:
        lab.down()


@pytest.fixture(autouse=True)
def as_committed(fleet: Fleet) -> None:
    """What a test that failed left in the inventory does not fail the next."""
    fleet.git("restore", ".")


def held(box: Operator) -> bool:
    """Whether a command of a converge waits on a box."""
    return box.lab.exec(box.host, ["pgrep", "-x", Path(SUMS).name], check=False).returncode == 0


def waits(box: Operator) -> bool:
    """Whether a converge that has locked a box waits for a command of the one before it."""
    return box.lab.exec(box.host, ["pgrep", "-f", f"^flock .*{LOCK}.commands true"], check=False).returncode == 0


def test_a_converged_fleet_passes_its_gates_and_nothing_changes(fleet: Fleet) -> None:
    record = fleet.converge("--waves", "1,100%")
    assert states(record) == dict.fromkeys(HOSTS, "converged")
    assert changes(record) == {host: [] for host in HOSTS}
    assert all(end.unchanged > 10 for end in record.hosts.values())
    assert record.begin.waves[:3] == ((RELAY,), (PI,), (MUELLER,)), "fleet.yaml names the canary"
    gates = {event.host: [check.name for check in event.checks] for event in record.events if isinstance(event, Gate)}
    assert gates[RELAY] == gates[PI] == ["sshd", "tunnel server"]
    assert all(gates[box] == ["tunnel", "sshd", "certificate", "status.php"] for box in BOXES)


def test_a_change_of_one_household_touches_its_box_and_the_relay_where_it_must_alone(fleet: Fleet) -> None:
    fleet.edit("households/weber.yaml", "upload_limit: 2G", "upload_limit: 3G")
    assert would_change(fleet.plan("--since", "HEAD")) == {WEBER}
    fleet.git("restore", ".")
    fleet.edit("households/koch.yaml", "domain: koch.home", "domain: kochs.home")
    fleet.stamp(*HOSTS)
    since, whole = fleet.plan("--since", "HEAD"), fleet.plan()
    assert would_change(since) == would_change(whole) == {RELAY, KOCH}
    assert {each["host"] for each in since["hosts"]} == {RELAY, KOCH}, "no other is asked"
    assert since["counts"]["untouched"] == len(HOSTS) - 2
    assert fleet.changed(*HOSTS) == {}, "a plan changes nothing"

    logins = fleet.logins(*HOSTS)
    fleet.commit()
    record = fleet.converge("--since", "HEAD~1")
    assert states(record) == {RELAY: "converged", KOCH: "converged"}
    assert all(changes(record).values())
    gone_to = {host for host, count in fleet.logins(*HOSTS).items() if count != logins[host]}
    assert set(fleet.changed(*HOSTS)) == gone_to == {RELAY, KOCH}


def test_a_change_that_breaks_the_canary_stops_there_and_nobody_else_is_touched(fleet: Fleet) -> None:
    def broken(data: dict[str, object]) -> None:
        data["releases"] = [pin("11.0.1") | {"sha256": "ab" * 32}]
        data["defaults"] = {"updates": {"release": "now"}}

    text = fleet.rewrite("fleet.yaml", broken)
    others = [box for box in BOXES if box != MUELLER]
    before = fleet.logins(*others)
    stopped = fleet.converge("--limit", "boxes", status=3)
    assert states(stopped) == {MUELLER: "failed"} | dict.fromkeys(others, "waiting")
    assert "SHA-256" in (stopped.hosts[MUELLER].reason or "")
    assert fleet.logins(*others) == before
    (fleet.inventory / "fleet.yaml").write_text(text)
    resumed = fleet.converge("--resume")
    assert resumed.path == stopped.path
    assert states(resumed) == dict.fromkeys(BOXES, "converged")


def test_a_box_that_is_off_is_unreported_and_pending_converges_it_when_it_is_back(fleet: Fleet) -> None:
    fleet.lab.stop(SCHMIDT)
    wait_for(lambda: not fleet.tunnel_is_up(SCHMIDT), 90, "the relay to notice")
    away = fleet.converge("--limit", "schmidt,weber", "--max-failures", "0", status=4)
    assert states(away) == {SCHMIDT: "unreported", WEBER: "converged"}
    assert "the box's tunnel is not up" in (away.hosts[SCHMIDT].reason or "")
    fleet.lab.start(SCHMIDT)
    fleet.wait_for_tunnel(SCHMIDT)
    assert states(fleet.converge("--pending")) == {SCHMIDT: "converged"}


def test_a_box_that_another_machine_converges_is_left_alone(fleet: Fleet) -> None:
    hold = f"systemd-run --quiet --unit=other flock {LOCK} sleep 600"
    fleet.lab.exec(MUELLER, ["sh", "-c", f"systemctl reset-failed other 2>/dev/null; {hold}"])
    try:
        record = fleet.converge("--limit", "mueller", status=4)
        assert "another converge is at work on this host" in (record.hosts[MUELLER].reason or "")
    finally:
        fleet.lab.exec(MUELLER, ["systemctl", "stop", "other"])


def test_after_kill_9_in_a_wave_resume_waits_for_the_last_commands_and_converges_none_twice_at_a_time(
    fleet: Fleet,
) -> None:
    wave = [SCHMIDT, WEBER, KOCH]
    boxes = [replace(fleet.operator, host=box) for box in wave]
    for box in boxes:
        fleet.lab.exec(box.host, ["sh", "-c", f"echo '# drift' >>{SITE}; touch /run/hold"])
        interpose(box, SUMS, 'while test -e /run/hold; do sleep 0.1; done; exec "$real" "$@"')
    cursors = {box: fleet.journal(box) for box in wave}
    before = fleet.records()
    process = fleet.start("converge", "--yes", "--limit", "boxes", "--waves", "1,100%")
    for box in boxes:
        wait_for(lambda box=box: held(box), 90, f"{box.host} to be in work")  # type: ignore[misc]
    assert len(fleet.slices()) == len(wave)
    process.send_signal(signal.SIGKILL)
    ended(process)
    wait_for(lambda: not fleet.slices(), 10, "the kernel to end the slices")
    resume = fleet.start("converge", "--yes", "--attempts", "1", "--resume")
    left = list(boxes)

    def all_have_waited() -> bool:
        assert resume.poll() is None, f"{ended(resume)}\n{fleet.logs()}"
        for box in filter(waits, tuple(left)):
            assert held(box), "the command that the killed run began"
            fleet.lab.exec(box.host, ["rm", "/run/hold"])
            left.remove(box)
        return not left

    wait_for(all_have_waited, 120, "the new run to wait at each box")
    run = ended(resume)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}\n{fleet.logs()}"
    for box in boxes:
        remove_interposed(box, SUMS)
    resumed = fleet.record()

    assert states(resumed) == dict.fromkeys(BOXES, "converged")
    assert len(fleet.records()) == len(before) + 1, "one run, one record"
    (goes_on,) = (event for event in resumed.events if isinstance(event, RunResume))
    assert {host for some in goes_on.waves for host in some} == set(wave), "the canary was done"
    begins = [event for event in resumed.events if isinstance(event, HostBegin)]
    assert sorted(event.host for event in begins) == sorted([MUELLER, *wave, *wave])
    ends = [event.host for event in resumed.events if isinstance(event, HostEnd)]
    assert sorted(ends) == sorted(BOXES), "each came to its end once"
    assert {box: resumed.hosts[box].corrective > 0 for box in wave} == dict.fromkeys(wave, True)
    assert {box: busiest(fleet.commands(box, cursors[box])) for box in wave} == dict.fromkeys(wave, 1)
    assert not fleet.slices()


def test_a_cloud_that_visitors_do_not_reach_does_not_pass_the_gate(fleet: Fleet) -> None:
    fleet.lab.exec(RELAY, ["systemctl", "stop", "haproxy"])
    try:
        run = fleet.converge("--limit", "mueller", "--patience", "5", status=2)
        gate = next(event for event in run.events if isinstance(event, Gate))
        assert [check.name for check in gate.checks if not check.passed] == ["certificate"]
    finally:
        fleet.lab.exec(RELAY, ["systemctl", "start", "haproxy"])


def test_a_household_that_is_gone_loses_its_access_and_only_a_run_over_all_takes_it(fleet: Fleet) -> None:
    known = fleet.git("rev-parse", "HEAD")
    opa = yaml.safe_load((fleet.inventory / "households/schmidt.yaml").read_text())["support"]["screens"][0]["key"]
    assert fleet.lets_in(PI, opa)
    leave_out(fleet.inventory, "schmidt")
    leave_out(fleet.inventory, "weber")
    logins = fleet.logins(RELAY, PI, MUELLER)
    refusals = {
        ("--limit", RELAY): "by a run over the whole fleet only",
        ("--max-removals", "1"): "2 of 4 households are gone from the inventory (schmidt, weber)",
    }
    for arguments, words in refusals.items():
        refused = fleet.hearth("converge", "--yes", *arguments)
        assert (refused.returncode, words in refused.stderr) == (1, True), refused.stderr
    fleet.git("restore", "--", "households/weber.yaml", f"collected/{WEBER}.yaml")
    assert fleet.logins(RELAY, PI, MUELLER) == logins
    assert fleet.tunnel_is_up(SCHMIDT)

    plan = fleet.plan("--since", known)
    assert (plan["removed"], would_change(plan)) == ([{"household": "schmidt", "slot": 18}], {RELAY, PI})
    fleet.commit()
    record = fleet.converge("--since", known)
    assert record.begin.removed == ("schmidt",)
    assert states(record) == {RELAY: "converged", PI: "converged"}
    assert not fleet.tunnel_is_up(SCHMIDT), "its live session has ended"
    assert fleet.tunnel_is_up(WEBER)
    assert "schmidt" not in fleet.lab.exec(RELAY, ["cat", "/etc/hearth/router/hosts.map"]).stdout
    assert not fleet.lets_in(PI, opa)
    fleet.edit("households/weber.yaml", "slot: 19", "slot: 18")
    fleet.rewrite("fleet.yaml", lambda data: data.update(retired=[{"slot": 18, "since": f"{record.begin.time:%F}"}]))
    reused = fleet.hearth("converge", "--yes")
    assert (reused.returncode, "slot 18 was another household's and rests" in reused.stderr) == (1, True)
