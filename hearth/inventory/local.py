"""What only this machine knows (``local.yaml``): who works here, where private halves lie, how hosts are reached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import load_pem_x509_certificates

from hearth.inventory.documents import Document, Documents, Found, find, first
from hearth.inventory.faults import Fault, quoted, suggestion
from hearth.inventory.files import public_half
from hearth.inventory.hosts import Authority
from hearth.inventory.keys import key_fault
from hearth.inventory.marks import MarkedDict
from hearth.inventory.unique import server_names
from hearth.inventory.values import address_faults

_VARIABLE = "HEARTH_AUTHORITY_PASSPHRASE_FILE"
PATHS = ("operator.identity", "authority.folder", "authority.passphrase_file", "hosts.*.identity")


def local_faults(documents: Documents) -> Iterator[Fault]:
    """Yield the faults of local.yaml against the fleet it speaks of."""
    local = documents.local
    if local is None:
        return
    operators = [found.value for found in find(documents.fleet, "operators.*.name", str)]
    operator = first(local, "operator.name", str)
    if operator and operators and operator.value not in operators:
        yield operator.fault(
            f"fleet.yaml has no operator {quoted(operator.value)}{suggestion(operator.value, operators)}"
        )
    for path in PATHS:
        for found in find(local, path, str):
            if expanded(local.file.parent, found.value) is None:
                yield found.fault(f"{quoted(found.value)} names a home folder that is not there; write the path out")
    for found in find(local, "hosts.*.address", str):
        yield from address_faults(found)
    for found in find(local, "hosts.*.host_keys.*", str):
        sentence = key_fault(found.value, of_host=True)
        if sentence:
            yield found.fault(sentence)
    yield from _hosts(documents, local)


def _hosts(documents: Documents, local: Document) -> Iterator[Fault]:
    hosts: Found[MarkedDict] | None = first(local, "hosts", MarkedDict)
    if hosts is None:
        return
    others = {found.value for found in server_names(documents.fleet)}
    # Of a household whose file cannot be read, the file's name tells what its box is called.
    boxes = {f"box-{name}" for name in documents.household_names}
    for name, host in hosts.value.items():
        place = hosts._replace(mark=hosts.value.keys_at[name])
        if name not in others | boxes:
            yield place.fault(f"the fleet has no host {quoted(name)}{suggestion(name, others | boxes)}")
        elif name in boxes and isinstance(host, MarkedDict) and "address" not in host:
            yield place.fault(f"{quoted(name)} needs an address: the one at which this machine reaches the box")


def authority(folder: Path, name: str, local: Document | None, faults: list[Fault]) -> Authority | None:
    """The fleet's authority when both public halves are there, else None; adds faults when they are none."""
    tls, ssh = public_half(folder, "tls-ca.pem", faults), public_half(folder, "ssh-user-ca.pub", faults)
    if tls is None or ssh is None:
        return None
    tls_fault, ssh_fault = _certificate_fault(tls), key_fault(ssh.strip())
    for file, sentence in (("tls-ca.pem", tls_fault), ("ssh-user-ca.pub", ssh_fault)):
        if sentence:
            faults.append(Fault(folder / "authority" / file, 1, 1, sentence))
    if tls_fault or ssh_fault:
        return None
    state = Path(os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser())
    passphrase_file = os.environ.get(_VARIABLE)
    return Authority(
        tls_ca=folder / "authority" / "tls-ca.pem",
        ssh_user_ca=ssh.strip(),
        folder=path_in(folder, first(local, "authority.folder", str) if local else None)
        or state / "hearth" / "authority" / name,
        passphrase_file=path_in(folder, first(local, "authority.passphrase_file", str) if local else None)
        or (Path(passphrase_file) if passphrase_file else None),
    )


def _certificate_fault(text: str) -> str | None:
    try:
        load_pem_x509_certificates(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        return "this is no certificate in PEM form; make the authority again"
    return None


def path_in(folder: Path, found: Found[str] | None) -> Path | None:
    """The path that a property of local.yaml names, or None when the property is not there."""
    return expanded(folder, found.value) if found else None


def expanded(folder: Path, text: str) -> Path | None:
    """The path with ``~`` expanded, relative ones below ``folder``; None when that home folder does not exist."""
    try:
        return folder / Path(text).expanduser()
    except RuntimeError:
        return None
