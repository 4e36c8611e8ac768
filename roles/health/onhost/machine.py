"""Checks of the machine itself: disks, time, Debian's packages, units that failed, the backup's age."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .model import Backup, Finding, Outcome, Settings, stamp
from .moment import Moment

MIB = 1 << 20
DAY_S = 86_400
PATIENCE_DAYS = 3
# The proof is made each month.
UNPROVEN_DAYS = 45
APT = Path("/var/lib/apt")
BORN = Path("/etc/machine-id")
REBOOT = Path("/run/reboot-required")


@dataclass(frozen=True)
class Disk:
    """A file system, by the first path that lies on it. Bytes are those that a program may still write.

    ``wanted_bytes``: what the inventory asks to be free; 0 when it asks for nothing.
    """

    path: str
    size_bytes: int
    free_bytes: int
    inodes_share: float
    wanted_bytes: int = 0


def disks(paths: Sequence[str], room_bytes: int) -> list[Disk]:
    """The file systems of ``paths`` that exist, each once; the last path's shall have ``room_bytes`` free."""
    found: dict[int, Disk] = {}
    for path in paths:
        try:
            device, told = Path(path).stat().st_dev, os.statvfs(path)
        except OSError:
            continue
        inodes = told.f_favail / told.f_files if told.f_files else 1.0
        size, free = told.f_blocks * told.f_frsize, told.f_bavail * told.f_frsize
        first = found[device].path if device in found else path
        found[device] = Disk(first, size, free, inodes, room_bytes if path == paths[-1] else 0)
    return list(found.values())


