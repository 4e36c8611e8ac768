"""A box's backup on real hosts: what it holds, what survives it, and the household's key from page to paper."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hearth import layout
from hearth.lab.lab import Lab
from roles.backup.onbox import paperkey
from roles.backup.onbox.page import confirmation
from tests.lab import leaks
from tests.lab.boxes import MUELLER, RELAY, Converge, Operator, wait_for
from tests.lab.clouds import CARD, EVENT, FILE, interpose, remove_interposed, status
from tests.lab.homes import converged
from tests.lab.sheets import decoded

pytestmark = pytest.mark.lab

BACKUP = "hearth-backup.service"
KEPT = f"{layout.STORE_REPOSITORIES}/mueller"
ODD = ("Grüße & Küsse.txt", "a [b]*?.txt", "zeile\nzwei.txt", "'\"$(touch x)\\.txt", "-rf", "\udcff\udcfe.bin")
# Enough for a test's patience, and little enough to be cut in the middle.
FASTER = {"upload_limit": "8M"}
PAGE = f"https://{{}}:{layout.KEY_PAGE_PORT}"
CANARY = "canary-0f4c7a91be-in-plain-text"
DUMP = "/usr/bin/mariadb-dump"


@dataclass(frozen=True)
class Kept:
    """A converged box with a store, and its operator."""

    operator: Operator

    def run(self, *argv: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run something on the box as root."""
        return self.operator.lab.exec(MUELLER, list(argv), stdin=stdin, check=check, timeout_s=300)

    def back_up(self) -> dict[str, Any]:
        """Let the nightly unit run, and return what it tells of the last good backup."""
        done = self.run("systemctl", "start", BACKUP, check=False)
        assert done.returncode == 0, self.run("journalctl", "-u", BACKUP, "-n", "20", "-o", "cat").stdout
        return self.last()

    def last(self) -> dict[str, Any]:
        """The last good backup."""
        return dict(json.loads(self.run("cat", f"{layout.BACKUP_FOLDER}/last-good").stdout))

    def restic(self, *words: str, key: str = "/etc/hearth/secrets/backup-key") -> str:
        """Ask the repository, on the box."""
        login = 'RESTIC_REST_USERNAME=mueller RESTIC_REST_PASSWORD="$(cat /etc/hearth/secrets/store-password)"'
        repository = f"rest:https://127.0.0.1:{layout.STORE_TUNNEL_PORT}/mueller/"
        command = f'{login} exec restic -r {repository} --cacert {layout.STORE_PEM} --no-cache --no-lock -p {key} "$@"'
        return self.run("sh", "-c", command, "sh", *words).stdout

    def is_open(self) -> bool:
        """Whether the cloud lets people in, and nothing of a backup's beginning is left."""
        leftovers = self.run("sh", "-c", "ls -d /srv/hearth/frozen /var/lib/hearth/owncloud/closed", check=False)
        return status(self.operator).get("maintenance") is False and not leftovers.stdout


def kept_bytes(lab: Lab) -> int:
    """How much the store has been given."""
    return int(lab.exec(RELAY, ["du", "-sb", KEPT]).stdout.split()[0])


