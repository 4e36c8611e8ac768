"""tunnel_server: a second sshd, for tunnels alone; the relay's and the support Pi's. See docs/relay.md.

It shares nothing with the operators' sshd but the program: unit, port, host key, accounts and keys are its own, so
neither can break or open the other.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth import artefacts, layout
from hearth.inventory.model import RouterPage
from hearth.render import template
from hearth.ssh_policy import CIPHERS, MACS, MODERN, Policy
from roles.tunnel_server.accounts import KEYS, KINDS, NOLOGIN, Account, key_files
from roles.tunnel_server.facts import HostKey, Login, Logins, StaleSessions

PACKAGES = ("openssh-server", "openssh-client", "python3", "systemd")

CONFIG = "/etc/ssh/hearth-tunnel/sshd_config"
HOSTS = "/etc/hearth/tunnel-hosts"
UNIT = "hearth-tunnel-sshd.service"
UPGRADED = "hearth-tunnel-sshd-upgraded"
WATCH = "hearth-tunnel-watch.service"
END_DEAD = f"{layout.PROGRAMS}/end-dead-tunnels"
JOURNAL = "hearth-tunnel"
"""The namespace of the tunnel sshd's journal: ``journalctl --namespace=hearth-tunnel``."""

SERVICES = (UNIT, f"{UPGRADED}.path", WATCH)

FILES = Path(__file__).parent / "files"
_UNITS = "/etc/systemd/system"
# With UsePAM no, sshd takes the ! of a fresh account for a locked one.
_LOGIN = Login(home="/nonexistent", shell=NOLOGIN, password="*")  # noqa: S106 (no password fits it)


def config(accounts: Sequence[Account], ports: Sequence[int], policy: Policy = MODERN, *, keys: str = KEYS) -> str:
    """The tunnel sshd's configuration, whole. ``keys``: the folder of the accounts' key files."""
    return template(
        __file__,
        "sshd_config.j2",
        accounts=[
            {
                "name": account.name,
                "key_files": " ".join(key_files(account, keys)) or "none",
                "forwarding": account.forwarding,
                "gateway_ports": KINDS[account.kind].gateway_ports,
                "listen": " ".join(account.listen) or "none",
                "open": " ".join(account.open) or "none",
            }
            for account in accounts
        ],
        ports=ports,
        host_key=layout.TUNNEL_HOST_KEY,
        nologin=NOLOGIN,
        kex=",".join(policy.kex),
        penalties=policy.penalties,
        ciphers=",".join(CIPHERS),
        macs=",".join(MACS),
    )


def effective_settings(account: Account) -> tuple[str, ...]:
    """Lines that ``sshd -T`` must print for an account."""
    kind = KINDS[account.kind]
    return (
        "maxsessions 0",
        "usepam no",
        "authenticationmethods publickey",
        f"authorizedkeysfile {' '.join(key_files(account)) or 'none'}",
        f"forcecommand {NOLOGIN}",
        "allowstreamlocalforwarding no",
        "permittunnel no",
        f"allowtcpforwarding {account.forwarding}",
        f"gatewayports {kind.gateway_ports}",
        f"permitlisten {' '.join(account.listen) or 'none'}",
        f"permitopen {' '.join(account.open) or 'none'}",
    )


def check(accounts: Iterable[Account]) -> str:
    """The shell command that judges the configuration by what sshd makes of it, for each account."""
    parts = [f"sshd -t -f {CONFIG}"]
    for account in accounts:
        wanted = " ".join(quote(line) for line in effective_settings(account))
        parts.append(
            f"effective=$(sshd -T -f {CONFIG} -C user={quote(account.name)},host=any,addr=192.0.2.1) && "
            f"for line in {wanted}; do "
            'printf "%s\\n" "$effective" | grep -qixF -- "$line" || '
            '{ echo "the tunnel sshd would not use: $line" >&2; exit 1; }; done'
        )
    return " && ".join(parts)


