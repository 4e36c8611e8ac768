"""What a host should be, as one SHA-256: its resolved part of the inventory, and every file its deploy is made of.

Two runs with the same hash want the same of the host, so what the second one changes is drift that it repairs. What
belongs to the operator's machine (roads, where keys lie) is left out. Files named by the inventory count by their
content.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import time
from pathlib import Path
from typing import Any

from hearth.inventory.hosts import Authority, Fleet, Host, PiHost, RelayHost, StoreHost
from hearth.inventory.model import Household

CHECKOUT = Path(__file__).resolve().parents[2]
DEPLOYS = {
    "relay": "deploys/relay.py",
    "store": "deploys/store.py",
    "pi": "deploys/pi.py",
    "box": "deploys/box.py",
}
# Of a household, what its relay and its support Pi are rendered from; a test compares it with the roles' code.
AT_THE_STORE = ("id", "backup", "store_login", "restore_from", "restored", "replaced_by")
AT_THE_RELAY = ("id", "slot", "domain", "relay", "public_port", "access", "tunnel_key", "has_name", *AT_THE_STORE[1:])
AT_THE_PI = ("id", "screens", "pi")
AT_SERVERS: dict[type[Host], tuple[str, ...]] = {RelayHost: AT_THE_RELAY, StoreHost: AT_THE_STORE, PiHost: AT_THE_PI}


def kind_of(host: Host) -> str:
    """Which of ``DEPLOYS`` a host has."""
    kinds = {RelayHost: "relay", StoreHost: "store", PiHost: "pi"}
    return kinds.get(type(host), "box")


def all_hosts(fleet: Fleet) -> dict[str, Host]:
    """Every host of a fleet by its name: relays, stores, Pis, boxes."""
    hosts = (*fleet.relay_hosts(), *fleet.store_hosts(), *fleet.pi_hosts(), *fleet.boxes())
    return {host.name: host for host in hosts}


def desired_states(fleet: Fleet, checkout: Path = CHECKOUT) -> dict[str, str]:
    """The SHA-256 (hex) of what each host should be, by its name. Raises OSError when a file cannot be read."""
    sources = {kind: source_digest(checkout, deploy) for kind, deploy in DEPLOYS.items()}
    return {name: _digest([sources[kind_of(host)], _data(host)]) for name, host in all_hosts(fleet).items()}


def source_digest(checkout: Path, deploy: str) -> str:
    """The SHA-256 (hex) of a deploy and all that it is made of: see ``sources``; of nothing if there is no deploy."""
    return _digest({str(path.relative_to(checkout)): _file_digest(path) for path in sources(checkout, deploy)})


def sources(checkout: Path, deploy: str) -> list[Path]:
    """The files that a deploy is made of: itself, the modules it imports from here, and what lies beside the roles'
    code and in ``hearth/onhost``."""
    start = checkout / deploy
    if not start.is_file():
        return []
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(checkout, path)
    roles = {path.parent for path in found if path.is_relative_to(checkout / "roles") and path.name == "__init__.py"}
    for folder in (*roles, checkout / "hearth/onhost"):
        if folder != checkout / "roles":
            found |= {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    return sorted(found)


def _imported(checkout: Path, path: Path) -> Iterator[Path]:
    """The files of hearth and of the roles that a module imports by name."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        for name in names:
            if name.partition(".")[0] in ("hearth", "roles"):
                stem = checkout.joinpath(*name.split("."))
                yield from (file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file())


def _data(host: Host) -> Any:
    return {each.name: _plain(getattr(host, each.name), host) for each in fields(host) if each.name != "roads"}


def _plain(value: Any, host: Host) -> Any:
    """The value as JSON has it, with files by their content."""
    if isinstance(value, Authority):
        return {"tls_ca": _plain(value.tls_ca, host), "ssh_user_ca": value.ssh_user_ca}
    used = AT_SERVERS.get(type(host))
    if isinstance(value, Household) and used is not None:
        return {name: _plain(getattr(value, name), host) for name in used}
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name), host) for each in fields(value)}
    if isinstance(value, tuple):
        return [_plain(each, host) for each in value]
    if isinstance(value, Path):
        return _file_digest(value) if value.is_file() else None
    return value.isoformat() if isinstance(value, time) else value


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