@pytest.fixture(scope="module")
def kept(home: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A box whose household has moved in, and which has made no backup at its store yet."""
    lab, folder = home.lab, tmp_path_factory.mktemp("backup")
    lab.bench(MUELLER, True)
    operator = home.with_fleet(folder / "inventory", lambda _, household: household.update(backup=FASTER))
    converged(operator.converge())
    for path, text in (
        (FILE, CANARY + secrets.token_urlsafe(1000)),
        (EVENT, f"BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:{CANARY}\nEND:VEVENT\nEND:VCALENDAR\n"),
        (CARD, "BEGIN:VCARD\nVERSION:3.0\nFN:Oma Müller\nEND:VCARD\n"),
        ("/remote.php/dav/files/jonas/mine.txt", "Jonas"),
    ):
        source = folder / "belonging"
        source.write_text(text)
        user = "jonas" if "jonas" in path else "renate"
        assert operator.curl(path, "--upload-file", str(source), user=user).status in (201, 204)
    made = "import json, os, sys\nos.chdir('/srv/hearth/data/renate/files')\n"
    made += "for name in json.load(sys.stdin):\n    open(name, 'w').write('odd')\n    os.chown(name, 33, 33)\n"
    lab.exec(MUELLER, ["python3", "-c", made], stdin=json.dumps(ODD))
    yield Kept(operator)


def test_before_the_store_knows_the_box_a_converge_succeeds_and_says_what_it_waits_for(first_run: Converge) -> None:
    assert first_run.status == 0
    assert "the backup waits: the store has not been collected yet" in first_run.output


def test_a_converge_after_that_changes_nothing(kept: Kept) -> None:
    again = kept.operator.converge()
    assert again.status == 0, again.output[-3000:]
    assert again.changed == []


def test_a_backup_holds_files_of_every_user_by_every_name_and_the_database(kept: Kept) -> None:
    done = kept.back_up()
    assert kept.is_open()
    told = json.loads(kept.restic("dump", done["snapshot"], "/manifest.json"))
    assert (told["household"], told["product"], told["schema"]) == ("mueller", "owncloud", 1)
    assert told["users"]["renate"]["files"] == len(ODD) + 1
    assert told["users"]["jonas"] == {"files": 1, "bytes": 5}
    target = "/srv/hearth/restored"
    kept.restic("restore", done["snapshot"], "--target", target)
    same = ["diff", "-r", "/srv/hearth/data", f"{target}/data", "--exclude", "cache", "--exclude", "uploads"]
    assert kept.run(*same, check=False).stdout == ""
    owners = ["find", ".", "-type", "f", "-printf", "%u %g %m %T@ %p\\0"]
    assert len({kept.run("env", "-C", each, *owners).stdout for each in ("/srv/hearth/data", f"{target}/data")}) == 1
    names = kept.restic("ls", done["snapshot"])
    assert not re.search(r"\.pem|ssh_host|tunnel|/secrets|password", names), "no key of the box is in it"
    config = Path(f"{target}/config/config.php")
    assert "'passwordsalt'" in kept.run("cat", str(config)).stdout
    database = kept.run("cat", "/etc/hearth/secrets/database").stdout.strip()
    assert database not in kept.run("cat", str(config)).stdout


def test_the_dump_makes_the_same_database_again(kept: Kept) -> None:
    told = json.loads(kept.restic("dump", kept.last()["snapshot"], "/manifest.json"))
    sums = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'hearth_cloud' ORDER BY 1"
    tables = kept.run("mariadb", "-BN", "-e", sums).stdout.split()
    assert sorted(told["database"]) == tables
    kept.run("sh", "-c", "mariadb -e 'CREATE DATABASE scratch' && mariadb scratch < /srv/hearth/restored/database.sql")
    for table in tables:
        both = [
            kept.run("mariadb", "-BN", "-e", f"CHECKSUM TABLE {name}.{table}").stdout.split()[1]
            for name in ("hearth_cloud", "scratch")
        ]
        assert both[0] == both[1], table
        counting = f"SELECT COUNT(*) FROM scratch.{table}"  # noqa: S608
        count = kept.run("mariadb", "-BN", "-e", counting).stdout.strip()
        assert told["database"][table] == int(count), table
    rows = kept.run("mariadb", "-BN", "-e", "SELECT * FROM scratch.oc_dav_objects").stdout
    assert CANARY in rows and "Oma" in rows, "calendar and contacts are in it"
    kept.run("mariadb", "-e", "DROP DATABASE scratch")


def test_a_second_backup_of_an_unchanged_box_sends_next_to_nothing(kept: Kept) -> None:
    before = kept_bytes(kept.operator.lab)
    assert kept.back_up()["sent_bytes"] < 20_000
    assert kept_bytes(kept.operator.lab) - before < 40_000


def test_the_first_backup_was_proven_by_a_restore(kept: Kept) -> None:
    proof = json.loads(kept.run("cat", f"{layout.BACKUP_FOLDER}/last-proven").stdout)
    assert proof["share"] == 1
    assert proof["files"] >= 6
    kept.run("/usr/lib/hearth/backup", "prove")
    assert json.loads(kept.run("cat", f"{layout.BACKUP_FOLDER}/last-proven").stdout)["share"] == 2


def test_a_backup_that_is_killed_or_loses_its_cable_is_finished_by_the_next(kept: Kept) -> None:
    lab, before = kept.operator.lab, kept.last()
    kept.run(
        "sh",
        "-c",
        "head -c 60M /dev/urandom > /srv/hearth/data/renate/files/video.bin && "
        "chown www-data: /srv/hearth/data/renate/files/video.bin",
    )
    size = kept_bytes(lab)
    kept.run("systemctl", "start", "--no-block", BACKUP)
    wait_for(lambda: kept_bytes(lab) > size + (8 << 20), 60, "something of the video at the store")
    kept.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", BACKUP)
    wait_for(kept.is_open, 60, "a cloud that is open, and no view")
    assert kept.run("pgrep", "restic", check=False).stdout == ""
    assert kept.last() == before
    kept.run("systemctl", "reset-failed", BACKUP)
    kept.run("systemctl", "start", "--no-block", BACKUP)
    wait_for(lambda: kept.run("pgrep", "-f", "restic.*backup", check=False).stdout != "", 60, "restic")
    lab.cable(MUELLER, False)
    lab.cable(MUELLER, True)
    wait_for(
        lambda: kept.run("systemctl", "is-active", BACKUP, check=False).stdout.strip() == "inactive", 180, "the end"
    )
    assert kept.last()["snapshot"] != before["snapshot"]
    sums = kept.run("sha256sum", "/srv/hearth/data/renate/files/video.bin").stdout.split()[0]
    kept.restic("dump", kept.last()["snapshot"], "--target", "/srv/hearth/video", "/data/renate/files/video.bin")
    assert kept.run("sha256sum", "/srv/hearth/video").stdout.split()[0] == sums
    kept.run("rm", "-f", "/srv/hearth/video", "/srv/hearth/data/renate/files/video.bin")


@pytest.mark.parametrize("how", ["kill", "power cut"])
def test_a_cloud_that_was_closed_for_a_backup_opens_by_itself(kept: Kept, how: str) -> None:
    lab = kept.operator.lab
    interpose(kept.operator, DUMP, "sleep 300")
    kept.run("systemctl", "start", "--no-block", BACKUP)
    wait_for(lambda: status(kept.operator).get("maintenance") is True, 60, "a cloud that is closed")
    if how == "kill":
        kept.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", BACKUP)
    else:
        lab.kill(MUELLER)
        lab.start(MUELLER)
    wait_for(kept.is_open, 90, "a cloud that is open")
    remove_interposed(kept.operator, DUMP)
    kept.run("systemctl", "reset-failed", BACKUP, check=False)


def curl(kept: Kept, path: str, *arguments: str, stdin: str = "") -> str:
    """Ask the key's page from the bench, which is a network of the box's own, as a home's is."""
    url = PAGE.format(kept.operator.lab.address(MUELLER)) + path
    command = ["curl", "--insecure", "--silent", "--max-time", "60", *arguments, url]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False).stdout


