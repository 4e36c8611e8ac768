"""Rules about single values that no schema can express: names, addresses, keys, releases, times."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from hearth.inventory.defaults import SOCKS_PORT, TUNNEL_PORT, ports_of
from hearth.inventory.documents import Document, Documents, Found, find, first
from hearth.inventory.faults import Fault, quoted
from hearth.inventory.keys import key_fault
from hearth.inventory.marks import MarkedDict
from hearth.inventory.times import parse_window, time_zone_fault
from hearth.inventory.unique import KEY_PATHS, SCREEN_KEY_PATHS
from hearth.layout import HTTPS_TUNNEL_PORT, SSH_TUNNEL_PORT, STORE_PORT, STORE_PRUNE_PORT

# PHP of ownCloud 11: at least 8.3, below 8.6 (its own lib/base.php and composer.json).
OWNCLOUD_PHP = ((8, 3), (8, 6))
# Debian's own accounts, those of the packages on our hosts, and those that hearth's tunnel servers use.
SYSTEM_ACCOUNTS = frozenset(
    (
        *("root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy", "www-data"),
        *("backup", "list", "irc", "gnats", "nobody", "messagebus", "sshd", "polkitd", "avahi", "ntp", "ntpsec"),
        *("chrony", "mysql", "redis", "haproxy", "postgres", "debian", "pi", "admin", "sudo", "adm", "users", "staff"),
        *("tunnel", "screen", "viewer", "socks", "hearth", "restic", "rest-server"),
    )
)
GROUP_NAMES = frozenset({"all", "boxes", "relays", "pis", "stores", "inventory"})
WEB_PORTS = frozenset({80, 443})
# What listens on such a port for the whole world would take it from every household's loopback address.
TUNNELS_PORTS = frozenset({HTTPS_TUNNEL_PORT, SSH_TUNNEL_PORT})
# A store on a relay listens on its loopback alone, but what listens on all addresses takes the port there too.
STORE_PORTS = frozenset({STORE_PORT, STORE_PRUNE_PORT})


def value_faults(documents: Documents) -> Iterator[Fault]:
    """Yield the faults of all rules that look at one value or one entry at a time."""
    fleet = documents.fleet
    yield from _people(fleet)
    yield from _hosts(fleet)
    yield from _keys(documents)
    yield from _releases(documents)
    yield from _times_and_zones(documents)
    for household in documents.households:
        yield from _free_ports(first(household, "ssh_port", int))


def _people(fleet: Document) -> Iterator[Fault]:
    for found in find(fleet, "operators.*.name", str):
        if found.value in SYSTEM_ACCOUNTS or found.value.startswith(("systemd-", "hearth-")):
            yield found.fault(f"{quoted(found.value)} is a system account; give the operator a name of their own")


def _free_ports(found: Found[int] | None, what: str = "SSH", such_as: int = 2222) -> Iterator[Fault]:
    if found and found.value in WEB_PORTS:
        yield found.fault(
            f"the port {found.value} is the web server's; choose another one for {what}, such as {such_as}"
        )
    elif found and found.value in TUNNELS_PORTS:
        yield found.fault(
            f"the port {found.value} is where a tunnel ends; choose another one for {what}, such as {such_as}"
        )
    elif found and found.value in STORE_PORTS:
        yield found.fault(f"the port {found.value} is a store's; choose another one for {what}, such as {such_as}")


def _hosts(fleet: Document) -> Iterator[Fault]:
    for group in ("relays", "pis", "stores"):
        for found in find(fleet, f"{group}.*.name", str):
            if found.value in GROUP_NAMES:
                yield found.fault(f"{quoted(found.value)} names a group of hosts; choose another name for this one")
            elif found.value.startswith("box-"):
                yield found.fault(f"{quoted(found.value)} looks like a household's box; choose another name")
        for found in find(fleet, f"{group}.*.address", str):
            yield from address_faults(found)
    for path in ("ssh_port", "relays.*.ssh_port", "pis.*.ssh_port", "stores.*.ssh_port"):
        for port in find(fleet, path, int):
            yield from _free_ports(port)
    for port in find(fleet, "pis.*.socks_port", int):
        yield from _free_ports(port, "SOCKS", SOCKS_PORT)
    for group, kind in (("relays", "relay"), ("pis", "Pi")):
        for port in find(fleet, f"{group}.*.tunnel_port", int):
            yield from _free_ports(port, "tunnels", TUNNEL_PORT)
        for host in find(fleet, f"{group}.*", MarkedDict):
            ssh, tunnel = ports_of(fleet, host.value)
            if ssh == tunnel:
                yield host.fault(f"the {kind}'s ssh_port and tunnel_port are both {ssh}; they need two")


def address_faults(found: Found[str]) -> Iterator[Fault]:
    """Yield a fault when something that looks like an IP address is none."""
    text = found.value
    if ":" in text or text.replace(".", "").isdigit():
        try:
            ip_address(text)
        except ValueError:
            yield found.fault(f"{quoted(text)} is no IP address; correct it, and give no port here")


def _keys(documents: Documents) -> Iterator[Fault]:
    founds = [found for path in KEY_PATHS for found in find(documents.fleet, path, str)]
    for household in documents.households:
        founds += [found for path in SCREEN_KEY_PATHS for found in find(household, path, str)]
    for found in founds:
        sentence = key_fault(found.value)
        if sentence:
            yield found.fault(sentence)


def _releases(documents: Documents) -> Iterator[Fault]:
    fleet = documents.fleet
    for found in find(fleet, "releases.*.sha256", str):
        if set(found.value) == {"0"}:
            yield found.fault("a sha256 of zeros pins nothing; give what sha256sum prints for the tarball")
    for path in ("releases.*.url", "releases.*.mirrors.*"):
        for found in find(fleet, path, str):
            if found.value.startswith(("http://", "https://")) and not _has_host(found.value):
                yield found.fault(f"{quoted(found.value)} is no web address; correct its host name or port")
    for release in find(fleet, "releases.*", MarkedDict):
        yield from _deprecations(release)
        version, php = release.value.get("version"), release.value.get("php")
        if release.value.get("product") == "owncloud" and isinstance(version, str) and isinstance(php, str):
            sentence = _php_fault(version, php)
            if sentence:
                yield release._replace(mark=release.value.values_at["php"]).fault(sentence)


def _deprecations(release: Found[MarkedDict]) -> Iterator[Fault]:
    """Yield a fault for a Nextcloud with ownCloud's help against deprecation notices: it could not be installed."""
    if release.value.get("product") == "nextcloud" and release.value.get("ignore_deprecations") is True:
        yield release._replace(mark=release.value.values_at["ignore_deprecations"]).fault(
            "ignore_deprecations is for ownCloud and breaks Nextcloud; take it out"
        )


