"""A box burns down. Its household gets a new box and all of its cloud, with the key as it stands on the sheet."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from hearth.lab import register
from hearth.lab.lab import Lab
from roles.backup.onbox import paperkey
from tests.lab.boxes import DOMAIN, MUELLER, RELAY, REPOSITORY, Converge, Operator, wait_for
from tests.lab.clouds import CARD, EVENT, FILE, HOLD, Belongings, interpose, move_in, remove_interposed
from tests.lab.homes import HEARTH, RELAY_DEPLOY, TRUSTED, collect, collected, converged, from_outside
from tests.lab.sheets import decoded

pytestmark = pytest.mark.lab

OLD, NEW = "mueller", "schmidt"
# The lab has this box; its household's file is replaced by one of the same home with the new box.
BOX = f"box-{NEW}"
ROUTES = "/etc/hearth/router/hosts.map"
KEPT = f"/srv/hearth/store/repositories/{OLD}"
ODD = ("Grüße & Küsse.txt", "a [b]*?.txt", "zeile\nzwei.txt", "'\"$(touch x)\\.txt", "-rf", "\udcff\udcfe.bin")
# HEARTH_RESTORE_MB=2048 shows how long a larger household waits.
MANY, LARGE_MB = 400, int(os.environ.get("HEARTH_RESTORE_MB", "300"))
PATIENCE_S = 300 + LARGE_MB // 2
FILM = "/remote.php/dav/files/renate/Fotos/film.mkv"
FILL = f"""
import json, os, sys
os.setgid(33), os.setuid(33)
os.makedirs("/srv/hearth/data/renate/files/Fotos/2024")
os.chdir("/srv/hearth/data/renate/files/Fotos")
for name in json.load(sys.stdin):
    open(name, "w").write(name.encode(errors="surrogateescape").hex())
for number in range({MANY}):
    open(f"2024/{{number}}.jpg", "wb").write(os.urandom(20_000))
with open("film.mkv", "wb") as file:
    for _ in range({LARGE_MB}):
        file.write(os.urandom(1_000_000))
