"""A home's router that lets itself be asked for ports: miniupnpd, with UPnP IGD and NAT-PMP/PCP on its LAN side."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from hearth.lab import daemons, network, rules
from hearth.lab.daemons import Daemon
from hearth.lab.topology import Member, Names

Mode = Literal["on", "refuse", "off"]
"""``refuse``: it answers whoever looks for it, and denies every port, as a router whose owner has restricted it."""

HTTP_PORT = 5000
PERMISSIONS = {"on": "allow 1-65535 192.168.1.0/24 1-65535\n", "refuse": ""}

# The addresses of the lab's internet are reserved for documentation (RFC 5737): without ext_allow_private_ipv4 it would
# pass nothing on there, and without ext_ip it would not tell its address. With them it does both behind a carrier's NAT
# too, where nobody comes in, as many routers do.
CONFIGURATION = """\
ext_ifname=wan
ext_ip={address}
ext_allow_private_ipv4=yes
listening_ip=lan
http_port={port}
ipv6_disable=yes
enable_pcp_pmp=yes
secure_mode=yes
upnp_table_name=upnp
upnp_nat_table_name=upnp
friendly_name=Router of {name}
{permissions}deny 0-65535 0.0.0.0/0 0-65535
"""

# The chains that it fills, beside the router's own rules, which let through whatever was redirected. To make them anew
# is to forget what was asked for, as a router does when it is switched off.
RULES = """\
table inet upnp {}
delete table inet upnp
table inet upnp {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain forward {
    type filter hook forward priority filter; policy accept;
    jump miniupnpd
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump prerouting_miniupnpd
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    jump postrouting_miniupnpd
  }
}
"""

FILE = "etc/miniupnpd/miniupnpd.conf"
# In debug mode it stays in the foreground, and says what it is asked for. A file of an earlier one's process id, which
# is somebody else's by now, would keep it from starting.
SCRIPT = f"rm -f /run/miniupnpd.pid; exec miniupnpd -d -f /{FILE}\n"


def daemon(names: Names, folder: Path, member: Member) -> Daemon:
    """The UPnP daemon of the router before ``member``. ``folder``: the lab's state folder."""
    name = f"upnp-{member.name}"
    return Daemon(names, name, folder / "daemons" / name, names.router(member.name))


def configuration(host: str, mode: Mode, address: IPv4Address) -> str:
    """Miniupnpd's configuration in the router before ``host``; ``address``: the router's on its outer side."""
    return CONFIGURATION.format(port=HTTP_PORT, name=host, permissions=PERMISSIONS[mode], address=address)


def switch(router: Daemon, base: Path, host: str, mode: Mode) -> None:
    """Let the router before ``host`` be asked, refuse, or not answer; with another mode it forgets its redirections."""
    if mode == "off":
        if daemons.is_running(router):
            daemons.stop(router)
            rules.load(RULES, router.namespace)
        return
    wanted = configuration(host, mode, network.outer_address(router.namespace))
    if daemons.configure(router, {FILE: wanted}) or not daemons.is_running(router):
        daemons.stop(router)
        rules.load(RULES, router.namespace)
        _start(router, base)


def readdress(router: Daemon, base: Path) -> None:
    """Have the router notice that its address is another, if it can be asked at all; what it was asked for stays.

    One whose address was gone for a moment forwards nothing new until it is started again (miniupnp/miniupnp#904).
    """
    if daemons.is_running(router):
        line = f"ext_ip={network.outer_address(router.namespace)}"
        daemons.configure(router, {FILE: re.sub(r"^ext_ip=.*", line, (router.upper / FILE).read_text(), flags=re.M)})
        daemons.stop(router)
        _start(router, base)


def _start(router: Daemon, base: Path) -> None:
    daemons.start(router, base, SCRIPT)
    daemons.wait(router, lambda: daemons.listens(router.namespace, HTTP_PORT))
