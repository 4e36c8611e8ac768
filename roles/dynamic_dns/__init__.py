"""dynamic_dns: a box that visitors reach directly keeps its name at the home's public address (RFC 2136).

The key that signs the updates is made on the box and stays there; the zone holds its public half, at the household's
own name, and the server lets each key change the name that it stands at. See docs/access.md.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import tomli_w
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from typing_extensions import override

from hearth import artefacts, layout
from hearth.inventory.hosts import Box
from hearth.inventory.model import DynamicDns, Relay
from hearth.render import OWNED, template

USER = "hearth-dns"
PROGRAM = f"{layout.PROGRAMS}/dynamic-dns"
UNIT = "hearth-dynamic-dns.service"
TIMER = "hearth-dynamic-dns.timer"
SYSUSERS = "/etc/sysusers.d/hearth-dns.conf"
CONFIG = "/etc/hearth/dynamic-dns.toml"
STATE_FOLDER = "/var/lib/hearth/dynamic-dns"
ROUTER_PORT = f"{layout.PROGRAMS}/router-port"
"""The program that knows the router's address where access is ``upnp``."""

_ONHOST = Path(__file__).parent / "onhost"
_UNITS = "/etc/systemd/system"

ACTIVATE = (
    f"if test -e {_UNITS}/{TIMER}; then systemctl daemon-reload && systemd-sysusers {SYSUSERS} && "
    f"systemctl enable --quiet --now {TIMER}; "
    # Stopped first: a timer that finds its unit vanished has failed.
    f"else systemctl stop {TIMER} {UNIT} 2>/dev/null; systemctl daemon-reload; "
    f"systemctl reset-failed {TIMER} {UNIT} 2>/dev/null; "
    f"rm -rf {_UNITS}/timers.target.wants/{TIMER} {STATE_FOLDER}; fi"
)


def is_wanted(box: Box) -> bool:
    """Whether the box tells a DNS server its address."""
    return box.household.dynamic_dns is not None and box.household.has_name


def packages(box: Box) -> tuple[str, ...]:
    """The packages that the role needs: dnssec-keygen; dig and nsupdate; curl."""
    return ("bind9-utils", "bind9-dnsutils", "curl", "python3") if is_wanted(box) else ()


def services(box: Box) -> tuple[str, ...]:
    """The units that must run."""
    return (TIMER,) if is_wanted(box) else ()


def learn(box: Box, dns: DynamicDns) -> tuple[str, ...]:
    """The command by which the box learns its public address: from its router, or from a page on the internet.

    Raises ValueError, in one sentence, when there is neither.
    """
    if box.household.access == "upnp":
        return (ROUTER_PORT, "address")
    url = dns.address_url or (address_page(box.relay) if box.relay else None)
    if url is None:
        raise ValueError(f"{box.household.id} needs a relay or an address_url to learn its public address")
    # No redirects, nothing large, IPv4: the name has no other address.
    limits = ("--ipv4", "--max-time", "10", "--max-filesize", "64", "--proto", "=http,https", "--globoff")
    return ("curl", "--silent", "--show-error", "--fail", *limits, url)


def address_page(relay: Relay) -> str:
    """The page of a relay that answers with the asker's address."""
    return f"http://{relay.address}{layout.ADDRESS_PATH}"


def config(box: Box, dns: DynamicDns) -> str:
    """What the program on the box reads."""
    values = {
        "name": box.household.domain,
        "zone": dns.zone,
        "server": dns.server,
        "port": dns.port,
        "ttl_s": dns.ttl_s,
        "learn": list(learn(box, dns)),
    }
    return OWNED + tomli_w.dumps(values)


def files(box: Box, dns: DynamicDns) -> tuple[artefacts.File, ...]:
    """Everything that the role puts, but the key."""
    own = {"domain": box.household.domain, "account": USER, "program": PROGRAM}
    return (
        artefacts.File(PROGRAM, (_ONHOST / "dynamic_dns.py").read_text(), mode="755"),
        artefacts.File(SYSUSERS, template(__file__, "sysusers.conf.j2", **own)),
        artefacts.File(CONFIG, config(box, dns)),
        artefacts.File(f"{_UNITS}/{UNIT}", template(__file__, "unit.service.j2", **own)),
        artefacts.File(f"{_UNITS}/{TIMER}", template(__file__, "unit.timer.j2", **own)),
    )


@dataclass(frozen=True)
class DnsState:
    """What a box has: a folder of keys, the public half of its own, whether all are in the right hands, and so on."""

    has_folder: bool = False
    key: str = ""
    kept_well: bool = False
    has_tsig_key: bool = False
    published: bool = False


def parse_state(lines: Iterable[str]) -> DnsState:
    """Given what ``BoxDns`` prints, return the state."""
    said = dict(line.partition(" ")[::2] for line in lines)
    return DnsState("folder" in said, said.get("key", ""), "kept-well" in said, "tsig" in said, "published" in said)