def key_check(accounts: Iterable[Account]) -> str:
    """The shell command that has OpenSSH itself count the keys that it can read."""
    tests = [
        f'test "$(cat {" ".join(key_files(account))} | ssh-keygen -l -f - 2>/dev/null | wc -l)" -eq '
        f"{len(account.keys)} || {{ echo 'OpenSSH cannot read every key of {account.name}' >&2; exit 1; }}"
        for account in accounts
        if account.keys
    ]
    return " && ".join(tests) or "true"


def activate() -> str:
    """Restart the listener; the sessions of the old one stay (KillMode=process). An undone first put stops it."""
    return (
        f"systemctl daemon-reload; if test -e {_UNITS}/{UNIT}; "
        f"then systemctl enable --quiet {UNIT} {UPGRADED}.path && systemctl restart {UNIT} {UPGRADED}.path && "
        f"systemctl try-restart systemd-journald@{JOURNAL}.service; "
        f"else systemctl stop {UNIT} {UPGRADED}.path 2>/dev/null; true; fi"
    )


def verify(ports: Sequence[int]) -> str:
    """The shell command that looks whether each port answers with the kept host key."""
    return " && ".join(
        f"ssh-keyscan -T 10 -t ed25519 -p {port} 127.0.0.1 2>/dev/null | cut -d' ' -f2,3 | "
        f"grep -qxF -- \"$(cut -d' ' -f1,2 {layout.TUNNEL_HOST_KEY}.pub)\" || "
        f"{{ echo 'the tunnel sshd does not answer on port {port} with its host key' >&2; exit 1; }}"
        for port in ports
    )


def hosts_file(routers: Iterable[RouterPage]) -> str:
    """The tunnel sshd's own /etc/hosts: loopback, and the routers under the names that helpers ask for."""
    lines = dict.fromkeys(f"{page.address} {page.name}" for page in routers if page.name)
    return template(__file__, "hosts.j2", lines=lines)


def files_of(
    accounts: Sequence[Account],
    ports: Sequence[int],
    policy: Policy = MODERN,
    routers: Sequence[RouterPage] | None = None,
) -> tuple[artefacts.File, ...]:
    """Everything but the keys: the configuration, the units, the journal's settings."""
    own = {"ports": ports, "config": CONFIG, "journal": JOURNAL, "unit": UNIT}
    own |= {"hosts": HOSTS if routers is not None else ""}
    return (
        artefacts.File(CONFIG, config(accounts, ports, policy)),
        *([artefacts.File(HOSTS, hosts_file(routers))] if routers is not None else []),
        artefacts.File(f"{_UNITS}/{UNIT}", template(__file__, "unit.service.j2", **own)),
        artefacts.File(f"{_UNITS}/{UPGRADED}.path", template(__file__, "upgraded.path.j2")),
        artefacts.File(f"{_UNITS}/{UPGRADED}.service", template(__file__, "upgraded.service.j2", **own)),
        artefacts.File(f"{_UNITS}/ssh.service.d/hearth-tunnel.conf", template(__file__, "preserve.conf.j2")),
        artefacts.File(f"/etc/systemd/journald@{JOURNAL}.conf", template(__file__, "journald.conf.j2")),
    )


@operation()
def logins(names: tuple[str, ...]) -> Generator[StringCommand, None, None]:
    """Make the accounts ``names``: no home, no shell, no password, and put right what somebody changed."""
    found = host.get_fact(Logins, names=names)
    settings = ("--home-dir", _LOGIN.home, "--shell", _LOGIN.shell, "--password", quote(_LOGIN.password))
    for name in names:
        if name not in found:
            yield StringCommand("useradd", "--system", "--user-group", "--no-create-home", *settings, quote(name))
        elif found[name] != _LOGIN:
            yield StringCommand("usermod", "--home", *settings[1:], quote(name))


