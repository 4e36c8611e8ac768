"""A stand-in for a box: the role's programs run here, in a folder of their own, with stand-ins for Apache's."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from hearth import authority
from hearth.inventory.hosts import Authority
from roles import certs
from roles.certs.facts import TlsState, parse_state

NAME = "mueller.home.example"
MODES = {"key.pem": "600 root:root", "csr.pem": "644 root:root", "certificate.pem": "644 root:root"}
DAYS_90 = timedelta(days=90)
FILES = Path(certs.__file__).parent / "files"


@dataclass
class BoxFolder:
    """A stand-in for a box: the programs with their paths moved below ``base``."""

    base: Path
    port: int

    @property
    def tls(self) -> Path:
        return self.base / "hearth" / "tls"

    @property
    def store(self) -> Path:
        """What mod_md keeps."""
        return self.base / "md"

    def run(self, program: str, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        path = f"{self.base / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"
        command = ["sh", "-c", self._moved(program), program, *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env={"PATH": path}, timeout=timeout_s
        )

    def make_key(self, name: str = NAME) -> None:
        done = self.run("make-tls-key", name)
        assert done.returncode == 0, done.stderr

    def install(self, staged: bytes | None = None, name: str = NAME) -> subprocess.CompletedProcess[str]:
        if staged is None:
            return self.run("install-certificate", name)
        (self.tls / "staged").write_bytes(staged)
        return self.run("install-certificate", name, str(self.tls / "staged"))

    def state(self) -> TlsState:
        return parse_state(self.run("tls-state", NAME).stdout.splitlines())

    def signed(self, root: Authority, name: str = NAME) -> bytes:
        csr = (self.tls / "csr.pem").read_bytes()
        return authority.sign_tls(root.folder, authority.passphrase(root), csr, [name], DAYS_90)

    def _moved(self, program: str) -> str:
        owner, group = self.base.owner(), self.base.group()
        text = (FILES / program).read_text()
        for old, new in (
            ("/etc/hearth/tls", str(self.tls)),
            ("/etc/apache2", str(self.base / "apache2")),
            ("/var/lib/hearth/acme", str(self.store)),
            ("/run/hearth-acme", str(self.base / "run")),
            ("/usr/lib/hearth/", str(self.base / "lib") + "/"),
            ("127.0.0.1:443", f"127.0.0.1:{self.port}"),
            ("root:root", f"{owner}:{group}"),
            ("-o root -g root", f"-o {owner} -g {group}"),
            ("sleep 0.5", "sleep 0.05"),
            ("sleep 20", "sleep 0.05"),
        ):
            text = text.replace(old, new)
        return text


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