def told(answer: str) -> str:
    """What a page says to who has just sent a form."""
    found = re.search(r'class="told">([^<]*)', answer)
    return found[1] if found else ""


def paper_finding(kept: Kept) -> bool:
    """Whether the box's health check misses the paper."""
    return "not on paper yet" in kept.run(layout.HEALTH, check=False).stdout


def test_the_key_goes_on_paper_once_and_what_is_on_the_paper_opens_the_backup(kept: Kept, tmp_path: Path) -> None:
    # Whoever is not of the household sees the form and no more.
    assert paper_finding(kept)
    form = ("--data-urlencode", "user=renate", "--data-urlencode", "password@-")
    jonas = ("--data-urlencode", "user=jonas", "--data-urlencode", "password@-")
    passwords = kept.operator.passwords()
    assert "knows no admin" in told(curl(kept, "/sheet", *form, stdin="wrong"))
    assert "knows no admin" in told(curl(kept, "/sheet", *jonas, stdin=passwords["jonas"]))
    # The admin gets the sheet, and a real decoder reads the key off it.
    sheet = curl(kept, "/sheet", *form, stdin=passwords["renate"])
    key = decoded(sheet, tmp_path)
    groups = re.findall(r"<li>(\w{5})</li>", sheet)
    assert "-".join(groups) == key
    key_file = "/dev/shm/typed"
    kept.run("tee", key_file, stdin=key)
    assert kept.last()["snapshot"][:8] in kept.restic("snapshots", key=key_file)
    fingerprint = kept.run("cat", layout.PAPER_KEY_FINGERPRINT).stdout.strip()
    assert fingerprint in sheet
    # It is shown until a group has been typed back, and then never again.
    number = int(re.search(r">Group (\d)<", sheet)[1])  # type: ignore[index]
    token = re.search(r'name="token" value="(\w+)"', sheet)[1]  # type: ignore[index]
    assert "not the group" in told(curl(kept, "/confirm", "-d", f"token={token}", "-d", "group=AAAAA"))
    assert "on paper, and only there" in curl(
        kept, "/confirm", "-d", f"token={token}", "-d", f"group={groups[number - 1].lower()}"
    )
    wait_for(lambda: kept.run("cat", "/etc/hearth/secrets/paper-key").stdout == "", 30, "a box that forgot the key")
    assert "the box has forgotten it" in curl(kept, "/sheet", *form, stdin=passwords["renate"])
    assert "the box has forgotten it" in kept.run("hearth-key", "show", check=False).stderr
    assert not paper_finding(kept)
    everywhere = leaks.files_on_the_box(
        kept.operator, {key}, "/etc", "/var", "/root", "/srv", "/run", "/usr/lib/hearth"
    )
    assert everywhere == []
    # Whether the paper is right can be asked at any time, and a typing error is named by its group.
    assert told(curl(kept, "/test", "--data-urlencode", f"key={key.lower().replace('-', ' ')}")) == (
        "This key opens the backup."
    )
    wrong = groups[2][:-1] + ("A" if groups[2][-1] != "A" else "B")
    assert "Group 3" in told(curl(kept, "/test", "--data-urlencode", f"key={key.replace(groups[2], wrong)}"))
    assert "group 7 is missing" in kept.run("hearth-key", "test", stdin=key[:-6] + "\n", check=False).stderr
    assert "This key opens" in kept.run("hearth-key", "test", stdin=key + "\n").stdout
    other = paperkey.make()
    assert "does not open" in kept.run("hearth-key", "test", stdin=other + "\n", check=False).stderr


