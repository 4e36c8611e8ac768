"""Where backups go, and who is restored from whom: what the inventory resolves to."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console

from hearth import collect
from hearth.inventory import load_or_raise
from hearth.inventory.collected import Collected
from hearth.inventory.hosts import Fleet
from hearth.inventory.model import Restored
from hearth.inventory.view import fleet_tables, household_tables

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMIvScik939+AuX714xMbrQJMOfQtSEVEM3CbJtNkYb"
LOGIN = "$2y$05$abcdefghijklmnopqrstuuJQ9wJYx0yqTn8mXbP2lU1cV5dZr7sHK"
PAPER = "SHA256:uNiVztksCsDhcc0u9e8BrqXdZyz8Vu9oCB/2H5KVFGo"
STORES = "stores:\n  - name: relay1\n  - name: backup1\n    address: backup1.home.example\n    quota: 100G\n"


def _add(folder: Path, file: str, text: str) -> None:
    with (folder / file).open("a") as stream:
        stream.write(text)


def _with_stores(folder: Path) -> Fleet:
    _add(folder, "fleet.yaml", STORES)
    return load_or_raise(folder)


def _restored(folder: Path) -> Path:
    """Frieda's new box, with the name of the Müllers' old one."""
    text = (folder / "households/mueller.yaml").read_text().partition("support:")[0]
    text = text.replace("id: mueller", "id: mueller2").replace("slot: 17", "slot: 27")
    (folder / "households/mueller2.yaml").write_text(text + "restore: {from: mueller}\n")
    return folder


def _certificate() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=2))
    return base64.b64encode(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)).decode()


def test_a_fleet_without_stores_has_no_backups_and_no_fault(fleet_folder: Path) -> None:
    fleet = load_or_raise(fleet_folder)

    assert [household.backup.is_made for household in fleet.households] == [False, False]
    assert [box.store for box in fleet.boxes()] == [None, None]
    assert fleet.store_hosts() == ()


def test_a_backup_goes_to_the_store_on_the_households_own_relay(fleet_folder: Path) -> None:
    fleet = _with_stores(fleet_folder)

    (relay,) = fleet.relay_hosts()
    assert relay.store is not None
    assert (relay.store.name, relay.store.address, relay.store.quota_bytes) == ("relay1", "127.0.0.1", 500 << 30)
    assert [store.address for store in relay.stores] == ["127.0.0.1", "backup1.home.example"]
    assert {box.store for box in fleet.boxes()} == {relay.store}


def test_a_household_may_name_another_store_and_its_own_limits(fleet_folder: Path) -> None:
    _add(fleet_folder, "households/mueller.yaml", "backup: {store: backup1, upload_limit: 4M}\n")
    _add(fleet_folder, "households/schmidt.yaml", "backup: {quota: 7G}\n")
    fleet = _with_stores(fleet_folder)

    mueller, schmidt = fleet.households
    assert (mueller.backup.store, mueller.backup.quota_bytes, mueller.backup.upload_limit_kib_s) == (
        "backup1",
        100 << 30,
        4096,
    )
    assert (schmidt.backup.store, schmidt.backup.quota_bytes, schmidt.backup.upload_limit_kib_s) == (
        "relay1",
        7 << 30,
        1024,
    )
    (host,) = fleet.store_hosts()
    assert (host.households, [relay.name for relay in host.relays]) == ((mueller,), ["relay1"])


def test_without_a_store_on_its_relay_a_household_takes_the_first_that_is_a_host_of_its_own(fleet_folder: Path) -> None:
    _add(fleet_folder, "fleet.yaml", "stores:\n  - name: backup1\n    address: 192.0.2.7\n    ssh_port: 22\n")

    fleet = load_or_raise(fleet_folder)

    assert {household.backup.store for household in fleet.households} == {"backup1"}
    assert fleet.store_hosts()[0].ssh_port == 22


@pytest.mark.parametrize(
    "repository",
    [
        "s3:https://s3.home.example/backups/mueller",
        "s3:http://10.0.0.9:9000/mueller",
        "sftp:mueller@backup.home.example:/srv/mueller",
        "sftp://mueller@backup.home.example:2222//srv/mueller",
    ],
)
def test_a_repository_elsewhere_takes_the_stores_place(fleet_folder: Path, repository: str) -> None:
    _add(fleet_folder, "households/mueller.yaml", f'backup: {{repository: "{repository}"}}\n')

    mueller = _with_stores(fleet_folder).households[0]

    assert (mueller.backup.store, mueller.backup.repository, mueller.backup.is_made) == (None, repository, True)


def test_a_backup_that_is_not_enabled_goes_nowhere(fleet_folder: Path) -> None:
    _add(fleet_folder, "households/mueller.yaml", "backup: {enabled: false}\n")

    mueller = _with_stores(fleet_folder).households[0]

    assert (mueller.backup.store, mueller.backup.is_made) == (None, False)


def test_what_hosts_tell_of_their_backups_is_collected_and_is_no_secret(fleet_folder: Path) -> None:
    certificate = _certificate()
    box = collect.parse([f"host {KEY}", f"store-login {LOGIN}", f"paper-key {PAPER}"])
    relay = collect.parse([f"host {KEY}", f"store-certificate {certificate}"])
    for name, told in (("box-mueller", box), ("relay1", relay)):
        collect.write(fleet_folder / "collected" / f"{name}.yaml", collect.rendered(name, told))

    fleet = _with_stores(fleet_folder)

    assert (fleet.households[0].store_login, fleet.households[0].paper_key) == (LOGIN, PAPER)
    pinned = fleet.stores[0].certificate
    assert pinned is not None and pinned.startswith("-----BEGIN CERTIFICATE-----\n")
    assert collect.differences(Collected((KEY,)), box) == ("a store login", f"a paper key {PAPER}")


@pytest.mark.parametrize(
    "line",
    [
        f"store-login {LOGIN[:-1]}",
        "store-login $2y$12" + LOGIN[6:],
        "paper-key ABANDON-ABILITY",
        "restored mueller now",
    ],
)
def test_what_is_not_of_its_form_is_not_collected(line: str) -> None:
    with pytest.raises(collect.CollectError):
        collect.parse([f"host {KEY}", line])


def test_the_name_stays_with_the_old_box_until_the_new_one_is_restored(fleet_folder: Path) -> None:
    fleet = _with_stores(_restored(fleet_folder))

    old, new = fleet.households[:2]
    assert (old.has_name, old.replaced_by) == (True, None)
    assert (new.has_name, new.awaits_restore, new.restore_from) == (False, True, "mueller")


def test_the_name_moves_once_the_new_box_tells_that_it_is_restored(fleet_folder: Path) -> None:
    told = collect.parse([f"host {KEY}", "restored mueller 2026-11-23T08:30:00Z"])
    collect.write(fleet_folder / "collected/box-mueller2.yaml", collect.rendered("box-mueller2", told))

    old, new = _with_stores(_restored(fleet_folder)).households[:2]

    assert (old.has_name, old.replaced_by) == (False, "mueller2")
    assert (new.has_name, new.awaits_restore) == (True, False)
    assert new.restored == Restored("mueller", "2026-11-23T08:30:00Z")
    (fleet_folder / "households/mueller.yaml").unlink()
    (fleet_folder / "local.yaml").unlink()
    assert load_or_raise(fleet_folder).households[0].has_name, "the old file may go then"


def test_a_household_whose_file_is_gone_may_be_restored_from_when_it_is_retired(fleet_folder: Path) -> None:
    _restored(fleet_folder)
    (fleet_folder / "households/mueller.yaml").unlink()
    (fleet_folder / "local.yaml").unlink()
    _add(fleet_folder, "fleet.yaml", "retired:\n  - {slot: 17, since: 2026-11-20, id: mueller}\n")

    new = _with_stores(fleet_folder).households[0]

    assert (new.id, new.restore_from, new.has_name) == ("mueller2", "mueller", True)


def test_people_see_where_the_backup_goes(fleet_folder: Path) -> None:
    def seen(fleet: Fleet) -> str:
        console = Console(width=200, record=True, file=StringIO())
        for table in (*fleet_tables(fleet), *household_tables(fleet.households[0])):
            console.print(table)
        return console.export_text()

    assert "none: the fleet has no store" in seen(load_or_raise(fleet_folder))
    text = seen(_with_stores(fleet_folder))
    assert "at most 3 days old, 1M a second, to the store relay1, at most 500G" in text
    assert "backup1.home.example, SSH port 2222, 100G a household, 90 days of grace" in text
