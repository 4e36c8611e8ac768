"""Where the authority's keys lie: making them once, and opening them to sign.

Both private keys are stored in OpenSSH's format, not in PKCS#8: ``cryptography`` derives a PKCS#8 key's encryption
with 2,048 rounds of PBKDF2, which a graphics card tries by the million a second, while OpenSSH's format uses bcrypt
with a number of rounds that we choose. ``ssh-keygen -p -m PKCS8`` turns ``tls-ca.key`` into what ``openssl`` reads.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization.ssh import SSHPrivateKeyTypes

from hearth.authority.errors import AuthorityError

TLS_KEY, TLS_CERTIFICATE = "tls-ca.key", "tls-ca.pem"
SSH_KEY, SSH_PUBLIC_KEY = "ssh-user-ca.key", "ssh-user-ca.pub"

ROOT_LIFETIME = timedelta(days=3653)  # ten years
CLOCK_SKEW = timedelta(hours=1)
MIN_PASSPHRASE_CHARACTERS = 8
_BCRYPT_ROUNDS = 64  # about half a second a guess


def init(folder: Path, public_folder: Path, fleet_name: str, zone: str, passphrase: bytes) -> None:
    """Make the fleet's X.509 root and its SSH user authority; never overwrites anything.

    ``folder`` (made, 0700) receives the private keys, encrypted with ``passphrase``, and the public halves;
    ``public_folder`` (beside the inventory) receives the public halves only. ``fleet_name`` and ``zone`` name the root.
    Killed at any moment it leaves either nothing or a complete ``folder``.

    The root carries no name constraints: a household may bring a domain of its own years after the root was made, and
    a constraint cannot be widened without every device of every household trusting a new root.

    Raises ``AuthorityError`` when either folder already holds an authority, when ``folder`` lies where it could be
    published (in the inventory, or in a git work tree that does not ignore it), or when the passphrase is too short.
    """
    folder, public_folder = folder.absolute(), public_folder.absolute()
    _refuse_weak_passphrase(passphrase)
    _refuse_public_place(folder, public_folder)
    _refuse_second_authority(folder, public_folder)

    tls_key = ec.generate_private_key(ec.SECP384R1())
    ssh_key = ed25519.Ed25519PrivateKey.generate()
    public = {
        TLS_CERTIFICATE: _root(tls_key, fleet_name, zone).public_bytes(serialization.Encoding.PEM),
        SSH_PUBLIC_KEY: ssh_key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        + b"\n",
    }
    private = {TLS_KEY: _encrypted(tls_key, passphrase), SSH_KEY: _encrypted(ssh_key, passphrase)}
    try:
        _make_folder(folder, private, public)
        public_folder.mkdir(parents=True, exist_ok=True)
        for name, text in public.items():
            write_file(public_folder / name, text, 0o644)
    except OSError as error:
        raise AuthorityError(f"cannot write the authority: {error.strerror}: {error.filename}") from error


def tls_ca_key_id(path: Path) -> str:
    """The key identifier (hex) of the X.509 root in the PEM file ``path``; raises ``AuthorityError``."""
    return root_key_id(load_root(path)).hex()


def load_root(path: Path) -> x509.Certificate:
    """The X.509 root in the PEM file ``path``; raises ``AuthorityError`` when it is missing or none."""
    try:
        root = x509.load_pem_x509_certificate(_read(path))
        root_key_id(root)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise AuthorityError(f"{path} is not the certificate of an authority in PEM: restore it") from error
    return root


def root_key_id(root: x509.Certificate) -> bytes:
    """The root's subject key identifier, which each certificate that it signs names as its issuer's."""
    return root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def require_keys(folder: Path) -> None:
    """Raise ``AuthorityError`` when the private keys are not in ``folder``, before anybody types a passphrase."""
    _read(folder / TLS_KEY)


def load_tls(folder: Path, passphrase: bytes) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The root and its key; raises ``AuthorityError`` when they are missing, unreadable or not of each other."""
    key = _unlock(folder / TLS_KEY, passphrase)
    path = folder / TLS_CERTIFICATE
    root = load_root(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != root.public_key():
        raise AuthorityError(f"{folder / TLS_KEY} is not the key of {path}: restore both from one backup")
    return root, key


def load_ssh(folder: Path, passphrase: bytes) -> ed25519.Ed25519PrivateKey:
    """The SSH user authority's key; raises ``AuthorityError`` when it is missing or cannot be opened."""
    path = folder / SSH_KEY
    key = _unlock(path, passphrase)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise AuthorityError(f"{path} is not an ed25519 key: restore it from a backup")
    return key


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Write ``content`` to ``path`` in one piece, with ``mode`` whatever the umask; raises ``OSError``."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _make_folder(folder: Path, private: Mapping[str, bytes], public: Mapping[str, bytes]) -> None:
    """Fill a hidden folder, then give it its name: the authority is there as a whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    growing = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))  # mkdtemp makes it 0700
    try:
        for name, text in private.items():
            write_file(growing / name, text, 0o600)
        for name, text in public.items():
            write_file(growing / name, text, 0o644)
        growing.rename(folder)  # succeeds over an empty folder only
    except BaseException:
        shutil.rmtree(growing, ignore_errors=True)
        raise


def _root(key: ec.EllipticCurvePrivateKey, fleet_name: str, zone: str) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, zone[:64]),  # 64: RFC 5280, upper bounds
            x509.NameAttribute(x509.NameOID.COMMON_NAME, f"hearth fleet {fleet_name}"[:64]),
        ]
    )
    start = datetime.now(UTC).replace(microsecond=0) - CLOCK_SKEW
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )


def _encrypted(key: SSHPrivateKeyTypes, passphrase: bytes) -> bytes:
    encryption = serialization.PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(_BCRYPT_ROUNDS).build(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, encryption)


def _unlock(path: Path, passphrase: bytes) -> SSHPrivateKeyTypes:
    text = _read(path)
    try:
        return _decrypt(text, passphrase)
    except (ValueError, TypeError) as error:  # cryptography raises both, for a wrong passphrase and for damage
        raise AuthorityError(
            f"cannot open {path}: the passphrase is wrong, or the file is damaged (then restore it from a backup)"
        ) from error


@cache
def _decrypt(text: bytes, passphrase: bytes) -> SSHPrivateKeyTypes:
    """Cached by content: bcrypt takes half a second, and one run signs for hundreds of boxes."""
    return serialization.load_ssh_private_key(text, passphrase)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise AuthorityError(
            f"{path} is not on this machine: restore the authority from its backup, or make one with `hearth ca init`"
        ) from error
    except OSError as error:
        raise AuthorityError(f"cannot read {path}: {error.strerror}") from error


def _refuse_weak_passphrase(passphrase: bytes) -> None:
    if len(passphrase.decode(errors="replace").strip()) < MIN_PASSPHRASE_CHARACTERS:
        raise AuthorityError(
            f"the passphrase is too short: choose one of {MIN_PASSPHRASE_CHARACTERS} characters or more, "
            "better five random words"
        )


def _refuse_second_authority(folder: Path, public_folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AuthorityError(
            f"{folder} exists and is not empty, nothing was changed: choose another --folder, or, if it is this "
            f"fleet's authority, copy its {TLS_CERTIFICATE} and {SSH_PUBLIC_KEY} to {public_folder}"
        )
    for name in (TLS_CERTIFICATE, SSH_PUBLIC_KEY):
        if (public_folder / name).exists():
            raise AuthorityError(
                f"{public_folder / name} belongs to an authority that exists already, nothing was changed: "
                "use that one, or move the file away to replace it"
            )


def _refuse_public_place(folder: Path, public_folder: Path) -> None:
    real = folder.resolve()
    inventories = [public_folder.resolve()]
    inventories += [parent for parent in real.parents if (parent / "fleet.yaml").exists()]
    for inventory in inventories:
        if real == inventory or inventory in real.parents:
            raise AuthorityError(
                f"{folder} lies inside {inventory}, which others may read: choose a --folder outside the inventory"
            )
    work_tree = next((parent for parent in (real, *real.parents) if (parent / ".git").exists()), None)
    if work_tree is not None and not _git_ignores(work_tree, real / TLS_KEY):
        raise AuthorityError(
            f"{folder} lies in the git work tree {work_tree}, which does not ignore it: choose a --folder outside"
        )


def _git_ignores(work_tree: Path, path: Path) -> bool:
    """Ask git itself; without git nobody knows, which counts as no."""
    try:
        command = ["git", "-C", str(work_tree), "check-ignore", "--quiet", str(path)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def random_ssh_serial() -> int:
    """A serial number for an SSH certificate: 63 random bits, so that none is ever given twice."""
    return secrets.randbits(63)
