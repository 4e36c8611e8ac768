"""Keys that the lab makes: of its hosts, of the first day (``bench``), and of the operator.

They are worth nothing outside the lab: each lab makes new ones, and `hearth lab down` removes them.
"""

from __future__ import annotations

import secrets
import shutil
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hearth import authority
from hearth.inventory.hosts import Fleet
from hearth.lab.process import LabError

CERTIFICATE_VALID_FOR = timedelta(days=7)
PUBLIC_HALVES = ("tls-ca.pem", "ssh-user-ca.pub")


def ensure_key_pair(private: Path, comment: str, *, rsa: bool = False) -> str:
    """Make an ed25519 (or 3072 bit RSA) key pair unless ``private`` is there; return the public key line."""
    public = private.with_name(private.name + ".pub")
    if not public.exists():
        private.parent.mkdir(parents=True, exist_ok=True)
        key = generate_private_key(65537, 3072) if rsa else Ed25519PrivateKey.generate()
        private.touch(mode=0o600)
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        public.write_text(f"{line} {comment}\n")
    return public.read_text().strip()


def public_authority(inventory: Path) -> Path:
    """Where an inventory keeps the public halves of its fleet's authority."""
    return inventory / "authority"


def acme_root(inventory: Path) -> Path:
    """Where a lab tells an inventory what to trust its ACME server's own HTTPS by."""
    return public_authority(inventory) / "acme-root.pem"


def private_authority(folder: Path) -> Path:
    """Where a lab keeps the private halves of the authority that it made."""
    return folder / "authority"


def passphrase_file(folder: Path) -> Path:
    """What opens the lab's authority."""
    return folder / "keys" / "passphrase"


def has_public_authority(inventory: Path) -> bool:
    """Whether an inventory has the public half of an authority, or a part of it."""
    return any((public_authority(inventory) / name).exists() for name in PUBLIC_HALVES)


def operator_name(fleet: Fleet) -> str:
    """The operator as whom the lab logs in: the fleet's first. Raises ``LabError`` if it has none."""
    if not fleet.operators:
        raise LabError(f"{fleet.folder / 'fleet.yaml'} names no operator: the lab needs one to log in as.")
    return fleet.operators[0].name


def ensure_authority(folder: Path, fleet: Fleet) -> Path | None:
    """The folder with the private halves of the fleet's authority, which the lab makes for a fleet that has none.

    None if the fleet has an authority that is not the lab's: its private halves are its operator's business. Raises
    ``LabError`` if the authority cannot be made.
    """
    private, public = private_authority(folder), public_authority(fleet.folder)
    if not private.exists():
        if has_public_authority(fleet.folder):
            return None
        secret = passphrase_file(folder)
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(24))
        try:
            authority.init(private, public, fleet.name, fleet.zone, secret.read_bytes())
        except authority.AuthorityError as error:
            raise LabError(f"The lab cannot make the fleet's authority: {error}") from error
    # A run that was killed between the two, or somebody who tidied up, may have left the public half incomplete.
    for name in PUBLIC_HALVES:
        if not (public / name).exists():
            public.mkdir(exist_ok=True)
            shutil.copyfile(private / name, public / name)
    return private


def ensure_operator(folder: Path, fleet: Fleet) -> Path:
    """Make the operator's key, and a new certificate for it from the lab's authority; return the private key's path.

    The certificate stands beside the key as ``operator-cert.pub``, where OpenSSH and pyinfra look for it.
    """
    identity = folder / "keys" / "operator"
    name = operator_name(fleet)
    public = ensure_key_pair(identity, f"{name}@lab")
    private = private_authority(folder)
    if private.exists():
        line = authority.sign_ssh_user_key(
            private, passphrase_file(folder).read_bytes(), public, [name], CERTIFICATE_VALID_FOR, f"{name}@lab"
        )
        identity.with_name("operator-cert.pub").write_text(line.strip() + "\n")
    return identity
