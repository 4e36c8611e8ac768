"""The store, through a real household's tunnel: it keeps what it was given, whatever the box's root does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import bcrypt
import pytest
import yaml

from hearth import layout
from hearth.lab.lab import Lab
from tests.lab.boxes import MUELLER, RELAY, Operator, wait_for
from tests.lab.homes import RELAY_DEPLOY, converged, tunnel_is_up

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIpXP9AFoGk1W0fpexBZwAiJPu0Je/YLODK3EBYBnCqp"
LOGINS = {"mueller": "login-of-mueller", "schmidt": "login-of-schmidt"}
KEY, PAPER = "the-boxs-own-key", "the-paper-key"
PIN = "/root/store.pem"
ROOT = "/srv/hearth/store"
LIVE = f"{ROOT}/repositories/mueller"


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
        self, *words: str, port: int = 18444, key: str = KEY, check: bool = True, patience_s: int = 120
    ) -> subprocess.CompletedProcess[str]:
        settings = (
            f"RESTIC_PASSWORD={key}",
            "RESTIC_REST_USERNAME=mueller",
            f"RESTIC_REST_PASSWORD={LOGINS['mueller']}",
        )
        place = ("--cacert", PIN, "--no-cache", "-r", f"rest:https://127.0.0.1:{port}/mueller/")
        command = ["env", *settings, "timeout", str(patience_s), "restic", *place, *words]
        return self.lab.exec(MUELLER, command, check=check, timeout_s=150)

    def backup(self) -> None:
        self.restic("backup", "--quiet", "/root/photographs")

    def asked(self, path: str, *words: str, port: int = 18444, user: str = "mueller") -> str:
        login = f"{user}:{LOGINS['mueller']}"
        at = f"https://127.0.0.1:{port}{path}"
        words = (*words, "--output", "/dev/null", "--write-out", "%{http_code}")
        return self.lab.exec(MUELLER, ["curl", "-s", "-m", "10", "--cacert", PIN, "-u", login, *words, at]).stdout

    def on_store(self, command: str) -> str:
        return self.lab.exec(RELAY, ["sh", "-c", command], timeout_s=120).stdout

    def keep(self) -> None:
        self.on_store("systemctl start hearth-store-keep.service")

    def files(self, folder: str = LIVE) -> str:
        return self.on_store(f"cd {folder} && find . -type f -not -path './locks/*' -exec sha256sum {{}} + | sort")

    def told(self) -> str:
        return self.on_store("cat /run/hearth-store/notes")

    def offer(self) -> None:
        """Let the snapshots that are there be old, so that the store offers to forget some."""
        self.on_store(f"touch -d '-200 days' {LIVE}/snapshots/*; rm -f {ROOT}/state/mueller.json")
        self.backup()
        wait_for(self.is_offered, 30, "the offer")

    def is_offered(self) -> bool:
        # A run that the timer began earlier may have looked before.
        self.keep()
        return self.asked("/mueller/config", port=18445) == "200"


def tell(operator: Operator, host: str, **more: str) -> None:
    """Write what ``hearth collect`` would have found."""
    file = operator.inventory / "collected" / f"{host}.yaml"
    data = yaml.safe_load(file.read_text()) if file.exists() else {"host_keys": [HOST_KEY]}
    file.write_text(yaml.safe_dump(data | more, width=10_000))


@pytest.fixture(scope="module")
def thief(home: Operator) -> Iterator[Thief]:
    """A home whose box has a repository at its store, with a key of its own and the household's; and its thief."""
    for household, password in LOGINS.items():
        tell(home, f"box-{household}", store_login=bcrypt.hashpw(password.encode(), bcrypt.gensalt(5)).decode())
    converged(home.converge(limit=RELAY, deploy=RELAY_DEPLOY))
    wait_for(lambda: tunnel_is_up(home.lab), 60, "the tunnel")
    found = Thief(home)
    certificate = home.lab.exec(RELAY, ["cat", layout.STORE_CERTIFICATE]).stdout
    home.lab.exec(MUELLER, ["tee", PIN], stdin=certificate)
    found.on_box(
        "command -v restic curl >/dev/null && exit; apt-get -qq -o Acquire::Retries=5 update && "
        "DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install restic curl"
    )
    found.on_box(
        "mkdir -p /root/photographs; for n in 1 2 3 4; do head -c 1000000 /dev/urandom > /root/photographs/$n; done"
    )
    found.restic("init")
    home.lab.exec(MUELLER, ["tee", "/root/paper"], stdin=PAPER)
    found.restic("key", "add", "--new-password-file", "/root/paper")
    for _ in range(4):
        found.backup()
    yield found


def test_a_backup_goes_through_the_tunnel_and_the_relay_shows_the_store_to_nobody_else(thief: Thief) -> None:
    assert len(thief.restic("list", "snapshots", "--quiet").stdout.split()) == 4
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
    assert thief.asked("/schmidt/config") == "401"
    assert thief.asked("/schmidt/data/") == "401"
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
    thief.offer()
    before = thief.files()
    for part in ("keys", "snapshots", "data", "index"):
        for name in thief.on_store(f"find {ROOT}/offers/mueller/{part} -type f -printf '%f\\n'").split():
            assert thief.asked(f"/mueller/{part}/{name}", "-X", "DELETE", port=18445) == "200"
    thief.asked("/mueller/checked/?create=true", "-X", "POST", port=18445)

    wait_for(lambda: thief.asked("/mueller/config", port=18445) == "404", 60, "the judgement")

    wait_for(lambda: "the clone was discarded" in thief.told(), 30, "the sentence")
    assert thief.files() == before


def test_what_retention_leaves_restores_byte_for_byte(thief: Thief) -> None:
    """With invented times too: a snapshot that claims to be from 2001 came today, and stays."""
    thief.restic("backup", "--quiet", "--time", "2001-01-01 00:00:00", "/root/photographs")
    thief.offer()
    before = len(thief.restic("list", "snapshots", "--quiet").stdout.split())

    thief.restic("prune", "--quiet", port=18445)
    thief.restic("check", "--quiet", port=18445)
    assert thief.asked("/mueller/checked/?create=true", "-X", "POST", port=18445) == "200"
    wait_for(lambda: thief.asked("/mueller/config", port=18445) == "404", 60, "the exchange")

    wait_for(lambda: bool(thief.on_store(f"ls {ROOT}/grace")), 30, "the old repository in its grace")
    after = len(thief.restic("list", "snapshots", "--quiet").stdout.split())
    assert after < before
    thief.restic("check", "--quiet", "--read-data")
    thief.restic("restore", "latest", "--quiet", "--target", "/root/back", key=PAPER)
    thief.on_box("diff -r /root/photographs /root/back/root/photographs")
    assert thief.told() == ""


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
