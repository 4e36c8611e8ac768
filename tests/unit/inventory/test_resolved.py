"""What a good inventory comes to: defaults, roads, the authority, the slices of the hosts."""

from __future__ import annotations

from datetime import date, time
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from hearth.inventory import groups, load_or_raise
from hearth.inventory.faults import InventoryError
from hearth.inventory.hosts import Road
from hearth.inventory.model import DynamicDns, Household, PersonKey, RouterPage, Window
from tests.unit.inventory.corpus import GOOD

MIB, GIB = 1024**2, 1024**3
BENCH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMIvScik939+AuX714xMbrQJMOfQtSEVEM3CbJtNkYb"


def _edit(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))


def _household(folder: Path, name: str) -> Household:
    return next(each for each in load_or_raise(folder).households if each.id == name)


def test_sizes_are_bytes_and_what_is_not_said_follows_from_the_upload_limit() -> None:
    cloud = _household(GOOD, "mueller").owncloud

    assert (cloud.upload_limit, cloud.post_limit, cloud.room) == (3000 * MIB, 3000 * MIB, 6000 * MIB)


def test_the_fleets_defaults_fill_in_property_by_property(fleet_folder: Path) -> None:
    _edit(fleet_folder, "fleet.yaml", "    memory_limit: 512M", "    memory_limit: 1G\n    apps: [calendar]")
    _edit(fleet_folder, "fleet.yaml", "    window: 03:00-05:00", "    window: 04:00-05:00\n    reboot: false")

    mueller, schmidt = _household(fleet_folder, "mueller"), _household(fleet_folder, "schmidt")

    assert mueller.owncloud.memory_limit == schmidt.owncloud.memory_limit == GIB
    assert mueller.owncloud.apps == ("calendar", "contacts")
    assert schmidt.owncloud.apps == ("calendar",)
    assert mueller.updates.window == Window(time(4), time(5))
    assert schmidt.updates.window == Window(time(23, 30), time(1, 30))
    assert not mueller.updates.reboot
    assert not schmidt.updates.reboot


def test_a_household_overrides_a_true_default_with_false(fleet_folder: Path) -> None:
    _edit(fleet_folder, "households/schmidt.yaml", "  window: 23:30-01:30", "  reboot: false")
    _edit(fleet_folder, "fleet.yaml", "    window: 03:00-05:00", "    reboot: true")

    assert not _household(fleet_folder, "schmidt").updates.reboot
    assert _household(fleet_folder, "mueller").updates.reboot


def test_time_zone_and_ssh_port_come_from_the_fleet_unless_said(fleet_folder: Path) -> None:
    _edit(fleet_folder, "households/schmidt.yaml", "relay: relay1", "relay: relay1\nssh_port: 2022")

    mueller, schmidt = _household(fleet_folder, "mueller"), _household(fleet_folder, "schmidt")

    assert (mueller.time_zone, mueller.ssh_port) == ("Europe/Berlin", 2222)
    assert (schmidt.time_zone, schmidt.ssh_port) == ("Europe/Vienna", 2022)


def test_the_ssh_port_is_22_when_nobody_says_one(fleet_folder: Path) -> None:
    _edit(fleet_folder, "fleet.yaml", "ssh_port: 2222\n", "")

    fleet = load_or_raise(fleet_folder)

    assert {host.ssh_port for host in (*fleet.boxes(), *fleet.relay_hosts(), *fleet.pi_hosts())} == {22}


def test_a_household_may_have_a_public_port_and_a_domain_of_its_own(fleet_folder: Path) -> None:
    _edit(fleet_folder, "households/mueller.yaml", "relay: relay1", "relay: {name: relay1, public_port: 20443}")
    _edit(
        fleet_folder,
        "households/mueller.yaml",
        "domain: mueller.home.example",
        "domain: cloud.mueller.example\nown_domain: true",
    )

    mueller = _household(fleet_folder, "mueller")

    assert (mueller.relay, mueller.public_port, mueller.domain) == ("relay1", 20443, "cloud.mueller.example")


@pytest.mark.parametrize(("slot", "address"), [(1, "127.10.0.1"), (256, "127.10.1.0"), (65534, "127.10.255.254")])
def test_each_slot_has_a_loopback_address_of_its_own(fleet_folder: Path, slot: int, address: str) -> None:
    _edit(fleet_folder, "households/mueller.yaml", "slot: 17", f"slot: {slot}")

    assert _household(fleet_folder, "mueller").tunnel_address == IPv4Address(address)


