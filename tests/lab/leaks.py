"""The real secrets of a converged box, and the search for them in whatever form they may have leaked."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives import serialization

from tests.lab.boxes import Operator


def key_lines(pem: str) -> set[str]:
    """The lines of a private key file that hold private numbers.

    OpenSSH's format begins with what is public; of a key of one number (PKCS#8) the last line is the public half.
    """
    body = [line for line in pem.splitlines() if not line.startswith("-----")]
    private = body[len(body) * 6 // 10 :] if "OPENSSH" in pem else body[:2]
    return {line for line in private if len(line) >= 40}


def of_the_box(operator: Operator) -> dict[str, set[str]]:
    """The box's secrets by what they are: its TLS key and SSH host keys, and passwords of people and programs."""

    def read(pattern: str) -> str:
        return operator.lab.exec(operator.host, ["sh", "-c", f"cat {pattern}"]).stdout

    config = read("/srv/hearth/www/owncloud/config/config.php")
    return {
        "TLS key": key_lines(read("/etc/hearth/tls/key.pem")),
        "SSH host keys": key_lines(read("/etc/ssh/ssh_host_rsa_key"))
        | key_lines(read("/etc/ssh/ssh_host_ed25519_key")),
        "passwords of programs": set(read("/etc/hearth/secrets/*").split()),
        "passwords of people": set(operator.passwords().values()),
        "config.php": set(re.findall(r"'(?:dbpassword|passwordsalt|secret)'\s*=>\s*'([^']+)'", config)),
    }


def of_the_authority(operator: Operator) -> set[str]:
    """What opens the fleet's authority, and its keys, as they lie on the operator's disk and opened."""
    folder = operator.lab.folder
    passphrase = (folder / "keys/passphrase").read_text().strip()
    found = {passphrase}
    plain = serialization.NoEncryption()
    for path in (folder / "authority").glob("*.key"):
        sealed, secret = path.read_bytes(), passphrase.encode()
        if b"OPENSSH" in sealed:
            ssh = serialization.load_ssh_private_key(sealed, secret)
            opened = ssh.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, plain)
        else:
            tls = serialization.load_pem_private_key(sealed, secret)
            opened = tls.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        found |= key_lines(opened.decode())
        found |= {line for line in sealed.decode().splitlines()[3:-1] if len(line) >= 40}
    return found


def forms(secret: str) -> set[str]:
    """A secret as it may show: itself, in hex, in a URL, in JSON, and in base64 at each of its three alignments."""
    raw = secret.encode()
    found = {secret, raw.hex(), quote(secret, safe=""), json.dumps(secret)[1:-1]}
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw).decode()
        # Letters that stand for a neighbour's bits as well are left out.
        found.add(text[-(-8 * before // 6) : 8 * (before + len(raw)) // 6])
    return found


def patterns(secrets: Iterable[str]) -> str:
    """What grep takes: each form of each secret on a line. Raises ValueError when there is nothing to look for."""
    lines = sorted({form for secret in secrets for form in forms(secret)})
    if not lines or any(len(line) < 12 for line in lines):
        raise ValueError("a secret that is missing or too short would make the search prove nothing")
    return "\n".join(lines) + "\n"


GREP = ("grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", "--no-messages", "--devices=skip")


def files_with(secrets: Iterable[str], *places: Path, without: Sequence[str] = ()) -> list[str]:
    """The files of the operator's machine at ``places`` that hold one of the secrets; folders ``without`` left out."""
    skipped = [f"--exclude-dir={name}" for name in without]
    command = [*GREP, *skipped, "--file=-", *(str(place) for place in places)]
    done = subprocess.run(command, input=patterns(secrets), capture_output=True, text=True, check=False)
    return sorted(done.stdout.splitlines())


def files_on_the_box(operator: Operator, secrets: Iterable[str], *places: str, user: str = "root") -> list[str]:
    """The files of the box at ``places`` that ``user`` can read and that hold one of the secrets."""
    who = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
    command = [*who, *GREP, "--exclude-dir=proc", "--exclude-dir=sys", "--file=-", *places]
    done = operator.lab.exec(operator.host, command, stdin=patterns(secrets), check=False, timeout_s=300)
    return sorted(done.stdout.splitlines())
