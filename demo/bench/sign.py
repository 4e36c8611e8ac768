"""Sign a request with the fleet's authority, for the peers: ``sign.py FOLDER PASSPHRASE-FILE DOMAIN DAYS``."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from hearth import authority
from hearth.authority.passphrase import read_passphrase_file


def main(folder: str, passphrase_file: str, domain: str, days: str) -> int:
    """Read the request from standard input, print the certificate."""
    passphrase = read_passphrase_file(Path(passphrase_file))
    leaf = authority.sign_tls(Path(folder), passphrase, sys.stdin.buffer.read(), (domain,), timedelta(days=int(days)))
    sys.stdout.write(leaf.decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