class BoxDns(FactBase[DnsState]):
    """The state of a box's dynamic DNS for ``domain``, in one command."""

    default = DnsState

    @override
    def command(self, domain: str) -> str:
        folder, name = layout.DNS_KEY_FOLDER, quote(f"K{domain}.+015+")
        return (
            f"cd {folder} 2>/dev/null || exit 0; echo folder; sed 's/^/key /' {layout.DNS_PUBLIC_KEY} 2>/dev/null; "
            "test -e tsig.key && echo tsig; "
            f'test -s {layout.DNS_PUBLIC_KEY} && test "$(ls -d K*.private)" = "$(ls -d {name}?????.private)" && '
            f'test "$({_public_half(name)})" = "$(cat {layout.DNS_PUBLIC_KEY})" && '
            f'test -z "$(find . -name "*.private" ! \\( -user root -group {USER} -perm 640 \\) '
            f'-o -name tsig.key ! \\( -user root -group {USER} -perm 640 \\))" && echo kept-well; '
            f"{PROGRAM} status 2>/dev/null | grep -qx published && ! systemctl is-failed --quiet {UNIT} && "
            "echo published; true"
        )

    @override
    def process(self, output: list[str]) -> DnsState:
        return parse_state(output)


def _public_half(name: str) -> str:
    """The shell command that prints a key's data, of the record that dnssec-keygen wrote: NAME IN KEY DATA."""
    return f"sed -n 's/^[^;]* IN KEY //p' {name}?????.key"


@operation()
def make_key(domain: str) -> Generator[StringCommand, None, None]:
    """Make the box's key for its name where there is none, and see that nobody but its account reads a key.

    + domain: the name that the key stands at in the zone; a key of another name is replaced
    """
    if host.get_fact(BoxDns, domain=domain).kept_well:
        return
    name = quote(f"K{domain}.+015+")
    yield StringCommand(
        f"set -e; umask 077; install -d -m 755 /etc/hearth; install -d -m 750 -g {USER} {layout.DNS_KEY_FOLDER}; "
        f"cd {layout.DNS_KEY_FOLDER}; rm -rf .new; "
        # nsupdate finds the two halves by the names that dnssec-keygen gives them.
        f"if ! test -s {name}?????.private || ! test -s {name}?????.key; then mkdir .new; "
        f"dnssec-keygen -q -K .new -T KEY -n HOST -a ED25519 {quote(domain)} >/dev/null; sync .new/*; "
        "rm -f K*.key K*.private; mv .new/*.private .; mv .new/*.key .; rmdir .new; fi; "
        f"chown root:{USER} K*; chmod 640 K*.private; chmod 644 K*.key; "
        f"if test -e tsig.key; then chown root:{USER} tsig.key; chmod 640 tsig.key; fi; "
        f"{_public_half(name)} >.pub; chmod 644 .pub; sync .pub; mv .pub {layout.DNS_PUBLIC_KEY}"
    )


@operation()
def forget_key(domain: str) -> Generator[StringCommand, None, None]:
    """Remove the box's keys for DNS updates.

    + domain: the household's, for the look at what is there
    """
    if host.get_fact(BoxDns, domain=domain).has_folder:
        yield StringCommand(f"rm -rf {layout.DNS_KEY_FOLDER}")


@operation()
def publish(domain: str, known_key: str | None) -> Generator[StringCommand, None, None]:
    """Tell the server the address now unless it has it; fail with the reason in words.

    + domain: the household's
    + known_key: the key's public half in the inventory; before that is collected no zone can hold it
    """
    state = host.get_fact(BoxDns, domain=domain)
    if state.published:
        host.noop(f"{domain} leads here")
    elif state.key != known_key and not state.has_tsig_key:
        host.noop("the zone cannot know this box's key yet")
    else:
        yield StringCommand(f"systemctl start {UNIT} 2>/dev/null || {{ {PROGRAM} status >&2; exit 1; }}")


@deploy("dynamic DNS")
def dynamic_dns(box: Box) -> None:
    """Keep the household's name at the home's public address, or take everything for it away."""
    dns, domain = box.household.dynamic_dns, box.household.domain
    artefacts.put(
        name=f"Keep {domain} at the home's public address" if dns else "Tell no DNS server an address",
        change="dynamic-dns",
        artefacts=files(box, dns) if dns else (),
        check=f"systemd-analyze verify {_UNITS}/{TIMER}" if dns else "",
        activate=ACTIVATE,
    )
    if dns:
        make_key(name="Make the key for DNS updates on the box", domain=domain)
    else:
        forget_key(name="Forget the key for DNS updates", domain=domain)


@deploy("dynamic DNS")
def published(box: Box) -> None:
    """See that the name leads here; apart, so that a server that refuses keeps nothing else from the box."""
    household = box.household
    if not is_wanted(box):
        return
    name = f"See that {household.domain} leads here"
    if household.dns_key is None:
        name = f"Look for no address yet: run `hearth collect {household.id}` and publish what `hearth zone` prints"
    publish(name=name, domain=household.domain, known_key=household.dns_key)
