"""What a night costs a home's line: the backup of a nearly unchanged box, beside borg on the same data.

    make bench-backup [GB=2]

A box in the lab gets photographs and small files, everything is backed up once over a fast line, and then one day
passes: some new photographs, a film's file moved, a changed calendar. The second backup, as the box's own timer would
make it, goes through the tunnel over a line of 10 Mbit/s and 20 ms (``slow_line.py``); then borg sends the same folders
and the same dump over the same line by SSH to the same relay. Bytes are those on the line, TLS and SSH included.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from run import REPOSITORY, join, run, tunnel_is_up, wait_for

from hearth.inventory import load_or_raise
from hearth.lab.lab import Lab

BOX, RELAY, HOUSEHOLD = "box-mueller", "relay1", "mueller"
MEGABITS_PER_S, ROUND_TRIP_MS, PORT = 10, 20, 7212
FIRST_LIMIT = "900M"
FILES = "/srv/hearth/data/renate/files"

FILL = """
import os, pathlib, sys
files, total = pathlib.Path(sys.argv[1]), int(sys.argv[2])
day = files / "2026-11"; day.mkdir(exist_ok=True)
for number in range(total // 4_000_000):
    folder = files / f"album{number // 50}"; folder.mkdir(exist_ok=True)
    (folder / f"IMG_{number:05}.jpg").write_bytes(os.urandom(4_000_000))
for number in range(5000):
    folder = files / f"papers{number // 200}"; folder.mkdir(exist_ok=True)
    (folder / f"letter{number}.txt").write_text(f"Letter {number}\\n" + os.urandom(1000).hex())
os.system(f"chown -R www-data: {files}")
"""
A_DAY = """
import os, pathlib, sys
files = pathlib.Path(sys.argv[1])
for number in range(3):
    (files / f"2026-11/IMG_9{number}.jpg").write_bytes(os.urandom(1_000_000))
(files / "album0").rename(files / "Sommer")
for number in range(20):
    (files / f"papers1/letter{200 + number}.txt").write_text("changed")
os.system(f"chown -R www-data: {files}")
"""
REDIRECT = f"""
nft -f - <<N
table ip slow_line {{
  chain output {{
    type nat hook output priority -100;
    meta mark 7212 accept
    ip daddr $1 tcp dport {{ 22, 2222, 8444, 9212 }} redirect to :{PORT}
  }}
}}
N
"""
BORG = f"""
set -eu
export BORG_REPO=ssh://root@$1:$2/srv/borg BORG_PASSPHRASE=bench BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
export BORG_RSH="ssh -i /root/.ssh/borg -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
case "$3" in
  init) borg init --encryption repokey ;;
  create) mariadb-dump --single-transaction --skip-extended-insert --skip-dump-date hearth_cloud > /srv/hearth/dump.sql
    borg create --compression zstd,3 "::$(date +%s)" {FILES.rpartition("/")[0].rpartition("/")[0]} /srv/hearth/dump.sql ;;
esac
"""

console = Console(highlight=False)


@dataclass(frozen=True)
class Night:
    """What one backup cost."""

    seconds: float
    up_bytes: int
    down_bytes: int


def sh(lab: Lab, host: str, script: str, *arguments: str, stdin: str = "") -> str:
    """Run a script on a host as root; raises LabError when it fails."""
    return lab.exec(host, ["sh", "-c", script, "sh", *arguments], stdin=stdin, timeout_s=3600).stdout


def back_up(lab: Lab) -> None:
    """Let the box's own unit run; raises LabError when it fails."""
    sh(lab, BOX, "systemctl start hearth-backup.service")


