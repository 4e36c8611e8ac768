"""From documents without faults to the model, with the defaults filled in."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from ssl import DER_cert_to_PEM_cert
from typing import Any, Literal, cast

from hearth.inventory.collected import Collected, collected_of
from hearth.inventory.defaults import (
    SOCKS_PORT,
    SSH_PORT,
    STORE_GRACE_DAYS,
    STORE_QUOTA,
    TUNNEL_PORT,
    backup_store,
    issuer_of,
    lies_in,
    setting,
    stated,
    zone_of,
)
from hearth.inventory.documents import Document, Documents, first
from hearth.inventory.hosts import Authority, Fleet
from hearth.inventory.marks import START, MarkedDict
from hearth.inventory.model import (
    AccessKind,
    Backup,
    Certificates,
    CloudUser,
    DynamicDns,
    Helper,
    Household,
    Issuer,
    Operator,
    OwnCloud,
    PersonKey,
    Relay,
    Release,
    Retired,
    RouterPage,
    Screen,
    Store,
    SupportPi,
    Updates,
)
from hearth.inventory.roads import roads
from hearth.inventory.sizes import parse_size
from hearth.inventory.times import parse_window


def build(documents: Documents, authority: Authority | None) -> Fleet:
    """Given documents that satisfy the schemas and all rules, return the fleet."""
    data = documents.fleet.data
    ssh_port = data.get("ssh_port", SSH_PORT)
    operators = tuple(Operator(each["name"], tuple(each.get("keys", ()))) for each in data["operators"])
    told = collected_of(documents)
    relays = tuple(Relay(**_tunnel_server(each, ssh_port, told)) for each in data.get("relays", ()))
    pis = tuple(_pi(each, ssh_port, told) for each in data.get("pis", ()))
    releases = tuple(_release(each) for each in data["releases"])
    stores = tuple(_store(each, ssh_port, relays, told) for each in data.get("stores", ()))
    shared = _Shared(documents.fleet, releases, pis, stores, told)
    households = _with_successors(tuple(_household(shared, each) for each in documents.households))
    return Fleet(
        name=data["name"],
        zone=data["zone"],
        time_zone=data["time_zone"],
        folder=documents.folder,
        operators=operators,
        helpers=tuple(_helper(each) for each in data.get("helpers", ())),
        relays=relays,
        pis=pis,
        stores=stores,
        certificates=_certificates(data.get("certificates", {}), documents.folder),
        releases=releases,
        households=households,
        authority=authority,
        canary=data.get("canary"),
        retired=tuple(_retired(each) for each in data.get("retired", ())),
        roads=roads(
            documents.local,
            operators[0].name,
            (*relays, *pis, *(store for store in stores if not store.on_relay)),
            households,
            told,
        ),
    )


def _tunnel_server(data: dict[str, Any], ssh_port: int, told: dict[str, Collected]) -> dict[str, Any]:
    """What relays and Pis have in common. ``ssh_port``: the fleet's."""
    return {
        "name": data["name"],
        "address": data["address"],
        "ssh_port": data.get("ssh_port", ssh_port),
        "tunnel_port": data.get("tunnel_port", TUNNEL_PORT),
        "tunnel_host_keys": told.get(data["name"], Collected()).tunnel_host_keys,
    }


def _pi(data: dict[str, Any], ssh_port: int, told: dict[str, Collected]) -> SupportPi:
    return SupportPi(
        **_tunnel_server(data, ssh_port, told),
        socks_port=data.get("socks_port", SOCKS_PORT),
        routers=tuple(RouterPage(**each) for each in data.get("routers", ())),
    )


def _store(data: dict[str, Any], ssh_port: int, relays: tuple[Relay, ...], told: dict[str, Collected]) -> Store:
    relay = next((relay for relay in relays if relay.name == data["name"]), None)
    der = told.get(data["name"], Collected()).store_certificate
    return Store(
        name=data["name"],
        address="127.0.0.1" if relay else data["address"],
        ssh_port=relay.ssh_port if relay else data.get("ssh_port", ssh_port),
        on_relay=relay is not None,
        quota_bytes=parse_size(data.get("quota", STORE_QUOTA)),
        grace_days=data.get("grace_days", STORE_GRACE_DAYS),
        certificate=DER_cert_to_PEM_cert(base64.b64decode(der)) if der else None,
    )


def _with_successors(households: tuple[Household, ...]) -> tuple[Household, ...]:
    """The households, each with who was restored from it, and whether its domain leads to it."""
    domains = {each.id: each.domain for each in households}
    elsewhere = {each.id: each.backup.repository for each in households}
    successors = {each.restored.source: each.id for each in households if each.restored}

    def resolved(household: Household) -> Household:
        replaced_by = successors.get(household.id)
        other = household.restore_from if household.awaits_restore else replaced_by
        if other is None and household.restore_from is None:
            return household
        has_name = other is None or domains.get(other) != household.domain
        return replace(
            household,
            replaced_by=replaced_by,
            has_name=has_name,
            restore_repository=elsewhere.get(household.restore_from or ""),
        )

    return tuple(resolved(household) for household in households)


def _retired(data: dict[str, Any]) -> Retired:
    return Retired(data["slot"], date.fromisoformat(data["since"]), data.get("id"))


def _helper(data: dict[str, Any]) -> Helper:
    return Helper(data["name"], tuple(_person_key(each) for each in data["keys"]), tuple(data.get("socks", ())))


def _person_key(data: str | dict[str, str]) -> PersonKey:
    if isinstance(data, str):
        return PersonKey(data)
    return PersonKey(data["key"], date.fromisoformat(data["until"]) if "until" in data else None)


