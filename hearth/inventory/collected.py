"""What hosts tell about themselves (``collected/HOST.yaml``, written by ``hearth collect``): rules and values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hearth.inventory.documents import Document, Documents, find, first
from hearth.inventory.faults import Fault, quoted
from hearth.inventory.keys import key_fault
from hearth.inventory.marks import START
from hearth.inventory.unique import server_names


@dataclass(frozen=True)
class Collected:
    """Public keys of one host, OpenSSH's unless said otherwise.

    ``host_keys``: those that its sshd shows. ``tunnel_key``: a box's, with which it opens its tunnel.
    ``tunnel_host_keys``: those that the tunnel sshd of a relay or Pi shows. ``dns_key``: a box's, with which it signs
    its DNS updates, as the data of a KEY record (RFC 2931), which is no OpenSSH key.
    """

    host_keys: tuple[str, ...] = ()
    tunnel_key: str | None = None
    tunnel_host_keys: tuple[str, ...] = ()
    dns_key: str | None = None


def collected_of(documents: Documents) -> dict[str, Collected]:
    """Given documents without faults, return what each host told, by the host's name."""
    return {
        document.name: Collected(
            tuple(document.data["host_keys"]),
            document.data.get("tunnel_key"),
            tuple(document.data.get("tunnel_host_keys", ())),
            document.data.get("dns_key"),
        )
        for document in documents.collected
    }


def collected_faults(documents: Documents) -> Iterator[Fault]:
    """Yield the faults of the collected files against the fleet they speak of."""
    # Of a household whose file cannot be read, the file's name tells what its box is called.
    boxes = {f"box-{name}" for name in documents.household_names}
    servers = {found.value for found in server_names(documents.fleet)}
    hosts = boxes | servers
    for document in documents.collected:
        if document.name not in hosts:
            sentence = f"the fleet has no host {quoted(document.name)} any more; delete this file"
            yield Fault(document.file, *START, sentence)
            continue
        is_box = document.name in boxes
        whose = "a box has none" if is_box else "only a box has one"
        for name in ("tunnel_host_keys",) if is_box else ("tunnel_key", "dns_key"):
            if name in document.data:
                mark = document.data.keys_at[name]
                yield Fault(document.file, *mark, f"{name} does not belong here: {whose}; collect this host again")


def collected_values(document: Document) -> Iterator[Fault]:
    """Yield the faults of the keys in one collected file."""
    for path in ("host_keys.*", "tunnel_host_keys.*"):
        for found in find(document, path, str):
            sentence = key_fault(found.value, of_host=True)
            if sentence:
                yield found.fault(sentence)
    key = first(document, "tunnel_key", str)
    sentence = key_fault(key.value) if key else None
    if key and sentence:
        yield key.fault(sentence)