def judge_disk(disk: Disk) -> tuple[Finding, ...]:
    """Nothing works on a disk without its last 5 % (512 MiB are enough of a large one); twice that is a warning."""
    least = min(disk.size_bytes // 20, 512 * MIB)
    free = f"{disk.free_bytes / MIB:,.0f} MiB"
    step = f"`du -xh --max-depth=2 {disk.path} | sort -h | tail`, and make room"
    if disk.free_bytes < least or disk.inodes_share < 0.01:
        what = f"{free} free" if disk.free_bytes < least else "no inodes left"
        return (Finding("disk", "required", f"the disk of {disk.path} is full ({what})", step),)
    if disk.free_bytes < 2 * least or disk.inodes_share < 0.05:
        return (Finding("disk", "wanted", f"the disk of {disk.path} is nearly full ({free} free)", step),)
    if disk.free_bytes < disk.wanted_bytes:
        sentence = f"the disk of {disk.path} has {free} free, and the household's uploads may need "
        return (Finding("disk", "wanted", f"{sentence}{disk.wanted_bytes / MIB:,.0f} MiB", step),)
    return ()


def check_disks(settings: Settings, _: Moment) -> Outcome:
    """Whether there is room on every disk that the host works on."""
    found = disks(settings.paths, settings.room_bytes)
    told = [{"path": disk.path, "size_bytes": disk.size_bytes, "free_bytes": disk.free_bytes} for disk in found]
    return Outcome(tuple(finding for disk in found for finding in judge_disk(disk)), {"disks": told})


def check_time(_: Settings, moment: Moment) -> Outcome:
    """Whether the clock is set by the network. A container's clock is the machine's outside."""
    if moment.run(["systemd-detect-virt", "--quiet", "--container"]).status == 0:
        return Outcome()
    if moment.run(["timedatectl", "show", "--property=NTPSynchronized", "--value"]).output.strip() == "yes":
        return Outcome()
    step = "`timedatectl timesync-status`; does the line let UDP port 123 out?"
    return Outcome((Finding("time", "wanted", "the clock is not set by the network", step),))


def parse_upgrades(text: str) -> tuple[int, int]:
    """Given what ``apt-get --simulate dist-upgrade`` prints, return how many packages wait, and for security's sake."""
    waiting = re.findall(r"^Inst \S+ \[.*", text, re.MULTILINE)
    return len(waiting), sum("-security" in line.lower() for line in waiting)


def judge_packages(
    audit: str, waiting: tuple[int, int], lists_at: float, upgraded_at: float, now: float
) -> tuple[Finding, ...]:
    """What is wrong with Debian's packages. Times are in seconds since 1970."""
    findings = []
    if audit.strip():
        step = "`dpkg --configure -a`, then converge this host"
        findings.append(Finding("packages", "wanted", "packages are half installed", step))
    if (days := (now - lists_at) / DAY_S) > PATIENCE_DAYS:
        sentence = f"the package lists are {days:.0f} days old"
        findings.append(Finding("packages", "wanted", sentence, "`journalctl -u apt-daily -n 30`"))
    if waiting[1] and (now - upgraded_at) / DAY_S > PATIENCE_DAYS:
        sentence = f"{waiting[1]} security updates wait, and nothing was upgraded for {PATIENCE_DAYS} days"
        findings.append(Finding("packages", "wanted", sentence, "`unattended-upgrade --debug --dry-run`"))
    return tuple(findings)


def check_packages(_: Settings, moment: Moment) -> Outcome:
    """Whether Debian's packages are whole and kept up to date."""
    audit = moment.run(["dpkg", "--audit"])
    simulated = moment.run(["apt-get", "--simulate", "--quiet", "-o", "Debug::NoLocking=1", "dist-upgrade"])
    waiting = parse_upgrades(simulated.output)
    born = modified(BORN)
    lists_at = max(modified(APT / "periodic/update-stamp"), modified(APT / "lists"))
    findings = judge_packages(
        audit.output, waiting, lists_at, max(born, modified(APT / "periodic/upgrade-stamp")), moment.now
    )
    known = simulated.status == 0
    facts = {"updates": waiting[0] if known else None, "security_updates": waiting[1] if known else None}
    return Outcome(findings, facts)


def check_reboot(_: Settings, moment: Moment) -> Outcome:
    """Whether an upgrade waits for a reboot; for a week that is the household's window at work."""
    since = modified(REBOOT)
    facts = {"reboot_required": bool(since)}
    if not since or moment.now - since < 7 * DAY_S:
        return Outcome(facts=facts)
    sentence = f"upgrades wait for a reboot since {Moment.at(since):%Y-%m-%d}"
    return Outcome((Finding("reboot", "wanted", sentence, "`systemctl reboot`"),), facts)


def check_failed(settings: Settings, moment: Moment) -> Outcome:
    """Whether some unit failed that has no check of its own."""
    text = moment.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend"]).output
    own = {*settings.units, settings.cron.unit if settings.cron else None}
    names = [line.split()[0] for line in text.splitlines() if line.strip() and line.split()[0] not in own]
    if not names:
        return Outcome()
    sentence = f"{'a unit has' if len(names) == 1 else f'{len(names)} units have'} failed: {', '.join(names[:5])}"
    return Outcome((Finding("failed units", "wanted", sentence, f"`journalctl -u {names[0]} -n 30`"),))


def check_backup(backup: Backup, now: float) -> Outcome:
    """Whether the last good backup and the last proven restore are young enough, and the household can open them."""
    last, proven = modified(Path(backup.stamp)), modified(Path(backup.proven))
    findings = judge_backup(backup, last, proven, now) + judge_paper(Path(backup.paper))
    return Outcome(findings, {"backup_at": _told(last), "proven_at": _told(proven)})


def judge_backup(backup: Backup, last: float, proven: float, now: float) -> tuple[Finding, ...]:
    """What is wrong with a backup; ``last`` and ``proven`` are 0 when there was none."""
    step = "`journalctl -u 'hearth-backup*' -n 30`"
    if not last:
        return (Finding("backup", "wanted", "there is no backup yet", step),)
    findings = []
    if (days := (now - last) / DAY_S) > backup.most_age_days:
        findings.append(Finding("backup", "wanted", f"the last good backup is {days:.0f} days old", step))
    if proven and (days := (now - proven) / DAY_S) > UNPROVEN_DAYS:
        findings.append(Finding("backup", "wanted", f"no restore has been proven for {days:.0f} days", step))
    return tuple(findings)


def judge_paper(paper: Path) -> tuple[Finding, ...]:
    """Whether the household has its key on paper; before the box has reached its store there is none to print."""
    try:
        told = json.loads(paper.read_text())
    except FileNotFoundError:
        return ()
    if not told["repository"] or told["confirmed"]:
        return ()
    step = "`hearth-key where` tells the page that the household's admin opens at home to print it"
    return (Finding("backup", "wanted", "the household's backup key is not on paper yet", step),)


def _told(at: float) -> str | None:
    return stamp(Moment.at(at)) if at else None


def modified(path: Path) -> float:
    """When a file was last written, in seconds since 1970; 0 when it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def versions() -> dict[str, str]:
    """Debian's version and the kernel's."""
    try:
        debian = Path("/etc/debian_version").read_text().strip()
    except OSError:
        debian = ""
    return {"debian_version": debian, "kernel": os.uname().release}