def test_the_household_gets_the_release_of_its_product(fleet_folder: Path) -> None:
    nextcloud = """  - product: nextcloud
    version: 35.0.1
    url: https://releases.home.example/nextcloud-35.0.1.tar.bz2
    sha256: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
    archive_top: nextcloud
    php: "8.4"

defaults:"""
    _edit(fleet_folder, "fleet.yaml", "defaults:", nextcloud)
    _edit(fleet_folder, "households/schmidt.yaml", "owncloud:", "owncloud:\n  product: nextcloud")

    assert _household(fleet_folder, "schmidt").owncloud.release.version == "35.0.1"
    assert _household(fleet_folder, "mueller").owncloud.release.product == "owncloud"


def test_the_operators_road_comes_first_and_the_first_days_road_second(fleet_folder: Path) -> None:
    roads = load_or_raise(fleet_folder).roads

    anna = Path("~/.ssh/anna_key").expanduser()
    assert roads["box-mueller"] == (
        Road("10.213.0.11", 2222, "anna", (BENCH_KEY,), anna),
        Road("10.213.0.11", 22, "root", (BENCH_KEY,), fleet_folder / "bench_key", first_day=True),
    )
    assert [road.address for road in roads["relay1"]] == ["relay1.home.example", "relay1.home.example"]
    assert "box-schmidt" not in roads


OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIpXP9AFoGk1W0fpexBZwAiJPu0Je/YLODK3EBYBnCqp"


def _collect(folder: Path, host: str, **more: str) -> None:
    (folder / "collected").mkdir(exist_ok=True)
    lines = ["host_keys:", f"- {OTHER_KEY}", *(f"{name}: {value}" for name, value in more.items())]
    (folder / "collected" / f"{host}.yaml").write_text("\n".join(lines) + "\n")


def test_a_box_is_reached_through_its_relay_first_once_both_have_been_collected(fleet_folder: Path) -> None:
    before = load_or_raise(fleet_folder).roads["box-mueller"]
    _collect(fleet_folder, "box-mueller", tunnel_key=BENCH_KEY)
    assert load_or_raise(fleet_folder).roads["box-mueller"] == before
    _collect(fleet_folder, "relay1", tunnel_host_keys=f"[{BENCH_KEY}]")

    fleet = load_or_raise(fleet_folder)

    anna = Path("~/.ssh/anna_key").expanduser()
    relay = Road("relay1.home.example", 2222, "anna", (BENCH_KEY,), anna)
    through = Road("127.10.0.17", 10022, "anna", (OTHER_KEY,), anna, via=relay)
    assert fleet.roads["box-mueller"] == (through, *before)
    assert [road.first_day for road in fleet.roads["box-mueller"]] == [False, False, True]
    assert fleet.households[0].tunnel_key == BENCH_KEY
    assert fleet.boxes()[0].relay == fleet.relays[0]
    assert fleet.relays[0].tunnel_host_keys == (BENCH_KEY,)


def test_a_box_on_its_way_to_another_relay_is_still_found_through_the_old_one(fleet_folder: Path) -> None:
    new = "  - name: relay1\n    address: relay1.home.example\n  - name: relay2\n    address: relay2.home.example\n"
    _edit(fleet_folder, "fleet.yaml", "  - name: relay1\n    address: relay1.home.example\n", new)
    _edit(fleet_folder, "households/mueller.yaml", "relay: relay1", "relay: relay2")
    for host in ("relay1", "relay2", "box-mueller"):
        _collect(fleet_folder, host)

    through = [road.via for road in load_or_raise(fleet_folder).roads["box-mueller"] if road.via]

    assert [road.address for road in through] == ["relay2.home.example", "relay1.home.example"]


def test_a_machine_without_local_yaml_reaches_all_that_was_collected(fleet_folder: Path) -> None:
    (fleet_folder / "local.yaml").unlink()
    for host in ("box-schmidt", "relay1", "pi1"):
        _collect(fleet_folder, host)

    roads = load_or_raise(fleet_folder).roads

    relay = Road("relay1.home.example", 2222, "anna", (OTHER_KEY,))
    assert roads == {
        "relay1": (relay,),
        "pi1": (Road("pi1.home.example", 2222, "anna", (OTHER_KEY,)),),
        "box-schmidt": (Road("127.10.0.18", 10022, "anna", (OTHER_KEY,), via=relay),),
    }


