"""The store, through a real household's tunnel: it keeps what it was given, whatever the box's root does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from hearth import layout
from hearth.lab.lab import Lab
from tests.lab.boxes import MUELLER, RELAY, Operator, wait_for
from tests.lab.clouds import HOLD, interpose, remove_interposed
from tests.lab.homes import RELAY_DEPLOY, converged

pytestmark = pytest.mark.lab

PRUNE = layout.STORE_PRUNE_TUNNEL_PORT
RESTIC = "/usr/bin/restic"
KEY, PAPER, LOGIN = (f"/etc/hearth/secrets/{name}" for name in ("backup-key", "paper-key", "store-password"))
ROOT = "/srv/hearth/store"
LIVE = f"{ROOT}/repositories/mueller"
BACKUP, KEEP, WATCH = "hearth-backup.service", "hearth-store-keep.service", "hearth-store-checked.service"
SIBLING = f"{ROOT}/repositories/schmidt"
# The store's program as it is, which stops itself where it is about to do something (PEP 578), for whoever kills it.
STOPPING = """
import os, signal, sys
def stop(event, arguments):
    if event == {event!r} and {words!r} in str(arguments):
        os.kill(os.getpid(), signal.SIGSTOP)
sys.addaudithook(stop)
sys.path.insert(0, "/usr/lib/hearth")
from hearth_store.main import main
sys.exit(main(sys.argv[1:]))
"""
VERBS = {KEEP: "keep", WATCH: "watch"}
START = """[Service]
ExecStart=
ExecStart=/usr/bin/python3 -IB /run/stopping.py {verb} --notes /run/hearth-store/notes
"""


@dataclass(frozen=True)
class Thief:
    """Root on the Müllers' box, with all that lies there."""

    operator: Operator

    @property
    def lab(self) -> Lab:
        return self.operator.lab

    def on_box(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.lab.exec(MUELLER, ["sh", "-c", command], check=check, timeout_s=300)

    def restic(
        self, *words: str, key: str = KEY, check: bool = True, patience_s: int = 120
    ) -> subprocess.CompletedProcess[str]:
        place = f"rest:https://127.0.0.1:{layout.STORE_TUNNEL_PORT}/mueller/"
        command = (
            f'RESTIC_REST_USERNAME=mueller RESTIC_REST_PASSWORD="$(cat {LOGIN})" exec timeout {patience_s} restic '
            f'--cacert {layout.STORE_PEM} --no-cache -r {place} --password-file {key} "$@"'
        )
        return self.lab.exec(MUELLER, ["sh", "-c", command, "sh", *words], check=check, timeout_s=150)

    def backup(self) -> None:
        self.restic("backup", "--quiet", "/root/photographs")

    def snapshots(self) -> int:
        return len(self.restic("list", "snapshots", "--quiet").stdout.split())

    def asked(self, path: str, *words: str, port: int = layout.STORE_TUNNEL_PORT, user: str = "mueller") -> str:
        command = f'exec curl -s -m 10 --cacert {layout.STORE_PEM} -u "{user}:$(cat {LOGIN})" "$@"'
        words = (*words, "--output", "/dev/null", "--write-out", "%{http_code}", f"https://127.0.0.1:{port}{path}")
        return self.lab.exec(MUELLER, ["sh", "-c", command, "sh", *words], check=False).stdout

    def on_store(self, command: str) -> str:
        return self.lab.exec(RELAY, ["sh", "-c", command], timeout_s=120).stdout

    def keep(self) -> None:
        self.on_store(f"systemctl start {KEEP}")

    def files(self, folder: str = LIVE) -> str:
        return self.on_store(f"cd {folder} && find . -type f -not -path './locks/*' -exec sha256sum {{}} + | sort")

    def told(self) -> str:
        return self.on_store("cat /run/hearth-store/notes")

    def age(self) -> None:
        """Let the snapshots that are there be old, so that there is something to forget."""
        self.on_store(f"touch -d '-200 days' {LIVE}/snapshots/*; rm -f {ROOT}/state/mueller.json")
        self.backup()

    def is_offered(self) -> bool:
        # A run that the timer began earlier may have looked before.
        self.keep()
        return self.asked("/mueller/config", port=PRUNE) == "200"

    def has_ended(self) -> bool:
        """Whether the nightly unit has come to its end."""
        state = self.on_box(f"systemctl show --property=ActiveState --value {BACKUP}").stdout.strip()
        return state in ("inactive", "failed")

    @contextmanager
    def killed(self, event: str, words: str, *, unit: str = KEEP) -> Iterator[None]:
        """kill -9 for what a unit of the store's does next, about to do ``event`` with ``words``, when this ends."""
        drop_in = f"/run/systemd/system/{unit}.d"
        self.lab.exec(RELAY, ["tee", "/run/stopping.py"], stdin=STOPPING.format(event=event, words=words))
        self.on_store(f"mkdir -p {drop_in}")
        self.lab.exec(RELAY, ["tee", f"{drop_in}/stopping.conf"], stdin=START.format(verb=VERBS[unit]))
        # One that stays begins with the drop-in now; the other when it is started.
        self.on_store(f"systemctl daemon-reload; systemctl try-restart {unit}")
        yield
        main = f"systemctl show --property=MainPID --value {unit}"
        stopped = f"grep -qs 'State:.T' /proc/$({main})/status && echo yes; true"
        wait_for(lambda: self.on_store(stopped).strip() == "yes", 60, f"{event} {words}")
        process = self.on_store(main).strip()
        self.on_store(f"rm {drop_in}/stopping.conf; systemctl daemon-reload; systemctl kill --signal=KILL {unit}")
        gone = f"test -e /proc/{process} || echo gone"
        wait_for(lambda: self.on_store(gone).strip() == "gone", 30, "the end of what was killed")


@pytest.fixture(scope="module")
def thief(home: Operator) -> Iterator[Thief]:
    """A home whose box has a repository at its store, with some backups; and its thief."""
    found = Thief(home)
    # What the store does, and when, is the tests' to say.
    found.on_store("systemctl stop hearth-store-keep.timer")
    found.on_store(f"install -d -o hearth-store -g hearth-store {SIBLING} && cp -p {LIVE}/config {SIBLING}")
    found.on_box(
        "mkdir -p /root/photographs; for n in 1 2 3 4; do head -c 1000000 /dev/urandom > /root/photographs/$n; done"
    )
    for _ in range(4):
        found.backup()
    yield found


def test_a_backup_goes_through_the_tunnel_and_the_relay_shows_the_store_to_nobody_else(thief: Thief) -> None:
    assert thief.snapshots() == 4
    assert thief.on_store("ss -Hltn 'sport = :8444 or sport = :8445' | awk '{print $4}' | sort").split() == [
        "127.0.0.1:8444",
        "127.0.0.1:8445",
    ]
    assert thief.asked("/mueller/config", user="schmidt") == "401"


def test_root_on_the_box_can_delete_and_rewrite_nothing(thief: Thief) -> None:
    before = thief.files()
    snapshot, paper = (
        thief.restic("list", kind, "--quiet").stdout.split()[0].strip() for kind in ("snapshots", "keys")
    )

    attempts = [
        thief.restic("forget", snapshot, check=False),
        thief.restic("key", "remove", paper, key=PAPER, check=False),
        thief.restic("tag", "--set", "other", check=False),
    ]
    answers = [
        thief.asked(path, "-X", "DELETE")
        for path in ("/mueller/config", f"/mueller/snapshots/{snapshot}", f"/mueller/keys/{paper}")
    ]
    answers += [
        thief.asked(f"/mueller/snapshots/{snapshot}", "--data", "other"),
        thief.asked("/mueller/config", "-d", "x"),
    ]

    assert answers == ["403"] * 5
    assert any(done.returncode for done in attempts)
    assert set(before.splitlines()) <= set(thief.files().splitlines())
    assert thief.restic("cat", "config", key=PAPER).returncode == 0


def test_another_households_repository_is_not_to_be_had(thief: Thief) -> None:
    for port in (layout.STORE_TUNNEL_PORT, PRUNE):
        assert thief.asked("/schmidt/config", port=port) == "401"
        assert thief.asked("/schmidt/data/", port=port) == "401"
        assert thief.asked("/schmidt/config", "-X", "DELETE", port=port) == "401"
    assert thief.asked("/schmidt/?create=true", "-X", "POST") == "401"
    assert thief.asked("/mueller/../schmidt/config", "--path-as-is") in ("301", "307", "400", "401", "403", "404")


def test_the_tunnels_key_reaches_the_stores_ports_and_nothing_else(thief: Thief) -> None:
    ssh = (
        f"ssh -F none -i {layout.TUNNEL_KEY} -o UserKnownHostsFile=/etc/hearth/tunnel/known_hosts -o BatchMode=yes "
        "-p 9212 -l hearth-tunnel -W {place} relay1.home.example </dev/null 2>&1 | head -c 300"
    )
    refused = {
        place: thief.on_box(f"timeout 20 {ssh.format(place=place)}", check=False).stdout
        for place in (
            "127.0.0.1:2222",
            "127.0.0.1:8404",
            "127.0.0.1:443",
            "127.10.0.18:10022",
            "localhost:8444",
            "[::1]:8444",
        )
    }

    assert {place for place, said in refused.items() if "administratively prohibited" in said} == set(refused), refused
    reached = thief.on_box(f"timeout 20 {ssh.format(place='127.0.0.1:8444')}", check=False).stdout
    assert "prohibited" not in reached


def test_a_thief_who_empties_the_clone_gains_nothing(thief: Thief) -> None:
    thief.age()
    wait_for(thief.is_offered, 30, "the offer")
    before = thief.files()
    for part in ("keys", "snapshots", "data", "index"):
        for name in thief.on_store(f"find {ROOT}/offers/mueller/{part} -type f -printf '%f\\n'").split():
            assert thief.asked(f"/mueller/{part}/{name}", "-X", "DELETE", port=PRUNE) == "200"
    thief.asked("/mueller/checked/?create=true", "-X", "POST", port=PRUNE)

    wait_for(lambda: thief.asked("/mueller/config", port=PRUNE) == "404", 60, "the judgement")

    wait_for(lambda: "the clone was discarded" in thief.told(), 30, "the sentence")
    assert thief.files() == before


def test_what_retention_leaves_restores_byte_for_byte_wherever_it_was_killed(thief: Thief) -> None:
    """With invented times too: a snapshot that claims to be from 2001 came today, and stays."""
    thief.age()
    thief.restic("backup", "--quiet", "--time", "2001-01-01 00:00:00", "/root/photographs")
    before, snapshots = thief.files(), thief.snapshots()
    # The store, while it makes the clone: data, index and keys are in it.
    with thief.killed("os.link", f"{ROOT}/work/mueller.new/snapshots/"):
        thief.on_store(f"systemctl start --no-block {KEEP}")
    assert thief.asked("/mueller/config", port=PRUNE) == "404"
    assert thief.files() == before
    wait_for(thief.is_offered, 30, "the offer, by the next run")
    # The box, when it has cleared the clone up and not looked it over yet.
    interpose(thief.operator, RESTIC, HOLD.format(words=" check "))
    thief.on_box(f"mkdir --mode=777 /run/hold; systemctl start --no-block {BACKUP}")
    wait_for(lambda: thief.on_box("test -e /run/hold/held", check=False).returncode == 0, 60, "a clone cleared up")
    thief.on_box(f"systemctl kill --signal=KILL {BACKUP}; rm -r /run/hold")
    wait_for(thief.has_ended, 60, "the end of what was killed")
    remove_interposed(thief.operator, RESTIC)
    assert thief.files() == before
    # The store, when it has exchanged clone and repository; the box goes on and makes its backup meanwhile.
    with thief.killed("os.rename", f"{ROOT}/grace/", unit=WATCH):
        thief.on_box(f"systemctl start --no-block {BACKUP}")
    wait_for(thief.has_ended, 180, "the box's backup")

    thief.keep()

    waiting = thief.on_store(f"ls {ROOT}/grace").split()
    assert [name.partition("@")[0] for name in waiting] == ["mueller"]
    assert thief.files(f"{ROOT}/grace/{waiting[0]}") == before, "all of it waits, as it was"
    assert thief.snapshots() <= snapshots - 2, "some were forgotten, and one has come"
    assert thief.on_box(f"systemctl show --property=Result --value {BACKUP}").stdout.strip() == "success"
    assert "2001-01-01" in thief.restic("snapshots").stdout
    thief.restic("check", "--quiet", "--read-data")
    thief.restic("restore", "latest", "--path", "/root/photographs", "--quiet", "--target", "/root/back", key=PAPER)
    thief.on_box("diff -r /root/photographs /root/back/root/photographs")
    assert thief.told() == ""
    thief.keep()
    assert thief.on_store(f"ls {ROOT}/grace").split() == waiting


def test_a_spent_quota_refuses_what_is_new_and_the_next_run_finishes(thief: Thief) -> None:
    household = thief.operator.inventory / "households/mueller.yaml"
    stated = household.read_text()
    household.write_text(f"{stated}\nbackup: {{quota: 1M}}\n")
    converged(thief.operator.converge(limit=RELAY, deploy=RELAY_DEPLOY))
    before = thief.files()
    thief.on_box("head -c 1000000 /dev/urandom > /root/photographs/5")

    # restic would go on trying for a quarter of an hour.
    refused = thief.restic("backup", "--quiet", "/root/photographs", check=False, patience_s=20)

    assert refused.returncode != 0
    assert thief.files() == before
    assert "has spent its quota" in thief.told()
    thief.restic("restore", "latest", "--quiet", "--target", "/root/still")
    household.write_text(stated)
    converged(thief.operator.converge(limit=RELAY, deploy=RELAY_DEPLOY))
    thief.backup()
    thief.restic("check", "--quiet")
    assert thief.told() == ""