def renewed(kept: Kept) -> str:
    """Have the household's key made anew at the console; returns it as the console shows it."""
    assert "There is a new key" in kept.run("hearth-key", "renew").stdout
    shown = kept.run("hearth-key", "show").stdout
    return "-".join(re.findall(r"^ +\d\. (\w{5})$", shown, re.MULTILINE))


def tried(kept: Kept, key: str) -> str:
    """What the console says of a key that is typed."""
    done = kept.run("hearth-key", "test", stdin=f"{key}\n", check=False)
    return done.stdout + done.stderr


def test_a_new_sheet_at_the_console_counts_once_confirmed_and_the_old_one_until_its_key_is_removed(kept: Kept) -> None:
    old = renewed(kept)
    assert paper_finding(kept)
    number = confirmation(old)
    mistyped = kept.run("hearth-key", "confirm", stdin="AAAAA\n", check=False)
    assert (mistyped.returncode, f"that is not group {number}" in mistyped.stderr) == (1, True)
    assert kept.run("cat", "/etc/hearth/secrets/paper-key").stdout.strip() == old, "the box keeps it"
    typed = paperkey.group_of(old, number).lower()
    assert "on paper, and only there" in kept.run("hearth-key", "confirm", stdin=f"{typed}\n").stdout
    assert kept.run("cat", "/etc/hearth/secrets/paper-key").stdout == ""
    assert not paper_finding(kept)
    again = kept.run("hearth-key", "confirm", stdin=f"{typed}\n", check=False)
    assert (again.returncode, "the box has forgotten it" in again.stderr) == (1, True)
    # A new sheet, also where nobody knows what became of the old one, which goes on opening the backup.
    kept.run("tee", f"{layout.BACKUP_FOLDER}/paper.json", stdin="not JSON")
    new = renewed(kept)
    assert new != old
    assert paper_finding(kept)
    assert ["This key opens" in tried(kept, key) for key in (old, new)] == [True, True]
    # Whoever keeps the store ends the old sheets, as docs/backup.md says: all but the one that was made last.
    listed = json.loads(kept.restic("key", "list", "--json"))
    sheets = [each for each in listed if each["userName"].startswith("paper-")]
    for each in sorted(sheets, key=lambda sheet: str(sheet["created"]))[:-1]:
        kept.operator.lab.exec(RELAY, ["sh", "-c", f"rm {KEPT}/keys/{each['id']}*"])
    assert "does not open this box's backup" in tried(kept, old)
    assert "This key opens" in tried(kept, new)


