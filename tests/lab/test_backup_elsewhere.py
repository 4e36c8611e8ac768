"""A box whose backup goes to no store of the fleet's: to an S3 server (moto), and to an SFTP account in a chroot.

The tests are a household's story in their order: a backup at both, and then a new box that gets it back.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth import layout
from hearth.lab.lab import Lab
from roles.backup.onbox import paperkey
from tests.lab import leaks
from tests.lab.boxes import MUELLER, VISITOR, Converge, Operator, wait_for
from tests.lab.clouds import FILE, SCHMIDT
from tests.lab.homes import converged

pytestmark = pytest.mark.lab

BACKUP, PROGRAM = "hearth-backup.service", "/usr/lib/hearth/backup"
SECRETS = "/etc/hearth/secrets"
S3_PORT, SFTP_PORT = 9000, 2200
BUCKET = "backups"
BELONGING = "/data/renate/files/letter.txt"
KNOWN = "/etc/hearth/backup/repository.known-hosts"
PUBLIC = "/etc/hearth/backup/repository-ssh-key.pub"
AUTHORIZED = "/etc/ssh/sftp_keys"
CREDENTIALS = f"{SECRETS}/repository.env"
NEW = "schmidt"
# moto looks at credentials only when it is told to; --no-install-recommends leaves out what its server needs.
SERVE_S3 = f"systemd-run --quiet --unit=s3 moto_server -H 0.0.0.0 -p {S3_PORT}"
SERVE_SFTP = "systemd-run --quiet --unit=sftp /usr/sbin/sshd -D -f /etc/ssh/sftp_config"
PREPARE = f"""
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qqy install --no-install-recommends python3-moto python3-flask-cors curl openssh-server >/dev/null
{SERVE_S3}
useradd --home-dir / --no-create-home --shell /usr/sbin/nologin --password '*' mueller
mkdir -p /run/sshd && install -d -o mueller /srv/sftp/mueller
cat > /etc/ssh/sftp_config <<C
Port {SFTP_PORT}
HostKey /etc/ssh/ssh_host_ed25519_key
Subsystem sftp internal-sftp
AuthorizedKeysFile {AUTHORIZED}
PasswordAuthentication no
ChrootDirectory /srv/sftp
ForceCommand internal-sftp
DisableForwarding yes
C
{SERVE_SFTP}
"""
MAKE_BUCKET = f"""
import boto3
boto3.client("s3", endpoint_url="http://127.0.0.1:{S3_PORT}", region_name="us-east-1", aws_access_key_id="keeper",
             aws_secret_access_key="keeper").create_bucket(Bucket="{BUCKET}")
"""


@dataclass(frozen=True)
class Away:
    """A box with the file ``plain``, and the servers at ``address`` that its backup may go to.

    ``folder`` is for inventories.
    """

    operator: Operator
    address: str
    folder: Path
    plain: str

    def run(self, *argv: str, stdin: str = "", check: bool = True, host: str = "") -> str:
        """Run something as root, on the box unless said otherwise; returns what it said."""
        done = self.operator.lab.exec(host or self.operator.host, list(argv), stdin=stdin, check=check, timeout_s=300)
        return done.stdout + done.stderr

    def s3(self, name: str) -> str:
        """A repository at the S3 server."""
        return f"s3:http://{self.address}:{S3_PORT}/{BUCKET}/{name}"

    def sftp(self, name: str) -> str:
        """A repository at the SFTP account."""
        return f"sftp://mueller@{self.address}:{SFTP_PORT}//mueller/{name}"

    def to(self, repository: str, name: str) -> Away:
        """The same with an inventory, in the folder ``name``, in which the household names a repository."""

        def elsewhere(fleet: dict[str, Any], household: dict[str, Any]) -> None:
            household["backup"] = {"repository": repository, "upload_limit": "50M"}

        return replace(self, operator=self.operator.with_fleet(self.folder / name, elsewhere))

    def converge(self) -> Converge:
        """Converge, at -vvv."""
        run = self.operator.converge("-vvv")
        converged(run)
        return run

    def learn_host_key(self) -> None:
        """Do what the box asks for where it does not know the SFTP server."""
        self.run("sh", "-c", f"ssh-keyscan -q -p {SFTP_PORT} -t ed25519 {self.address} > {KNOWN}")

    def authorize(self) -> None:
        """Let the box's key in at the SFTP account, and no other."""
        self.run("tee", AUTHORIZED, stdin=self.run("cat", PUBLIC), host=VISITOR)

    def waits(self) -> str:
        """What the box says that its repository waits for."""
        return str(json.loads(self.run(PROGRAM, "status", "repository"))["sentence"])

    def key(self) -> str:
        """The household's key, as it is before it is on paper."""
        return self.run("cat", f"{SECRETS}/paper-key").strip()

    def restored(self, repository: str, *options: str, env: str = "") -> str:
        """The file as restic alone brings it back, with the household's key; ``env``: a file of its environment."""
        script = (
            'set -a; test -z "$1" || . "$1"; shift; export RESTIC_PASSWORD_FILE=/etc/hearth/secrets/paper-key; '
            'exec restic --no-cache --quiet "$@"'
        )
        words = ("--repo", repository, *options, "dump", "latest", BELONGING)
        return self.run("sh", "-c", script, "sh", env, *words)

    def serve_sftp(self) -> None:
        """Start the SFTP server, which was stopped."""
        self.run(*SERVE_SFTP.split(), host=VISITOR)
        wait_for(lambda: listens(self.operator.lab, SFTP_PORT), 60, "sshd")

    def tested_at_the_page(self) -> str:
        """What the page says of the household's key, within half a minute."""
        form = ["--data-urlencode", f"key={self.key()}"]
        url = f"https://{self.operator.lab.address(self.operator.host)}:{layout.KEY_PAGE_PORT}/test"
        command = ["curl", "--insecure", "--silent", "--max-time", "30", *form, url]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def assert_backed_up(self) -> None:
        """Let the nightly unit run, and see that it sent something, proved it, and told the key's fingerprint."""
        self.run("rm", "-f", f"{layout.BACKUP_FOLDER}/last-good", f"{layout.BACKUP_FOLDER}/last-proven")
        self.run("systemctl", "start", BACKUP)
        said = self.run("journalctl", "-u", BACKUP, "-n", "20", "-o", "cat")
        assert "MB sent in" in said, said
        assert "files restored and compared" in said, said
        assert self.run("cat", layout.PAPER_KEY_FINGERPRINT).strip() == paperkey.fingerprint(self.key())
        assert "This key opens" in self.run("hearth-key", "test", stdin=self.key() + "\n")

    def assert_kept_to_the_box(self, secret: set[str], where: str, run: Converge) -> None:
        """See that secrets are in the file ``where`` alone: not in what the operator sees or has, nor in a log."""
        # While somebody has the page open, systemd holds its copy in memory.
        self.run("systemctl", "stop", "hearth-key-page.service")
        log = self.folder / "converge.log"
        log.write_text(run.output)
        assert leaks.files_on_the_box(self.operator, secret, "/etc", "/var", "/run", "/root", "/tmp") == [where]
        assert leaks.files_with(secret, log, self.operator.inventory) == []


