"""What every sshd of the fleet agrees to: the operators' (role sshd) and the tunnels' (role tunnel_server).

Mozilla's and ssh-audit's modern choice, in sshd's own words. An sshd that meets a word it does not know does not start,
so what a host's OpenSSH is too old for is left out there.
"""

from __future__ import annotations

from dataclasses import dataclass

# curve25519 stays last: paramiko, which pyinfra logs in with, knows no post-quantum exchange, and without it would be
# locked out while ``ssh`` and ``sshd -t`` are content.
KEX = (
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
)
CIPHERS = (
    "chacha20-poly1305@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
MACS = ("hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "umac-128-etm@openssh.com")


@dataclass(frozen=True)
class Policy:
    """What one host's sshd is told. ``penalties``: whether it knows PerSourcePenalties (OpenSSH 9.8)."""

    kex: tuple[str, ...] = KEX
    penalties: bool = True


MODERN = Policy()
_OLD = Policy(
    # OpenSSH's release notes: mlkem768x25519-sha256 and the name without @openssh.com came with 9.9.
    kex=tuple(name for name in KEX if name not in ("mlkem768x25519-sha256", "sntrup761x25519-sha512")),
    penalties=False,
)


def of_debian(release: str) -> Policy:
    """The policy for the OpenSSH of a Debian release: 9.2 in "12", 10.0 in "13"."""
    return _OLD if release == "12" else MODERN
