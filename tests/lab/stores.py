"""A store for the tests of the box's half: Debian's rest-server on the relay, and the box's port that leads to it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hearth import layout
from hearth.lab.lab import Lab
from tests.lab.boxes import MUELLER, RELAY, Converge, Operator
from tests.lab.homes import converged

KEPT = "/srv/hearth/backups"
"""Where the store keeps what it is given."""
SERVE = f"""
set -eu
command -v restic-rest-server >/dev/null || {{ export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update && apt-get -qqy install --no-install-recommends restic-rest-server openssl >/dev/null; }}
mkdir -p {KEPT} /etc/store && cd /etc/store
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=store \\
  -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem 2>/dev/null
cat > login
systemd-run --quiet --unit=test-store restic-rest-server --listen 0.0.0.0:{layout.STORE_PORT} --append-only \\
  --private-repos --tls --tls-cert /etc/store/certificate.pem --tls-key /etc/store/key.pem \\
  --htpasswd-file /etc/store/login --path {KEPT}
cat certificate.pem
"""
FORWARD = f"""
set -eu
cat > /etc/systemd/system/test-store.socket
printf '[Service]\\nExecStart=/usr/lib/systemd/systemd-socket-proxyd %s:{layout.STORE_PORT}\\n' "$1" \\
  > /etc/systemd/system/test-store.service
systemctl daemon-reload && systemctl enable --quiet --now test-store.socket
"""


def converge_with_a_store(operator: Operator, folder: Path) -> tuple[Operator, tuple[str, ...]]:
    """Live a box's first day with a store; returns the operator of the fleet that has it, and what each converge said.

    The first converge finds no store that knows the box, the second does.
    """

    def with_store(fleet: dict[str, Any], household: dict[str, Any]) -> None:
        fleet["stores"] = [{"name": RELAY}]
        household["backup"] = {"upload_limit": "8M"}

    lab, operator = operator.lab, operator.with_fleet(folder, with_store)
    first = operator.converge("-vvv")
    converged(first)
    login = lab.exec(MUELLER, ["cat", layout.BACKUP_LOGIN]).stdout.strip()
    certificate = lab.exec(RELAY, ["sh", "-c", SERVE], stdin=f"mueller:{login}\n", timeout_s=300).stdout
    relay = lab.exec(RELAY, ["sh", "-c", "ip -4 -o addr show eth0 | sed 's/.*inet //; s,/.*,,'"]).stdout.strip()
    socket = f"[Socket]\nListenStream=127.0.0.1:{layout.STORE_TUNNEL_PORT}\n[Install]\nWantedBy=sockets.target\n"
    lab.exec(MUELLER, ["sh", "-c", FORWARD, "sh", relay], stdin=socket)
    key = lab.exec(RELAY, ["cut", "-d ", "-f1,2", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.strip()
    told = operator.inventory / f"collected/{RELAY}.yaml"
    told.parent.mkdir(exist_ok=True)
    raw = x509.load_pem_x509_certificate(certificate.encode()).public_bytes(Encoding.DER)
    data = {"host_keys": [key], "store_certificate": base64.b64encode(raw).decode()}
    told.write_text(yaml.safe_dump(data, width=10_000))
    second: Converge = operator.converge("-vvv")
    converged(second)
    return operator, (first.output, second.output)


def kept_bytes(lab: Lab) -> int:
    """How much the store has been given."""
    return int(lab.exec(RELAY, ["du", "-sb", KEPT]).stdout.split()[0])
