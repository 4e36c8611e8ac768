"""N hosts that cost little: an sshd each, with files of its own, in a mount namespace of its own.

An overlay over the lab's Debian, mounted where nobody else sees it, gone with the sshd. Nothing boots, so a workload
for them does without services. Their CPU seconds are those of their control group; what they were asked is in their
sshd's log.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.bench.lines import free_ports
from demo.bench.measure import cpu_s
from demo.bench.peers import Host
from demo.bench.workload import PACKAGES
from hearth.lab import cgroups
from hearth.lab.hosts import CLEAN_ENVIRONMENT
from hearth.lab.keys import ensure_key_pair
from hearth.lab.process import LabError

START_S = 60
LOG = "var/log/bench-sshd.log"

# The group first: whatever happens afterwards, the processes can be found. 0 stands for the writer.
_LAUNCH = """\
echo 0 > "$1/cgroup.procs"
mount -t overlay -o "$2" hearth-bench "$3"
mount -t proc proc "$3/proc"
mount --rbind /dev "$3/dev"
root=$3
shift 3
exec chroot "$root" "$@"
"""
_SSHD = """\
UsePAM no
PermitRootLogin prohibit-password
LogLevel VERBOSE
Subsystem sftp internal-sftp
PrintMotd no
MaxStartups 200
"""


def sessions(log: str) -> int:
    """Given an sshd's log at LogLevel VERBOSE, return how many commands and subsystems it was asked to start."""
    return sum("Starting session: " in line for line in log.splitlines())


def _launch(group: Path, folder: Path, lower: str, argv: list[str]) -> subprocess.Popen[bytes]:
    """Start ``argv`` in a new mount namespace on an overlay over ``lower``; what it changes lands in ``folder``."""
    for part in ("upper", "work", "root"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "upper").chmod(0o755)
    cgroups.create(group)
    options = f"volatile,redirect_dir=on,lowerdir={lower},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    command = ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", _LAUNCH, "sh"]
    with (folder / "console.log").open("wb") as console:
        return subprocess.Popen(
            [*command, str(group), options, str(folder / "root"), *argv],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env=CLEAN_ENVIRONMENT | {"DEBIAN_FRONTEND": "noninteractive"},
            cwd="/",
            start_new_session=True,
        )


@dataclass(frozen=True)
class Floor:
    """What all instances stand on: read-only layers (uppermost first), their host key, and root's key."""

    layers: tuple[Path, ...]
    host_key: str
    identity: Path


def make_floor(folder: Path, base: Path, group: Path) -> Floor:
    """Install what the workload (and Ansible: python3-apt) presupposes over ``base``. Raises LabError."""
    identity = folder / "keys" / "root"
    public = ensure_key_pair(identity, "root@bench")
    layer = folder / "floor"
    upper = layer / "upper"
    host_key = " ".join(ensure_key_pair(upper / "etc/ssh/ssh_host_ed25519_key", "host@bench").split()[:2])
    texts = {
        "root/.ssh/authorized_keys": f"{public}\n",
        "etc/ssh/sshd_config.d/00-bench.conf": _SSHD,
        "etc/resolv.conf": Path("/etc/resolv.conf").read_text(),
        "etc/hostname": "bench\n",
    }
    for path, text in texts.items():
        (upper / path).parent.mkdir(parents=True, exist_ok=True)
        (upper / path).write_text(text)
    for path, mode in {"etc": 0o755, "etc/ssh": 0o755, "root": 0o700, "root/.ssh": 0o700}.items():
        (upper / path).chmod(mode)
    install = f"apt-get -qq update && apt-get -qq --yes --no-install-recommends install {' '.join(PACKAGES)}"
    process = _launch(group / "floor", layer, str(base), ["sh", "-c", f"{install} && mkdir -p /run/sshd"])
    try:
        status = process.wait(timeout=900)
    finally:
        cgroups.kill(group / "floor")
        process.kill()
        cgroups.remove(group / "floor")
    if status != 0:
        raise LabError(f"The benchmark's hosts got no packages: {(layer / 'console.log').read_text()[-1000:]}")
    return Floor((upper, base), host_key, identity)


@dataclass(frozen=True)
class Instances:
    """N running instances. ``group``: the control group of all of them; ``folder``: one folder an instance in it."""

    floor: Floor
    folder: Path
    group: Path
    ports: tuple[int, ...]

    @property
    def hosts(self) -> tuple[Host, ...]:
        """How the operator reaches them."""
        return tuple(
            Host(f"host-{number}", "127.0.0.1", port, "root", self.floor.identity, self.floor.host_key)
            for number, port in enumerate(self.ports)
        )

    def upper(self, number: int = 0) -> Path:
        """What one instance has changed."""
        return self.folder / str(number) / "upper"

    def cpu_s(self) -> float:
        """CPU seconds that they have used so far, that of the ended processes included."""
        return cpu_s(self.group)

    def commands(self) -> int:
        """What all of them were asked so far: commands and subsystems (a file transfer is one)."""
        logs = (self.upper(number) / LOG for number in range(len(self.ports)))
        return sum(sessions(log.read_text(errors="replace")) for log in logs if log.exists())


@contextmanager
def running(floor: Floor, folder: Path, group: Path, count: int) -> Iterator[Instances]:
    """Start ``count`` fresh instances; end them and remove their files when the block ends. Raises LabError."""
    ports = free_ports(count)
    cgroups.create(group)
    lower = ":".join(str(layer) for layer in floor.layers)
    processes = []
    try:
        for number, port in enumerate(ports):
            sshd = ["/usr/sbin/sshd", "-D", "-E", f"/{LOG}", "-o", f"Port={port}", "-o", "ListenAddress=127.0.0.1"]
            processes.append(_launch(group / str(number), folder / str(number), lower, sshd))
        for number, port in enumerate(ports):
            _wait_until_it_listens(port, folder / str(number) / "console.log")
        yield Instances(floor, folder, group, ports)
    finally:
        cgroups.kill(group)
        for process in processes:
            process.kill()  # interrupted before it was in the group
            process.wait()
        cgroups.remove(group)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_it_listens(port: int, console: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise LabError(f"An sshd of the benchmark does not answer: {console.read_text(errors='replace')[-500:]}")
