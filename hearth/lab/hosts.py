"""One host of the lab: its files, its boot, its end, and a way in that needs no network.

A host's files are an overlay: its own folder ``upper`` over read-only layers. The overlay is mounted in a mount
namespace of the host's own, so it is gone when the host's last process is gone, whatever ended it: nothing is ever
mounted where somebody would have to unmount it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hearth.lab import cgroups, keys
from hearth.lab.process import LabError
from hearth.lab.topology import Names

CLEAN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": os.environ.get("TERM", "dumb"),
}

# The group first, then the rest: whatever happens afterwards, the processes can be found. 0 stands for the writer.
# nspawn ends with 133 when the host wants to reboot and leaves the rest to whoever started it. It divides its group,
# and into a divided group no process can go: so the loop that starts it stands beside, and makes it anew each time.
# `volatile`: the overlay does not wait for the disk on each sync, which halves the time apt takes; a killed host loses
# nothing by it, only a crash of this machine would. `redirect_dir`: a folder of a lower layer can be renamed, as on any
# disk; without it renaming one fails with EXDEV, and a box of a snapshot could not exchange two releases.
LAUNCH = """\
group=$1
echo 0 > "$group/launcher/cgroup.procs"
mount -t overlay -o "$2" hearth-lab "$3"
shift 3
while :; do
  find "$group/machine" -depth -type d -delete
  mkdir "$group/machine"
  status=0
  ( echo 0 > "$group/machine/cgroup.procs"; exec "$@" ) || status=$?
  test $status = 133 || exit $status
done
"""


@dataclass(frozen=True)
class Machine:
    """A host as files and processes. ``folder``: its place in the lab's state folder."""

    names: Names
    name: str
    folder: Path

    @property
    def group(self) -> Path:
        """The control group of all its processes."""
        return cgroups.group(self.names.lab, self.name)

    @property
    def upper(self) -> Path:
        """The files it has changed."""
        return self.folder / "upper"

    @property
    def identity(self) -> Path:
        """The files that make it this host: copied onto a fresh ``upper``."""
        return self.folder / "identity"

    @property
    def console(self) -> Path:
        """What it printed while booting."""
        return self.folder / "console.log"


def make_identity(machine: Machine, hosts_file: str, resolver: str, root_key: str) -> None:
    """Make a new host's name, machine id, SSH host keys, name resolution, and root's key of the first day."""
    root = machine.identity
    texts = {
        "etc/hostname": f"{machine.name}\n",
        "etc/hosts": hosts_file,
        "etc/machine-id": f"{uuid.uuid4().hex}\n",
        # A question that got lost on a busy machine is asked again after a second, not after five.
        "etc/resolv.conf": f"nameserver {resolver}\noptions timeout:1 attempts:5\n",
        "root/.ssh/authorized_keys": f"{root_key}\n",
    }
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for kind in ("ed25519", "rsa"):
        keys.ensure_key_pair(root / f"etc/ssh/ssh_host_{kind}_key", f"root@{machine.name}", rsa=kind == "rsa")
    # These modes become the host's own: an overlay shows a folder as its uppermost layer has it.
    for folder in root.glob("**/"):
        folder.chmod(0o700 if folder.is_relative_to(root / "root") else 0o755)


def host_keys(machine: Machine) -> tuple[str, ...]:
    """The host's public SSH keys, as a known_hosts file has them: type and key."""
    files = sorted(machine.identity.glob("etc/ssh/ssh_host_*_key.pub"))
    return tuple(" ".join(path.read_text().split()[:2]) for path in files)


def fresh_files(machine: Machine, *, with_identity: bool) -> None:
    """Throw away what the host has changed. ``with_identity``: make it this host again, over foreign layers."""
    shutil.rmtree(machine.upper, ignore_errors=True)
    if with_identity:
        shutil.copytree(machine.identity, machine.upper)
    else:
        machine.upper.mkdir()
    machine.upper.chmod(0o755)