def _release(data: dict[str, Any]) -> Release:
    return Release(**{**data, "mirrors": tuple(data.get("mirrors", ()))})


@dataclass(frozen=True)
class _Shared:
    """What households are built from besides their own files, and what those that say nothing have in common."""

    fleet: Document
    releases: tuple[Release, ...]
    pis: tuple[SupportPi, ...]
    stores: tuple[Store, ...]
    told: dict[str, Collected]
    backups: dict[str | None, Backup] = field(default_factory=dict)

    @cached_property
    def updates(self) -> Updates:
        """The updates of a household that says nothing about them."""
        return _updates(self.fleet, Document(self.fleet.file, MarkedDict(START)))

    def backup(self, relay: str | None) -> Backup:
        """The backup of a household with this relay that says nothing about it."""
        if relay not in self.backups:
            self.backups[relay] = _backup(self, Document(self.fleet.file, MarkedDict(START)), relay)
        return self.backups[relay]


def _household(shared: _Shared, document: Document) -> Household:
    fleet, data = shared.fleet, document.data
    relay = data.get("relay", {})
    relay = relay if isinstance(relay, dict) else {"name": relay}
    support = data.get("support", {})
    access = cast(AccessKind, data.get("access", "relay"))
    box = shared.told.get(f"box-{data['id']}", Collected())
    restore_from = data.get("restore", {}).get("from")
    return Household(
        id=data["id"],
        slot=data["slot"],
        domain=data["domain"],
        relay=relay.get("name"),
        public_port=relay.get("public_port"),
        access=access,
        ssh_port=data.get("ssh_port", fleet.data.get("ssh_port", SSH_PORT)),
        time_zone=data.get("time_zone", fleet.data["time_zone"]),
        owncloud=_owncloud(fleet, document, shared.releases),
        updates=_updates(fleet, document) if "updates" in data else shared.updates,
        backup=(_backup(shared, document, relay.get("name")) if "backup" in data else shared.backup(relay.get("name"))),
        screens=tuple(
            Screen(each["name"], each["port"], _person_key(each["key"]), tuple(each.get("helpers", ())))
            for each in support.get("screens", ())
        ),
        pi=support.get("pi", shared.pis[0].name if shared.pis else None),
        # Who does without a tunnel has no business at the relay: a key that is left from before opens nothing there.
        tunnel_key=box.tunnel_key if relay else None,
        issuer=cast(Issuer, issuer_of(fleet, document)[0]),
        dynamic_dns=_dynamic_dns(fleet, document, access),
        dns_key=box.dns_key,
        store_login=box.store_login,
        paper_key=box.paper_key,
        restore_from=restore_from,
        # What another household's file named before is another restore.
        restored=box.restored if box.restored and box.restored.source == restore_from else None,
    )


def _updates(fleet: Document, household: Document) -> Updates:
    return Updates(
        window=parse_window(setting(fleet, household, "updates.window", str)),
        reboot=setting(fleet, household, "updates.reboot", bool),
        release=cast(Literal["window", "now"], setting(fleet, household, "updates.release", str)),
    )


def _backup(shared: _Shared, household: Document, relay: str | None) -> Backup:
    fleet = shared.fleet
    enabled = setting(fleet, household, "backup.enabled", bool)
    name = backup_store(fleet, household, relay)
    quota = stated(fleet, household, "backup.quota", str)
    store_quota = next((store.quota_bytes for store in shared.stores if store.name == name), parse_size(STORE_QUOTA))
    repository = first(household, "backup.repository", str)
    return Backup(
        enabled=enabled,
        window=parse_window(setting(fleet, household, "backup.window", str)),
        max_age_days=setting(fleet, household, "backup.max_age_days", int),
        store=name,
        repository=repository.value if repository and enabled else None,
        upload_limit_kib_s=parse_size(setting(fleet, household, "backup.upload_limit", str)) // 1024,
        quota_bytes=parse_size(quota.value) if quota else store_quota,
    )


def _certificates(data: dict[str, Any], folder: Path) -> Certificates:
    root = folder / data["root"] if "root" in data else None
    return Certificates(**{**data, "root": root})


def _dynamic_dns(fleet: Document, household: Document, access: AccessKind) -> DynamicDns | None:
    """Where the household tells its address; the fleet's server only for domains in that server's zone."""
    data = household.data.get("dynamic_dns") or fleet.data.get("dynamic_dns")
    if access == "relay" or data is None:
        return None
    zone = zone_of(fleet, data)
    return DynamicDns(**{**data, "zone": zone}) if lies_in(household.data["domain"], zone) else None


def _owncloud(fleet: Document, household: Document, releases: tuple[Release, ...]) -> OwnCloud:
    product = setting(fleet, household, "owncloud.product", str)
    upload_limit = parse_size(setting(fleet, household, "owncloud.upload_limit", str))
    post_limit = stated(fleet, household, "owncloud.post_limit", str)
    room = stated(fleet, household, "owncloud.room", str)
    apps = stated(fleet, household, "owncloud.apps", list)
    return OwnCloud(
        release=next(release for release in releases if release.product == product),
        upload_limit=upload_limit,
        post_limit=parse_size(post_limit.value) if post_limit else upload_limit,
        memory_limit=parse_size(setting(fleet, household, "owncloud.memory_limit", str)),
        room=parse_size(room.value) if room else 2 * upload_limit,
        users=tuple(
            CloudUser(each["name"], each.get("display_name", each["name"]), each.get("admin", False))
            for each in household.data["owncloud"]["users"]
        ),
        apps=tuple(apps.value) if apps else (),
    )
