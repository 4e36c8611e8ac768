"""What a night costs a home's line: the backup of a nearly unchanged box, beside borg on the same data.

    make bench-backup [SIZE=2] [ROUNDS=3]

A box in the lab gets SIZE GB of photographs and small files, and everything is backed up once without a limit: 2 GB at
10 Mbit/s would take half an hour. Then days pass: each has some new photographs, a folder with another name, changed
letters. After each the box's own unit makes its backup through the tunnel over a line of 10 Mbit/s and 20 ms
(``slow_line.py``), and borg sends the same folders and a dump over the same line by SSH to the same relay; who is
first changes from round to round. Bytes are those on the line, TLS and SSH included. Decides no test.
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
from statistics import median

from rich.console import Console
from rich.table import Table
from run import REPOSITORY, join, run, tunnel_is_up, wait_for

from hearth import layout
from hearth.interruption import end_once
from hearth.inventory import load_or_raise
from hearth.lab.lab import Lab
from hearth.lab.process import LabError

BOX, RELAY, HOUSEHOLD = "box-mueller", "relay1", "mueller"
MEGABITS_PER_S, ROUND_TRIP_MS, PORT = 10, 20, 7212
FIRST_LIMIT = "900M"
FILES = "/srv/hearth/data/renate/files"
LAST_GOOD = "/var/lib/hearth/backup/last-good"
STORE_ANSWERS = f"curl --silent --insecure --output /dev/null https://127.0.0.1:{layout.STORE_TUNNEL_PORT}/"

FILL = """
import os, pathlib, sys
files, total = pathlib.Path(sys.argv[1]), int(sys.argv[2])
day = files / "2026-11"; day.mkdir(exist_ok=True)
for number in range(total // 4_000_000):
    folder = files / f"album{number % 10}"; folder.mkdir(exist_ok=True)
    (folder / f"IMG_{number:05}.jpg").write_bytes(os.urandom(4_000_000))
for number in range(5000):
    folder = files / f"papers{number // 200}"; folder.mkdir(exist_ok=True)
    (folder / f"letter{number}.txt").write_text(f"Letter {number}\\n" + os.urandom(1000).hex())
os.system(f"chown -R www-data: {files}")
"""
A_DAY = """
import os, pathlib, sys
files, day = pathlib.Path(sys.argv[1]), sys.argv[2]
for number in range(3):
    (files / f"2026-11/IMG_{day}_{number}.jpg").write_bytes(os.urandom(1_000_000))
(files / f"album{day}").rename(files / f"Sommer{day}")
for number in range(20):
    (files / f"papers1/letter{200 + number}.txt").write_text("changed on day " + day)
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
    borg create --compression zstd,3 "::$(date +%s)" \\
      {FILES.rpartition("/")[0].rpartition("/")[0]} /srv/hearth/dump.sql ;;
esac
"""

OURS_NAME, BORG_NAME = "hearth (restic)", "borg"

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
    """Let the box's own unit make a backup; raises LabError when it fails, or waits for its store."""
    done, failed = f"$(cat {LAST_GOOD})", "{ journalctl --unit hearth-backup.service --lines 5 >&2; exit 1; }"
    sh(lab, BOX, f'before="{done}"; systemctl start hearth-backup.service; test "{done}" != "$before" || {failed}')


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


def spread(values: list[float], digits: int) -> str:
    """The median of some values, and the range that they are in."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def report(size_gb: float, nights: dict[str, list[Night]]) -> Table:
    """The figures as a table: median and range, and of each round the ratio to borg's."""
    rounds = len(nights[BORG_NAME])
    title = f"{size_gb:g} GB nearly unchanged, {MEGABITS_PER_S} Mbit/s, {ROUND_TRIP_MS} ms"
    table = Table(title=f"{title}; median of {rounds} (range)", title_justify="left")
    for head in ("", "seconds", "MB up", "MB down"):
        table.add_column(head, justify="right" if head else "left")
    figures = {
        name: [[night.seconds, night.up_bytes / 1e6, night.down_bytes / 1e6] for night in each]
        for name, each in nights.items()
    }
    for name, each in figures.items():
        table.add_row(name, *(spread(list(column), 2) for column in zip(*each, strict=True)))
    pairs = zip(figures[OURS_NAME], figures[BORG_NAME], strict=True)
    ratios = [[mine / other for mine, other in zip(ours, borgs, strict=True)] for ours, borgs in pairs]
    table.add_row("hearth : borg", *(spread(list(column), 2) for column in zip(*ratios, strict=True)))
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
        "systemd-run --quiet --unit=bench-sshd /usr/sbin/sshd -D -f /dev/null -p 2222 "
        "-o AuthorizedKeysFile=/etc/bench/keys -o PermitRootLogin=yes -o StrictModes=no "
        "-o HostKey=/etc/ssh/ssh_host_ed25519_key"
    )
    sh(lab, RELAY, serve, stdin=key)
    time.sleep(1)
    borg(lab, relay, "init")


def night(lab: Lab, relay: str, passed: Callable[[], tuple[int, int]], day: int) -> dict[str, Night]:
    """Let a day pass, and both back it up over the slow line."""
    lab.exec(BOX, ["python3", "-", FILES, str(day)], stdin=A_DAY, timeout_s=300)
    works = {OURS_NAME: lambda: back_up(lab), BORG_NAME: lambda: borg(lab, relay, "create")}
    order = list(works) if day % 2 else list(reversed(works))
    return {name: measured(passed, works[name]) for name in order}


def main() -> int:
    """Measure and print; exit status 2 with one sentence when SIZE or ROUNDS is no number that the bench can use."""
    try:
        size_gb, rounds = float(os.environ.get("SIZE") or 2), int(os.environ.get("ROUNDS") or 3)
    except ValueError:
        size_gb, rounds = 0.0, 0
    if not 0.1 <= size_gb <= 50 or not 1 <= rounds <= 9:
        console.print("SIZE is a number of GB from 0.1 to 50, ROUNDS a whole number from 1 to 9.")
        return 2
    end_once()
    lab = Lab("bench-backup")
    with tempfile.TemporaryDirectory() as folder:
        ignored = shutil.ignore_patterns("local.yaml", "authority", "collected")
        inventory = Path(shutil.copytree(REPOSITORY / "inventory", Path(folder, "inventory"), ignore=ignored))
        file = inventory / "households/mueller.yaml"
        text = file.read_text().replace("issuer: acme", "issuer: operator")
        file.write_text(text + f"\nbackup:\n  upload_limit: {FIRST_LIMIT}\n")
        try:
            relay = prepare(lab, inventory)
            console.print(f"Filling the box with {size_gb:g} GB, and backing all of it up without a limit …")
            lab.exec(BOX, ["python3", "-", FILES, str(int(size_gb * 1e9))], stdin=FILL, timeout_s=900)
            back_up(lab)
            prepare_borg(lab, relay)
            borg(lab, relay, "create")
            with slow_line(lab, relay) as passed:
                # The tunnel that is up came before the line was slow.
                sh(
                    lab,
                    BOX,
                    f"systemctl restart hearth-tunnel.service; for _ in $(seq 60); do {STORE_ANSWERS} && exit; "
                    "sleep 1; done; exit 1",
                )
                found = [night(lab, relay, passed, day) for day in range(1, rounds + 1)]
            nights = {name: [each[name] for each in found] for name in (OURS_NAME, BORG_NAME)}
            console.print(report(size_gb, nights))
        except LabError as fault:
            console.print(f"[red]Nothing was measured: {fault}[/red]")
            return 1
        finally:
            lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
