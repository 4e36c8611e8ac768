"""The box's tunnel to its relay: the key made here, a unit that keeps ``ssh -N`` up, guarded like sshd.

The tunnel is the only road in for visitors and for operators, so it depends on nothing else of the box: neither
Apache nor PHP nor the database. See docs/relay.md for what comes through it.
"""

from __future__ import annotations

from collections.abc import Generator
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from typing_extensions import override

from hearth import artefacts, layout
from hearth.inventory.hosts import Box
from hearth.inventory.model import Household, Relay, Store
from hearth.render import OWNED, template
from hearth.ssh_policy import KEX

PACKAGES = ("openssh-client",)

UNIT = "hearth-tunnel.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
FOLDER = layout.TUNNEL_KEY.rpartition("/")[0]
KNOWN_HOSTS = f"{FOLDER}/known_hosts"
SYSUSERS = "/etc/sysusers.d/hearth-tunnel.conf"
CONTROL = "/run/hearth-tunnel/control"
GUARD_S = 120

# Delays before the next attempt. At its longest, with the time an attempt itself takes (ConnectTimeout), a household
# is back within 60 s of the relay's return (facts: 300 s at most spreads a crowd no better than 30).
FIRST_DELAY_MS = (2000, 6000)
LONGEST_DELAY_MS = (20_000, 32_000)

# ssh -f returns when the forwards are granted, so "active" is the proof. A tunnel that was not up before the change
# (on the first day the relay does not know its key yet) need not be up after it: it goes on trying by itself. The
# unit's file is gone when an undo takes the first one away again, or when the household needs no tunnel any more.
ACTIVATE = (
    f"up=$(systemctl is-active {UNIT}); "
    f"if ! test -e {UNIT_FILE}; then "
    # Before systemd forgets the file: a unit that waits for its next attempt would be left as failed.
    f"systemctl stop {UNIT} 2>/dev/null; systemctl daemon-reload; systemctl reset-failed {UNIT} 2>/dev/null; "
    f"rm -f /etc/systemd/system/multi-user.target.wants/{UNIT}; exit 0; fi; systemctl daemon-reload; "
    f"systemctl enable --quiet {UNIT} || exit 1; "
    f'if test "$up" = active; then systemctl restart {UNIT}; else systemctl restart --no-block {UNIT}; fi'
)
# A relay may grant the forwards and hang up; what lasts some seconds has passed its checks.
VERIFY = (
    f"systemctl is-active --quiet {UNIT} || exit 0; "
    f"main=$(systemctl show --property=MainPID --value {UNIT}); sleep 3; "
    f'test "$(systemctl show --property=MainPID --value {UNIT})" = "$main" || '
    f"{{ echo 'the tunnel does not last' >&2; journalctl -u {UNIT} -n 5 -o cat >&2; exit 1; }}"
)


class TunnelKey(FactBase[bool]):
    """Whether the box has a tunnel key, in its account's hands alone, and its public half beside it."""

    @override
    @staticmethod
    def default() -> bool:
        return False

    @override
    def command(self) -> str:
        key = layout.TUNNEL_KEY
        return (
            f'test "$(stat --format "%U %a" {key} 2>/dev/null)" = "{layout.TUNNEL_USER} 600" && '
            f'test "$(ssh-keygen -y -P "" -f {key} 2>/dev/null | cut -d" " -f1,2)" = '
            f'"$(cut -d" " -f1,2 {key}.pub 2>/dev/null)" && echo complete; true'
        )

    @override
    def process(self, output: list[str]) -> bool:
        return "complete" in output


@operation()
def make_key(comment: str) -> Generator[StringCommand, None, None]:
    """Make the tunnel's key where there is none, and its public half from it; it never leaves the box.

    + comment: what the public half is called
    """
    if host.get_fact(TunnelKey):
        return
    new, key, account = f"{FOLDER}/.new-key", layout.TUNNEL_KEY, layout.TUNNEL_USER
    yield StringCommand(
        f"set -e; umask 077; install -d -m 755 /etc/hearth {FOLDER}; rm -f {new} {new}.pub; "
        # A key that cannot be read (a disk that was full) is no key. The old one is kept if it is one.
        f'ssh-keygen -y -P "" -f {key} >/dev/null 2>&1 || '
        f'{{ ssh-keygen -q -t ed25519 -N "" -C {quote(comment)} -f {new}; sync {new}; mv {new} {key}; }}; '
        f'ssh-keygen -y -P "" -f {key} >{new}.pub; chmod 644 {new}.pub; sync {new}.pub; mv {new}.pub {key}.pub; '
        f"chown {account}: {key}; chmod 600 {key}"
    )


def known_hosts(relay: Relay) -> str:
    """The only relay that the box trusts, by the keys that ``hearth collect`` found there."""
    marker = relay.address if relay.tunnel_port == 22 else f"[{relay.address}]:{relay.tunnel_port}"
    return OWNED + "".join(f"{marker} {key}\n" for key in relay.tunnel_host_keys)


