"""What hosts tell about themselves: read over any pinned road, written to ``collected/HOST.yaml`` of the inventory.

A box tells the public halves of its tunnel's key and of its key for DNS updates, its login at its store as a hash, the
fingerprint of its paper key and what it was restored from; a relay or Pi the keys of its tunnel server; a store its
certificate; each the host keys that its sshd shows. All of it is public. A host key that was pinned is not replaced
unless that is asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from pyinfra.api.exceptions import ConnectError

from hearth import layout
from hearth.connector import Session
from hearth.inventory.collected import Collected, collected_from
from hearth.inventory.hosts import Box, Host
from hearth.inventory.keys import fingerprint, key_fault
from hearth.inventory.model import Restored
from hearth.login import first_open

TIMEOUT_S = 20.0
# Only keys that sshd shows may be pinned: others may lie about in /etc/ssh.
_HOST_KEYS = "sshd -T 2>/dev/null | sed -n 's/^hostkey //p' | while read -r key; do sed 's/^/host /' \"$key.pub\"; done"
_BOX = (
    f"{_HOST_KEYS}; test -e {layout.TUNNEL_KEY}.pub && sed 's/^/tunnel /' {layout.TUNNEL_KEY}.pub; "
    f"test -e {layout.DNS_PUBLIC_KEY} && sed 's/^/dns /' {layout.DNS_PUBLIC_KEY}; "
    f"test -e {layout.BACKUP_LOGIN} && sed 's/^/store-login /' {layout.BACKUP_LOGIN}; "
    f"test -e {layout.PAPER_KEY_FINGERPRINT} && sed 's/^/paper-key /' {layout.PAPER_KEY_FINGERPRINT}; "
    f"test -e {layout.RESTORED} && sed 's/^/restored /' {layout.RESTORED}; true"
)
_SERVER = (
    f"{_HOST_KEYS}; test -e {layout.TUNNEL_HOST_KEY}.pub && sed 's/^/tunnel-host /' {layout.TUNNEL_HOST_KEY}.pub; "
    f"test -e {layout.STORE_CERTIFICATE} && "
    f"{{ printf 'store-certificate '; grep -v -- ----- {layout.STORE_CERTIFICATE} | tr -d '\\n'; echo; }}; true"
)
# Of a host's key (512), for DNSSEC's protocol (3), Ed25519 (15): RFC 2535, 3.1; RFC 8080.
_DNS_KEY = re.compile(r"512 3 15 [A-Za-z0-9+/]{43}=")
# What is no SSH key: its form, and what it would be called.
_PLAIN = {
    "dns": (_DNS_KEY, "no data of a KEY record"),
    "store-login": (re.compile(r"\$2[by]\$05\$[./A-Za-z0-9]{53}"), "no bcrypt hash of cost 5"),
    "paper-key": (re.compile(r"SHA256:[A-Za-z0-9+/]{43}"), "no fingerprint"),
    "restored": (re.compile(r"[a-z][a-z0-9-]{0,29} [0-9-]{10}T[0-9:]{8}Z"), "no household and time"),
    "store-certificate": (re.compile(r"MII[A-Za-z0-9+/]{200,6000}={0,2}"), "no certificate"),
}
_KEYS = ("host", "tunnel", "tunnel-host")


class CollectError(Exception):
    """A host could not be collected; the message says why and what to do."""


@dataclass(frozen=True)
class Report:
    """What collecting one host came to: sentences about what is new, or the reason why it failed."""

    host: str
    changes: tuple[str, ...] = ()
    failure: str | None = None


def collect(host: Host, folder: Path, *, replace: bool) -> Report:
    """Ask one host and write its file below ``folder`` (the inventory's); never raises for what the host does.

    ``replace``: accept host keys that differ from the pinned ones.
    """
    file = folder / "collected" / f"{host.name}.yaml"
    try:
        new = asked(host)
        old = read(file)
        if not replace:
            refuse_other_keys(old, new)
    except (CollectError, ConnectError) as fault:
        return Report(host.name, failure=str(fault))
    text = rendered(host.name, new)
    if not file.exists() or file.read_text() != text:
        write(file, text)
    return Report(host.name, changes=differences(old, new))


def asked(host: Host) -> Collected:
    """Log in to a host and return what it tells. Raises ConnectError, or CollectError when its answer is no answer."""
    client, road = first_open(host.name, host.roads, TIMEOUT_S)
    try:
        status, output = Session(client, road.user).run(_BOX if isinstance(host, Box) else _SERVER)
    finally:
        client.close()
    if status != 0:
        raise CollectError(f"it could not read its keys: {output[-300:]}")
    return parse(output.splitlines())


def parse(lines: Iterable[str]) -> Collected:
    """Given lines ``KIND VALUE``, return what they tell; raise CollectError when a value is none of its kind.

    KIND is ``host``, ``tunnel`` or ``tunnel-host``, before an SSH key, or one of those that are no SSH keys.
    """
    found: dict[str, list[str]] = {kind: [] for kind in (*_KEYS, *_PLAIN)}
    for line in lines:
        kind, _, key = line.partition(" ")
        if kind in _PLAIN:
            form, what = _PLAIN[kind]
            plain, fault = key, None if form.fullmatch(key) else what
        else:
            plain = " ".join(key.split()[:2])
            fault = key_fault(plain, of_host=kind != "tunnel")
        if kind not in found or fault:
            raise CollectError(f"its answer cannot be used ({fault or 'another line than a key'}): {line[:60]!r}")
        found[kind].append(plain)
    if not found["host"]:
        raise CollectError("its sshd tells no host key: is OpenSSH's server installed?")
    tunnel, dns, login, paper, restored, certificate = (
        found[kind][0] if found[kind] else None for kind in ("tunnel", *_PLAIN)
    )
    return Collected(
        tuple(sorted(found["host"])),
        tunnel,
        tuple(sorted(found["tunnel-host"])),
        dns,
        store_login=login,
        paper_key=paper,
        restored=Restored(*restored.split()) if restored else None,
        store_certificate=certificate,
    )


def read(file: Path) -> Collected:
    """What was collected before; nothing when the file is not there. The inventory has judged its content."""
    try:
        data = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        return Collected()
    return collected_from(data)


def refuse_other_keys(old: Collected, new: Collected) -> None:
    """Raise CollectError when the host shows a host key that is not among those pinned before."""
    for what, before, now in (
        ("host key", old.host_keys, new.host_keys),
        ("tunnel host key", old.tunnel_host_keys, new.tunnel_host_keys),
    ):
        strangers = [key for key in now if key not in before]
        if before and strangers:
            raise CollectError(
                f"it shows another {what} than the pinned one: pinned {fingerprints(before)}, "
                f"now {fingerprints(strangers)}; if you know why (a new disk, a new install), say --replace"
            )


def differences(old: Collected, new: Collected) -> tuple[str, ...]:
    """Sentences about what is new, gone or other, with fingerprints."""
    pairs = (
        ("host keys", old.host_keys, new.host_keys),
        ("tunnel key", _tuple(old.tunnel_key), _tuple(new.tunnel_key)),
        ("tunnel host keys", old.tunnel_host_keys, new.tunnel_host_keys),
        ("DNS key", _tuple(old.dns_key), _tuple(new.dns_key)),
    )
    found = []
    for what, before, now in pairs:
        if now and not before:
            found.append(f"{what} {fingerprints(now)}")
        elif before and not now:
            found.append(f"no {what} any more")
        elif set(before) != set(now):
            found.append(f"{what} now {fingerprints(now)}, before {fingerprints(before)}")
    words = (
        ("store login", old.store_login, new.store_login, ""),
        ("paper key", old.paper_key, new.paper_key, f" {new.paper_key}"),
        ("restore", old.restored, new.restored, f" from {new.restored.source}" if new.restored else ""),
        ("store certificate", old.store_certificate, new.store_certificate, ""),
    )
    for what, earlier, later, which in words:
        if earlier != later:
            found.append(f"no {what} any more" if later is None else f"{'another' if earlier else 'a'} {what}{which}")
    return tuple(found)


def fingerprints(keys: Iterable[str]) -> str:
    """The keys' fingerprints: SSH's as ``ssh-keygen -l`` shows them, and in the same way of a KEY record's key."""
    # What is collected has no comment: the last two words are what kind of key it is, and the key.
    return ", ".join(fingerprint(" ".join(key.split()[-2:])) for key in keys)


def rendered(host: str, told: Collected) -> str:
    """The file's text: the same for the same keys."""
    data: dict[str, object] = {"host_keys": list(told.host_keys)}
    if told.tunnel_key:
        data["tunnel_key"] = told.tunnel_key
    if told.tunnel_host_keys:
        data["tunnel_host_keys"] = list(told.tunnel_host_keys)
    if told.dns_key:
        data["dns_key"] = told.dns_key
    if told.store_login:
        data["store_login"] = told.store_login
    if told.paper_key:
        data["paper_key"] = told.paper_key
    if told.restored:
        data["restored"] = {"from": told.restored.source, "at": told.restored.at}
    if told.store_certificate:
        data["store_certificate"] = told.store_certificate
    head = f"# Written by `hearth collect {host}`: what this host tells about itself. Do not edit; collect it again.\n"
    return head + yaml.safe_dump(data, sort_keys=False, width=10_000)


def write(file: Path, text: str) -> None:
    """Replace the file whole; killed at any moment, the old one or the new one is there."""
    file.parent.mkdir(exist_ok=True)
    # Beside the folder and not in it: what a killed run leaves there is no file of the inventory.
    new = file.parent.with_name(f".{file.name}.new")
    with new.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


def _tuple(key: str | None) -> tuple[str, ...]:
    return (key,) if key else ()
