"""What the program on a host is told to look at: from the fleet's slices to ``/etc/hearth/health.toml``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import tomli_w

from hearth import layout
from hearth.inventory.hosts import Box, PiHost, RelayHost, StoreHost

# A certificate is renewed by a converge in the last third of its life.
CERTIFICATE_WANTED_DAYS, CERTIFICATE_REQUIRED_DAYS = 14, 3
# Of the cloud's background jobs: some runs may be missed before anybody is told.
CRON_UNIT, CRON_MOST_AGE_S = "hearth-cloud-cron.service", 3600
_ASK = "curl --silent --max-time 5 --output /dev/null --write-out '%{http_code}'"
# A name that nobody has is not found; the households behind a router may all be asleep, and prove nothing.
ROUTER_ANSWERS = (
    f'test "$({_ASK} --header "Host: hearth.invalid" http://127.0.0.1/)" = 404 && '
    f'test "$({_ASK} http://127.0.0.1:{layout.METRICS_PORT}/metrics)" = 200'
)


@dataclass(frozen=True)
class Stored:
    """A backup store: its ``folder``, the shell command that succeeds when its ``unit`` answers, and its ``notes``."""

    folder: str
    answers: str
    unit: str
    notes: str


@dataclass(frozen=True)
class Wanted:
    """What one host should be. ``data``: the description; ``groups`` and ``capabilities``: what the looking needs."""

    data: dict[str, Any] = field(hash=False)
    groups: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


def description(wanted: Wanted) -> str:
    """``/etc/hearth/health.toml``; it holds no secret."""
    return tomli_w.dumps(wanted.data)


def probe(name: str, command: str, sentence: str, unit: str) -> dict[str, str]:
    """A shell command that succeeds when all is well, what to say when it does not, and the unit that it stands for."""
    return {"name": name, "command": command, "sentence": sentence, "unit": unit}


def of_box(box: Box, units: Iterable[str], tunnel: str | None, backup_folder: str | None = None) -> Wanted:
    """A household's box: ``units`` that must run, and the ``tunnel``'s (None when it has none).

    ``backup_folder``: where the backup keeps the files that tell of it; None where nothing makes backups.
    """
    household = box.household
    data: dict[str, Any] = {
        "host": box.name,
        "kind": "box",
        "units": [*units],
        "paths": ["/", "/var", "/tmp", layout.SPOOL, layout.CLOUD_DATA],  # noqa: S108 (looked at, not used)
        "room_bytes": household.owncloud.room,
        "probes": [
            probe("database", "mariadb-admin --silent ping", "the database does not answer", "mariadb.service"),
            probe(
                "redis",
                f'test "$(redis-cli -s {layout.REDIS_SOCKET} PING)" = PONG',
                "Redis, which keeps the cloud's locks, does not answer",
                "redis-server.service",
            ),
        ],
        "cron": {"unit": CRON_UNIT, "most_age_s": CRON_MOST_AGE_S},
    }
    # A box that waits for its restore shows the bridge, and nobody comes to it.
    if household.has_name:
        data["web"] = {
            "domain": household.domain,
            "port": 443,
            "required_days": CERTIFICATE_REQUIRED_DAYS,
            "wanted_days": CERTIFICATE_WANTED_DAYS,
        }
    if tunnel is not None:
        data["tunnel"] = tunnel
    if backup_folder is not None:
        data["backup"] = {
            "stamp": f"{backup_folder}/last-good",
            "most_age_days": household.backup.max_age_days,
            "proven": f"{backup_folder}/last-proven",
            "paper": f"{backup_folder}/paper.json",
        }
    # Redis' socket is for its group alone.
    return Wanted(data, groups=("redis",))


def of_server(
    machine: RelayHost | StoreHost | PiHost,
    units: Iterable[str],
    *,
    firewall: str,
    tunnel_sshd: str | None = None,
    store: Stored | None = None,
) -> Wanted:
    """A relay, a store or a support Pi: ``units`` that must run, and shell commands that succeed when a part is well.

    ``firewall``: the kernel has the rules that were loaded; ``tunnel_sshd``: it answers with its host key; ``store``:
    what lies there.
    """
    probes = [
        probe("firewall", firewall, "the kernel's firewall is not the one that was loaded", "hearth-firewall.service")
    ]
    if tunnel_sshd is not None:
        probes.append(
            probe("tunnel sshd", tunnel_sshd, "the tunnels' sshd does not answer", "hearth-tunnel-sshd.service")
        )
    if isinstance(machine, RelayHost):
        probes.append(probe("router", ROUTER_ANSWERS, "the router does not answer", "haproxy.service"))
    if store is not None:
        probes.append(probe("store's servers", store.answers, "the store does not answer", store.unit))
    kinds = {RelayHost: "relay", StoreHost: "store", PiHost: "pi"}
    data: dict[str, Any] = {
        "host": machine.name,
        "kind": kinds[type(machine)],
        "units": [*units],
        "paths": ["/", "/var", "/tmp", *((store.folder,) if store else ())],  # noqa: S108 (looked at, not used)
        "room_bytes": 0,
        "probes": probes,
    }
    if store is not None:
        data["notes"] = store.notes
    # To list the kernel's rules.
    return Wanted(data, capabilities=("CAP_NET_ADMIN",))
