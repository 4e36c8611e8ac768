"""Debian root file systems, built once with mmdebstrap and cached: the read-only floor of every host and daemon.

Those of hosts hold what Debian's installer leaves on a bare server with an SSH server, and nothing that hearth wants: a
role that needs a package has to install it. That of the lab's daemons (``services``) boots nothing: it holds programs.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from hearth.lab.process import LabError, run
from hearth.lab.state import locked

Suite = Literal["trixie", "bookworm"]
SUITES: tuple[Suite, ...] = get_args(Suite)

CACHE = Path("/var/cache/hearth-lab")
OLDEST = timedelta(days=14)
HOST = ("systemd", "systemd-sysv", "dbus", "openssh-server", "iproute2", "ca-certificates", "netbase", "sudo")
SERVICES = "services"
"""The base of the lab's daemons."""

# What each base is made of: a Debian release, and packages beside its essential ones.
RECIPES: dict[str, tuple[Suite, tuple[str, ...]]] = {
    **{suite: (suite, HOST) for suite in SUITES},
    SERVICES: ("trixie", ("bind9", "bind9-dnsutils", "miniupnpd-nftables", "netbase", "pebble")),
}
STAMP = "%Y%m%dT%H%M%SZ"

# What identifies one machine, so no two hosts may have it from the base.
ONE_MACHINE_ONLY = (
    "etc/ssh/ssh_host_*",
    "etc/bind/rndc.key",
    "etc/hostname",
    "etc/resolv.conf",
    "var/lib/dbus/machine-id",
)


def check_suite(suite: str) -> Suite:
    """Return ``suite``, or raise ``LabError`` if there is no base for it."""
    for known in SUITES:
        if suite == known:
            return known
    raise LabError(f"There is no base for {suite!r}: take one of {', '.join(SUITES)}.")


def newest(name: str, cache: Path = CACHE) -> Path | None:
    """The newest finished base of a name, of whatever age."""
    return max(cache.glob(f"{name}-*"), default=None)


def is_fresh(base: Path, now: datetime) -> bool:
    """Whether a base is young enough for new hosts; its name holds the time (UTC) at which it was built."""
    try:
        built = datetime.strptime(base.name.rpartition("-")[2], STAMP).replace(tzinfo=UTC)
    except ValueError:
        return False
    return now - built < OLDEST


def ensure(name: str, *, rebuild: bool, in_use: Collection[str] | None, cache: Path = CACHE) -> Path:
    """Return a fresh base, that of a suite or ``SERVICES``, building it if there is none or ``rebuild``.

    Two labs that want one at the same time wait for each other. A base appears under its name only when it is whole.
    Older ones are removed, except those ``in_use`` (paths; None: all may be). Raises ``LabError`` when the build fails.
    """
    with locked(".bases"):
        found = newest(name, cache)
        if found and is_fresh(found, datetime.now(UTC)) and not rebuild:
            return found
        for leftover in cache.glob(f".building-{name}*"):
            shutil.rmtree(leftover)
        building = cache / f".building-{name}"
        _build(*RECIPES[name], building)
        while (base := cache / f"{name}-{datetime.now(UTC):{STAMP}}").exists():
            time.sleep(0.2)
        building.rename(base)
        needed = cache.glob(f"{name}-*") if in_use is None else (base, *map(Path, in_use))
        for older in set(cache.glob(f"{name}-*")) - set(needed):
            shutil.rmtree(older)
        return base


def _build(suite: Suite, packages: Collection[str], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # In process and mount namespaces of its own, which end with this program: a killed `hearth lab up` leaves neither
    # a build that goes on nor its mounts.
    argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    argv += ["--mount-proc", "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}"]
    # A machine whose clock is off, or a mirror that stands still, shall not stop the lab. mmdebstrap leaves this
    # setting in the base, where it serves the hosts too.
    argv += ['--aptopt=Acquire::Check-Valid-Until "false"', suite, str(target)]
    # Its scratch folder must not inherit a TMPDIR that forbids devices or programs.
    environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    run(argv, timeout_s=1800, env=environment)
    for pattern in ONE_MACHINE_ONLY:
        for path in target.glob(pattern):
            path.unlink()
    (target / "etc/machine-id").write_text("")