def test_the_page_answers_the_home_alone(kept: Kept) -> None:
    assert "Backup key of" in curl(kept, "/")
    silent = ["curl", "--insecure", "--silent", "--max-time", "5"]
    loopback = kept.run(*silent, PAGE.format("127.0.0.1") + "/", check=False)
    assert (loopback.stdout, loopback.returncode != 0) == ("", True), "where the tunnel's visitors arrive"
    assert kept.run("ss", "-Hltn", f"sport = :{layout.KEY_PAGE_PORT}").stdout.split()[3].startswith("0.0.0.0:")


def test_neither_keys_nor_plain_text_stand_anywhere_but_on_the_box(
    kept: Kept, first_run: Converge, tmp_path: Path
) -> None:
    kept.run("hearth-key", "renew")
    new = kept.run("cat", "/etc/hearth/secrets/paper-key").stdout.strip()
    kept.back_up()
    loud = kept.operator.converge("-vvv")
    (tmp_path / "loud").write_text(f"{first_run.output}\n{loud.output}")
    keys = {
        new,
        kept.run("cat", "/etc/hearth/secrets/backup-key").stdout.strip(),
        kept.run("cat", "/etc/hearth/secrets/store-password").stdout.strip(),
        CANARY,
    }
    # Positive control: on the box they are found, where they belong.
    assert leaks.files_on_the_box(kept.operator, keys, "/etc/hearth", "/srv/hearth/data") == [
        "/etc/hearth/secrets/backup-key",
        "/etc/hearth/secrets/paper-key",
        "/etc/hearth/secrets/store-password",
        "/srv/hearth/data/renate/files/letter.txt",
    ]
    assert leaks.files_with(keys, tmp_path, kept.operator.inventory) == []
    found = kept.operator.lab.exec(
        RELAY,
        [*leaks.GREP, "--file=-", "/etc", "/var", "/srv", "/root", "/run", "/home"],
        stdin=leaks.patterns(keys),
        check=False,
        timeout_s=300,
    )
    assert found.stdout == ""
    assert kept_bytes(kept.operator.lab) > 100_000, f"there was something to search in {KEPT}"
