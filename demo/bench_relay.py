"""What a relay carries: thousands of households' tunnels at once, each a real ``ssh -N`` with a key of its own.

    make bench-relay [N=500]

A relay is converged for N households by deploys/relay.py, and their clients come all at once, from as many addresses as
its firewall wants. Each waits as the box's unit does when it is refused. Then the relay is rebooted. Clients and relay
share this machine's cores, so the times are worse than a relay's of its own; the memory is the relay's alone.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from crowd import ADDRESSES, PER_ADDRESS, RELAY, VISITOR, Crowd, crowd
from rich.console import Console
from rich.table import Table

from hearth.interruption import end_once
from hearth.lab.keys import ensure_key_pair
from hearth.lab.lab import Lab
from hearth.lab.process import LabError

REPOSITORY = Path(__file__).resolve().parents[1]
IDLE_S = 30.0
FORECAST = 5000

# Run on the relay: what the tunnel sshd's control group costs. PSS shares out what processes have in common; page
# tables and kernel stacks (16 KiB a thread on amd64) are the kernel's part that can be told apart.
COST = """
import json, pathlib
group = pathlib.Path("/sys/fs/cgroup/system.slice/hearth-tunnel-sshd.service")
pids = group.joinpath("cgroup.procs").read_text().split()
def kib(pid, file, field):
    try:
        lines = pathlib.Path("/proc", pid, file).read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
