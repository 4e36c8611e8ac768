"""The lab's network: namespaces for the internet, the routers and the hosts, and the operator's bench.

A namespace is finished when its ``lo`` is up: that is always the last step, so one that a crash left half made is
seen and made anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import Path

from hearth.lab import rules
from hearth.lab.process import LabError, run
from hearth.lab.register import INOTIFY_INSTANCES, IP_FORWARD
from hearth.lab.topology import (
    ACME_ADDRESS,
    CARRIER,
    CARRIER_GATEWAY,
    HOME_ROUTER,
    INTERNET_GATEWAY,
    NAME_SERVER_ADDRESS,
    RELEASES_ADDRESS,
    RESOLVER_ADDRESS,
    Bench,
    Member,
    Names,
)

ENOUGH_INOTIFY_INSTANCES = 1024


def numbers_on_the_wire() -> set[int]:
    """The N of every 10.213.N.0/24 that this machine already has an address or a route in."""
    words = run(["ip", "-4", "address"]).stdout.split() + run(["ip", "-4", "route"]).stdout.split()
    inside = [word.split(".") for word in words if word.startswith("10.213.")]
    return {int(parts[2]) for parts in inside if len(parts) == 4}


def name_server() -> str:
    """The machine's first name server, one that other hosts can ask. Raises ``LabError`` if it has none."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        lines = path.read_text().splitlines() if path.exists() else []
        for address in (line.split()[1] for line in lines if re.match(r"nameserver\s+[0-9.]+\s*$", line)):
            if not address.startswith("127."):
                return address
    raise LabError("/etc/resolv.conf names no IPv4 name server outside this machine, which the lab's hosts could ask.")


def build_outside(names: Names, bench: Bench) -> None:
    """Make the bench bridge, the internet and the uplink between it and the machine, unless they are there."""
    if _is_finished(names.internet) and names.bench in links(names.link_prefix):
        return
    server = name_server()
    destroy(names)
    _add_namespace(names.internet, forwarding=True)
    _ip(
        f"link add {names.bench} address {names.hardware_address(0, bench=True)} type bridge",
        f"address add {bench.operator}/25 dev {names.bench}",
        f"link set {names.bench} up",
        f"link add {names.uplink} type veth peer name uplink netns {names.internet}",
        f"address add {bench.uplink_outside}/30 dev {names.uplink}",
        f"link set {names.uplink} up",
    )
    rules.load(rules.ROOT.format(table=names.nft_table, uplink=names.uplink, bench=names.bench))
    IP_FORWARD.write_text("1")
    if int(INOTIFY_INSTANCES.read_text()) < ENOUGH_INOTIFY_INSTANCES:
        INOTIFY_INSTANCES.write_text(str(ENOUGH_INOTIFY_INSTANCES))
    _ip(
        f"link add internet address {names.hardware_address(0)} type bridge",
        f"address add {INTERNET_GATEWAY}/24 dev internet",
        f"address add {RELEASES_ADDRESS}/24 dev internet",
        f"address add {RESOLVER_ADDRESS}/24 dev internet",
        f"address add {NAME_SERVER_ADDRESS}/24 dev internet",
        f"address add {ACME_ADDRESS}/24 dev internet",
        f"address add {CARRIER_GATEWAY}/{CARRIER.prefixlen} dev internet",
        "link set internet up",
        f"address add {bench.uplink_inside}/30 dev uplink",
        "link set uplink up",
        f"route add default via {bench.uplink_outside}",
        namespace=names.internet,
    )
    # Not to tell a router behind the carrier's NAT that there is a shorter way.
    silent = [f"net.ipv4.conf.{where}.send_redirects=0" for where in ("all", "internet")]
    run(["ip", "netns", "exec", names.internet, "sysctl", "-qw", *silent])
    addresses = {"resolver": RESOLVER_ADDRESS, "gateway": INTERNET_GATEWAY, "carrier": CARRIER}
    rules.load(rules.INTERNET.format(name_server=server, **addresses), names.internet)
    _finish(names.internet)


def build_host(names: Names, bench: Bench, member: Member, bench_is_up: bool) -> None:
    """Make a host's namespace anew, with its links to where it stands, and the router before it if it is at home."""
    namespace = names.host(member.name)
    unplug(names, member)
    _add_namespace(namespace)
    if member.at_home:
        _build_router(names, member)
        switch, bridge, prefix = names.router(member.name), "lan", 24
    else:
        switch, bridge, prefix = names.internet, "internet", 24
    port, bench_port = f"h{member.number}", names.bench_port(member.number)
    _ip(
        f"link add eth0 netns {namespace} type veth peer name {port} netns {switch}",
        f"link add {bench_port} type veth peer name bench0 netns {namespace}",
        f"link set {bench_port} master {names.bench}",
        f"link set {bench_port} type bridge_slave isolated on",
        f"link set {bench_port} {'up' if bench_is_up else 'down'}",
    )
    _ip(f"link set {port} master {bridge}", f"link set {port} up", namespace=switch)
    _ip(
        # The same after each boot, as a network card's: whoever knows the host by ARP would lose it for a while.
        f"link set eth0 address {names.hardware_address(member.number)}",
        f"address add {member.address}/{prefix} dev eth0",
        "link set eth0 up",
        f"route add default via {member.gateway}",
        f"link set bench0 address {names.hardware_address(member.number, bench=True)}",
        # No more than the operator's machine is reached over the bench.
        f"address add {bench.host(member.number)} peer {bench.operator} dev bench0",
        "link set bench0 up",
        namespace=namespace,
    )
    _finish(namespace)


