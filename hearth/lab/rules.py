"""What nftables is told: on this machine for a lab, on the lab's internet, and in the router of a home."""

from __future__ import annotations

from collections.abc import Iterable

from hearth.lab.process import run
from hearth.lab.topology import Member

# MSS is clamped because the machine's own way out may have a smaller MTU than the lab's links. What comes out of the
# lab reaches the world, but neither the machine itself nor any lab's bench.
ROOT = """\
table inet {table} {{
  chain forward {{
    type filter hook forward priority filter - 10; policy accept;
    iifname "{uplink}" ip daddr 10.213.0.0/16 drop
    iifname "{bench}" drop
    oifname "{bench}" drop
    iifname "{uplink}" tcp flags syn tcp option maxseg size set rt mtu
    oifname "{uplink}" tcp flags syn tcp option maxseg size set rt mtu
  }}
  chain input {{
    type filter hook input priority filter - 10; policy accept;
    iifname {{ "{uplink}", "{bench}" }} ct state established,related accept
    iifname {{ "{uplink}", "{bench}" }} drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    iifname "{uplink}" masquerade
  }}
}}
"""

# Nobody on an internet finds a private range, and one that the machine's own network has must not stand in for a
# home. The machine's name server, wherever it is, is found at an address of the lab's internet: in the home of an
# operator it is likely to be 192.168.1.1, which here is the box's own router. A router with an address of the range for
# carriers (RFC 6598) stands behind such a carrier's NAT: it gets out, with the gateway's address, and nobody gets in.
INTERNET = """\
table inet internet {{
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr {resolver} meta l4proto {{ tcp, udp }} th dport 53 dnat ip to {name_server}
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    ct status dnat accept
    ip daddr {{ 192.168.0.0/16, 10.213.0.0/16, {carrier} }} drop
  }}
  chain input {{
    type nat hook input priority 100; policy accept;
    ip saddr {carrier} snat ip to {gateway}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "uplink" masquerade
    ip saddr {carrier} masquerade
  }}
}}
"""

# A household's router as it comes out of its box: it masquerades, answers nothing from outside, and passes on only
# what it was told to.
ROUTER = """\
table inet router {{}}
delete table inet router
table inet router {{
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
{forwards}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "wan" masquerade
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "lan" accept
    ct status dnat accept
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname {{ "lo", "lan" }} accept
    ct state established,related accept
  }}
}}
"""

# What a neighbour sends here because this address was the router's a moment ago is for nobody.
FORWARD = 'iifname "wan" fib daddr type local'


def router(member: Member, forwards: Iterable[int]) -> str:
    """The nftables rules of the router before ``member``, in place of those it has. ``forwards``: TCP ports."""
    lines = "\n".join(f"    {FORWARD} tcp dport {port} dnat ip to {member.address}" for port in forwards)
    return ROUTER.format(forwards=lines)


def load(text: str, namespace: str | None = None) -> None:
    """Give nftables a text, of which all or nothing takes effect, in a network namespace or this machine's own."""
    where = ["ip", "netns", "exec", namespace] if namespace else []
    run([*where, "nft", "-f", "-"], stdin=text)
