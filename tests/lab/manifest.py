"""What a box is, in lines that are the same on every box of one household, however it was converged.

Run inside the box, by its own Python. What is random on each box (keys, passwords, certificates, the product's own
config.php) counts by mode and owner alone.
"""

import grp
import hashlib
import pwd
import re
import subprocess
import sys
from pathlib import Path

RANDOM = re.compile(
    r"/etc/hearth/(secrets/|tls/.*pem$|tunnel/key)|/config/config\.php$|/root/|/hearth/owncloud/config\.php$|/hearth/lock$"
    r"|/etc/hearth/backup/(page-.*pem|store-login)$|/var/lib/hearth/confirmed/"
)
WHOLE = (
    *("/etc/hearth", "/etc/apache2", "/etc/php", "/etc/mysql", "/etc/ssh/sshd_config.d", "/etc/ssh/hearth-keys"),
    *("/etc/ssh/hearth-user-ca.pub", "/etc/sudoers.d", "/etc/systemd/system", "/etc/apt/apt.conf.d"),
    *("/etc/sysusers.d", "/etc/tmpfiles.d", "/usr/lib/hearth", "/var/lib/hearth", "/var/cache/hearth"),
    *("/srv/hearth/www", "/root/household-passwords.txt"),
)
TOPS = ("/srv", "/srv/hearth", "/srv/hearth/data")
SQL = (
    "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema LIKE 'hearth%' ORDER BY 1, 2; "
    "SELECT user, host FROM mysql.user ORDER BY 1, 2; SHOW DATABASES; SELECT uid FROM hearth_cloud.oc_users ORDER BY 1"
)
COMMANDS = (
    "systemctl list-unit-files --state=enabled --no-legend | sort",
    "systemctl list-timers --all --no-legend 'hearth-*' | awk '{print $NF}' | sort",
    "systemctl is-active apache2 mariadb redis-server php8.4-fpm ssh",
    "systemctl --failed --no-legend --plain",
    "dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Abbrev}\\n'",
    "cut -d: -f1,6,7 /etc/passwd | sort",
    "cut -d: -f1,4 /etc/group | sort",
    f'mariadb -NBe "{SQL}"',
    "cut -d: -f1 /root/household-passwords.txt | sort",
    "sshd -T",
    "hostname; cat /etc/timezone /etc/hostname; readlink /etc/localtime",
)


def tell(path: Path) -> str:
    """One path: its mode, its owner, and its content by SHA-256 or its target."""
    facts = path.lstat()
    words = [str(path), oct(facts.st_mode), pwd.getpwuid(facts.st_uid).pw_name, grp.getgrgid(facts.st_gid).gr_name]
    if path.is_symlink():
        words.append(str(path.readlink()))
    elif path.is_file() and not RANDOM.search(str(path)):
        words.append(hashlib.sha256(path.read_bytes()).hexdigest())
    return " ".join(words)


def lines() -> list[str]:
    """The whole box."""
    told = [tell(path) for top in WHOLE for path in (Path(top), *sorted(Path(top).rglob("*")))]
    told += [tell(path) for top in TOPS for path in sorted(Path(top).iterdir())]
    for command in COMMANDS:
        said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False).stdout
        told += [f"{command.split()[0]}: {line}" for line in said.splitlines()]
    return told


sys.stdout.write("\n".join(lines()) + "\n")
