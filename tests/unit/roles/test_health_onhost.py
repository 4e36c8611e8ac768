"""The health program's judgements: what it was told by the machine in, findings out."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from roles.health.onhost import machine, main, services, web
from roles.health.onhost.model import (
    Backup,
    Cron,
    Finding,
    Level,
    Outcome,
    Probe,
    Settings,
    Verdict,
    Web,
    as_data,
    as_text,
    settings,
)
from roles.health.onhost.moment import Moment
from roles.health.onhost.system import Done, Unit, parse_units, run

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400
MIB = 1 << 20
WEB = Web("mueller.home.example", 443, required_days=3, wanted_days=14)
MINIMAL = 'host = "box-mueller"\nkind = "box"\nunits = []\npaths = ["/"]\nroom_bytes = 0\n'

SHOWN = """\
Id=redis-server.service
ActiveState=active
Result=success
ConditionResult=yes
ConditionTimestampMonotonic=7
ActiveEnterTimestamp=@1793707200
ExecMainExitTimestamp=

Id=systemd-timesyncd.service
ActiveState=inactive
Result=success
ConditionResult=no
ConditionTimestampMonotonic=9
ActiveEnterTimestamp=
ExecMainExitTimestamp=

Id=hearth-tunnel.service
ActiveState=activating
Result=exit-code
ConditionResult=yes
ConditionTimestampMonotonic=9
ActiveEnterTimestamp=
ExecMainExitTimestamp=@1793707300
"""


def levels(findings: Sequence[Finding]) -> list[tuple[str, Level]]:
    return [(finding.check, finding.level) for finding in findings]


def sentences(findings: Sequence[Finding]) -> str:
    return " / ".join(finding.sentence for finding in findings)


def unit(active: str, result: str = "success", *, skipped: bool = False, ended: float | None = None) -> Unit:
    return Unit(active, result, skipped, since=NOW - DAY_S, ended=ended)


def test_a_unit_that_does_not_run_is_named_with_the_next_step_and_one_that_this_machine_skips_is_not() -> None:
    found = parse_units(SHOWN)
    names = ("redis-server.service", "systemd-timesyncd.service", "hearth-tunnel.service", "gone.service")
    findings = services.judge_units(names, found)
    assert [finding.sentence for finding in findings] == [
        "hearth-tunnel.service does not run (activating)",
        "gone.service does not run (unknown)",
    ]
    assert all("systemctl restart" in finding.next_step for finding in findings)


def test_the_tunnel_is_up_since_its_unit_is_active_and_a_tunnel_that_is_still_trying_is_not_up() -> None:
    up = services.judge_tunnel("hearth-tunnel.service", parse_units(SHOWN)["redis-server.service"])
    assert up == Outcome(facts={"tunnel_since": "2026-11-03T12:00:00Z"})
    trying = services.judge_tunnel("hearth-tunnel.service", parse_units(SHOWN)["hearth-tunnel.service"])
    assert levels(trying.findings) == [("tunnel", "required")]
    assert services.judge_tunnel("hearth-tunnel.service", None).findings


@pytest.mark.parametrize(
    ("service", "timer", "told"),
    [
        (unit("inactive", ended=NOW - 600), unit("active"), ""),
        (unit("activating", ended=NOW - DAY_S), unit("active"), ""),
        (unit("inactive", skipped=True, ended=NOW - DAY_S), unit("active"), ""),
        (unit("inactive", ended=NOW - 7200), unit("active"), "have not run for 120 minutes"),
        (unit("failed", "exit-code", ended=NOW - 60), unit("active"), "fail (exit-code)"),
        (unit("inactive", ended=NOW - 60), unit("inactive"), "no timer that runs"),
        (None, None, "no timer that runs"),
    ],
)
def test_background_jobs_that_did_not_run_lately_are_told(service: Unit | None, timer: Unit | None, told: str) -> None:
    findings = services.judge_cron(Cron("hearth-cloud-cron.service", 3600), service, timer, NOW)
    assert (told in sentences(findings)) if told else findings == ()


def certificate(begin_day: float, end_day: float, *, fits: bool = True, issuer: str = "O = Fleet") -> str:
    begin, end = (
        datetime.fromtimestamp(NOW + day * DAY_S, UTC).strftime("%Y-%m-%d %H:%M:%SZ") for day in (begin_day, end_day)
    )
    match = "does match certificate" if fits else "does NOT match certificate"
    return (
        f"notBefore={begin}\nnotAfter={end}\nsubject=CN = mueller.home.example\nissuer={issuer}\n"
        f"Hostname mueller.home.example {match}\n"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (certificate(-30, 60), []),
        (certificate(-77, 13), [("certificate", "wanted")]),
        (certificate(-88, 2.5), [("certificate", "required")]),
        (certificate(-91, -1), [("certificate", "required")]),
        # Six days of life: at two left it is renewed, at one it is late, at half a day it is urgent.
        (certificate(-4, 2), []),
        (certificate(-5, 1), [("certificate", "wanted")]),
        (certificate(-5.8, 0.2), [("certificate", "required")]),
        (certificate(-30, 60, fits=False), [("certificate", "required")]),
        (certificate(-1, 800, issuer="CN = mueller.home.example"), [("certificate", "required")]),
        ("no certificate", [("certificate", "required")]),
    ],
)
def test_a_certificate_is_judged_by_its_name_its_issuer_and_what_is_left_of_its_life(
    text: str, told: list[tuple[str, Level]]
) -> None:
    assert levels(web.judge_certificate(text, WEB, NOW).findings) == told


def test_the_end_of_the_certificate_is_told_also_when_all_is_well() -> None:
    assert web.judge_certificate(certificate(-30, 60), WEB, NOW).facts == {"certificate_until": "2027-01-02T12:00:00Z"}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"installed": True, "maintenance": False, "needsDbUpgrade": False}, ""),
        ({"installed": False, "maintenance": False, "needsDbUpgrade": False}, "not installed"),
        ({"installed": True, "maintenance": True, "needsDbUpgrade": True}, "in maintenance mode and in need of"),
        ({}, "not installed"),
    ],
)
def test_a_cloud_in_maintenance_does_not_serve(answer: dict[str, object], told: str) -> None:
    findings = web.judge_cloud(answer, upgrading=False).findings
    assert (told in sentences(findings) and findings[0].level == "required") if told else findings == ()


def test_maintenance_during_an_upgrade_is_no_alarm() -> None:
    answer = {"installed": True, "maintenance": True, "needsDbUpgrade": False, "versionstring": "11.0.0"}
    outcome = web.judge_cloud(answer, upgrading=True)
    assert (levels(outcome.findings), outcome.facts) == ([("cloud", "wanted")], {"cloud_version": "11.0.0"})


def test_whoever_holds_the_clouds_lock_is_seen_without_opening_it() -> None:
    # In memory, as on the host: on some disks the kernel tells another device than stat does.
    lock, locks = Path(f"/dev/shm/hearth-test-{os.getpid()}"), Path("/proc/locks")
    assert not web.is_locked(lock, locks.read_text())
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        assert not web.is_locked(lock, locks.read_text())
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert web.is_locked(lock, locks.read_text())
    finally:
        os.close(handle)
        lock.unlink()


@pytest.mark.parametrize(
    ("disk", "told"),
    [
        (machine.Disk("/", 100 << 30, 20 << 30, 0.9), []),
        (machine.Disk("/", 100 << 30, 500 * MIB, 0.9), [("disk", "required")]),
        (machine.Disk("/", 100 << 30, 900 * MIB, 0.9), [("disk", "wanted")]),
        (machine.Disk("/", 100 << 30, 20 << 30, 0.001), [("disk", "required")]),
        (machine.Disk("/tmp", 64 * MIB, 30 * MIB, 0.9), []),
        (machine.Disk("/tmp", 64 * MIB, 2 * MIB, 0.9), [("disk", "required")]),
        (machine.Disk("/srv", 100 << 30, 4 << 30, 0.9, wanted_bytes=6 << 30), [("disk", "wanted")]),
    ],
)
def test_a_disk_without_room_is_told_before_it_is_full(disk: machine.Disk, told: list[tuple[str, Level]]) -> None:
    assert levels(machine.judge_disk(disk)) == told


def test_paths_of_one_file_system_are_one_disk_and_what_is_not_there_is_none(tmp_path: Path) -> None:
    found = machine.disks([str(tmp_path), str(tmp_path / "gone"), str(tmp_path.parent)], room_bytes=7)
    assert [(disk.path, disk.wanted_bytes) for disk in found] == [(str(tmp_path), 7)]


APT = """\
NOTE: This is only a simulation!
Inst libc6 [2.41-12] (2.41-12+deb13u1 Debian-Security:13/stable-security [amd64])
Inst vim [2:9.1-1] (2:9.1-2 Debian:13.2/stable [amd64]) []
Inst linux-image-6.12.57 (6.12.57-1 Debian:13.2/stable [amd64])
Conf libc6 (2.41-12+deb13u1 Debian-Security:13/stable-security [amd64])
"""


def test_pending_updates_are_counted_and_those_for_security_among_them() -> None:
    assert machine.parse_upgrades(APT) == (2, 1)
    assert machine.parse_upgrades("") == (0, 0)


def test_packages_are_well_while_lists_and_upgrades_are_young() -> None:
    young, old = NOW - DAY_S, NOW - 5 * DAY_S
    assert machine.judge_packages("", (2, 1), young, young, NOW) == ()
    assert "package lists are 5 days old" in sentences(machine.judge_packages("", (0, 0), old, young, NOW))
    assert "1 security updates wait" in sentences(machine.judge_packages("", (2, 1), young, old, NOW))
    assert "half installed" in sentences(machine.judge_packages("the following packages", (0, 0), young, young, NOW))


def test_a_backup_that_is_too_old_or_missing_or_unproven_is_told() -> None:
    backup = Backup("/last-good", 3, "/last-proven", "/paper.json")
    young, old = NOW - DAY_S, NOW - 4 * DAY_S
    assert machine.judge_backup(backup, young, young, NOW) == ()
    assert machine.judge_backup(backup, young, 0, NOW) == ()
    assert "4 days old" in sentences(machine.judge_backup(backup, old, young, NOW))
    assert "no backup yet" in sentences(machine.judge_backup(backup, 0, 0, NOW))
    assert "proven for 50 days" in sentences(machine.judge_backup(backup, young, NOW - 50 * DAY_S, NOW))


def test_a_key_that_is_not_on_paper_is_told_until_it_is(tmp_path: Path) -> None:
    paper = tmp_path / "paper.json"
    assert machine.judge_paper(paper) == (), "there is no key before the box has reached its store"
    paper.write_text('{"repository": "ab", "added": "2026-11-23T08:00:00Z", "confirmed": ""}')
    assert "not on paper yet" in sentences(machine.judge_paper(paper))
    paper.write_text('{"repository": "ab", "added": "2026-11-23T08:00:00Z", "confirmed": "2026-11-24T08:00:00Z"}')
    assert machine.judge_paper(paper) == ()


def test_the_check_of_the_backup_tells_when_it_was_made_and_proven(tmp_path: Path) -> None:
    (tmp_path / "last-good").write_text("{}")
    os.utime(tmp_path / "last-good", (NOW - DAY_S, NOW - DAY_S))
    backup = Backup(f"{tmp_path}/last-good", 3, f"{tmp_path}/last-proven", f"{tmp_path}/paper.json")
    facts = {"backup_at": "2026-11-02T12:00:00Z", "proven_at": None}
    assert machine.check_backup(backup, NOW) == Outcome(facts=facts)


def test_a_unit_with_a_check_of_its_own_is_told_once() -> None:
    probe = Probe("redis", "false", "Redis does not answer", "redis-server.service")
    wanted = Settings("box-mueller", "box", ("redis-server.service", "hearth-tunnel.service"), ("/",), 0, (probe,))
    moment = Moment(NOW, lambda command: Done(0, "") if command[0] == "systemctl" else Done(1, ""))
    assert "redis" not in sentences(services.check_units(wanted, moment).findings)
    assert "hearth-tunnel.service" in sentences(services.check_units(wanted, moment).findings)
    assert levels(services.check_probe(probe, moment.run).findings) == [("redis", "required")]


def test_a_program_that_hangs_or_is_not_there_ends_as_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roles.health.onhost.system.PATIENCE_S", 0.2)
    assert run(["sleep", "60"]).status == 124
    assert run(["/nonexistent/program"]).status == 127


def test_a_check_that_breaks_is_a_finding_and_the_others_are_told() -> None:
    def broken() -> Outcome:
        raise PermissionError(13, "Permission denied")

    assert levels(main.attempted("cloud", broken).findings) == [("cloud", "wanted")]


def verdict(*found: Level) -> Verdict:
    findings = tuple(Finding(f"check{place}", level, f"sentence {place}", "do it") for place, level in enumerate(found))
    return Verdict("box-mueller", datetime.fromtimestamp(NOW, UTC), ("a", "b"), findings, {"updates": 0})


def test_the_exit_status_is_the_worst_finding() -> None:
    assert [verdict(*found).exit_status for found in ((), ("wanted",), ("wanted", "required"))] == [0, 1, 2]


def test_people_read_what_is_required_first_and_programs_read_all_of_it() -> None:
    text = as_text(verdict("wanted", "required"), width=2).splitlines()
    assert text[0].startswith("box-mueller is NOT well (2 checks, ")
    assert text[1:] == ["  required: sentence 1. Next: do it.", "  wanted: sentence 0. Next: do it."]
    data = as_data(verdict("wanted"))
    assert (data["verdict"], data["at"]) == ("warning", "2026-11-03T12:00:00Z")
    assert data["findings"] == [{"check": "check0", "level": "wanted", "sentence": "sentence 0", "next": "do it"}]
    assert json.loads(json.dumps(data)) == data


def test_a_verdict_is_kept_whole_and_everybody_may_read_it(tmp_path: Path) -> None:
    main.keep(tmp_path, verdict("required"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["banner", "verdict.json"]
    assert json.loads((tmp_path / "verdict.json").read_text())["verdict"] == "bad"
    assert "is NOT well" in (tmp_path / "banner").read_text()
    assert (tmp_path / "banner").stat().st_mode & 0o777 == 0o644


def test_a_host_that_cannot_be_judged_says_so_and_has_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "DESCRIPTION", tmp_path / "health.toml")
    assert main.main(["--json"]) > 2
    (tmp_path / "health.toml").write_text("host = 3\n")
    assert main.main([]) > 2
    assert main.main(["--quiet"]) > 2
    assert "converge it" in capsys.readouterr().err


def test_a_description_becomes_settings() -> None:
    told = settings(MINIMAL + '[backup]\nstamp = "/x"\nmost_age_days = 3\nproven = "/y"\npaper = "/z"\n')
    assert (told.host, told.web, told.backup) == ("box-mueller", None, Backup("/x", 3, "/y", "/z"))
    with pytest.raises((TypeError, KeyError)):
        settings(MINIMAL + 'unheard_of = "x"\n')