def test_a_household_without_a_relay_is_reached_at_its_domain_and_has_no_key_at_any_relay(fleet_folder: Path) -> None:
    _edit(fleet_folder, "households/mueller.yaml", "relay: relay1", "access: forwarded")
    before = load_or_raise(fleet_folder).roads["box-mueller"]
    _collect(fleet_folder, "relay1")
    _collect(fleet_folder, "box-mueller", tunnel_key=BENCH_KEY)

    fleet = load_or_raise(fleet_folder)

    anna = Path("~/.ssh/anna_key").expanduser()
    direct = Road("mueller.home.example", 2222, "anna", (OTHER_KEY,), anna)
    assert fleet.roads["box-mueller"] == (direct, *before)
    assert fleet.households[0].tunnel_key is None, "or a relay would still let it in"
    assert fleet.boxes()[0].relay is None


def test_visitors_may_come_directly_while_the_operator_comes_through_the_relay(fleet_folder: Path) -> None:
    _edit(fleet_folder, "households/mueller.yaml", "relay: relay1", "relay: relay1\naccess: upnp")
    _collect(fleet_folder, "relay1")
    _collect(fleet_folder, "box-mueller", tunnel_key=BENCH_KEY, dns_key=f"512 3 15 {'A' * 43}=")

    fleet = load_or_raise(fleet_folder)

    assert [road.via is not None for road in fleet.roads["box-mueller"]] == [True, False, False]
    mueller = fleet.households[0]
    assert (mueller.tunnel_key, mueller.dns_key) == (BENCH_KEY, f"512 3 15 {'A' * 43}=")


def test_the_fleets_dns_server_is_for_direct_households_in_its_zone(fleet_folder: Path) -> None:
    _edit(fleet_folder, "fleet.yaml", "releases:", "dynamic_dns: {server: ns1.home.example}\n\nreleases:")
    assert _household(fleet_folder, "mueller").dynamic_dns is None, "its name leads to the relay"
    _edit(fleet_folder, "households/mueller.yaml", "relay: relay1", "relay: relay1\naccess: upnp")
    assert _household(fleet_folder, "mueller").dynamic_dns == DynamicDns("ns1.home.example", "home.example")
    own = "own_domain: true\ndomain: cloud.mueller.example"
    _edit(fleet_folder, "households/mueller.yaml", "domain: mueller.home.example", own)
    assert _household(fleet_folder, "mueller").dynamic_dns is None, "another zone"
    theirs = "dynamic_dns: {server: 192.0.2.53, zone: mueller.example, port: 5353}"
    _edit(fleet_folder, "households/mueller.yaml", "access: upnp", f"access: upnp\n{theirs}")
    assert _household(fleet_folder, "mueller").dynamic_dns == DynamicDns("192.0.2.53", "mueller.example", port=5353)


def test_a_household_may_have_another_issuer_than_the_fleet(fleet_folder: Path) -> None:
    acme = "contact: anna@home.example\n  root: authority/acme-root.pem"
    _edit(fleet_folder, "fleet.yaml", "lifetime_days: 90", acme)
    _edit(fleet_folder, "households/mueller.yaml", "relay: relay1", "relay: relay1\ncertificates: {issuer: acme}")

    mueller, schmidt = (box.certificates for box in load_or_raise(fleet_folder).boxes())

    assert (mueller.issuer, schmidt.issuer) == ("acme", "operator")
    assert mueller.directory.startswith("https://acme-v02.api.letsencrypt.org/")
    assert mueller.root == fleet_folder / "authority/acme-root.pem"


def test_the_operator_is_the_fleets_first_when_local_yaml_names_none(fleet_folder: Path) -> None:
    _edit(fleet_folder, "local.yaml", "operator:\n  name: anna\n  identity: ~/.ssh/anna_key\n", "")

    road = load_or_raise(fleet_folder).roads["relay1"][0]

    assert (road.user, road.identity) == ("anna", None)


