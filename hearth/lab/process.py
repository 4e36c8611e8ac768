"""Programs that the lab runs on the operator's machine, and the one error it raises."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

PACKAGE_OF = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nft": "nftables",
    "ssh": "openssh-client",
}


class LabError(Exception):
    """Something the lab cannot do; its text is a sentence for the person at the keyboard."""


def require_machine() -> None:
    """Raise ``LabError`` unless this is root on a machine that has the programs the lab is made of."""
    if os.geteuid() != 0:
        raise LabError("The lab makes network namespaces and mounts: run it as root.")
    missing = [package for program, package in PACKAGE_OF.items() if shutil.which(program) is None]
    if missing:
        raise LabError(f"The lab needs programs that are missing: run `apt-get install {' '.join(missing)}`.")


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    check: bool = True,
    timeout_s: float = 60,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, capturing its output.

    Raises ``LabError`` with the last line of its complaint when it fails (and ``check``) or takes longer than
    ``timeout_s`` seconds.
    """
    try:
        result = subprocess.run(
            argv,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=env,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(argv)}` took longer than {timeout_s:g} s.") from error
    if check and result.returncode != 0:
        complaint = (result.stderr.strip() or result.stdout.strip() or "no output").splitlines()[-1]
        raise LabError(f"`{' '.join(argv)}` failed with status {result.returncode}: {complaint}")
    return result
