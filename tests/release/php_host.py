"""A host on which a stand-in release runs: PHP-FPM, Apache, MariaDB and Redis, apart from anything a deploy put there.

For tests/lab/test_release_contract.py, which hands in the lab.
"""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST = "helper-pc"
BASE = "/srv/standin"
PASSWORD = "admin-password"
SHIM = "shim.php"

PREPARE = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
dpkg -s python3 apache2 mariadb-server redis-server \
  php8.4-fpm php8.4-mysql php8.4-xml php-redis php-apcu >/dev/null 2>&1 || {
  apt-get -q update; apt-get -qy install --no-install-recommends python3 apache2 mariadb-server redis-server \
    php8.4-cli php8.4-fpm php8.4-mysql php8.4-xml php8.4-mbstring php-redis php-apcu; } >/dev/null
systemctl start mariadb redis-server
mkdir -p BASE/dist BASE/tmp BASE/run && cd BASE && chown www-data: tmp
mariadb -e "CREATE USER IF NOT EXISTS standin@localhost IDENTIFIED BY 'db-password'"
mariadb -e "GRANT ALL ON standin.* TO standin@localhost"
cat > shim.php <<'P'
<?php
namespace OC\Log;
class ErrorHandler {
    public static function setLogger($logger) {}
    public static function register($debug = false) {}
}
P
cat > secrets.php <<'P'
<?php
array_push($_SERVER['argv'], '--database-pass=db-password', '--admin-pass=admin-password');
$GLOBALS['argv'] = $_SERVER['argv'];
P
printf '<?php\nrequire "BASE/secrets.php";\nrequire "BASE/shim.php";\n' > both.php
cat > fpm.conf <<'P'
[global]
error_log = BASE/run/fpm.log
[standin]
user = www-data
group = www-data
listen = BASE/run/fpm.sock
listen.owner = www-data
pm = ondemand
pm.max_children = 4
php_admin_value[upload_tmp_dir] = BASE/tmp
php_admin_value[auto_prepend_file] = ${PREPEND}
P
cat > apache.conf <<'P'
ServerRoot /etc/apache2
PidFile BASE/run/apache.pid
DefaultRuntimeDir BASE/run
Listen 127.0.0.1:8081
User www-data
Group www-data
ErrorLog BASE/run/apache.log
ServerName standin.test
TypesConfig /etc/mime.types
DocumentRoot BASE/tree
SetEnv ap_trust_cgilike_cl 1
<Directory BASE/tree>
  AllowOverride All
  Require all granted
  <FilesMatch "\.php$">
    SetHandler "proxy:unix:BASE/run/fpm.sock|fcgi://standin"
  </FilesMatch>
</Directory>
P
for m in proxy_fcgi proxy mpm_event authz_core mime dir env rewrite headers setenvif; do
  sed -i "1iLoadModule ${m}_module /usr/lib/apache2/modules/mod_$m.so" apache.conf
done
""".replace("BASE", BASE)

CLEAN = f"""
systemctl stop standin-apache standin-fpm 2>/dev/null || true
mariadb -e "DROP DATABASE IF EXISTS standin"
umount {BASE}/tmp 2>/dev/null || true
rm -rf {BASE}/tree {BASE}/data
"""

UNPACK = f"""
import os, shutil, sys, tarfile
tarfile.open("{BASE}/dist/" + sys.argv[1]).extractall("{BASE}/new", filter="data")
top, = os.listdir("{BASE}/new")
for name in ("config.php", "hearth.config.php"):
    if os.path.exists("{BASE}/tree/config/" + name):
        shutil.copy("{BASE}/tree/config/" + name, "{BASE}/new/" + top + "/config/" + name)
shutil.rmtree("{BASE}/tree", ignore_errors=True)
os.rename("{BASE}/new/" + top, "{BASE}/tree")
shutil.rmtree("{BASE}/new")
"""

REQUEST = """
import base64, http.client, json, sys
method, path, headers, body = json.loads(sys.argv[1])
connection = http.client.HTTPConnection("127.0.0.1", 8081, timeout=60)
connection.putrequest(method, path, skip_host=True)
for name, value in headers.items():
    connection.putheader(name, value)
