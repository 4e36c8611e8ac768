"""sshd: operators come in by key or certificate and administer by sudo, nobody by password.

Both are one change behind the lock-out guard: a login that cannot become root is a lock-out too.
"""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from pyinfra.api.deploy import deploy

from hearth import artefacts, operators
from hearth.inventory.model import Host, Operator
from hearth.render import template

PACKAGES = ("openssh-server", "sudo")

KEYS = "/etc/ssh/hearth-keys"
USER_CA = "/etc/ssh/hearth-user-ca.pub"
GUARD_S = 60

# Mozilla's and ssh-audit's modern choice. curve25519 stays last: paramiko, which pyinfra logs in with, knows no
# post-quantum exchange, and without it would be locked out while ``ssh`` and ``sshd -t`` are content.
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


def config(port: int, admins: Iterable[Operator], *, user_ca: bool) -> str:
    """The drop-in for sshd: ``port`` and who may log in (``admins``), the rest is policy."""
    return template(
        __file__,
        "sshd.conf.j2",
        port=port,
        operators=[person.name for person in admins],
        keys=KEYS,
        user_ca=USER_CA if user_ca else None,
        kex=",".join(KEX),
        ciphers=",".join(CIPHERS),
        macs=",".join(MACS),
    )


def effective_settings(port: int) -> tuple[str, ...]:
    """Lines that ``sshd -T`` must print for an operator, whatever else lies in sshd's folders."""
    return (
        f"port {port}",
        "permitrootlogin no",
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "authenticationmethods publickey",
        "x11forwarding no",
        "allowagentforwarding no",
        "permittunnel no",
        f"authorizedkeysfile {KEYS}/%u",
        f"kexalgorithms {','.join(KEX)}",
    )


def check(port: int, operator: str) -> str:
    """The shell command that judges the configuration by its effect, not by its text."""
    wanted = " ".join(quote(line) for line in effective_settings(port))
    return (
        f"sshd -t && effective=$(sshd -T -C user={quote(operator)},host=any,addr=192.0.2.1) && "
        f"for line in {wanted}; do "
        'printf "%s\\n" "$effective" | grep -qixF -- "$line" || '
        '{ echo "sshd would not use: $line" >&2; exit 1; }; done'
    )


def key_file(operator: Operator) -> artefacts.File:
    """An operator's keys, in root's folder: nobody adds a key to an account from inside it."""
    head = "# This file belongs to hearth and is replaced whole; changes made here are lost.\n"
    return artefacts.File(f"{KEYS}/{operator.name}", head + "".join(f"{key}\n" for key in operator.keys))


@deploy("sshd")
def sshd(machine: Host) -> None:
    """Harden sshd, behind the lock-out guard."""
    authority = machine.authority
    files: list[artefacts.File | artefacts.Link] = [
        artefacts.File(
            "/etc/ssh/sshd_config.d/00-hearth.conf",
            config(machine.ssh_port, machine.operators, user_ca=authority is not None),
        ),
        artefacts.File("/etc/sudoers.d/hearth", template(__file__, "sudoers.j2", group=operators.GROUP), mode="440"),
        *(key_file(operator) for operator in machine.operators),
    ]
    if authority is not None:
        files.append(artefacts.File(USER_CA, f"{authority.ssh_user_ca.strip()}\n"))
    artefacts.put(
        name="Harden sshd and let the operators in",
        change="sshd",
        artefacts=tuple(files),
        check=f"visudo -cq && {check(machine.ssh_port, machine.operators[0].name)}",
        # Reload: sessions stay. An sshd that found its new port taken has ended, though, and systemd leaves it so
        # (RestartPreventExitStatus): then this starts it with the old files.
        activate="systemctl reload-or-restart ssh",
        guard_s=GUARD_S,
    )
    operators.no_others(
        name="Take sudo from who is no operator any more", names=tuple(person.name for person in machine.operators)
    )
