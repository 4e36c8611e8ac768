"""sshd: operators come in by key or certificate and administer by sudo, nobody by password.

Both are one change behind the lock-out guard: a login that cannot become root is a lock-out too.
"""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from pyinfra.api.deploy import deploy

from hearth import artefacts, operators
from hearth.inventory.hosts import Host
from hearth.inventory.model import Operator
from hearth.render import OWNED, template
from hearth.ssh_policy import CIPHERS, MACS, MODERN, Policy

PACKAGES = ("openssh-server", "sudo")

KEYS = "/etc/ssh/hearth-keys"
USER_CA = "/etc/ssh/hearth-user-ca.pub"
GUARD_S = 60
# Where operators are awaited; said aloud only where another address is named beside (ListenAddress is all or nothing).
EVERYWHERE = ("0.0.0.0", "[::]")  # noqa: S104


def config(
    port: int,
    admins: Iterable[Operator],
    *,
    user_ca: bool,
    forwarding: str | None = None,
    policy: Policy = MODERN,
    tunnel_port: int | None = None,
) -> str:
    """The drop-in for sshd: ``port`` and who may log in (``admins``), the rest is policy.

    ``forwarding``: the one HOST:PORT (in PermitOpen's words) that operators may go on to from here; None leaves it to
    the operator, who is root here anyway. ``tunnel_port``: a second port, on the loopback alone, where the host's
    tunnel ends whatever ``port`` is.
    """
    return template(
        __file__,
        "sshd.conf.j2",
        port=port,
        # "Port" goes to those without a port of their own (sshd_config(5)); naming one names them all.
        addresses=(*EVERYWHERE, f"127.0.0.1:{tunnel_port}") if tunnel_port else (),
        operators=[person.name for person in admins],
        keys=KEYS,
        user_ca=USER_CA if user_ca else None,
        kex=",".join(policy.kex),
        ciphers=",".join(CIPHERS),
        macs=",".join(MACS),
        forwarding=forwarding,
    )


def effective_settings(
    port: int, forwarding: str | None = None, tunnel_port: int | None = None, policy: Policy = MODERN
) -> tuple[str, ...]:
    """Lines that ``sshd -T`` must print for an operator, whatever else lies in sshd's folders."""
    road = (f"permitopen {forwarding}", "allowtcpforwarding local", "allowstreamlocalforwarding no")
    tunnel = (f"listenaddress 0.0.0.0:{port}", f"listenaddress [::]:{port}", f"listenaddress 127.0.0.1:{tunnel_port}")
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
        f"kexalgorithms {','.join(policy.kex)}",
        *(road if forwarding else ()),
        *(tunnel if tunnel_port else ()),
    )


def check(
    port: int,
    operator: str,
    forwarding: str | None = None,
    tunnel_port: int | None = None,
    policy: Policy = MODERN,
) -> str:
    """The shell command that judges the configuration by its effect, not by its text."""
    wanted = " ".join(quote(line) for line in effective_settings(port, forwarding, tunnel_port, policy))
    return (
        f"sshd -t && effective=$(sshd -T -C user={quote(operator)},host=any,addr=192.0.2.1) && "
        f"for line in {wanted}; do "
        'printf "%s\\n" "$effective" | grep -qixF -- "$line" || '
        '{ echo "sshd would not use: $line" >&2; exit 1; }; done'
    )


def key_file(operator: Operator) -> artefacts.File:
    """An operator's keys, in root's folder: nobody adds a key to an account from inside it."""
    return artefacts.File(f"{KEYS}/{operator.name}", OWNED + "".join(f"{key}\n" for key in operator.keys))


@deploy("sshd")
def sshd(machine: Host, forwarding: str | None = None, tunnel_port: int | None = None, policy: Policy = MODERN) -> None:
    """Harden sshd, behind the lock-out guard; ``forwarding`` and ``tunnel_port``: see ``config``.

    ``policy``: what its OpenSSH knows.
    """
    authority = machine.authority
    text = config(
        machine.ssh_port,
        machine.operators,
        user_ca=authority is not None,
        forwarding=forwarding,
        policy=policy,
        tunnel_port=tunnel_port,
    )
    files: list[artefacts.File | artefacts.Link] = [
        artefacts.File("/etc/ssh/sshd_config.d/00-hearth.conf", text),
        artefacts.File("/etc/sudoers.d/hearth", template(__file__, "sudoers.j2", group=operators.GROUP), mode="440"),
        *(key_file(operator) for operator in machine.operators),
    ]
    if authority is not None:
        files.append(artefacts.File(USER_CA, f"{authority.ssh_user_ca.strip()}\n"))
    artefacts.put(
        name="Harden sshd and let the operators in",
        change="sshd",
        artefacts=tuple(files),
        check="visudo -cq && " + check(machine.ssh_port, machine.operators[0].name, forwarding, tunnel_port, policy),
        # Reload: sessions stay. An sshd that found its new port taken has ended, though, and systemd leaves it so
        # (RestartPreventExitStatus): then this starts it with the old files.
        activate="systemctl reload-or-restart ssh",
        guard_s=GUARD_S,
    )
    operators.no_others(
        name="Take sudo from who is no operator any more", names=tuple(person.name for person in machine.operators)
    )
