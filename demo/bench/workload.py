"""The crowd's workload: the same forty resources for every peer, as data.

4 directories, 15 files, 5 users in one group with a file of keys each, 10 packages in one operation, 5 links, 5 lines.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DIRECTORIES = {"/etc/bench": "755", "/etc/bench-keys": "755", "/srv/bench": "750", "/srv/bench/links": "700"}
FILES = {
    f"/etc/bench/part-{number:02}.conf": (f"# part {number}\n" + f"setting_{number} = {number}\n" * 100, mode)
    for number, mode in enumerate(["644"] * 10 + ["600"] * 3 + ["755"] * 2)
}
GROUP = "hearth-operators"
"""What ``hearth.operators`` calls the group of those whom it makes accounts for."""
USERS = tuple(f"member{number}" for number in range(1, 6))
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIsCbkhXTXsHzBYmBWoNiMN0zGsJArQ6lcN67nWNsYFU"
KEYS = {f"/etc/bench-keys/{name}": f"{KEY} {name}\n" for name in USERS}
PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "netbase",
    "openssh-server",
    "openssl",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
)
LINKS = {f"/srv/bench/links/{number}": f"/etc/bench/part-{number:02}.conf" for number in range(5)}
LINES_FILE = "/etc/bench/lines.conf"
LINES = tuple(f"line_{number} = on" for number in range(1, 6))


def write(folder: Path) -> Path:
    """Write the files to put below ``folder``, and the workload as Ansible's variables; the path of these."""
    files: list[dict[str, Any]] = []
    for path, (text, mode) in {**FILES, **{path: (text, "644") for path, text in KEYS.items()}}.items():
        source = folder / "files" / path.lstrip("/")
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text)
        files.append({"src": str(source), "path": path, "mode": f"0{mode}"})
    variables = {
        "bench_directories": [{"path": path, "mode": f"0{mode}"} for path, mode in DIRECTORIES.items()],
        "bench_files": files,
        "bench_group": GROUP,
        "bench_users": list(USERS),
        "bench_packages": list(PACKAGES),
        "bench_links": [{"path": path, "target": target} for path, target in LINKS.items()],
        "bench_lines_file": LINES_FILE,
        "bench_lines": list(LINES),
    }
    target = folder / "workload.json"
    target.write_text(json.dumps(variables))
    return target
