"""An attacker with valid keys, and the tunnel sshds to try them on: the converged one, and three weaker ones beside it.

hardened      the host as it was converged: both fences
server        sshd's configuration alone: the keys' lines carry no options
key options   the keys' lines alone: an sshd that allows everything, an account with a shell
naive         neither; here each attack has to work, or it would prove nothing
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hearth.lab.lab import Lab
from roles import tunnel_server
from roles.tunnel_server.accounts import Account, key_files, render

ATTACKER = "visitor"
Variant = Literal["hardened", "server", "key options", "naive"]
VARIANTS: tuple[Variant, ...] = ("hardened", "server", "key options", "naive")
PORTS: dict[Variant, int] = {"hardened": 9212, "server": 9213, "key options": 9214, "naive": 9215}
OPEN_PORTS = "nft insert rule inet hearth input tcp dport 9213-9215 accept"

BOTH = frozenset({"server", "key options"})
SERVER = frozenset({"server"})
KEY = frozenset({"key options"})

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

# What a host may have beside the tunnels: services on every address, and a Unix socket that anybody may open.
BANNERS = """\
import os, socketserver, sys, threading

class Banner(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"banner\\n")

class Everywhere(socketserver.ThreadingTCPServer):
    address_family = socketserver.socket.AF_INET6
    allow_reuse_address = True

for port in sys.argv[1:]:
    threading.Thread(target=Everywhere(("::", int(port)), Banner).serve_forever).start()
unix = socketserver.ThreadingUnixStreamServer("/run/lab-banner.sock", Banner)
os.chmod("/run/lab-banner.sock", 0o666)
unix.serve_forever()
"""

# The stand-ins for a cloud's metadata service, a private network and the internet exist on the host's loopback alone.
STAND_INS = ("169.254.169.254", "10.99.0.1", "203.0.113.7")
BANNER_PORT = 7777
START_SERVICES = """\
set -e
for address in {stand_ins}; do ip address add $address/32 dev lo; done
systemd-run --quiet --unit=lab-banners python3 /etc/ssh/lab/banners.py {ports}
until test -S /run/lab-banner.sock; do sleep 0.1; done
"""
START_SSHDS = """\
set -e
useradd --create-home --shell /bin/bash weak
echo weak:weak | chpasswd
install -d -o weak -g weak /home/weak/.ssh
echo 'touch /home/weak/rc-ran' > /home/weak/.ssh/rc
echo 'FROM_HOME=from-home' > /home/weak/.ssh/environment
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/lab/host_key
for port in 9213 9214 9215; do
  systemd-run --quiet --unit=lab-sshd-$port --service-type=notify /usr/sbin/sshd -D -f /etc/ssh/lab/$port.conf
done
"""

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
    """One of the four servers, as the attacker sees it. ``host``, ``name``: the lab's, DNS's; ``user`` has ``key``."""

    lab: Lab
    variant: Variant
    host: str
    name: str
    user: str
    key: str

    @property
    def account(self) -> str:
        return self.user if self.variant in ("hardened", "server") else "weak"

    def expand(self, command: str, key: str, socket: str) -> str:
        """Put the server's address and the key into ``command``."""
        options = OPTIONS.replace("{key}", key)
        port = PORTS[self.variant]
        words = {
            "{forward}": f"ssh {options} -p {port} -f -N -T -M -S {socket} -o ExitOnForwardFailure=yes",
            "{options}": f"{options} -p {port}",
            "{copy_options}": f"-q {options} -P {port}",
            "{account}": f"{self.account}@{self.name}",
            "{host}": self.name,
        }
        for word, meaning in words.items():
            command = command.replace(word, meaning)
        return command

    def run(self, command: str, key: str | None = None) -> str:
        """Run a shell command on the attacker's host; return what it printed, without its errors."""
        script = f"{SHELL}exec 2>/dev/null\n{self.expand(command, key or self.key, '/run/attack.sock')}\n"
        done = self.lab.exec(ATTACKER, ["timeout", "30", "bash", "-c", script], check=False, timeout_s=60)
        assert done.returncode != 124, f"no end within 30 s: {command}"
        return done.stdout

    def reads(self, target: str, send: str = "") -> str:
        """What a service that the host can reach answers; ``send``: what it is told first, as printf takes it."""
        source = f"printf '{send}' |" if send else "</dev/null"
        return self.run(f"{source} ssh {{options}} -W {target} {{account}}")

    def holds(self, forwards: str, key: str | None = None) -> bool:
        """Whether the server grants ``forwards`` (ssh's options); they end at once."""
        return "held" in self.run(f"{{forward}} {forwards} {{account}} >/dev/null && echo held", key)

    @contextmanager
    def holding(self, forwards: str, key: str | None = None) -> Iterator[bool]:
        """Ask for ``forwards`` and keep them while the block runs; gives whether they were granted."""
        key = key or self.key
        socket = f"/run/holding-{key}-{self.user}-{PORTS[self.variant]}.sock"
        command = self.expand(f"{{forward}} {forwards} {{account}} >/dev/null 2>&1", key, socket)
        done = self.lab.exec(ATTACKER, ["timeout", "30", "sh", "-c", command], check=False)
        try:
            yield done.returncode == 0
        finally:
            self.lab.exec(ATTACKER, ["ssh", "-S", socket, "-O", "exit", "any"], check=False)


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
    return public_half(lab, name)


def public_half(lab: Lab, name: str) -> str:
    """The public half of a key that ``make_key`` has made."""
    kind, blob, _ = lab.exec(ATTACKER, ["cat", f"/root/keys/{name}.pub"]).stdout.split()
    return f"{kind} {blob}"