@contextmanager
def slow_line(lab: Lab, relay: str) -> Iterator[Callable[[], tuple[int, int]]]:
    """The box behind a slow line to its relay; yields what tells the bytes up and down since it was asked last."""
    program = (Path(__file__).parent / "slow_line.py").read_text()
    lab.exec(BOX, ["tee", "/root/slow_line.py"], stdin=program)
    words = ["python3", "/root/slow_line.py", str(PORT), str(MEGABITS_PER_S), str(ROUND_TRIP_MS)]
    with subprocess.Popen(
        lab.exec_command(BOX, words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as proxy:
        assert proxy.stdin is not None  # noqa: S101 (for the type)
        assert proxy.stdout is not None  # noqa: S101
        stdin, stdout = proxy.stdin, proxy.stdout

        def passed() -> tuple[int, int]:
            stdin.write("\n")
            stdin.flush()
            told = json.loads(stdout.readline())
            return told["up_bytes"], told["down_bytes"]

        passed()
        sh(lab, BOX, REDIRECT, relay)
        try:
            yield passed
        finally:
            sh(lab, BOX, "nft delete table ip slow_line")
            stdin.close()


def measured(passed: Callable[[], tuple[int, int]], work: Callable[[], None]) -> Night:
    """Do something over the slow line and return what it cost."""
    passed()
    begun = time.monotonic()
    work()
    seconds = time.monotonic() - begun
    return Night(seconds, *passed())


def report(size_gb: float, nights: dict[str, Night]) -> Table:
    """The figures as a table."""
    table = Table(title=f"{size_gb:g} GB nearly unchanged, over {MEGABITS_PER_S} Mbit/s and {ROUND_TRIP_MS} ms")
    for head in ("", "seconds", "MB up", "MB down"):
        table.add_column(head, justify="right" if head else "left")
    for name, night in nights.items():
        table.add_row(name, f"{night.seconds:.1f}", f"{night.up_bytes / 1e6:.2f}", f"{night.down_bytes / 1e6:.2f}")
    return table


def prepare(lab: Lab, inventory: Path) -> str:
    """A relay with a store, a box with a tunnel; returns the relay's address."""
    lab.up([RELAY, BOX], inventory)
    household = next(each for each in load_or_raise(inventory).households if each.id == HOUSEHOLD)
    join(lab, inventory, RELAY, household)
    run("pyinfra", f"{inventory}/", "deploys/box.py", "--limit", BOX, "-y")
    wait_for("tunnel", 60, lambda: tunnel_is_up(lab, RELAY, household), "see hearth-tunnel's journal")
    return sh(lab, RELAY, "ip -4 -o addr show eth0 | sed 's/.*inet //; s,/.*,,'").strip()


def borg(lab: Lab, relay: str, verb: str) -> None:
    """Run borg on the box, as root, to the relay."""
    sh(lab, BOX, BORG, relay, "2222", verb)


def prepare_borg(lab: Lab, relay: str) -> None:
    """borg on both hosts, and a key that lets root of the box in at the relay, on an sshd of the bench's own."""
    for host in (BOX, RELAY):
        install = "DEBIAN_FRONTEND=noninteractive apt-get -qqy install --no-install-recommends borgbackup"
        sh(lab, host, f"apt-get -qq update && {install} >/dev/null")
    key = sh(
        lab, BOX, "mkdir -p /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/borg; cat /root/.ssh/borg.pub"
    )
    # On a port that the relay's firewall lets in while the operators' own sshd rests.
    serve = (
        "mkdir -p /etc/bench /srv && cat > /etc/bench/keys && systemctl stop ssh.socket ssh.service 2>/dev/null; "
        "systemd-run --quiet --unit=bench-sshd /usr/sbin/sshd -D -f /dev/null -p 2222 -o AuthorizedKeysFile=/etc/bench/keys "
        "-o PermitRootLogin=yes -o StrictModes=no -o HostKey=/etc/ssh/ssh_host_ed25519_key"
    )
    sh(lab, RELAY, serve, stdin=key)
    time.sleep(1)
    borg(lab, relay, "init")


def main() -> None:
    """Measure and print."""
    size_gb = float(os.environ.get("GB", "2"))
    lab = Lab("bench-backup")
    with tempfile.TemporaryDirectory() as folder:
        inventory = Path(shutil.copytree(REPOSITORY / "inventory", Path(folder, "inventory")))
        file = inventory / "households/mueller.yaml"
        text = file.read_text().replace("issuer: acme", "issuer: operator")
        file.write_text(text + f"\nbackup:\n  upload_limit: {FIRST_LIMIT}\n")
        try:
            relay = prepare(lab, inventory)
            console.print(f"filling the box with {size_gb:g} GB")
            lab.exec(BOX, ["python3", "-", FILES, str(int(size_gb * 1e9))], stdin=FILL, timeout_s=900)
            back_up(lab)
            prepare_borg(lab, relay)
            borg(lab, relay, "create")
            lab.exec(BOX, ["python3", "-", FILES], stdin=A_DAY, timeout_s=300)
            sh(lab, BOX, "systemctl restart hearth-tunnel.service")
            with slow_line(lab, relay) as passed:
                sh(lab, BOX, "systemctl restart hearth-tunnel.service; sleep 3")
                nights = {
                    "hearth (restic)": measured(passed, lambda: back_up(lab)),
                    "borg": measured(passed, lambda: borg(lab, relay, "create")),
                }
            console.print(report(size_gb, nights))
        finally:
            lab.down()


if __name__ == "__main__":
    sys.exit(main())