connection.endheaders(b"x" * body if isinstance(body, int) else body.encode())
answer = connection.getresponse()
print(json.dumps([answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace")]))
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class PhpHost:
    """A host with PHP, MariaDB, Redis, and an Apache whose document root is the stand-in's tree."""

    lab: Any

    def sh(self, script: str) -> str:
        return str(self.lab.exec(HOST, ["bash", "-ec", script], timeout_s=600).stdout)

    def prepare(self, releases: Path) -> None:
        """Install what is missing, and bring the tarballs of the folder to the host."""
        self.sh(PREPARE)
        for archive in releases.glob("*.bz2"):
            command = ["bash", "-ec", f"base64 -d > {BASE}/dist/{archive.name}"]
            self.lab.exec(HOST, command, stdin=base64.b64encode(archive.read_bytes()).decode())

    def empty(self) -> None:
        """Leave no installation, and an empty database and data folder."""
        self.sh(CLEAN + f"mariadb -e 'CREATE DATABASE standin'; mkdir {BASE}/data; chown www-data: {BASE}/data")

    def remove(self) -> None:
        """Take everything away but the packages."""
        self.sh(f"{CLEAN} rm -rf {BASE}; mariadb -e 'DROP USER standin@localhost'")

    def place(self, archive: str, *, shim: bool) -> None:
        """Put a release in place of the tree, keeping the configuration, as an upgrade does."""
        self.lab.exec(HOST, ["python3", "-", archive], stdin=UNPACK)
        prepend = f"{BASE}/{SHIM}" if shim else ""
        self.sh(
            f"""cd {BASE}; chown -R www-data: tree; systemctl stop standin-fpm standin-apache 2>/dev/null || true
            systemd-run -q --collect -u standin-fpm -E PREPEND={prepend} php-fpm8.4 -F -y {BASE}/fpm.conf
            systemd-run -q --collect -u standin-apache apache2 -DFOREGROUND -f {BASE}/apache.conf
            for i in $(seq 50); do
              (: > /dev/tcp/127.0.0.1/8081) 2>/dev/null && [ -S run/fpm.sock ] && exit; sleep .1
            done; cat run/*.log >&2; exit 1"""
        )

    def occ(
        self, *words: str, prepend: str = SHIM, password: str = "", user: str = "www-data"
    ) -> subprocess.CompletedProcess[str]:
        line = f"cd {BASE}/tree && OC_PASS={shlex.quote(password)} exec runuser -u {user} -- php -d log_errors=0"
        line += f" -d auto_prepend_file={BASE}/{prepend}" if prepend else ""
        result = self.lab.exec(HOST, ["bash", "-c", f"{line} occ {shlex.join(words)} --no-interaction"], check=False)
        assert isinstance(result, subprocess.CompletedProcess)
        return result

    def install(self, prepend: str = "both.php", data: str = f"{BASE}/data") -> subprocess.CompletedProcess[str]:
        socket = "--database-host=localhost:/run/mysqld/mysqld.sock"
        database = ("--database=mysql", "--database-name=standin", "--database-user=standin", socket)
        return self.occ("maintenance:install", *database, f"--data-dir={data}", "--admin-user=admin", prepend=prepend)

    def http(self, method: str, path: str, body: str | int = "", user: str = "", **headers: str) -> Answer:
        """One request; ``body`` is its text, or how many bytes it has."""
        known = {"Host": "localhost:8081", **{name.replace("_", "-"): value for name, value in headers.items()}}
        size = body if isinstance(body, int) else len(body.encode())
        if method == "PUT":
            known.setdefault("Content-Length", str(size))
        if user:
            known["Authorization"] = "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        words = json.dumps([method, path, known, body])
        out = self.lab.exec(HOST, ["python3", "-", words], stdin=REQUEST).stdout
        return Answer(*json.loads(out))
