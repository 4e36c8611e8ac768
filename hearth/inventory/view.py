"""The resolved fleet for people (tables) and for programs (plain data with stable names)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hearth.inventory.hosts import Fleet
from hearth.inventory.model import Backup, Certificates, Helper, Household, PersonKey, RouterPage, Window
from hearth.inventory.sizes import format_size

if TYPE_CHECKING:
    from rich.table import Table


def household_data(household: Household) -> dict[str, Any]:
    """The household as plain data: sizes in bytes, times as HH:MM, and its derived box and tunnel address."""
    data: dict[str, Any] = _plain(household)
    return {**data, "box": household.box, "tunnel_address": str(household.tunnel_address)}


def fleet_data(fleet: Fleet) -> dict[str, Any]:
    """The fleet as plain data, its households as ``household_data`` has them."""
    data: dict[str, Any] = {
        each.name: _plain(getattr(fleet, each.name)) for each in fields(fleet) if each.name != "households"
    }
    return {**data, "households": [household_data(household) for household in fleet.households]}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, time):
        return value.strftime("%H:%M")
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value


def fleet_tables(fleet: Fleet) -> Iterator[Table]:
    """The fleet for people: what all share, the hosts, the households."""
    facts = _facts(f"Fleet {fleet.name}")
    facts.add_row("zone", fleet.zone)
    facts.add_row("time zone", fleet.time_zone)
    facts.add_row("operators", _listed(operator.name for operator in fleet.operators))
    facts.add_row("helpers", _listed(_helper(helper) for helper in fleet.helpers))
    facts.add_row("certificates", _certificates(fleet.certificates))
    facts.add_row("authority", str(fleet.authority.tls_ca) if fleet.authority else "not made yet")
    facts.add_row("releases", _listed(f"{release.product} {release.version}" for release in fleet.releases))
    facts.add_row("goes first", fleet.canary or "the first household")
    if fleet.retired:
        facts.add_row("slots at rest", _listed(f"{each.slot} (since {each.since})" for each in fleet.retired))
    for relay in fleet.relays:
        facts.add_row(
            f"relay {relay.name}", f"{relay.address}, SSH port {relay.ssh_port}, tunnel port {relay.tunnel_port}"
        )
    for store in fleet.stores:
        where = "on the relay" if store.on_relay else f"{store.address}, SSH port {store.ssh_port}"
        certificate = _collected(store.certificate)
        facts.add_row(
            f"store {store.name}",
            f"{where}, {format_size(store.quota_bytes)} a household, {store.grace_days} days of grace, "
            f"certificate {certificate}",
        )
    if not fleet.stores:
        facts.add_row("stores", "none, so there are no backups but to repositories that households name")
    for pi in fleet.pis:
        ports = f"SSH port {pi.ssh_port}, tunnel ports {pi.tunnel_port} and {pi.socks_port}"
        facts.add_row(f"Pi {pi.name}", f"{pi.address}, {ports}, router pages: {_listed(map(_page, pi.routers))}")
    yield facts
    table = _table("Households", "household", "slot", "domain", "relay", "updates", "screens")
    for each in fleet.households:
        table.add_row(
            each.id,
            str(each.slot),
            each.domain,
            each.relay or each.access,
            _hours(each.updates.window),
            _listed(f"{screen.name} ({screen.port})" for screen in each.screens),
        )
    yield table


def household_tables(household: Household) -> Iterator[Table]:
    """One household for people, in the order of its file."""
    cloud = household.owncloud
    facts = _facts(f"Household {household.id}")
    facts.add_row("box", f"{household.box}, SSH port {household.ssh_port}")
    where = f" ({household.tunnel_address} on {household.relay})" if household.relay else ""
    facts.add_row("slot", f"{household.slot}{where}")
    if household.relay:
        facts.add_row("tunnel key", _collected(household.tunnel_key))
    facts.add_row("domain", household.domain)
    facts.add_row("certificate", household.issuer)
    facts.add_row("access", household.access)
    if household.dynamic_dns:
        facts.add_row("dynamic DNS", f"{household.dynamic_dns.server}, zone {household.dynamic_dns.zone}")
        facts.add_row("DNS key", _collected(household.dns_key))
    facts.add_row("public port", str(household.public_port) if household.public_port else "none")
    facts.add_row("time zone", household.time_zone)
    facts.add_row("release", f"{cloud.release.product} {cloud.release.version}, PHP {cloud.release.php}")
    facts.add_row("upload limit", format_size(cloud.upload_limit))
    facts.add_row("post limit", format_size(cloud.post_limit))
    facts.add_row("memory limit", format_size(cloud.memory_limit))
    facts.add_row("room", format_size(cloud.room))
    facts.add_row("apps", _listed(cloud.apps))
    updates = household.updates
    reboot = "may reboot" if updates.reboot else "never reboots"
    facts.add_row("updates", f"{_hours(updates.window)}, {reboot}, new releases: {updates.release}")
    facts.add_row("backup", _backup(household.backup))
    if household.backup.store:
        facts.add_row("store login", _collected(household.store_login))
    if household.backup.is_made:
        facts.add_row("paper key", household.paper_key or "not collected yet")
    if household.restore_from:
        when = f"done at {household.restored.at}" if household.restored else "not done yet"
        facts.add_row("restored from", f"{household.restore_from}, {when}")
    if household.replaced_by:
        facts.add_row("replaced by", household.replaced_by)
    yield facts
    users = _table("Users", "name", "display name", "admin")
    for user in cloud.users:
        users.add_row(user.name, user.display_name, "yes" if user.admin else "")
    yield users
    if household.screens:
        screens = _table(f"Screens on {household.pi}", "name", "port", "key", "helpers")
        for screen in household.screens:
            screens.add_row(screen.name, str(screen.port), _last_day(screen.key), _listed(screen.helpers))
        yield screens


def _backup(backup: Backup) -> str:
    if not backup.is_made:
        return "none: the fleet has no store" if backup.enabled else "none"
    where = backup.repository or f"the store {backup.store}, at most {format_size(backup.quota_bytes)}"
    limit = format_size(backup.upload_limit_kib_s * 1024)
    return f"{_hours(backup.window)}, at most {backup.max_age_days} days old, {limit} a second, to {where}"


def _facts(title: str) -> Table:
    table = _table(title, "", "")
    table.show_header = False
    return table


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table  # noqa: PLC0415 (only people need it; see hearth/commands/inventory.py)

    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _helper(helper: Helper) -> str:
    ends = sorted(_last_day(key) for key in helper.keys if key.until)
    more = [*ends[:1], *(f"SOCKS on {pi}" for pi in helper.socks)]
    return f"{helper.name} ({', '.join(more)})" if more else helper.name


def _last_day(key: PersonKey) -> str:
    return f"until {key.until}" if key.until else "without end"


def _page(page: RouterPage) -> str:
    return f"{page.name or page.address}:{page.port}"


def _certificates(certificates: Certificates) -> str:
    if certificates.issuer == "acme":
        return f"acme, {certificates.directory}"
    return f"{certificates.issuer}, {certificates.lifetime_days} days"


def _collected(key: str | None) -> str:
    return "collected" if key else "not collected yet"


def _hours(window: Window) -> str:
    return f"{window.start:%H:%M}-{window.end:%H:%M}"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