cpu = dict(line.split() for line in group.joinpath("cpu.stat").read_text().splitlines())
print(json.dumps({
    "processes": len(pids),
    "user_kib": sum(kib(pid, "smaps_rollup", "Pss") for pid in pids),
    "kernel_kib": sum(kib(pid, "status", "VmPTE") + 16 for pid in pids),
    "cpu_s": int(cpu["usage_usec"]) / 1e6,
}))
"""
LIMITS = (
    "systemctl show --property=TasksMax --property=LimitNOFILE hearth-tunnel-sshd; "
    "sshd -T -f /etc/ssh/hearth-tunnel/sshd_config -C user=hearth-tunnel,host=any,addr=192.0.2.1 | "
    "grep -E '^(maxstartups|logingracetime) '; sysctl kernel.pid_max kernel.threads-max"
)


@dataclass(frozen=True)
class Figures:
    """What was measured. Times in seconds."""

    tunnels: int
    addresses: int
    attempts: int
    refused: int
    up_s: float
    login_cpu_s: float
    processes: int
    user_kib: int
    kernel_kib: int
    idle_cpu: float
    boot_s: float
    back_s: float
    lost: int


def fleet_of(source: Path, folder: Path, count: int) -> Path:
    """A copy of the inventory whose households are ``count`` new ones, and their keys beside it in ``keys``."""
    shutil.copytree(source, folder)
    example = yaml.safe_load((folder / "households/mueller.yaml").read_text())
    for file in (folder / "households").iterdir():
        file.unlink()
    (folder / "collected").mkdir(exist_ok=True)
    del example["support"]
    for number in range(1, count + 1):
        name = f"home{number:05}"
        household = example | {"id": name, "slot": number, "domain": f"{name}.home.example"}
        (folder / f"households/{name}.yaml").write_text(yaml.safe_dump(household, allow_unicode=True))
        key = " ".join(ensure_key_pair(folder.parent / "keys" / name, name).split()[:2])
        told = {"host_keys": [key], "tunnel_key": key}
        (folder / f"collected/box-{name}.yaml").write_text(yaml.safe_dump(told, width=1000))
    return folder


def command(*words: str) -> None:
    """Run one of the operator's commands; raises LabError with the end of its output when it fails."""
    program = Path(sys.executable).with_name(words[0])
    environment = os.environ | {"PYINFRA_PROGRESS": "off"}
    done = subprocess.run(
        [str(program), *words[1:]], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LabError(f"`{' '.join(words)}` failed: {(done.stdout + done.stderr)[-2000:]}")


def converge(inventory: Path) -> None:
    """Converge the relay for all households and collect its tunnel sshd's host key."""
    command("pyinfra", f"{inventory}/", "deploys/relay.py", "--limit", RELAY, "-y")
    command("hearth", "collect", RELAY, "--inventory", str(inventory))


def cost(lab: Lab) -> dict[str, Any]:
    """What the tunnel sshd and its sessions cost now."""
    found: dict[str, Any] = json.loads(lab.exec(RELAY, ["python3", "-"], stdin=COST).stdout)
    return found


def booted_at(lab: Lab) -> str:
    """When the relay's process 1 began, in clock ticks (proc(5)); empty while there is none."""
    try:
        return lab.exec(RELAY, ["cat", "/proc/1/stat"], check=False).stdout.split(" ")[21]
    except (LabError, IndexError):
        return ""


def measure(lab: Lab, everybody: Crowd, console: Console) -> Figures:
    """Let all come, rest, and come back after a reboot."""
    count, empty = len(everybody.clients), cost(lab)
    console.print(f"{count} clients at once …")
    began_at = time.monotonic()
    up = everybody.run(lambda connected: len(connected) == count)
    up_s = time.monotonic() - began_at
    attempts = sum(client.starts for client in everybody.clients)
    full = cost(lab)
    if not up:
        raise LabError(f"no tunnel came up; the last word of a client was: {everybody.last_word()}")
    console.print(f"{len(up)} are up; {IDLE_S:.0f} s of rest, then a reboot of the relay …")
    time.sleep(IDLE_S)
    idle = cost(lab)
    before, ordered_at, listens_at = booted_at(lab), time.monotonic(), [0.0]
    lab.exec(RELAY, ["systemctl", "reboot"], check=False)

    def is_back(connected: set[str]) -> bool:
        if not listens_at[0] and booted_at(lab) not in ("", before):
            port = lab.exec(RELAY, ["ss", "-Hltn", "sport", "=", ":9212"], check=False)
            listens_at[0] = time.monotonic() if port.stdout else 0.0
        return bool(listens_at[0]) and len(connected) == count

    back = everybody.run(is_back)
    return Figures(
        tunnels=count,
        addresses=math.ceil(count / PER_ADDRESS),
        attempts=attempts,
        refused=count - len(up),
        up_s=up_s,
        login_cpu_s=(full["cpu_s"] - empty["cpu_s"]) / count,
        processes=full["processes"] - empty["processes"],
        user_kib=full["user_kib"] - empty["user_kib"],
        kernel_kib=full["kernel_kib"] - empty["kernel_kib"],
        idle_cpu=(idle["cpu_s"] - full["cpu_s"]) / IDLE_S,
        boot_s=listens_at[0] - ordered_at,
        back_s=time.monotonic() - ordered_at,
        lost=count - len(back),
    )


def report(found: Figures, limits: str) -> list[Table]:
    """The figures, and what they would come to for FORECAST households."""
    cores = os.cpu_count() or 1
    tunnel_mib = (found.user_kib + found.kernel_kib) / found.tunnels / 1024
    measured = Table("measured", f"{found.tunnels} tunnels", title=f"clients and relay share {cores} cores")
    rows = {
        "source addresses": f"{found.addresses}",
        "logins a second": f"{(found.tunnels - found.refused) / found.up_s:.0f}",
        "time until all are up": f"{found.up_s:.1f} s",
        "attempts": f"{found.attempts}",
        "refused for good": f"{found.refused}",
        "the relay's CPU a login": f"{found.login_cpu_s * 1000:.0f} ms",
        "processes a tunnel": f"{found.processes / found.tunnels:.1f}",
        "memory a tunnel, user (PSS)": f"{found.user_kib / found.tunnels / 1024:.2f} MiB",
        "memory a tunnel, page tables and kernel stacks": f"{found.kernel_kib / found.tunnels / 1024:.2f} MiB",
        "idle CPU of all tunnels": f"{found.idle_cpu:.1%} of a core",
        "reboot: from the order until the port is open": f"{found.boot_s:.1f} s",
        "reboot: from the order until all are back": f"{found.back_s:.1f} s",
        "reboot: never came back": f"{found.lost}",
        **{line.partition(sign)[0].strip(): line.partition(sign)[2].strip() for line, sign in limit_lines(limits)},
    }
    for row in rows.items():
        measured.add_row(*row)
    share = FORECAST / found.tunnels
    forecast = Table("extrapolated, not measured", f"{FORECAST} tunnels", title="in proportion to the above")
    forecast.add_row("memory", f"{FORECAST * tunnel_mib / 1024:.1f} GiB, sockets and the system itself not counted")
    forecast.add_row("processes", f"{FORECAST * found.processes / found.tunnels:.0f}: needs a pid_max above that")
    forecast.add_row("CPU of all logins", f"{FORECAST * found.login_cpu_s:.0f} s of one core")
    forecast.add_row(f"time until all are up, on {cores} cores shared as here", f"{found.up_s * share:.0f} s")
    forecast.add_row("idle CPU", f"{found.idle_cpu * share:.0%} of a core")
    return [measured, forecast]


def limit_lines(limits: str) -> Iterator[tuple[str, str]]:
    """Each line of what LIMITS prints, with what stands between its name and its value."""
    for line in limits.splitlines():
        yield line, "=" if "=" in line else " "


def main() -> int:
    """Measure on a lab of its own and print the tables; exit status 1 when a tunnel was refused for good."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    most = len(ADDRESSES) * PER_ADDRESS
    console = Console()
    if not 1 <= count <= most:
        console.print(f"The lab has addresses for 1 to {most} tunnels: {count} is none of them.")
        return 1
    end_once()
    with tempfile.TemporaryDirectory() as temporary:
        folder, lab = Path(temporary), Lab("bench-relay")
        example = folder / "inventory"
        ignored = shutil.ignore_patterns("local.yaml", "authority", "collected")
        shutil.copytree(REPOSITORY / "inventory", example, ignore=ignored)
        try:
            lab.up([RELAY, VISITOR], example)
            console.print(f"Converging {RELAY} for {count} households …")
            inventory = fleet_of(example, folder / "fleet", count)
            converge(inventory)
            with crowd(lab, inventory) as everybody:
                figures = measure(lab, everybody, console)
            limits = lab.exec(RELAY, ["sh", "-c", LIMITS]).stdout
        except LabError as fault:
            console.print(f"[red]The relay was not measured: {fault}[/red]")
            return 1
        except KeyboardInterrupt:
            console.print("Interrupted: ending the clients and taking the lab down …")
            return 130
        finally:
            lab.down()
    for table in report(figures, limits):
        console.print(table)
    return 1 if figures.refused or figures.lost else 0


if __name__ == "__main__":
    sys.exit(main())
