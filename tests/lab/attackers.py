"""The attacker of tests/lab/test_tunnel_attacks.py: a lab host with households' keys, and four sshds to try them on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import yaml

from hearth import layout
from hearth.lab.lab import Lab
from roles import tunnel_server
from roles.tunnel_server.accounts import Account, KeyLine, render
from tests.lab.boxes import RELAY, VISITOR, Converge, Operator

RELAY_NAME = "relay1.home.example"
ATTACKER = VISITOR
Variant = Literal["hardened", "server", "key options", "naive"]
PORTS: dict[Variant, int] = {"hardened": 9212, "server": 9213, "key options": 9214, "naive": 9215}
SLOTS = {"mueller": 17, "schmidt": 18}

# Everything that an attacker could wish for.
NAIVE = """\
Port {port}
HostKey /etc/ssh/lab/host_key
PidFile none
AuthorizedKeysFile /etc/ssh/lab/{keys}/all
PermitRootLogin yes
UsePAM yes
PasswordAuthentication yes
KbdInteractiveAuthentication yes
HostbasedAuthentication yes
StrictModes no
PermitUserEnvironment yes
PermitUserRC yes
AcceptEnv *
AllowTcpForwarding yes
GatewayPorts clientspecified
AllowStreamLocalForwarding yes
StreamLocalBindUnlink yes
PermitTunnel yes
X11Forwarding yes
XAuthLocation /usr/bin/true
AllowAgentForwarding yes
Subsystem sftp internal-sftp
MaxStartups 2000
PerSourcePenalties no
"""

# What a relay may have beside the tunnels: a service on every address, and a Unix socket that anybody may open.
BANNERS = """\
import os, socketserver, threading

class Banner(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"banner\\n")

class Everywhere(socketserver.ThreadingTCPServer):
    address_family = socketserver.socket.AF_INET6
    allow_reuse_address = True

unix = socketserver.ThreadingUnixStreamServer("/run/lab-banner.sock", Banner)
os.chmod("/run/lab-banner.sock", 0o666)
threading.Thread(target=unix.serve_forever, daemon=True).start()
Everywhere(("::", 7777), Banner).serve_forever()
"""

# The stand-ins for a cloud's metadata service, a private network and the internet exist on the relay's loopback alone.
PREPARE_RELAY = """\
set -e
useradd --create-home --shell /bin/bash weak
echo weak:weak | chpasswd
install -d -o weak -g weak /home/weak/.ssh
echo 'touch /home/weak/rc-ran' > /home/weak/.ssh/rc
echo 'FROM_HOME=from-home' > /home/weak/.ssh/environment
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/lab/host_key
for address in 169.254.169.254 10.99.0.1 203.0.113.7; do ip address add $address/32 dev lo; done
systemd-run --quiet --unit=lab-banners python3 /etc/ssh/lab/banners.py
for port in 9213 9214 9215; do
  systemd-run --quiet --unit=lab-sshd-$port --service-type=notify /usr/sbin/sshd -D -f /etc/ssh/lab/$port.conf
done
until test -S /run/lab-banner.sock; do sleep 0.1; done
"""
OPEN_PORTS = "nft insert rule inet hearth input tcp dport 9213-9215 accept"

SHELL = """\
read_from() { exec 3<>/dev/tcp/127.0.0.1/$1 && timeout 5 head -c 6 <&3; }
trap 'ssh -S /run/attack.sock -O exit any 2>/dev/null' EXIT
"""
OPTIONS = (
    "-F none -i /root/keys/{key} -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=10 "
    "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
)


@dataclass(frozen=True)
class Sshd:
    """One of the four servers, as the attacker sees it."""

    lab: Lab
    variant: Variant

    @property
    def account(self) -> str:
        return layout.TUNNEL_USER if self.variant in ("hardened", "server") else "weak"

    def expand(self, command: str, key: str, socket: str) -> str:
        """Put the server's address and the key into ``command``."""
        options = OPTIONS.replace("{key}", key)
        port = PORTS[self.variant]
        words = {
            "{forward}": f"ssh {options} -p {port} -f -N -T -M -S {socket} -o ExitOnForwardFailure=yes",
            "{options}": f"{options} -p {port}",
            "{copy_options}": f"-q {options} -P {port}",
            "{account}": f"{self.account}@{RELAY_NAME}",
            "{relay}": RELAY_NAME,
        }
        for word, meaning in words.items():
            command = command.replace(word, meaning)
        return command

    def run(self, command: str, key: str = "mueller") -> str:
        """Run a shell command on the attacker's host; return what it printed, without its errors."""
        script = f"{SHELL}exec 2>/dev/null\n{self.expand(command, key, '/run/attack.sock')}\n"
        done = self.lab.exec(ATTACKER, ["timeout", "30", "bash", "-c", script], check=False, timeout_s=60)
        assert done.returncode != 124, f"no end within 30 s: {command}"
        return done.stdout

    def holds(self, forwards: str, key: str = "mueller") -> bool:
        """Whether the server grants ``forwards`` (ssh's options); they end at once."""
        return "held" in self.run(f"{{forward}} {forwards} {{account}} >/dev/null && echo held", key)

    @contextmanager
    def holding(self, forwards: str, key: str = "mueller") -> Iterator[bool]:
        """Ask for ``forwards`` and keep them while the block runs; gives whether they were granted."""
        socket = f"/run/holding-{key}-{PORTS[self.variant]}.sock"
        command = self.expand(f"{{forward}} {forwards} {{account}} >/dev/null 2>&1", key, socket)
        done = self.lab.exec(ATTACKER, ["timeout", "30", "sh", "-c", command], check=False)
        try:
            yield done.returncode == 0
        finally:
            self.lab.exec(ATTACKER, ["ssh", "-S", socket, "-O", "exit", "any"], check=False)


