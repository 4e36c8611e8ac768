"""The box: a host of the lab, converged by deploys/box.py and by what the others have instead.

It begins with Debian's packages and nothing of hearth's, so that apt's mirror decides nothing. Of the first day's root
it becomes the operator's, and the peers log in as the road of the day allows.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from demo.bench import lines, measure, same
from demo.bench.crowd import Peers, Place, note_facts, run_peer
from demo.bench.figures import Case, Run
from demo.bench.goals import FLOOR, HEARTH
from demo.bench.peers import HERE, REPOSITORY, Host, Work
from demo.bench.rounds import Limits, Taken, Unfit, take
from demo.bench.sshds import sessions
from hearth import layout
from hearth.inventory import load_or_raise
from hearth.inventory.hosts import Box
from hearth.lab import cgroups, state
from hearth.lab.lab import Lab
from hearth.lab.process import LabError
from tests.lab.boxes import MUELLER, Operator

FIRST_DAY_PORT = 2200
VERBOSE = "/etc/ssh/sshd_config.d/50-bench.conf"
NEVER_RUNS = "systemd-timesyncd.service"
"""In a container systemd skips it, since the machine outside keeps the clock; the others would start it each time."""
RECOVERY = "hearth-recover.service"
"""hearth's own unit and the link that enables it: the others have no undo to finish at boot."""
# Made on the box, each time anew; what the cloud and Debian keep about their own running.
MADE_THERE = (
    "etc/hearth/backup/page-certificate.pem",
    "etc/hearth/backup/page-key.pem",
    "etc/hearth/backup/store-login",
    "etc/hearth/tls",
    "etc/hearth/tunnel/key",
    "etc/hearth/tunnel/key.pub",
    "etc/hearth/secrets",
    "var",
    "srv",
)


@dataclass(frozen=True)
class LabBox:
    """The box in its lab. ``inventory``: the lab's own; ``address``: of the lines to it, on this machine's loopback."""

    lab: Lab
    inventory: Path
    folder: Path
    address: str

    @property
    def slice(self) -> Box:
        """The box as its inventory describes it."""
        return load_or_raise(self.inventory).boxes()[0]

    @property
    def upper(self) -> Path:
        """What it has changed since its snapshot."""
        return self.lab.folder / "hosts" / MUELLER / "upper"

    def cpu_s(self) -> float:
        """CPU seconds that it has used so far."""
        return measure.cpu_s(cgroups.group(self.lab.name, MUELLER))

    def commands(self) -> int:
        """What its sshd was asked since it was booted: commands and subsystems."""
        journal = ["journalctl", "--boot", "--identifier=sshd", "--identifier=sshd-session", "--output=cat"]
        return sessions(self.lab.exec(MUELLER, journal).stdout)

    def host(self, *, first_day: bool) -> Host:
        """How the operator reaches it: on its first day, or once it is converged."""
        road = next(road for road in self.slice.roads if road.first_day is first_day)
        key = next(key for key in road.host_keys if key.startswith("ssh-ed25519 "))
        identity = road.identity or Path()
        return Host(MUELLER, self.address, FIRST_DAY_PORT if first_day else road.port, road.user, identity, key)

    def far_inventory(self) -> Path:
        """A copy of the inventory whose roads begin at the lines."""
        copy = self.folder / "far"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.inventory, copy)
        local = yaml.safe_load((copy / "local.yaml").read_text())
        local["hosts"][MUELLER] |= {"address": self.address, "port": FIRST_DAY_PORT}
        (copy / "local.yaml").write_text(yaml.safe_dump(local, sort_keys=False, width=1000))
        return copy

    @contextmanager
    def lines(self, place: Place, milliseconds: int) -> Iterator[None]:
        """Lay the lines to it, of the first day and of later days."""
        there, port = self.lab.address(MUELLER), self.slice.ssh_port
        laid = [((self.address, FIRST_DAY_PORT), (there, 22)), ((self.address, port), (there, port))]
        with lines.laid(laid, milliseconds, place.group / "lines"):
            yield


@contextmanager
def packaged(place: Place, name: str) -> Iterator[LabBox]:
    """A lab with one box that has Debian's packages and nothing of hearth's, kept as the snapshot ``packages``."""
    inventory = place.scratch / "inventory"
    shutil.copytree(
        REPOSITORY / "inventory", inventory, ignore=shutil.ignore_patterns("local.yaml", "authority", "collected")
    )
    household = inventory / "households/mueller.yaml"
    household.write_text(household.read_text().replace("issuer: acme", "issuer: operator"))
    number = os.getpid()
    lab = Lab(name)
    try:
        lab.up([MUELLER], inventory)
        if not Operator(lab, inventory).converge_until("Prepare the host", lambda: None):
            raise LabError("Debian's packages could not be installed on the lab's box.")
        lab.exec(MUELLER, ["sh", "-c", f"echo LogLevel VERBOSE >{VERBOSE}; apt-get -qq --yes install python3-apt"])
        lab.snapshot(MUELLER, "packages")
        yield LabBox(lab, inventory, place.scratch, f"127.77.{number // 250 % 250}.{number % 250 + 1}")
    finally:
        lab.down()


