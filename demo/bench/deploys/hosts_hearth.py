"""The benchmark's sshd instances as hosts of hearth's connector, for ``pyinfra``."""

import json
import os
from pathlib import Path

from hearth.inventory.hosts import Road

hosts = [
    (
        f"@hearth/{host['name']}",
        {"roads": (Road(host["address"], host["port"], host["user"], (host["host_key"],), Path(host["identity"])),)},
    )
    for host in json.loads(Path(os.environ["HEARTH_BENCH_HOSTS"]).read_text())
]