def _has_host(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _php_fault(version: str, php: str) -> str | None:
    major, numbers = version.partition(".")[0], php.split(".")
    if not major.isdigit() or len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        return None  # the schema has said what versions look like
    if int(major) < 11:
        return f"ownCloud {version} needs PHP 7.4, which no supported Debian has; pin ownCloud 11"
    lowest, beyond = OWNCLOUD_PHP
    if not lowest <= (int(numbers[0]), int(numbers[1])) < beyond:
        return f'ownCloud {version} runs on PHP 8.3 to 8.5, not {php}; Debian 13 has "8.4"'
    return None


def _times_and_zones(documents: Documents) -> Iterator[Fault]:
    zones = [first(document, "time_zone", str) for document in (documents.fleet, *documents.households)]
    for found in zones:
        sentence = time_zone_fault(found.value) if found else None
        if found and sentence:
            yield found.fault(sentence)
    places = [(documents.fleet, f"defaults.{name}.window") for name in ("updates", "backup")]
    places += [(each, f"{name}.window") for each in documents.households for name in ("updates", "backup")]
    windows = [found for document, path in places for found in find(document, path, str)]
    for found in windows:
        try:
            parse_window(found.value)
        except ValueError as error:
            if "empty" in str(error):
                yield found.fault(f"the window {quoted(found.value)} is empty; let it end later than it starts")
