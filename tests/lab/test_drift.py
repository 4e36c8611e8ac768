"""What somebody changed on a box by hand, the next converge puts right: all of it, and nothing else."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from hearth import authority
from hearth.lab import keys
from tests.lab.boxes import DOMAIN, MUELLER, Operator

pytestmark = pytest.mark.lab

TLS = "/etc/hearth/tls"
SIGN = "Certificates | Put the certificate signed by the fleet's authority"
INTERRUPTED = {
    "name": "time-sync",
    "digest": "0" * 64,
    "activate": "",
    "token": "0" * 32,
    "old": [{"path": "/etc/systemd/timesyncd.conf.d/hearth.conf", "gone": True}],
    "placed": ["/etc/systemd/timesyncd.conf.d/hearth.conf"],
    "applied": None,
}

# What was done to the box, and the operation that must notice it.
DRIFTS = (
    ("hostname drifted", f"base | Call the host {MUELLER}"),
    ("dpkg --remove --force-depends php-apcu php8.4-apcu", "Install the packages"),
    ("ln -sf /usr/share/zoneinfo/Asia/Tokyo /etc/localtime", "base | Set the time zone Europe/Berlin"),
    (
        f"mkdir /var/lib/hearth/changes/time-sync && echo '{json.dumps(INTERRUPTED)}' "
        "> /var/lib/hearth/changes/time-sync/change.json && "
        "mkdir /var/lib/hearth/changes/.time-sync.building && touch /var/lib/hearth/changes/.time-sync.building/0",
        "base | Keep the time by the network",
    ),
    ("chmod 644 /etc/sudoers.d/hearth", "sshd | Harden sshd and let the operators in"),
    (
        "useradd mallory && gpasswd --add mallory hearth-operators",
        "sshd | Take sudo from who is no operator any more",
    ),
    ("echo '// mine' >> /etc/apt/apt.conf.d/52hearth", "updates | Update Debian between 03:00 and 05:00"),
    ("chown www-data /etc/php/8.4/cli/conf.d/99-hearth.ini", "php | Let PHP take uploads of 3145728000 bytes"),
    (
        "rm /usr/lib/hearth/install-certificate",
        "Certificates | Put the programs that make the key and install the certificate",
    ),
    (f"chmod 644 {TLS}/key.pem", "Certificates | Make the TLS key, its request and a bridging certificate"),
    (
        f"openssl req -x509 -key {TLS}/key.pem -days 900 -subj /O=mine -addext subjectAltName=DNS:{DOMAIN} "
        f"-out {TLS}/certificate.pem && systemctl reload apache2",
        SIGN,
    ),
    (
        "rm /etc/apache2/mods-enabled/headers.load && "
        "ln -s ../sites-available/000-default.conf /etc/apache2/sites-enabled/000-default.conf",
        f"apache | Serve {DOMAIN} over HTTPS",
    ),
    ("rm /etc/mysql/mariadb.conf.d/99-hearth.cnf", "database | Let MariaDB listen on its socket alone"),
    (
        "mariadb -e \"ALTER USER hearth_cloud@localhost IDENTIFIED BY 'another'\"",
        "owncloud | Make the cloud's database",
    ),
    ("systemctl stop redis-server", "database | See that MariaDB and Redis run"),
    ("systemctl disable ssh", "See that every service runs"),
)


def hash_of_the_key(box: Operator) -> str:
    return box.lab.exec(MUELLER, ["sha256sum", f"{TLS}/key.pem"]).stdout


def test_a_certificate_in_the_last_third_of_its_life_is_renewed_for_the_same_key(box: Operator) -> None:
    folder = keys.private_authority(box.lab.folder)
    passphrase = keys.passphrase_file(box.lab.folder).read_bytes()
    request = box.lab.exec(MUELLER, ["cat", f"{TLS}/csr.pem"]).stdout.encode()
    # The lab's authority is minutes old. Certificates begin an hour early, so of this one a quarter is left.
    old = authority.sign_tls(folder, passphrase, request, [DOMAIN], timedelta(minutes=20)).decode()
    install = f"cat > {TLS}/certificate.pem && systemctl reload apache2"
    box.lab.exec(MUELLER, ["sh", "-c", install], stdin=old)
    key = hash_of_the_key(box)
    secret = box.lab.exec(MUELLER, ["cat", f"{TLS}/key.pem"]).stdout.splitlines()[1]

    run = box.converge("-vvv")
    assert (run.status, run.changed) == (0, [SIGN])
    assert hash_of_the_key(box) == key
    assert secret not in run.output
    days_left = f"echo | openssl s_client -connect 127.0.0.1:443 -servername {DOMAIN} 2>/dev/null | "
    box.lab.exec(MUELLER, ["sh", "-c", days_left + f"openssl x509 -noout -checkend {89 * 86400}"])
    assert box.curl("/status.php").status == 200
    again = box.converge()
    assert (again.status, again.changed) == (0, [])


def test_one_converge_puts_right_everything_that_was_changed_by_hand_and_nothing_else(box: Operator) -> None:
    key = hash_of_the_key(box)
    for done, _ in DRIFTS:
        box.lab.exec(MUELLER, ["sh", "-c", done])
    run = box.converge()
    assert run.status == 0, run.output[-4000:]
    assert sorted(run.changed) == sorted(operation for _, operation in DRIFTS)

    assert box.lab.exec(MUELLER, ["systemctl", "is-enabled", "ssh"]).stdout == "enabled\n"
    assert box.lab.exec(MUELLER, ["systemctl", "is-active", "ssh"]).stdout == "active\n"
    # With its alias made again while it runs, systemd forgets at times that it does, and a later start ends in a box
    # that nobody can log in to.
    assert box.lab.exec(MUELLER, ["find", "/etc/systemd/system/sshd.service"], check=False).returncode == 1
    assert hash_of_the_key(box) == key
    assert box.curl("/status.php").status == 200
    assert box.curl("/remote.php/dav/files/jonas/note", "--upload-file", __file__, user="jonas").status == 201
    assert box.lab.exec(MUELLER, ["find", "/var/lib/hearth/changes", "-mindepth", "1"]).stdout == ""
    assert "mallory" not in box.lab.exec(MUELLER, ["getent", "group", "hearth-operators"]).stdout
    assert box.lab.exec(MUELLER, ["id", "mallory"]).returncode == 0, "a converge removes no account"

    again = box.converge()
    assert (again.status, again.changed) == (0, [])
