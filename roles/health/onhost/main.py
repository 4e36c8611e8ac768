"""The command line: every check, then the verdict as text or JSON, or kept for the login banner."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from . import machine, services, web
from .model import DESCRIPTION, Finding, Outcome, Settings, Verdict, as_data, as_text, settings
from .moment import Moment
from .system import run

USAGE = "usage: health [--json | --keep FOLDER]"
EX_USAGE, EX_CONFIG = 64, 78  # sysexits.h; 0, 1 and 2 are verdicts
# Most of a check is waiting: for an answer, for apt.
AT_ONCE = 4

EVERYWHERE = {
    "disk": machine.check_disks,
    "time": machine.check_time,
    "packages": machine.check_packages,
    "reboot": machine.check_reboot,
    "failed units": machine.check_failed,
}


def checks(wanted: Settings, moment: Moment) -> dict[str, Callable[[], Outcome]]:
    """Every check that the settings ask for, by name, in the order in which findings are told."""
    found: dict[str, Callable[[], Outcome]] = {"units": lambda: services.check_units(wanted, moment)}
    for probe in wanted.probes:
        found[probe.name] = partial(services.check_probe, probe, moment.run)
    found |= web.checks(wanted, moment)
    tunnel, cron, backup = wanted.tunnel, wanted.cron, wanted.backup
    if tunnel is not None:
        found["tunnel"] = lambda: services.check_tunnel(tunnel, moment)
    if cron is not None:
        found["cron"] = lambda: services.check_cron(cron, moment)
    if backup is not None:
        found["backup"] = lambda: machine.check_backup(backup, moment.now)
    notes = wanted.notes
    if notes is not None:
        found["store"] = lambda: services.check_notes(Path(notes))
    for name, check in EVERYWHERE.items():
        found[name] = partial(check, wanted, moment)
    return found


def attempted(name: str, check: Callable[[], Outcome]) -> Outcome:
    """A check that breaks is a finding of its own, and does not keep the others from being told."""
    try:
        return check()
    except Exception as fault:
        sentence = f"the check of {name} broke ({type(fault).__name__}: {fault})"
        return Outcome((Finding(name, "wanted", sentence, "converge this host; if it stays, report it"),))


def judge(wanted: Settings) -> Verdict:
    """Make every check."""
    moment = Moment(time.time(), run)
    made = checks(wanted, moment)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(attempted, made, made.values()))
    facts = {key: value for outcome in outcomes for key, value in outcome.facts.items()}
    # A web server that is silent is silent to two checks: it is told once, by the later one.
    findings = {finding.sentence: finding for outcome in outcomes for finding in outcome.findings}
    return Verdict(
        wanted.host, Moment.at(moment.now), tuple(made), tuple(findings.values()), machine.versions() | facts
    )


def keep(folder: Path, verdict: Verdict) -> None:
    """Replace the verdict and the banner in ``folder``, each whole, readable by everybody."""
    texts = {"verdict.json": json.dumps(as_data(verdict)) + "\n", "banner": as_text(verdict, width=2)}
    for name, text in texts.items():
        new = folder / f".{name}.new"
        new.write_text(text)
        new.chmod(0o644)
        new.replace(folder / name)


def main(arguments: Sequence[str]) -> int:
    """Judge this host; return the exit status: 0 good, 1 warning, 2 bad, above 2 when it could not be judged."""
    folder = Path(arguments[1]) if len(arguments) == 2 and arguments[0] == "--keep" else None
    if folder is None and list(arguments) not in ([], ["--json"]):
        print(USAGE, file=sys.stderr)
        return EX_USAGE
    os.umask(0o022)
    try:
        verdict = judge(settings(DESCRIPTION.read_text()))
        if folder is not None:
            keep(folder, verdict)
    except (OSError, ValueError, TypeError, KeyError) as fault:
        print(f"health: this host cannot be judged ({fault}): converge it", file=sys.stderr)
        return EX_CONFIG
    if folder is None:
        print(json.dumps(as_data(verdict)) if arguments else as_text(verdict), end="\n" if arguments else "")
    return verdict.exit_status