@dataclass(frozen=True)
class Relay:
    """The converged relay and its operator."""

    lab: Lab
    operator: Operator
    first_run: Converge

    def sshd(self, variant: Variant) -> Sshd:
        return Sshd(self.lab, variant)

    def converge(self) -> Converge:
        run = self.operator.converge(limit=RELAY, deploy="deploys/relay.py")
        # A converge mends the firewall that the tests have opened.
        self.lab.exec(RELAY, shlex.split(OPEN_PORTS))
        return run

    def tell(self, household: str, public_key: str | None) -> None:
        """Make ``public_key`` the one that ``hearth collect`` found on the household's box."""
        path = self.operator.inventory / f"collected/box-{household}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        if public_key is not None:
            path.write_text(yaml.safe_dump({"host_keys": [public_key], "tunnel_key": public_key}, width=1000))


def put(lab: Lab, host: str, path: str, text: str) -> None:
    """Write a file on a lab host, for root alone to read."""
    script = f"umask 077; mkdir -p {Path(path).parent}; cat > {path}"
    lab.exec(host, ["sh", "-c", script], stdin=text)


def make_key(lab: Lab, name: str) -> str:
    """Make a key on the attacker's host; return its public half."""
    path = f"/root/keys/{name}"
    lab.exec(
        ATTACKER,
        ["sh", "-c", f"mkdir -p /root/keys; rm -f {path}*; ssh-keygen -q -t ed25519 -N '' -C {name} -f {path}"],
    )
    kind, blob, _ = lab.exec(ATTACKER, ["cat", f"{path}.pub"]).stdout.split()
    return f"{kind} {blob}"


def prepare(lab: Lab, keys: dict[str, str]) -> None:
    """Start the three weaker sshds on the relay, beside the converged one."""
    folder = "/etc/ssh/lab"
    account = Account(layout.TUNNEL_USER, "tunnel", ())
    plain = "".join(f"{key} {name}\n" for name, key in keys.items())
    lines = [
        KeyLine(key, name, tuple(f"127.10.0.{SLOTS[name]}:{port}" for port in (10443, 10022)))
        for name, key in keys.items()
    ]
    files = {
        "9213.conf": tunnel_server.config((account,), 9213, keys=f"{folder}/server"),
        "9214.conf": NAIVE.format(port=9214, keys="options"),
        "9215.conf": NAIVE.format(port=9215, keys="naive"),
        f"server/{layout.TUNNEL_USER}": plain,
        "options/all": "".join(f"{render(line)}\n" for line in lines),
        "naive/all": plain,
        "banners.py": BANNERS,
    }
    for name, text in files.items():
        put(lab, RELAY, f"{folder}/{name}", text)
    lab.exec(RELAY, ["chmod", "-R", "u=rwX,go=rX", folder])
    lab.exec(RELAY, ["sh", "-c", PREPARE_RELAY])


@pytest.fixture(scope="module")
def relay(lab: Lab, bare_relay: Operator) -> Relay:
    """A relay converged with two households' keys, which the attacker has, and the weaker sshds beside it."""
    keys = {name: make_key(lab, name) for name in SLOTS}
    made = Relay(lab, bare_relay, Converge(0, ""))
    for name, key in keys.items():
        made.tell(name, key)
    run = bare_relay.converge(limit=RELAY, deploy="deploys/relay.py")
    assert run.status == 0, run.output[-4000:]
    prepare(lab, keys)
    lab.exec(RELAY, shlex.split(OPEN_PORTS))
    return Relay(lab, bare_relay, run)
