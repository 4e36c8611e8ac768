"""Checks of what runs: units, probes, the tunnel, the cloud's background jobs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .model import Cron, Finding, Outcome, Probe, Settings, stamp
from .moment import Moment
from .system import Run, Unit, units

RUNNING = ("active", "reloading")


def restart(unit: str) -> str:
    """What to do about a service that does not serve."""
    return f"`systemctl restart {unit}`, and `journalctl -u {unit} -n 30` for the reason"


def judge_units(names: Iterable[str], found: dict[str, Unit]) -> tuple[Finding, ...]:
    """A finding for each unit that does not run and could."""
    nothing = Unit("unknown", "", skipped=False, since=None, ended=None)
    return tuple(
        Finding(
            "units",
            "required",
            f"{name} does not run ({unit.active})",
            restart(name),
        )
        for name in names
        if (unit := found.get(name, nothing)).active not in RUNNING and not unit.skipped
    )


def check_units(settings: Settings, moment: Moment) -> Outcome:
    """Whether every unit runs that the deploy starts and that no other check stands for."""
    others = {settings.tunnel, *(probe.unit for probe in settings.probes)}
    names = [name for name in settings.units if name not in others]
    return Outcome(judge_units(names, units(moment.run, names)))


def check_notes(file: Path) -> Outcome:
    """What the store's program has written down for people; it has not run yet when there is no file."""
    lines = file.read_text().splitlines() if file.is_file() else []
    return Outcome(
        tuple(Finding("store", "wanted", line, "`hearth-store status`, and docs/backup.md") for line in lines)
    )


def check_probe(probe: Probe, run: Run) -> Outcome:
    """Whether a probe's command succeeds."""
    if run(["sh", "-c", probe.command]).status == 0:
        return Outcome()
    return Outcome((Finding(probe.name, "required", probe.sentence, restart(probe.unit)),))


def judge_tunnel(name: str, unit: Unit | None) -> Outcome:
    """Whether the tunnel is up, and since when: its unit is active once the relay has granted every forward."""
    if unit is not None and unit.active == "active" and unit.since is not None:
        return Outcome(facts={"tunnel_since": stamp(Moment.at(unit.since))})
    finding = Finding(
        "tunnel",
        "required",
        f"the tunnel to the relay is not up ({unit.active if unit else 'no such unit'})",
        f"`journalctl -u {name} -n 30`; if the relay refuses the key: hearth collect, then converge the relay",
    )
    return Outcome((finding,), {"tunnel_since": None})


def check_tunnel(name: str, moment: Moment) -> Outcome:
    """Whether the tunnel is up."""
    return judge_tunnel(name, units(moment.run, [name]).get(name))


def judge_cron(cron: Cron, service: Unit | None, timer: Unit | None, now: float) -> tuple[Finding, ...]:
    """Whether the background jobs ran lately; what runs now or may not run during an upgrade is no fault."""
    journal = f"`journalctl -u {cron.unit} -n 30`"
    if service is None or timer is None or timer.active not in RUNNING:
        return (Finding("cron", "wanted", "the cloud's background jobs have no timer that runs", journal),)
    if service.skipped or service.active == "activating":
        return ()
    if service.result not in ("", "success"):
        return (Finding("cron", "wanted", f"the cloud's background jobs fail ({service.result})", journal),)
    last = service.ended or timer.since or now
    if now - last <= cron.most_age_s:
        return ()
    sentence = f"the cloud's background jobs have not run for {int((now - last) / 60)} minutes"
    return (Finding("cron", "wanted", sentence, journal),)


def check_cron(cron: Cron, moment: Moment) -> Outcome:
    """Whether the cloud's background jobs ran lately."""
    timer = cron.unit.replace(".service", ".timer")
    found = units(moment.run, [cron.unit, timer])
    return Outcome(judge_cron(cron, found.get(cron.unit), found.get(timer), moment.now))
