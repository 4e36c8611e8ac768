"""The benchmark's hosts for stock pyinfra's SSH connector."""

import json
import os
from pathlib import Path

hosts = [
    (
        host["name"],
        {
            "ssh_hostname": host["address"],
            "ssh_port": host["port"],
            "ssh_user": host["user"],
            "ssh_key": host["identity"],
            "ssh_known_hosts_file": os.environ["HEARTH_BENCH_KNOWN_HOSTS"],
            "ssh_strict_host_key_checking": "yes",
            "_sudo": host["user"] != "root",
        },
    )
    for host in json.loads(Path(os.environ["HEARTH_BENCH_HOSTS"]).read_text())
]