def _build_router(names: Names, member: Member) -> None:
    router = names.router(member.name)
    if _is_finished(router):
        return
    _delete_namespace(router)
    _add_namespace(router, forwarding=True)
    wan_port = f"r{member.number}"
    _ip(f"link add wan netns {router} type veth peer name {wan_port} netns {names.internet}")
    _ip(f"link set {wan_port} master internet", f"link set {wan_port} up", namespace=names.internet)
    _ip(
        f"link add lan address {names.hardware_address(0)} type bridge",
        f"address add {HOME_ROUTER}/24 dev lan",
        "link set lan up",
        f"address add {member.public_address}/24 dev wan",
        "link set wan up",
        f"route add default via {INTERNET_GATEWAY}",
        namespace=router,
    )
    forward(names, member, member.forwards)
    _finish(router)


def forward(names: Names, member: Member, ports: Iterable[int]) -> None:
    """Have the router before a host pass on these TCP ports to it, and no others."""
    rules.load(rules.router(member, ports), names.router(member.name))


def unplug(names: Names, member: Member) -> None:
    """Take a host's namespace and its links away; its router stays, as in life."""
    # Links go with their namespace, but not at once: the kernel does that in the background. So they go first.
    _delete_links([names.bench_port(member.number)])
    switch = names.router(member.name) if member.at_home else names.internet
    run(["ip", "-n", switch, "link", "delete", f"h{member.number}"], check=False)
    _delete_namespace(names.host(member.name))


def set_bench(names: Names, bench: Bench, member: Member, is_up: bool) -> None:
    """Plug a host's bench link in, or take it out."""
    _ip(f"link set {names.bench_port(member.number)} {'up' if is_up else 'down'}")
    # The machine shall neither keep sending to nor keep giving up on a host that it asked for a moment ago.
    run(["ip", "neighbour", "flush", "to", str(bench.host(member.number)), "dev", names.bench])


def outer_address(router: str) -> IPv4Address:
    """The address that a router has now on its outer side."""
    shown = json.loads(run(["ip", "-n", router, "-json", "-4", "address", "show", "dev", "wan"]).stdout)
    return IPv4Address(shown[0]["addr_info"][0]["local"])


def set_cable(names: Names, member: Member, is_up: bool) -> None:
    """Plug a host's cable in at the router or switch that it hangs on, or pull it out: the host sees the carrier go."""
    switch = names.router(member.name) if member.at_home else names.internet
    _ip(f"link set h{member.number} {'up' if is_up else 'down'}", namespace=switch)


def readdress_router(names: Names, member: Member, address: IPv4Address) -> None:
    """Give the router before a host another address on its outer side; connections through it die, as they do in life.

    One of ``CARRIER`` puts it behind a carrier's NAT.
    """
    prefix, gateway = (CARRIER.prefixlen, CARRIER_GATEWAY) if address in CARRIER else (24, INTERNET_GATEWAY)
    _ip(
        # With the old address go its route and what the kernel knows of masqueraded connections.
        "address flush dev wan",
        f"address add {address}/{prefix} dev wan",
        f"route replace default via {gateway}",
        namespace=names.router(member.name),
    )


def destroy(names: Names) -> None:
    """Remove every namespace, link and nftables table of the lab, found by their names alone."""
    for namespace in namespaces(names):
        _delete_namespace(namespace)
    _delete_links(links(names.link_prefix))
    tables = json.loads(run(["nft", "--json", "list", "tables"]).stdout)["nftables"]
    if any(one.get("table", {}).get("name") == names.nft_table for one in tables):
        run(["nft", "delete", "table", "inet", names.nft_table])


def namespaces(names: Names) -> list[str]:
    """The lab's network namespaces that exist."""
    folder = Path("/run/netns")
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(names.namespace_prefix))


def links(prefix: str) -> list[str]:
    """The links of the machine's own namespace whose names begin with ``prefix``."""
    found = json.loads(run(["ip", "-json", "link", "show"]).stdout or "[]")
    return [one["ifname"] for one in found if one["ifname"].startswith(prefix)]


def processes(names: Names) -> set[int]:
    """The processes in the lab's network namespaces, whoever started them."""
    found: set[int] = set()
    for namespace in namespaces(names):
        listed = run(["ip", "netns", "pids", namespace], check=False)
        found |= {int(line) for line in listed.stdout.split()}
    return found


def _delete_links(unwanted: Iterable[str]) -> None:
    existing = links("")
    for link in unwanted:
        if link in existing:
            # It may vanish by itself meanwhile, with the namespace of its other end.
            run(["ip", "link", "delete", link], check=False)
            if link in links(link):
                raise LabError(f"The link {link} cannot be removed.")


def _add_namespace(namespace: str, forwarding: bool = False) -> None:
    run(["ip", "netns", "add", namespace])
    # A new namespace takes over the machine's ip_forward, which the lab has switched on.
    value = "1" if forwarding else "0"
    run(["ip", "netns", "exec", namespace, "sysctl", "-qw", f"net.ipv4.ip_forward={value}"])


def _delete_namespace(namespace: str) -> None:
    if Path("/run/netns", namespace).exists():
        run(["ip", "netns", "delete", namespace])


def _is_finished(namespace: str) -> bool:
    if not Path("/run/netns", namespace).exists():
        return False
    shown = run(["ip", "-n", namespace, "-json", "link", "show", "dev", "lo"], check=False).stdout
    return any("UP" in one["flags"] for one in json.loads(shown or "[]"))


def _finish(namespace: str) -> None:
    _ip("link set lo up", namespace=namespace)


def _ip(*commands: str, namespace: str | None = None) -> None:
    where = ["-n", namespace] if namespace else []
    run(["ip", *where, "-batch", "-"], stdin="\n".join(commands) + "\n")