def test_a_pi_has_a_second_port_and_router_pages_and_helpers_who_may_open_them(fleet_folder: Path) -> None:
    plain = load_or_raise(fleet_folder)
    assert (plain.pis[0].socks_port, plain.pis[0].routers, plain.helpers[0].socks) == (22999, (), ())
    routers = "    routers: [{name: router.lan, address: 192.168.1.1}, {address: fd00::1, port: 8080}]"
    _edit(fleet_folder, "fleet.yaml", "    tunnel_port: 9212", f"    socks_port: 2999\n{routers}")
    _edit(fleet_folder, "fleet.yaml", "  - name: karl", "  - name: karl\n    socks: [pi1]")

    fleet = load_or_raise(fleet_folder)

    assert fleet.pis[0].socks_port == 2999
    assert fleet.pis[0].routers == (RouterPage("192.168.1.1", 80, "router.lan"), RouterPage("fd00::1", 8080))
    assert fleet.helpers[0].socks == ("pi1",)


def test_a_persons_key_may_have_a_last_day(fleet_folder: Path) -> None:
    key = f"{BENCH_KEY} oma"
    assert _household(fleet_folder, "mueller").screens[0].key == PersonKey(key)
    _edit(fleet_folder, "households/mueller.yaml", key, f"{{key: {key}, until: 2027-01-31}}")

    assert _household(fleet_folder, "mueller").screens[0].key == PersonKey(key, date(2027, 1, 31))


def _put_authority(folder: Path) -> None:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding

    key, name = Ed25519PrivateKey.generate(), x509.Name([])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    (folder / "authority").mkdir()
    (folder / "authority" / "tls-ca.pem").write_bytes(builder.sign(key, None).public_bytes(Encoding.PEM))
    (folder / "authority" / "ssh-user-ca.pub").write_text(BENCH_KEY + "\n")


def test_the_authority_is_there_when_both_public_halves_are(
    fleet_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.setenv("HEARTH_AUTHORITY_PASSPHRASE_FILE", "/run/passphrase")
    assert load_or_raise(fleet_folder).authority is None
    _put_authority(fleet_folder)

    authority = load_or_raise(fleet_folder).authority

    assert authority is not None
    assert authority.tls_ca == fleet_folder / "authority" / "tls-ca.pem"
    assert authority.ssh_user_ca == BENCH_KEY
    assert authority.folder == Path("/state/hearth/authority/example")
    assert authority.passphrase_file == Path("/run/passphrase")


def test_local_yaml_says_where_the_private_halves_lie(fleet_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEARTH_AUTHORITY_PASSPHRASE_FILE", "/run/passphrase")
    _put_authority(fleet_folder)
    _edit(fleet_folder, "local.yaml", "hosts:", "authority:\n  folder: ~/ca\n  passphrase_file: /etc/pass\nhosts:")

    authority = load_or_raise(fleet_folder).authority

    assert authority is not None
    assert (authority.folder, authority.passphrase_file) == (Path("~/ca").expanduser(), Path("/etc/pass"))


def test_a_broken_public_half_is_a_fault(fleet_folder: Path) -> None:
    _put_authority(fleet_folder)
    (fleet_folder / "authority" / "tls-ca.pem").write_text("nonsense")

    with pytest.raises(InventoryError, match=r"fleet/authority/tls-ca\.pem:1:1: this is no certificate"):
        load_or_raise(fleet_folder)


def test_groups_name_every_host_with_its_slice(fleet_folder: Path) -> None:
    made = groups(fleet_folder)

    assert set(made) == {"boxes", "relays", "stores", "pis", "household_mueller", "household_schmidt", "all"}
    name, data = made["household_mueller"][0]
    assert name == "@hearth/box-mueller"
    assert data["box"].household.id == "mueller"
    assert data["roads"] == data["box"].roads != ()
    assert [household.id for household in made["relays"][0][1]["relay"].households] == ["mueller", "schmidt"]
    pi = made["pis"][0][1]["pi"]
    assert [household.screens[0].name for household in pi.households] == ["oma", "opa"]
    assert [helper.name for helper in pi.helpers] == ["karl"]


def test_an_invalid_inventory_has_no_groups(fleet_folder: Path) -> None:
    _edit(fleet_folder, "fleet.yaml", "zone: home.example", "zone: 5")

    with pytest.raises(InventoryError, match=r'^fleet/fleet\.yaml:4:7: "zone" must be a text, not 5'):
        groups(fleet_folder)