def boot(machine: Machine, layers: Sequence[str]) -> None:
    """Start the host on ``layers`` (the uppermost first), in its network namespace, and return at once."""
    work, root = machine.folder / "work", machine.folder / "root"
    # A volatile overlay refuses a work folder that was used before.
    shutil.rmtree(work, ignore_errors=True)
    for folder in (work, root):
        folder.mkdir(parents=True, exist_ok=True)
    for part in ("launcher", "machine"):
        cgroups.create(machine.group / part)
    options = f"volatile,redirect_dir=on,lowerdir={':'.join(layers)},upperdir={machine.upper},workdir={work}"
    nspawn = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", f"--directory={root}"]
    nspawn += [f"--machine={machine.names.machine(machine.name)}", f"--hostname={machine.name}"]
    nspawn += [f"--network-namespace-path=/run/netns/{machine.names.host(machine.name)}"]
    # The host's own firewall rules; the namespace is nobody else's.
    nspawn += ["--capability=CAP_NET_ADMIN"]
    nspawn += ["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only"]
    launcher = ["setsid", "--fork", "unshare", "--mount", "--propagation", "slave", "sh", "-ec", LAUNCH, "sh"]
    with machine.console.open("wb") as console:
        subprocess.run(
            [*launcher, str(machine.group), options, str(root), *nspawn],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            # Debian 13 does not boot on version 1 control groups.
            env={**CLEAN_ENVIRONMENT, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            cwd="/",
            check=True,
        )


def is_running(machine: Machine) -> bool:
    """Whether any process of the host lives."""
    return cgroups.is_populated(machine.group)


def init_pid(machine: Machine) -> int | None:
    """The host's process 1 as this machine numbers it; None while there is none."""
    for part in ("machine/payload/init.scope", "machine/payload"):
        with contextlib.suppress(OSError):
            for line in (machine.group / part / "cgroup.procs").read_text().split():
                if _is_first(int(line)):
                    return int(line)
    return None


def wait_running(machine: Machine, timeout_s: float) -> str:
    """Wait until systemd says that the boot is over; return its word (``running`` or ``degraded``).

    Raises ``LabError`` with the console's last line when the host dies or ``timeout_s`` seconds do not suffice.
    """
    deadline = time.monotonic() + timeout_s
    started_at = time.monotonic()
    while time.monotonic() < deadline:
        state = system_state(machine)
        if state in ("running", "degraded"):
            return state
        if not is_running(machine) and time.monotonic() - started_at > 2:
            break
        time.sleep(0.1)
    raise LabError(f"{machine.name} did not boot; {machine.console} ends with: {_last_lines(machine.console)}")


def system_state(machine: Machine) -> str:
    """What systemd in the host says of itself; empty while it cannot be asked."""
    try:
        return execute(machine, ["systemctl", "is-system-running"], timeout_s=20).stdout.strip()
    except LabError:
        return ""


def way_in(machine: Machine, argv: Sequence[str]) -> list[str]:
    """The command that runs ``argv`` as root inside the host, past its network and its sshd.

    Raises ``LabError`` when the host does not run.
    """
    pid = init_pid(machine)
    if pid is None:
        raise LabError(f"{machine.name} does not run: start it with `hearth lab up {machine.name}`.")
    spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
    return ["nsenter", f"--target={pid}", *spaces, "--", *argv]


def execute(
    machine: Machine, argv: Sequence[str], *, stdin: str | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run ``argv`` as root inside the host; its output is text. Raises ``LabError`` after ``timeout_s`` seconds."""
    with subprocess.Popen(
        way_in(machine, argv),
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=CLEAN_ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    ) as process:
        try:
            output, complaint = process.communicate(stdin, timeout=timeout_s)
        except BaseException as error:
            # nsenter has a child inside the host, which would outlive it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                message = f"`{' '.join(argv)}` on {machine.name} took longer than {timeout_s:g} s."
                raise LabError(message) from error
            raise
    return subprocess.CompletedProcess(list(argv), process.returncode, output, complaint)


def shut_down(machine: Machine, timeout_s: float) -> None:
    """Shut the host down cleanly; after ``timeout_s`` seconds cut its power."""
    begin_shut_down(machine)
    cgroups.wait_empty(machine.group, timeout_s)
    cut_power(machine)


def begin_shut_down(machine: Machine) -> None:
    """Ask the host to shut down and return at once; systemd-nspawn passes SIGTERM on as an orderly power-off."""
    cgroups.terminate(machine.group, "systemd-nspawn")


def cut_power(machine: Machine) -> None:
    """End every process of the host at once, as a pulled plug does."""
    cgroups.kill(machine.group)
    cgroups.remove(machine.group)


def remove_traces(names: Names) -> None:
    """Remove what nspawn leaves of a lab's killed hosts in /run: an empty folder a machine name."""
    for folder in ("propagate", "unix-export"):
        for path in Path("/run/systemd/nspawn", folder).glob(f"{names.namespace_prefix}*"):
            with contextlib.suppress(OSError):
                path.rmdir()


def _is_first(pid: int) -> bool:
    """Whether the process is number 1 of a process namespace directly below ours."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return len(numbers) == 2 and numbers[1] == "1"


def _last_lines(path: Path) -> str:
    try:
        lines = [line.strip() for line in path.read_text(errors="replace").split("\n") if line.strip()]
    except OSError:
        return "nothing"
    return " | ".join(lines[-4:]) or "nothing"
