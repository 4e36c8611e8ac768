"""What every sshd of the fleet agrees to: the operators' (role sshd) and the tunnels' (role tunnel_server).

Mozilla's and ssh-audit's modern choice, in sshd's own words; the Debian 12 of a support Pi knows each but mlkem.
"""

from __future__ import annotations

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