"""
SUMS = "cd /srv/hearth/data && find . -path './*/files/*' -type f -print0 | sort -z | xargs -0 sha256sum -z | sha256sum"


@dataclass(frozen=True)
class Household:
    """What the household has: its sheet's key, what was in its cloud, its passwords, and the operator of both boxes."""

    operator: Operator
    key: str
    belongings: Belongings
    sums: str
    passwords: dict[str, str]
    crafted: dict[str, str]

    @property
    def lab(self) -> Lab:
        return self.operator.lab

    def run(self, *argv: str, host: str = BOX, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run something as root, on the new box unless said otherwise."""
        return self.lab.exec(host, list(argv), stdin=stdin, check=check, timeout_s=PATIENCE_S)

    def restore(self, *options: str, key: str | None = None) -> subprocess.CompletedProcess[str]:
        """Type the key at the new box."""
        return self.run("hearth-restore", "--yes", *options, stdin=f"{key or self.key}\n", check=False)

    def refusal(self, *options: str, key: str | None = None) -> str:
        """The sentence with which the new box refuses; it is as it was then."""
        before = self.state()
        done = self.restore(*options, key=key)
        assert done.returncode == 1, done.stdout
        assert self.state() == before
        (sentence,) = done.stderr.strip().splitlines()
        return sentence.removeprefix("hearth-restore: ")

    def state(self) -> str:
        """What the new box is, but for what a restore keeps of its own."""
        looked = (
            "find /srv/hearth/data /srv/hearth/www/owncloud/config -type f -exec sha256sum {} + | sort; "
            "mariadb-dump --skip-dump-date hearth_cloud | grep -v lastcron | sha256sum; ls -A /srv/hearth /root"
        )
        return self.run("sh", "-c", looked).stdout.replace("restore\n", "")

    def route(self) -> str:
        """Where the household's name leads."""
        lines = self.run("cat", ROUTES, host=RELAY).stdout.splitlines()
        return dict(line.split() for line in lines[1:])[DOMAIN]


def tunnel_of(lab: Lab, slot: int) -> bool:
    return f"127.10.0.{slot}:" in lab.exec(RELAY, ["ss", "-Hltn", "sport = :10022"]).stdout


@pytest.fixture(scope="module")
def household(
    home: Operator, lab_inventory: Path, bare: str, first_run: Converge, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Household]:
    """A household whose box made a backup and burnt down, with its disk; the new box stands there, and is converged."""
    lab, operator, folder = home.lab, home, tmp_path_factory.mktemp("restore")
    lab.bench(MUELLER, True)
    belongings = move_in(operator, folder)
    lab.exec(MUELLER, ["python3", "-c", FILL], stdin=json.dumps(ODD), timeout_s=PATIENCE_S)
    # The lab has no uplink to spare.
    lab.exec(MUELLER, ["sed", "-i", "s/^upload_limit_kib_s = .*/upload_limit_kib_s = 0/", "/etc/hearth/backup.toml"])
    lab.exec(MUELLER, ["systemctl", "start", "hearth-backup"], timeout_s=PATIENCE_S)
    lab.exec(MUELLER, ["hearth-key", "show", "--html", "/root/sheet.html"])
    key = decoded(lab.exec(MUELLER, ["cat", "/root/sheet.html"]).stdout, folder)
    crafted = craft(lab)
    sums, passwords = lab.exec(MUELLER, ["sh", "-c", SUMS]).stdout, operator.passwords()
    lab.kill(MUELLER)
    file = operator.inventory / f"households/{OLD}.yaml"
    old = yaml.safe_load(file.read_text())
    new = old | {"id": NEW, "slot": 18, "restore": {"from": OLD}, "certificates": {"issuer": "acme"}}
    new["backup"] = {"upload_limit": "64M"}
    file.with_name(f"{NEW}.yaml").write_text(yaml.safe_dump(new, allow_unicode=True, width=1000))
    lab.start_from(BOX, "packages")
    # Where the lab's hosts are found; it did not have the new box yet when the home came to be.
    shutil.copy(lab_inventory / "local.yaml", operator.inventory)
    operator = replace(operator, host=BOX)
    converged(operator.converge())
    collected(collect(operator, BOX))
    converged(operator.converge(limit=RELAY, deploy=RELAY_DEPLOY))
    wait_for(lambda: tunnel_of(lab, 18), 60, "the tunnel")
    yield Household(operator, key, belongings, sums, passwords, crafted)
    lab.start_from(BOX, bare)


def craft(lab: Lab) -> dict[str, str]:
    """Make backups, older than the real one, that no new box must take; each lacks a file that its manifest has."""
    found = {}
    for name, change in (
        ("newer", {"version": "11.9.9"}),
        ("other", {"product": "nextcloud", "version": "35.0.1"}),
        ("short", {}),
    ):
        script = f"""
import json, subprocess, sys, tempfile
sys.path.insert(0, "/usr/lib/hearth")
from hearth_backup import nightly, repository, settings
mine = settings.load()
there, key = repository.the_store(mine), mine.paths.box_key
with tempfile.TemporaryDirectory() as folder:
    told = json.loads(there.must("reading", key, "dump", "latest", "/manifest.json"))
    there.must("restoring", key, "restore", "latest", "--target", folder, "--exclude", "film.mkv")
    open(folder + "/manifest.json", "w").write(json.dumps(told | {change!r}))
    said = there.must("backing up", key, "backup", ".", "--host", "{OLD}", "--tag", "hearth", "--json",
                      "--time", "2026-01-0{len(found) + 1} 00:00:00", cwd=folder)
    print(nightly.parse_summary(said)["snapshot_id"])
"""
        found[name] = lab.exec(MUELLER, ["python3", "-c", script], timeout_s=300).stdout.strip()
    return found


@contextmanager
def held(household: Household, program: str, words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a restore, and stop it where ``program`` is called with ``words``; it goes on when this ends."""
    interpose(household.operator, program, HOLD.format(words=words))
    household.run("mkdir", "--mode=777", "/run/hold")
    argv = household.lab.exec_command(BOX, ["hearth-restore", "--yes"])
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdin is not None
        run.stdin.write(f"{household.key}\n")
        run.stdin.close()
        run.stdin = None
        wait_for(lambda: there(household, "/run/hold/held"), 60, words)
        yield run
    remove_interposed(household.operator, program)


def there(household: Household, path: str) -> bool:
    return household.run("test", "-e", path, check=False).returncode == 0


def kill_restore(household: Household, run: subprocess.Popen[str]) -> None:
    """kill -9, and let go what was held."""
    household.run("sh", "-c", "pkill -9 -x hearth-restore; rm -rf /run/hold")
    run.wait()


def other_key() -> str:
    return paperkey.make()


def test_until_the_restore_the_name_stays_and_the_new_box_asks_for_no_certificate(household: Household) -> None:
    assert household.route() == "127.10.0.17"
    shown = household.operator.curl("/status.php")
    assert (shown.status, "certificate" in shown.error) == (0, True), "the bridge, which nobody trusts"
    again = household.operator.converge()
    assert (again.status, again.changed) == (0, []), again.output[-3000:]


def test_what_is_refused_is_refused_in_one_sentence_and_nothing_is_changed(household: Household) -> None:
    groups = household.key.split("-")
    swapped = "-".join([groups[0], groups[1][1] + groups[1][0] + groups[1][2:], *groups[2:]])
    if swapped != household.key:
        assert household.refusal(key=swapped).startswith("group 2 (")
    assert household.refusal(key="-".join(groups[:4])).startswith("groups 5, 6 and 7 are missing")
    assert f"does not open the backup of {OLD}" in household.refusal(key=other_key())
    newer = household.refusal("--snapshot", household.crafted["newer"][:8])
    assert "the backup is of 11.9.9 and this box runs 11.0" in newer
    other = household.refusal("--snapshot", household.crafted["other"][:8])
    assert "one product cannot read the other's data; set owncloud.product: nextcloud" in other
    assert "no backup's name begins with 'zz'" in household.refusal("--snapshot", "zz")
    household.run("sed", "-i", 's/^source = .*/source = "schmidt"/', "/etc/hearth/restore.toml")
    assert "no backup of schmidt is in it; is restore.from right?" in household.refusal()
    household.run("sed", "-i", f's/^source = .*/source = "{OLD}"/', "/etc/hearth/restore.toml")


def test_a_backup_that_is_not_as_its_manifest_says_is_refused_when_it_is_here(household: Household) -> None:
    sentence = household.refusal("--snapshot", household.crafted["short"][:8])
    assert sentence.startswith("the backup is not whole: "), sentence
    household.run("rm", "-rf", "/var/lib/hearth/restore")


def test_too_small_a_disk_is_refused_with_numbers(household: Household) -> None:
    household.run("sh", "-c", "mkdir -p /srv/hearth/restore && mount -t tmpfs -o size=16M tmpfs /srv/hearth/restore")
    assert "MB free on the disk of /srv/hearth/restore, and it has 17 MB" in household.refusal()
    household.run("umount", "/srv/hearth/restore")


def test_a_damaged_repository_is_refused(household: Household) -> None:
    largest = f"ls -S {KEPT}/data/*/* | head -1"
    pack = household.run("sh", "-c", largest, host=RELAY).stdout.strip()
    household.run("mv", pack, "/root/pack", host=RELAY)
    assert household.refusal().startswith("the backup is damaged and cannot be read (")
    household.run("mv", "/root/pack", pack, host=RELAY)


def test_an_old_box_that_is_still_on_is_refused(household: Household) -> None:
    household.lab.start(MUELLER)
    wait_for(lambda: tunnel_of(household.lab, 17), 60, "the old box's tunnel")
    sentence = household.refusal()
    assert sentence.startswith(f"the box of {OLD} is still on: it answers at {DOMAIN}; switch it off first")
    household.lab.kill(MUELLER)
    wait_for(lambda: not tunnel_of(household.lab, 17), 60, "the relay to notice that the old box is gone")


def test_a_restore_that_is_killed_while_it_fetches_goes_on_and_the_box_is_as_it_was(household: Household) -> None:
    before = household.state()
    with held(household, "/usr/bin/restic", " restore ") as run:
        kill_restore(household, run)
    assert household.state() == before
    state = json.loads(household.run("cat", "/var/lib/hearth/restore/state.json").stdout)
    assert state["phase"] == "fetching"


def test_a_power_cut_while_it_is_put_in_place_is_undone_at_boot(household: Household) -> None:
    before = household.state()
    with held(household, "/usr/bin/php8.4", "occ maintenance:repair") as run:
        assert "Fotos" in household.run("ls", "/srv/hearth/data/renate/files").stdout, "the folders changed places"
        household.lab.kill(BOX)
        run.wait()
        household.lab.start(BOX)
        wait_for(lambda: not there(household, "/var/lib/hearth/owncloud/adoption.json"), 60, "the undo at boot")
    assert household.state() == before
    assert household.operator.curl("/status.php", "--insecure").status == 200
    wait_for(lambda: tunnel_of(household.lab, 18), 60, "the tunnel")


def test_with_its_cable_pulled_on_the_way_a_restore_brings_everything_back(household: Household) -> None:
    with held(household, "/usr/bin/restic", " restore ") as run:
        kill_restore(household, run)
    begun = time.monotonic()
    with held(household, "/usr/bin/restic", " restore ") as run:
        household.lab.cable(BOX, False)
        household.run("rm", "-rf", "/run/hold")
        time.sleep(5)
        household.lab.cable(BOX, True)
        said, complaint = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, complaint
    took_s = time.monotonic() - begun
    print(f"{LARGE_MB} MB and more restored in {took_s:.0f} s, a pulled cable included")  # noqa: T201 (the show)
    assert f"The cloud of {OLD} is on this box; everybody has the password of before" in said
    assert "A restore of" in said, "it went on with what was begun"
    assert household.run("sh", "-c", SUMS).stdout == household.sums
    assert household.run("cat", "/var/lib/hearth/restore/done").stdout.split()[0] == OLD
    assert not there(household, "/srv/hearth/restore")
    assert household.run("cat", "/etc/hearth/secrets/paper-key").stdout == "", "the key is on paper alone"
    assert "This key opens the backup" in household.run("hearth-key", "test", stdin=f"{household.key}\n").stdout
    assert "was restored already" in household.refusal()


def test_the_next_converge_moves_the_name_ends_the_old_boxs_access_and_brings_the_certificate(
    household: Household, visitor_on_the_internet: Callable[..., str]
) -> None:
    operator = household.operator
    assert household.route() == "127.10.0.17", "not before the operator has collected it"
    collected(collect(operator, BOX))
    converged(operator.converge(limit=RELAY, deploy=RELAY_DEPLOY))
    assert household.route() == "127.10.0.18"
    converged(operator.converge())

    # The box asks for it by itself when visitors come through: the ACME server is one of them.
    wait_for(lambda: visitor_on_the_internet("/status.php") != "", 120, "a certificate that visitors trust, by ACME")
    mine = household.belongings
    for path, text in ((FILE, mine.letter), (EVENT, mine.event), (CARD, mine.card)):
        assert visitor_on_the_internet(path) == text
    there_now = household.run("sha256sum", "/srv/hearth/data/renate/files/Fotos/film.mkv").stdout.split()[0]
    assert visitor_on_the_internet(FILM, "sha256sum").split()[0] == there_now
    again = operator.converge()
    assert (again.status, again.changed) == (0, []), again.output[-3000:]


def test_the_new_box_makes_backups_that_the_same_sheet_opens(household: Household) -> None:
    household.run("systemctl", "start", "hearth-backup")
    login = f'RESTIC_REST_USERNAME={NEW} RESTIC_REST_PASSWORD="$(cat /etc/hearth/secrets/store-password)"'
    ask = f"restic -r rest:https://127.0.0.1:18444/{NEW}/ --cacert /etc/hearth/backup/store.pem --no-lock"
    listed = household.run(
        "sh", "-c", f"{login} {ask} --password-file /dev/stdin snapshots --json", stdin=household.key
    )
    assert [each["hostname"] for each in json.loads(listed.stdout)] == [NEW]


def test_whoever_has_the_old_box_gets_neither_the_name_nor_a_tunnel(household: Household) -> None:
    household.lab.start(MUELLER)
    log = ["journalctl", "-b", "-u", "hearth-tunnel", "-o", "cat"]
    wait_for(lambda: "Permission denied" in household.run(*log, host=MUELLER).stdout, 60, "the relay's refusal")
    assert not tunnel_of(household.lab, 17)
    assert household.route() == "127.10.0.18"
    household.lab.kill(MUELLER)


@pytest.fixture(scope="module")
def visitor_on_the_internet(household: Household, visitor: str) -> Callable[..., str]:
    """What somebody on the internet gets of the household's cloud, logged in as Renate with her old password.

    He trusts the ACME server's authority alone. ``through``: a program that reads it in his place; nothing: he did not
    get it.
    """
    lab = household.lab
    lab.exec(visitor, ["tee", TRUSTED], stdin=lab.acme_roots())
    secret = f'user = "renate:{household.passwords["renate"]}"\n'

    def get(path: str, through: str = "cat") -> str:
        command = shlex.join(from_outside(path, "--fail", "--config", "-"))
        script = ["bash", "-c", f"set -o pipefail; {command} | {through}"]
        done = lab.exec(visitor, script, stdin=secret, check=False, timeout_s=PATIENCE_S)
        return done.stdout if done.returncode == 0 else ""

    return get


def drilling(household: Household, whose: str, state: Path, *keys: str) -> tuple[int, str, str]:
    """Drill a household's backup; returns exit status, output and complaint. Nothing of it is left on this machine."""
    inventory = shutil.copytree(household.operator.inventory, state / "inventory", dirs_exist_ok=True)
    command = [str(HEARTH), "restore", "--drill", whose, "--format", "json", "--inventory", str(inventory)]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"XDG_STATE_HOME": str(state), "TMPDIR": str(state)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        said, complaint = run.communicate("".join(f"{key}\n" for key in keys), timeout=900)
    name = f"drill{run.pid}"
    namespaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert name not in register.read().labs
    assert not register.folder(name).exists()
    assert f".{name}." not in namespaces and f".{name}." not in processes
    assert not list(state.glob("hearth-drill-*"))
    return run.returncode, said, complaint


def test_a_drill_of_a_damaged_backup_fails_with_one_sentence_and_leaves_nothing(
    household: Household, tmp_path: Path
) -> None:
    largest = household.run("sh", "-c", f"ls -S {KEPT}/data/*/* | head -1", host=RELAY).stdout.strip()
    household.run("sh", "-c", f"printf x | dd of={largest} bs=1 seek=9999 conv=notrunc", host=RELAY)

    status, said, complaint = drilling(household, OLD, tmp_path, household.key)

    assert (status, said) == (2, "")
    place = largest.removeprefix(f"{KEPT}/")
    sentence = f"the backup of {OLD} is damaged at {RELAY}: {place} is not what its box sent"
    assert complaint.splitlines()[-1].startswith(sentence), complaint
    assert not list(tmp_path.glob("hearth/*/drills/*"))


def test_a_drill_brings_everything_back_on_a_throw_away_box_and_the_status_tells(
    household: Household, tmp_path: Path
) -> None:
    stranger = other_key()

    status, said, complaint = drilling(household, NEW, tmp_path, stranger, household.key)

    assert status == 0, complaint
    assert f"does not open the backup of {NEW}" in complaint, "another sheet's key, and another try"
    told = json.loads(said)
    # The report counts what lies beside the users' files, too; a log does not come back.
    least, most = (
        len(household.run("sh", "-c", f"find {where} -type f -printf x").stdout)
        for where in ("/srv/hearth/data/*/files", "/srv/hearth/data")
    )
    assert MANY + len(ODD) < least <= told["report"]["files"] <= most
    assert told["report"]["source"] == NEW
    assert told["report"]["bytes"] > LARGE_MB * 1_000_000
    assert {"start", "copy", "converge", "restore"} == set(told["seconds"])
    print(f"a drill of {LARGE_MB} MB and more: {told['seconds']} {told['report']['seconds']}")  # noqa: T201 (the show)
    everything = "".join(path.read_text() for path in tmp_path.glob("hearth/**/*") if path.is_file())
    assert household.key not in everything + said + complaint
    assert household.route() == "127.10.0.18"
    shown = subprocess.run(
        [str(HEARTH), "status", "--format", "json", "--inventory", str(household.operator.inventory)],
        cwd=REPOSITORY,
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    hosts = json.loads(shown.stdout)["hosts"]
    drilled = {host["household"]: host["drilled_at"] for host in hosts if host["drilled_at"]}
    assert set(drilled) == {NEW}
    assert datetime.now(UTC) - datetime.fromisoformat(drilled[NEW]) < timedelta(hours=1)