@operation()
def host_key() -> Generator[StringCommand, None, None]:
    """Make the tunnel sshd's host key on the host, once; boxes pin it."""
    key = layout.TUNNEL_HOST_KEY
    if host.get_fact(HostKey, path=key) is not None:
        return
    folder = str(Path(key).parent)
    # The private half is there last: a key that is cut short is made anew, one that boxes know never is.
    yield StringCommand(
        f"install -d -m 755 {folder} && if test -s {key}; then chmod 600 {key} && chown root: {key} && "
        f"ssh-keygen -y -P '' -f {key} > {key}.pub; else rm -f {key} {key}.new {key}.new.pub && "
        f'ssh-keygen -q -t ed25519 -N "" -C "$(hostname)" -f {key}.new && '
        f"mv {key}.new.pub {key}.pub && mv {key}.new {key}; fi"
    )


@operation()
def end_sessions() -> Generator[StringCommand, None, None]:
    """End the live sessions whose key is not in the files any more, or was granted something else meanwhile."""
    stale = host.get_fact(StaleSessions)
    for sentence in stale.sessions:
        host.log(sentence)
    if stale.sessions or stale.unrecorded:
        yield StringCommand(layout.TUNNEL_SESSIONS, "end")
    else:
        host.noop("every live session has its key")


@deploy("Tunnels")
def tunnel_server(
    accounts: tuple[Account, ...],
    ports: tuple[int, ...],
    policy: Policy = MODERN,
    routers: tuple[RouterPage, ...] | None = None,
) -> None:
    """Serve tunnels for ``accounts`` on each of ``ports``; end what lives on from keys that are gone.

    ``policy``: what the host's OpenSSH knows. ``routers``: whose names, and no others, are theirs here, whatever DNS
    says; None where names mean what they mean on the host, as that of a store on a host of its own.
    """
    logins(name="Make the tunnels' accounts", names=tuple(account.name for account in accounts))
    host_key(name="Make the tunnel sshd's host key")
    artefacts.put(
        name="Prepare the kernel for thousands of tunnels",
        change="tunnel-capacity",
        artefacts=(artefacts.File("/etc/sysctl.d/60-hearth-tunnel.conf", template(__file__, "sysctl.conf.j2")),),
        # In a container the machine outside keeps these, and systemd skips the unit.
        activate="systemctl restart systemd-sysctl",
    )
    artefacts.put(
        name="Put the program that lists and ends sessions",
        change="tunnel-sessions",
        artefacts=(artefacts.File(layout.TUNNEL_SESSIONS, (FILES / "tunnel-sessions").read_text(), mode="755"),),
        check=f"{layout.TUNNEL_SESSIONS} status >/dev/null",
    )
    artefacts.put(
        name=f"Serve tunnels on port {' and '.join(str(port) for port in ports)}",
        change="tunnel-sshd",
        artefacts=files_of(accounts, ports, policy, routers),
        check=check(accounts),
        activate=activate(),
        verify=verify(ports),
    )
    # After the server: who comes in by a new key keeps the configuration that he finds.
    artefacts.put(
        name=f"Put the keys that may open tunnels ({sum(len(account.keys) for account in accounts)})",
        change="tunnel-keys",
        artefacts=tuple(artefacts.File(*file) for account in accounts for file in key_files(account).items()),
        check=key_check(accounts),
    )
    watch = f"{_UNITS}/{WATCH}"
    artefacts.put(
        name="End tunnels whose line is dead, that their boxes can come back",
        change="tunnel-watch",
        artefacts=(
            artefacts.File(END_DEAD, (FILES / "end-dead-tunnels").read_text(), mode="755"),
            artefacts.File(watch, template(__file__, "watch.service.j2", ports=ports, program=END_DEAD)),
            artefacts.Link(f"{_UNITS}/multi-user.target.wants/{WATCH}", watch),
        ),
        activate=f"systemctl daemon-reload; if test -e {watch}; then systemctl restart {WATCH}; "
        f"else systemctl stop {WATCH}; fi",
        # A program that cannot see connections ends at once.
        verify=f"sleep 1; systemctl is-active --quiet {WATCH}",
    )
    end_sessions(name="End the sessions of keys that are gone")
