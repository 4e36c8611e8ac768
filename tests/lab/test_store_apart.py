"""A backup store on a host of its own: a box reaches it through its tunnel and its relay, and nobody else does."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hearth import layout
from hearth.drill import opened, store_of
from hearth.inventory import load_or_raise
from hearth.lab.lab import Lab
from tests.lab import leaks
from tests.lab.boxes import MUELLER, RELAY, Converge, Operator, wait_for
from tests.lab.fleets import Fleet, changes, states
from tests.lab.homes import HOME_RELAY, RELAY_DEPLOY, converged, tunnel_is_up

pytestmark = pytest.mark.lab

STORE, ADDRESS = "store1", "store1.home.example"
STORE_DEPLOY = "deploys/store.py"
HOSTS = f"{RELAY},{STORE},{MUELLER}"
BACKUP = "hearth-backup.service"
KEPT = f"{layout.STORE_REPOSITORIES}/mueller"
PLAIN = "canary-71d0c2f6ab-in-plain-text"
LETTER = "/srv/hearth/data/renate/files/letter.txt"
SECRETS = tuple(f"/etc/hearth/secrets/{name}" for name in ("backup-key", "paper-key", "store-password"))
OPENS = 'timeout 2 bash -c "exec 3<>/dev/tcp/$0/$1"'
PASSWORD = '"$(cat /etc/hearth/secrets/store-password)"'
REPOSITORY = f"https://127.0.0.1:{layout.STORE_TUNNEL_PORT}/mueller/"
RESTIC = (
    f"RESTIC_REST_USERNAME=mueller RESTIC_REST_PASSWORD={PASSWORD} exec restic --no-cache --cacert {layout.STORE_PEM} "
    f'-r rest:{REPOSITORY} --password-file /etc/hearth/secrets/paper-key "$@"'
)
DELETE = (
    f"exec curl -s -m 10 --cacert {layout.STORE_PEM} -u mueller:{PASSWORD} -X DELETE -o /dev/null "
    f"-w '%{{http_code}}' {REPOSITORY}$0"
)


@dataclass(frozen=True)
class Apart:
    """A fleet whose store is a host of its own; ``early`` and ``later``: its box's converges of the first day."""

    fleet: Fleet
    early: Converge
    later: Converge

    def on(self, host: str, *argv: str, stdin: str | None = None, check: bool = True) -> str:
        """Run something on a host as root; returns what it printed."""
        return self.fleet.lab.exec(host, list(argv), stdin=stdin, check=check, timeout_s=300).stdout

    def opens(self, host: str, port: int) -> bool:
        """Whether a connection from a host to a port of the store comes about."""
        address = self.fleet.lab.public_address(STORE)
        return self.fleet.lab.exec(host, ["sh", "-c", OPENS, address, str(port)], check=False).returncode == 0

    def restic(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """What root on the box asks of the repository, with the household's key."""
        return self.fleet.lab.exec(MUELLER, ["sh", "-c", RESTIC, "sh", *words], check=check, timeout_s=120)

    def deletes(self, name: str) -> str:
        """The store's answer (an HTTP status) when root on the box deletes something of the repository."""
        return self.on(MUELLER, "sh", "-c", DELETE, name)


def with_store(lab: Lab, inventory: Path) -> str:
    """Start a host for a store in the test run's lab, whose own fleet has none; returns a local.yaml with it."""
    fleet, local = inventory / "fleet.yaml", inventory / "local.yaml"
    stated, known = fleet.read_text(), local.read_text()
    try:
        fleet.write_text(stated.replace("stores:\n", f"stores:\n  - {{name: {STORE}, address: {ADDRESS}}}\n", 1))
        lab.up([STORE], inventory)
        return local.read_text()
    finally:
        fleet.write_text(stated)
        local.write_text(known)


@pytest.fixture(scope="module")
def apart(
    lab: Lab, lab_inventory: Path, first_day: Operator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Apart]:
    """A new box's first day, in a fleet whose relay gives its store up for one on a bare host."""
    local, folder = with_store(lab, lab_inventory), tmp_path_factory.mktemp("apart")
    operator = first_day.with_fleet(
        folder / "inventory", lambda fleet, _: fleet.update(stores=[{"name": STORE, "address": ADDRESS}])
    )
    (operator.inventory / "local.yaml").write_text(local)
    (operator.inventory / f"collected/{MUELLER}.yaml").unlink()
    fleet = Fleet(operator, folder / "state")
    lab.start_from(RELAY, HOME_RELAY)
    lab.start_from(MUELLER, "converged")
    # The relay was there before the store, of which its DNS would tell it.
    lab.exec(RELAY, ["tee", "-a", "/etc/hosts"], stdin=f"{lab.public_address(STORE)} {ADDRESS}\n")
    converged(operator.converge(limit=STORE, deploy=STORE_DEPLOY))
    fleet.collect(STORE)
    early = operator.converge()
    converged(early)
    fleet.collect(MUELLER)
    converged(operator.converge(limit=RELAY, deploy=RELAY_DEPLOY))
    wait_for(lambda: tunnel_is_up(lab), 60, "the tunnel")
    later = operator.converge()
    converged(later)
    assert states(fleet.converge("--limit", HOSTS)) == dict.fromkeys((RELAY, STORE, MUELLER), "converged")
    fleet.collect(MUELLER)
    lab.bench(MUELLER, False)
    yield Apart(fleet, early, later)
    lab.bench(MUELLER, True)


def test_each_converge_of_the_first_day_says_what_the_backup_waits_for(apart: Apart) -> None:
    assert "the backup waits: the store does not answer through the tunnel" in apart.early.output
    # Nothing was left to do on the box, which is no reason to be silent.
    assert apart.later.changed == []
    assert apart.later.output.count("the backup waits: the store does not know this box yet") == 1


def test_another_converge_changes_nothing_and_the_old_store_has_left_its_relay_well(apart: Apart) -> None:
    assert changes(apart.fleet.converge("--limit", HOSTS)) == {RELAY: [], STORE: [], MUELLER: []}
    assert "is well" in apart.on(RELAY, layout.HEALTH)
    assert apart.on(RELAY, "ss", "-Hltn", "sport = :8444 or sport = :8445") == ""


def test_a_nights_backup_goes_through_tunnel_and_relay_to_the_store_and_is_told_of(apart: Apart) -> None:
    apart.on(MUELLER, "install", "-o", "www-data", "-g", "www-data", "/dev/stdin", LETTER, stdin=PLAIN)

    apart.on(MUELLER, "systemctl", "start", BACKUP)

    snapshot = json.loads(apart.on(MUELLER, "cat", f"{layout.BACKUP_FOLDER}/last-good"))["snapshot"]
    assert apart.on(STORE, "ls", f"{KEPT}/snapshots").split() == [snapshot]
    assert apart.restic("dump", snapshot, "/data/renate/files/letter.txt").stdout == PLAIN
    told = json.loads(apart.fleet.hearth("status", "--live", "--limit", HOSTS, "--format", "json").stdout)
    rows = {row["host"]: row for row in told["hosts"]}
    assert (rows[STORE]["kind"], rows[STORE]["state"]) == ("store", "good")
    assert rows[MUELLER]["answer"]["backup_at"]
    # Where a drill would take the repository from.
    fleet = load_or_raise(apart.fleet.inventory)
    with opened(store_of(fleet, next(each for each in fleet.households if each.id == "mueller")), "mueller") as copying:
        assert copying.store == STORE


def test_the_store_lets_in_nobody_but_the_relay(apart: Apart) -> None:
    ports = (layout.STORE_PORT, layout.STORE_PRUNE_PORT)
    assert [apart.opens(RELAY, port) for port in ports] == [True, True]
    # The box itself, past its tunnel, is one of the internet; the operators' port shows that it gets that far.
    assert [apart.opens(MUELLER, port) for port in (2222, *ports)] == [True, False, False]


def test_root_on_the_box_deletes_nothing(apart: Apart) -> None:
    names = apart.on(STORE, "find", KEPT, "-type", "f", "-not", "-path", "*/locks/*", "-printf", "%P\\n").split()
    assert {name.partition("/")[0] for name in names} == {"config", "snapshots", "keys", "data", "index"}

    # Data lie in folders by their first letters, of which their addresses say nothing.
    answers = {apart.deletes(re.sub("^data/../", "data/", name)) for name in names}
    forgotten = apart.restic("forget", "latest", check=False)

    assert answers == {"403"}
    assert "403" in forgotten.stderr
    apart.on(STORE, "env", "-C", KEPT, "stat", *names)


@pytest.mark.parametrize("host", [RELAY, STORE])
def test_neither_relay_nor_store_has_anything_that_can_be_read(apart: Apart, host: str) -> None:
    keys = {apart.on(MUELLER, "cat", path).strip() for path in SECRETS}
    places = ("/etc", "/var", "/srv", "/root", "/run", "/home", "/tmp")
    wanted = leaks.patterns({PLAIN, *keys})
    assert apart.on(host, *leaks.GREP, "--file=-", *places, stdin=wanted, check=False) == ""
    # On the box the same search finds all of it.
    found = apart.on(MUELLER, *leaks.GREP, "--file=-", "/etc/hearth", LETTER, stdin=wanted)
    assert sorted(found.split()) == sorted((*SECRETS, LETTER))