def start_services(lab: Lab, host: str, *ports: int) -> None:
    """Start services that answer ``banner`` at BANNER_PORT and ``ports`` of every address, and at a Unix socket."""
    put(lab, host, "/etc/ssh/lab/banners.py", BANNERS)
    listed = " ".join(str(port) for port in (BANNER_PORT, *ports))
    lab.exec(host, ["sh", "-c", START_SERVICES.format(stand_ins=" ".join(STAND_INS), ports=listed)])


def start_weaker_sshds(lab: Lab, host: str, accounts: Sequence[Account]) -> None:
    """Start the three weaker sshds on a host, beside the converged one.

    A key may stand for one account alone: the sshds without fences know one account for all.
    """
    folder = "/etc/ssh/lab"
    lines = [line for account in accounts for line in account.keys]
    plain = {line.key: f"{line.key} {line.name}\n" for line in lines}
    files = {
        "9213.conf": tunnel_server.config(accounts, (9213,), keys=f"{folder}/server"),
        "9214.conf": NAIVE.format(port=9214, keys="options"),
        "9215.conf": NAIVE.format(port=9215, keys="naive"),
        "options/all": "".join(f"{render(line)}\n" for line in lines),
        "naive/all": "".join(plain.values()),
    }
    for account in accounts:
        for path, text in key_files(account, "server").items():
            files[path] = "".join(whole for key, whole in plain.items() if key in text)
    for name, text in files.items():
        put(lab, host, f"{folder}/{name}", text)
    lab.exec(host, ["chmod", "-R", "u=rwX,go=rX", folder])
    lab.exec(host, ["sh", "-c", START_SSHDS])


@dataclass(frozen=True)
class Attack:
    """``works``: whether it did, by its effect. ``fences``: those that refuse it without the other's help."""

    row: int
    name: str
    works: Callable[[Sshd], bool]
    fences: frozenset[str] = BOTH

    def __str__(self) -> str:
        return f"{self.row}: {self.name}"

    def is_refused_as_it_shall_be(self, sshd: Sshd) -> bool:
        """Whether it works where it has to (without a fence that claims to refuse it), and nowhere else."""
        expected = sshd.variant == "naive" or (sshd.variant != "hardened" and sshd.variant not in self.fences)
        return self.works(sshd) is expected


def publish(row: int, spec: str, fences: frozenset[str] = BOTH) -> Attack:
    """Listen on the host as ``spec`` (ssh -R) says."""
    return Attack(row, f"-R {spec}", lambda sshd: sshd.holds(f"-R {spec}"), fences)


def reach(row: int, target: str, fences: frozenset[str] = BOTH) -> Attack:
    """Read the first bytes of a service that the host can reach."""
    return Attack(row, f"-W {target}", lambda sshd: sshd.reads(target) != "", fences)


def run(row: int, name: str, command: str, want: str, fences: frozenset[str] = BOTH) -> Attack:
    """Run ``command`` on the attacker's side, and look for ``want`` in what it printed."""
    return Attack(row, name, lambda sshd: want in sshd.run(command), fences)


def copies(row: int, name: str, command: str) -> Attack:
    """Run ``command``, which would print the host's /etc/hostname."""
    return Attack(row, name, lambda sshd: sshd.host in sshd.run(command))


def rc_runs(sshd: Sshd) -> bool:
    sshd.lab.exec(sshd.host, ["rm", "-f", "/home/weak/rc-ran"])
    sshd.run("ssh {options} {account} true")
    return sshd.lab.exec(sshd.host, ["test", "-e", "/home/weak/rc-ran"], check=False).returncode == 0


METHODS = "ssh {options} -v -o PreferredAuthentications=none {account} 2>&1 | grep 'can continue'"
ANYBODYS = [
    run(1, "exec", "ssh {options} {account} 'echo got-$((40+2))'", "got-42"),
    run(1, "shell", "echo 'echo got-$((40+2))' | ssh {options} -T {account}", "got-42"),
    run(1, "terminal", "ssh {options} -tt {account} 'echo got-$((40+2))' </dev/null", "got-42"),
    run(2, "sftp, ssh -s sftp", "echo pwd | sftp {copy_options} -b - {account}", "Remote working directory"),
    copies(2, "scp", "cd /root && rm -f hostname; scp {copy_options} {account}:/etc/hostname . && cat hostname"),
    copies(2, "scp -O", "scp -O {copy_options} {account}:/etc/hostname /dev/stdout"),
    publish(6, "/tmp/own.sock:127.0.0.1:22", SERVER),
    *(reach(8, f"{address}:{BANNER_PORT}") for address in STAND_INS),
    run(
        9, "-L to a Unix socket", "{forward} -L 127.0.0.1:5555:/run/lab-banner.sock {account}; read_from 5555", "banner"
    ),
    run(10, "-w", "{forward} -w any:any root@{host} && echo got a device", "got a device", SERVER),
    run(11, "-X", "DISPLAY=127.0.0.1:0 ssh {options} -Y {account} 'echo display=$DISPLAY'", "display=localhost"),
    run(11, "-A", "ssh-agent ssh {options} -A {account} 'test -S \"$SSH_AUTH_SOCK\" && echo agent'", "agent"),
    Attack(12, "~/.ssh/rc", rc_runs),
    run(12, "~/.ssh/environment", "ssh {options} {account} 'echo $FROM_HOME'", "from-home"),
    run(12, "SendEnv", "SENT=by-me ssh {options} -o SendEnv=SENT {account} 'echo $SENT'", "by-me"),
    run(13, "root's account", "ssh {options} root@{host} id", "uid=0"),
    *(run(14, method, METHODS, method, SERVER) for method in ("password", "keyboard-interactive", "hostbased")),
]
"""What any key could be tried for, whatever it is for."""