@pytest.fixture(scope="module")
def away(box: Operator, start: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Away:
    """A converged box with a file, and a host with both servers, which knows nothing of the box."""
    lab: Lab = box.lab
    start(VISITOR)
    lab.exec(VISITOR, ["sh", "-c", PREPARE], timeout_s=300)
    folder, plain = tmp_path_factory.mktemp("elsewhere"), secrets.token_urlsafe(50_000)
    (folder / "letter").write_text(plain)
    assert box.curl(FILE, "--upload-file", str(folder / "letter"), user="renate").status in (201, 204)
    address = next(host.address for host in lab.status() if host.name == VISITOR)
    return Away(box, address, folder, plain)


def listens(lab: Lab, port: int) -> bool:
    """Whether a server listens on a port of its host."""
    return lab.exec(VISITOR, ["ss", "-Hltn", f"sport = :{port}"]).stdout != ""


def check_credentials(away: Away, *, strictly: bool) -> None:
    """Let moto look at the credentials from now on, or take any."""
    url = f"http://127.0.0.1:{S3_PORT}/moto-api/reset-auth"
    away.run("curl", "-fsS", "-H", "Content-Type: text/plain", "-d", "0" if strictly else "1000000", url, host=VISITOR)


def test_a_backup_goes_to_an_s3_server_with_the_credential_on_the_box_alone(away: Away) -> None:
    repository, file = away.s3("mueller"), CREDENTIALS
    away = away.to(repository, "s3")
    # The file for the credential is there after the first converge, which says what it waits for.
    assert f"the backup waits: {file} says nothing yet: put AWS_ACCESS_KEY_ID" in away.converge().output
    assert away.run("stat", "-c", "%U %a", file).strip() == "root 600"
    secret = secrets.token_hex(20)
    away.run("tee", file, stdin=f"AWS_ACCESS_KEY_ID=AKIAMUELLER\nAWS_SECRET_ACCESS_KEY={secret}\n")
    # What is wrong there is said within seconds, though restic repeats it for a quarter of an hour.
    away.run("systemctl", "stop", "s3.service", host=VISITOR)
    assert "is not reached (Get" in away.waits()
    away.run(*SERVE_S3.split(), host=VISITOR)
    wait_for(lambda: listens(away.operator.lab, S3_PORT), 60, "moto")
    assert "The specified bucket does not exist; make it at the server" in away.waits()
    away.run("python3", "-", stdin=MAKE_BUCKET, host=VISITOR)
    check_credentials(away, strictly=True)
    refused = away.waits()
    check_credentials(away, strictly=False)
    assert "does not let this box in (The AWS Access Key Id you provided does not exist" in refused
    assert f"put {file} right" in refused
    # With all of it right, the next converge makes the repository, and the night its backup.
    run = away.converge()
    away.assert_backed_up()
    assert away.restored(repository, env=file) == away.plain
    again = away.converge()
    assert again.changed == []
    away.assert_kept_to_the_box({secret}, file, replace(run, output=run.output + again.output))


def test_a_backup_goes_to_an_sftp_account_with_a_key_that_the_box_made(away: Away) -> None:
    repository, key = away.sftp("box"), f"{SECRETS}/repository-ssh-key"
    away = away.to(repository, "sftp")
    assert f"put it into {KNOWN} by ssh-keyscan" in away.converge().output
    away.learn_host_key()
    assert f"put the line of {PUBLIC} into that account's authorized keys" in away.waits()
    away.authorize()
    away.run("systemctl", "stop", "sftp.service", host=VISITOR)
    assert "is not reached (ssh: connect to host" in away.waits()
    away.serve_sftp()
    run = away.converge()
    away.assert_backed_up()
    arguments = f"sftp.args=-F none -i {key} -o UserKnownHostsFile={KNOWN}"
    assert away.restored(repository, "--option", arguments) == away.plain
    # The page's account gets the key too, for "Test my key".
    assert "This key opens the backup." in away.tested_at_the_page()
    away.run("systemctl", "stop", "sftp.service", host=VISITOR)
    assert "which says nothing against it: sftp://" in away.tested_at_the_page()
    away.serve_sftp()
    again = away.converge()
    assert again.changed == []
    private = leaks.key_lines(away.run("cat", key))
    away.assert_kept_to_the_box(private, key, replace(run, output=run.output + again.output))


@dataclass(frozen=True)
class Successor:
    """A new box, converged, whose household's old one burnt down; what the household has is its sheet's key."""

    away: Away
    key: str
    password: str

    def restore(self, *options: str, key: str = "") -> str:
        """Type the key, or nothing, at the new box; returns what it said."""
        return self.away.run("hearth-restore", "--yes", *options, stdin=f"{key}\n" if key else "", check=False)

    def restore_from(self, repository: str) -> None:
        """Tell the new box of another place where the old one's backup lies."""
        self.away.run("sed", "-i", f's|^repository = .*|repository = "{repository}"|', "/etc/hearth/restore.toml")


@pytest.fixture
def successor(away: Away, lab_inventory: Path, bare: str) -> Iterator[Successor]:
    """The old box is gone for good, with its disk; its backups, at SFTP and at S3, know nothing of the new one."""
    lab, key, password = away.operator.lab, away.key(), away.operator.passwords()["renate"]
    lab.kill(MUELLER)
    operator = away.to(away.sftp("box"), "restore").operator
    old = yaml.safe_load((operator.inventory / "households/mueller.yaml").read_text())
    # The inventory wants a repository of the new box's own; this one's is at the other server.
    new = old | {"id": NEW, "slot": 18, "restore": {"from": "mueller"}, "backup": {"repository": away.s3(NEW)}}
    (operator.inventory / f"households/{NEW}.yaml").write_text(yaml.safe_dump(new, allow_unicode=True, width=1000))
    lab.start_from(SCHMIDT, "packages")
    # Where the lab's hosts are found; the new box came later.
    shutil.copy(lab_inventory / "local.yaml", operator.inventory)
    away = replace(away, operator=replace(operator, host=SCHMIDT))
    away.converge()
    yield Successor(away, key, password)
    lab.start_from(SCHMIDT, bare)


def test_a_new_box_says_what_it_lacks_for_a_backup_elsewhere_and_brings_it_back(successor: Successor) -> None:
    away = successor.away
    # It says so before anybody has typed the key; an SSH key of its own it makes by itself.
    assert f"put it into {KNOWN} by ssh-keyscan" in successor.restore()
    away.learn_host_key()
    assert f"put the line of {PUBLIC} into that account's authorized keys" in successor.restore()
    away.authorize()
    # At S3 it is the credential. With that the key opens the backup there, too: it is the name that is refused.
    successor.restore_from(away.s3("mueller"))
    assert f"{CREDENTIALS} says nothing yet: put AWS_ACCESS_KEY_ID=… and" in successor.restore()
    away.run("tee", CREDENTIALS, stdin="AWS_ACCESS_KEY_ID=AKIANEW\nAWS_SECRET_ACCESS_KEY=new\n")
    assert "no backup's name begins with 'zz'" in successor.restore("--snapshot", "zz", key=successor.key)
    successor.restore_from(away.sftp("box"))

    said = successor.restore(key=successor.key)

    assert "The cloud of mueller is on this box; everybody has the password of before" in said, said
    answer = away.operator.curl(FILE, "--insecure", "--user", f"renate:{successor.password}")
    assert (answer.status, answer.body) == (200, away.plain)
    # Its own repository is made, and the household keeps its sheet.
    assert "The same sheet opens the backups that this box makes from now on" in said
    assert "This key opens the backup" in away.run("hearth-key", "test", stdin=f"{successor.key}\n")