def work(box: LabBox, noted: Path) -> Work:
    """The box in each peer's words; ``noted``: where ``note_facts`` has written."""
    far = box.far_inventory()
    return Work(
        hearth=[f"{far}/", "deploys/box.py", "--limit", MUELLER],
        stock=HERE / "deploys/box_stock.py",
        playbook=HERE / "ansible/box.yml",
        variables=noted / "box.json",
        facts=noted / "facts.sh",
        environment={"HEARTH_BENCH_BOX": str(noted / "box.json")},
    )


def variables(box: LabBox, noted: dict[str, Any], target: Path, there: set[str]) -> None:
    """Write what the others are told of the box: hearth's files to ``target``'s folder, the rest to ``target``.

    ``there``: the folders that a box with Debian's packages has.
    """
    changes: dict[str, dict[str, Any]] = {}
    folders: set[str] = set()
    for one in noted["changes"]:
        change = changes.setdefault(one["change"], {"files": [], "links": [], "absent": one["absent"]})
        change["activate"] = " && ".join(filter(None, (one.get(word) for word in ("check", "activate", "verify"))))
        for artefact in one["artefacts"]:
            folders |= {str(parent) for parent in Path(artefact["path"]).parents}
            if "target" in artefact:
                change["links"].append(artefact)
                continue
            source = target.parent / "files" / artefact["path"].lstrip("/")
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_bytes(base64.b64decode(artefact["content"]))
            named = {key: artefact[key] for key in ("path", "owner", "group")}
            change["files"].append({**named, "src": str(source), "mode": f"0{artefact['mode']}"})
    slice_, household = box.slice, box.slice.household
    authority = slice_.authority
    if authority is None:
        raise LabError("The lab made no authority for the benchmark's box.")
    told = {
        "changes": changes,
        "folders": sorted(folders - there),
        "packages": noted["packages"],
        "services": [unit for unit in noted["services"] if unit != NEVER_RUNS],
        "host_name": slice_.name,
        "operators": [person.name for person in slice_.operators],
        "domain": household.domain,
        "tunnel_key": layout.TUNNEL_KEY,
        "tunnel_user": layout.TUNNEL_USER,
        "programs": layout.PROGRAMS,
        "tls": layout.TLS_FOLDER,
        "sign": [sys.executable, str(HERE / "sign.py"), str(authority.folder), str(authority.passphrase_file)],
        "lifetime_days": slice_.certificates.lifetime_days,
    }
    target.write_text(json.dumps(told))


def _folders_there(box: LabBox) -> set[str]:
    """The folders that the box has now, as far down as any of hearth's files may lie."""
    listed = box.lab.exec(MUELLER, ["find", "/", "/etc", "/usr", "-xdev", "-maxdepth", "6", "-type", "d"])
    return set(listed.stdout.splitlines())


def _manifest(box: LabBox) -> dict[str, same.Entry]:
    """What the box has of what was put there: configuration, programs, accounts, links that enable units."""
    floor = [Path(layer) for layer in state.load(box.lab.folder).snapshots["packages"].layers]
    found = same.manifest(box.upper, floor=floor)
    return {
        path: one for path, one in found.items() if not same.is_own(path, MADE_THERE) and Path(path).name != RECOVERY
    }


def measured(place: Place, box: LabBox, peer: str, *, what: Work, case: Case) -> Run:
    """One run against the box as it is."""
    first = case.state == "first"
    with box.lines(place, case.latency_ms):
        cpu_s, commands = box.cpu_s(), box.commands()
        ended = run_peer(place, peer, what, [box.host(first_day=first)], wants_changes=first)
        return Run(ended.wall_s, ended.cpu_s, box.cpu_s() - cpu_s, box.commands() - commands)


def first_and_unchanged(
    place: Place, box: LabBox, cases: tuple[Case, Sequence[Case]], peers: Peers, limits: Limits
) -> Iterator[Taken]:
    """First converges, each of a fresh box, then runs on the box that hearth has converged.

    ``cases``: the one of the first converge, and those of the unchanged box. What a peer leaves must be what hearth
    leaves, but for keys and what lies in /var and /srv, which each box makes itself.
    """
    first_case, unchanged_cases = cases
    noted = place.scratch / "box"
    noted.mkdir()
    wanted: dict[str, same.Entry] = {}
    box.lab.start(MUELLER)
    what = work(box, noted)
    with box.lines(place, 0):
        note_facts(place, what, MUELLER, [box.host(first_day=True)])
    variables(box, json.loads((noted / "changes.json").read_text()), what.variables, _folders_there(box))

    def attempt(peer: str) -> Run:
        box.lab.start_from(MUELLER, "packages")
        run = measured(place, box, peer, what=what, case=first_case)
        left = _manifest(box)
        if peer == HEARTH and not wanted:
            wanted.update(left)
        if different := same.differences(wanted, left):
            raise Unfit(f"it left something else than hearth: {'; '.join(different[:12])}")
        return run

    ordered = [HEARTH, *(peer for peer in peers(first_case) if peer not in (HEARTH, FLOOR))]
    yield take(first_case, ordered, limits, attempt, place.tell)
    box.lab.start_from(MUELLER, "packages")
    with box.lines(place, 0):
        run_peer(place, HEARTH, what, [box.host(first_day=True)], wants_changes=True)
        # The roads of a bare host and of a converged one are asked the same; the script is that of the converged one.
        note_facts(place, what, MUELLER, [box.host(first_day=False)])
    for case in unchanged_cases:
        place.tell(f"{case.words} …")
        yield take(case, peers(case), limits, partial(measured, place, box, what=what, case=case), place.tell)
