"""What hosts tell about themselves (``collected/HOST.yaml``, written by ``hearth collect``): rules and values."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.x509 import load_der_x509_certificate

from hearth.inventory.documents import Document, Documents, find, first
from hearth.inventory.faults import Fault, quoted
from hearth.inventory.keys import key_fault
from hearth.inventory.marks import START
from hearth.inventory.model import Restored
from hearth.inventory.unique import host_names

BOXES_TELL = ("tunnel_key", "dns_key", "store_login", "paper_key", "restored")
SERVERS_TELL = ("tunnel_host_keys", "store_certificate")


@dataclass(frozen=True)
class Collected:
    """Public keys of one host, OpenSSH's unless said otherwise.

    ``host_keys``: those that its sshd shows. ``tunnel_key``: a box's, with which it opens its tunnel.
    ``tunnel_host_keys``: those that the tunnel sshd of a relay or Pi shows. ``dns_key``: a box's, with which it signs
    its DNS updates, as the data of a KEY record (RFC 2931), which is no OpenSSH key. ``store_login``: a box's at its
    store, a bcrypt hash. ``paper_key``: the fingerprint of its household's paper key. ``restored``: what it was
    restored from. ``store_certificate``: what a store shows, DER in base64.
    """

    host_keys: tuple[str, ...] = ()
    tunnel_key: str | None = None
    tunnel_host_keys: tuple[str, ...] = ()
    dns_key: str | None = None
    store_login: str | None = None
    paper_key: str | None = None
    restored: Restored | None = None
    store_certificate: str | None = None


def collected_of(documents: Documents) -> dict[str, Collected]:
    """Given documents without faults, return what each host told, by the host's name."""
    return {document.name: collected_from(document.data) for document in documents.collected}


def collected_from(data: Mapping[str, Any]) -> Collected:
    """What stands in one host's file, which fits its schema."""
    restored = data.get("restored")
    return Collected(
        tuple(data["host_keys"]),
        data.get("tunnel_key"),
        tuple(data.get("tunnel_host_keys", ())),
        data.get("dns_key"),
        data.get("store_login"),
        data.get("paper_key"),
        Restored(restored["from"], restored["at"]) if restored else None,
        data.get("store_certificate"),
    )


def collected_faults(documents: Documents) -> Iterator[Fault]:
    """Yield the faults of the collected files against the fleet they speak of."""
    # Of a household whose file cannot be read, the file's name tells what its box is called.
    boxes = {f"box-{name}" for name in documents.household_names}
    servers = {found.value for found in host_names(documents) if found.document is documents.fleet}
    for document in documents.collected:
        if document.name not in boxes | servers:
            sentence = f"the fleet has no host {quoted(document.name)} any more; delete this file"
            yield Fault(document.file, *START, sentence)
            continue
        yield from _keys(document)
        is_box = document.name in boxes
        whose = "a box has none" if is_box else "only a box has one"
        for name in SERVERS_TELL if is_box else BOXES_TELL:
            if name in document.data:
                mark = document.data.keys_at[name]
                yield Fault(document.file, *mark, f"{name} does not belong here: {whose}; collect this host again")

        certificate = first(document, "store_certificate", str)
        if certificate and not _is_certificate(certificate.value):
            yield certificate.fault("this is no certificate; collect this host again")


def _is_certificate(text: str) -> bool:
    try:
        load_der_x509_certificate(base64.b64decode(text, validate=True))
    except ValueError:
        return False
    return True


def _keys(document: Document) -> Iterator[Fault]:
    for path in ("host_keys.*", "tunnel_host_keys.*"):
        for found in find(document, path, str):
            sentence = key_fault(found.value, of_host=True)
            if sentence:
                yield found.fault(sentence)
    key = first(document, "tunnel_key", str)
    sentence = key_fault(key.value) if key else None
    if key and sentence:
        yield key.fault(sentence)
