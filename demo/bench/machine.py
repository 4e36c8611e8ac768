"""The machine's words: what a figure must be read with."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from demo.bench.peers import REPOSITORY, VENV


def words() -> dict[str, str]:
    """Name and value of each, in the order in which they are shown."""
    return {
        "CPU": cpu_model(Path("/proc/cpuinfo").read_text().splitlines()),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": platform.release(),
        "Debian": Path("/etc/debian_version").read_text().strip(),
        "Python": platform.python_version(),
        "OpenSSH": _said("ssh", "-V"),
        "pyinfra": metadata.version("pyinfra"),
        "paramiko": metadata.version("paramiko"),
        "Ansible": _installed("ansible_core"),
        "mitogen": _installed("mitogen"),
        "hearth": _said("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def cpu_model(lines: Iterable[str]) -> str:
    """Given the lines of /proc/cpuinfo, return the processor's name."""
    named = dict(line.replace("\t", "").partition(": ")[::2] for line in lines if ": " in line)
    return named.get("model name") or named.get("Model") or platform.machine()


def _said(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout.strip() or done.stderr.strip()).partition(",")[0] or "unknown"


def _installed(package: str) -> str:
    """The version in the benchmark's own environment."""
    found = next(VENV.glob(f"lib/python3*/site-packages/{package}-*.dist-info"), None)
    return found.name.removesuffix(".dist-info").partition("-")[2] if found else "not installed"