def ssh_options(household: Household, relay: Relay, store: Store | None = None) -> tuple[str, ...]:
    """The words behind ``ssh``: nobody is asked, nothing is read from elsewhere, no forward means no tunnel.

    With a ``store``, its ports are added to the tunnel once it is up (``store_options``).
    """
    settings = {
        "ExitOnForwardFailure": "yes",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "3",
        "ConnectTimeout": "20",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": KNOWN_HOSTS,
        "GlobalKnownHostsFile": "none",
        "UpdateHostKeys": "no",
        "HostKeyAlgorithms": "ssh-ed25519",
        "KexAlgorithms": ",".join(KEX),
        "IdentityFile": layout.TUNNEL_KEY,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        # Some home routers slow down what ssh marks as bulk traffic.
        "IPQoS": "none",
    }
    if store is not None:
        settings |= {"ControlMaster": "yes", "ControlPath": CONTROL, "ControlPersist": "no"}
    # The operators' end has a port of its own on the box as well: ssh_port can then move without moving the tunnel.
    forwards = [(layout.SSH_TUNNEL_PORT, layout.SSH_TUNNEL_PORT)]
    if household.access == "relay":
        forwards.insert(0, (layout.HTTPS_TUNNEL_PORT, layout.HTTPS_TUNNEL_PORT))
    return (
        # -y: in the background ssh would have no standard error left; its log goes to the journal.
        *("-f", "-N", "-T", "-y", "-F", "none"),
        *(word for name, value in settings.items() for word in ("-o", f"{name}={value}")),
        *(
            word
            for outer, inner in forwards
            for word in ("-R", f"{household.tunnel_address}:{outer}:127.0.0.1:{inner}")
        ),
        *("-p", str(relay.tunnel_port), "-l", layout.TUNNEL_USER, relay.address),
    )


def store_options(relay: Relay, store: Store | None) -> tuple[str, ...]:
    """The words behind the ``ssh`` that adds the store's ports to a tunnel that is up; none without a store.

    Were they the tunnel's own forwards, whoever took one of the two ports on the box would keep the tunnel from coming
    up (ExitOnForwardFailure), and the operator out.
    """
    if store is None:
        return ()
    ports = zip((layout.STORE_TUNNEL_PORT, layout.STORE_PRUNE_TUNNEL_PORT), store.places, strict=True)
    forwards = tuple(word for port, place in ports for word in ("-L", f"127.0.0.1:{port}:{place}"))
    return ("-F", "none", "-S", CONTROL, "-O", "forward", *forwards, relay.address)


def delays_ms(slot: int) -> tuple[int, int]:
    """The household's delays before the second and before a late attempt, in milliseconds, spread by its ``slot``.

    Steps of the golden ratio lay any number of households evenly over the range (Knuth, TAOCP 3, 6.4).
    """
    place = slot * 0.6180339887498949 % 1
    first, longest = (int(low + place * (high - low)) for low, high in (FIRST_DELAY_MS, LONGEST_DELAY_MS))
    return first, longest


def unit(household: Household, relay: Relay, store: Store | None = None) -> str:
    """The systemd unit. ``store``: where the household's backups go through this tunnel, if they do."""
    first, longest = delays_ms(household.slot)
    return template(
        __file__,
        "tunnel.service.j2",
        unit=UNIT,
        relay=relay.name,
        account=layout.TUNNEL_USER,
        options=ssh_options(household, relay, store),
        store_options=store_options(relay, store),
        runtime=CONTROL.split("/")[2],
        first_delay_ms=first,
        longest_delay_ms=longest,
    )


def has_tunnel(box: Box) -> bool:
    """Whether the box shall open a tunnel now: its household has a relay, and the relay's host keys are known."""
    return box.relay is not None and bool(box.relay.tunnel_host_keys)


def services(box: Box) -> tuple[str, ...]:
    """The units that must run."""
    return (UNIT,) if has_tunnel(box) else ()


@deploy("tunnel")
def tunnel(box: Box) -> None:
    """Keep the box's tunnel to its relay up, behind the lock-out guard."""
    artefacts.put(
        name="Make the tunnel's account",
        change="tunnel-account",
        artefacts=(artefacts.File(SYSUSERS, template(__file__, "sysusers.conf.j2", account=layout.TUNNEL_USER)),),
        activate=f"systemd-sysusers {SYSUSERS}",
    )
    household, relay = box.household, box.relay
    files: tuple[artefacts.File, ...] = ()
    name = f"Open no tunnel: the household has no relay (access {household.access})"
    if relay is not None:
        make_key(name="Make the tunnel's key on the box", comment=box.name)
        name = f"Open no tunnel yet: converge {relay.name}, then run `hearth collect {relay.name}`"
        if has_tunnel(box):
            name = f"Keep the tunnel to {relay.name} up"
            files = (
                artefacts.File(KNOWN_HOSTS, known_hosts(relay)),
                artefacts.File(UNIT_FILE, unit(household, relay, box.store)),
            )
    artefacts.put(
        name=name,
        change="tunnel",
        artefacts=files,
        absent=() if files else (UNIT_FILE, KNOWN_HOSTS),
        check=f"systemd-analyze verify {UNIT_FILE}" if files else "",
        activate=ACTIVATE,
        verify=VERIFY if files else "",
        guard_s=GUARD_S,
    )
