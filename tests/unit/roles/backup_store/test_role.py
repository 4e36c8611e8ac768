"""What the store's files say: who may log in, what each server serves, and who alone comes to a host of its own."""

from __future__ import annotations

import tomllib
from dataclasses import replace

from hearth.inventory.model import Relay, Restored, Store
from roles import backup_store, firewall, tunnel
from roles.tunnel_server import config, effective_settings
from roles.tunnel_server.accounts import household_account, render

from ..samples import HOUSEHOLD

LOGIN = "$2y$05$abcdefghijklmnopqrstuuJQ9wJYx0yqTn8mXbP2lU1cV5dZr7sHK"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMIvScik939+AuX714xMbrQJMOfQtSEVEM3CbJtNkYb"
RELAY = Relay("relay1", "relay1.home.example", 2222, 9212, (KEY,))
HERE = Store("relay1", "127.0.0.1", 2222, on_relay=True)
APART = Store("backup1", "2001:db8::7", 2222, on_relay=False)
MUELLER = replace(
    HOUSEHOLD, tunnel_key=KEY, store_login=LOGIN, backup=replace(HOUSEHOLD.backup, store="relay1", quota_bytes=7 << 30)
)
HEIR = replace(MUELLER, id="mueller2", slot=27, restore_from="mueller")


def test_only_the_first_server_takes_backups_and_only_the_second_lets_delete() -> None:
    first, second = (file.content for file in backup_store.units(HERE, (MUELLER,)))

    assert "--listen 127.0.0.1:8444 --path /srv/hearth/store/repositories --private-repos" in str(first)
    assert "--append-only" in str(first) and "--append-only" not in str(second)
    assert "ReadWritePaths=/srv/hearth/store/offers\n" in str(second)
    assert "--listen :8444" in str(backup_store.units(APART, ())[0].content)


def test_whoever_was_replaced_or_has_no_login_yet_is_not_let_in() -> None:
    replaced, new = replace(MUELLER, replaced_by="mueller2"), replace(HEIR, store_login=None)

    assert backup_store.admitted((MUELLER, replaced, new)) == (MUELLER,)


def test_a_restore_shows_one_other_repository_to_be_read_and_retention_leaves_both_alone() -> None:
    first = str(backup_store.units(HERE, (MUELLER, HEIR))[0].content)
    data = tomllib.loads(backup_store.settings(HERE, (MUELLER, HEIR, replace(MUELLER, id="schmidt"))))

    assert [line for line in first.splitlines() if line.startswith("Bind")] == [
        "BindReadOnlyPaths=-/srv/hearth/store/repositories/mueller:/srv/hearth/store/repositories/mueller2/restore"
    ]
    assert [(each["id"], each["rests"]) for each in data["tenants"]] == [
        ("mueller", True),
        ("mueller2", True),
        ("schmidt", False),
    ]
    assert data["tenants"][0]["quota_bytes"] == 7 << 30


def test_a_restore_that_is_done_shows_nothing_any_more() -> None:
    done = replace(HEIR, restored=Restored("mueller", "2026-11-23T08:30:00Z"))

    assert backup_store.shown((MUELLER, done)) == ()
    assert not any(each["rests"] for each in tomllib.loads(backup_store.settings(HERE, (MUELLER, done)))["tenants"])


def test_a_households_key_may_open_the_ports_of_its_own_store_and_no_other() -> None:
    account = household_account((MUELLER, replace(HOUSEHOLD, id="huber", slot=3, tunnel_key=KEY)), (HERE, APART))
    with_store, without = (render(line) for line in account.keys)

    assert 'permitopen="127.0.0.1:8444",permitopen="127.0.0.1:8445"' in with_store
    assert with_store.count("permitopen") == 2
    assert 'permitopen="none:1"' in without
    assert {"allowtcpforwarding yes", "permitopen 127.0.0.1:8444 127.0.0.1:8445"} <= {*effective_settings(account)}
    assert "AllowTcpForwarding yes" in config((account,), (9212,))


def test_the_way_to_the_store_is_open_before_the_first_box_is_let_in() -> None:
    """A session keeps the configuration that it found: a box that came first would never reach the store."""
    nobody = household_account((replace(MUELLER, tunnel_key=None),), (HERE, APART))

    assert not nobody.keys
    assert {"allowtcpforwarding yes", "permitopen 127.0.0.1:8444 127.0.0.1:8445"} <= {*effective_settings(nobody)}


def test_without_stores_the_tunnels_account_opens_nothing() -> None:
    account = household_account((MUELLER,))

    assert {"allowtcpforwarding remote", "permitopen none"} <= {*effective_settings(account)}


def test_the_way_to_the_store_is_added_to_a_tunnel_that_is_up() -> None:
    """So neither a store that is down nor a port that is taken on the box keeps the tunnel from coming up."""
    unit = tunnel.unit(MUELLER, RELAY, APART)

    start = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    assert " -L " not in start and "-o ControlPath=/run/hearth-tunnel/control" in start
    assert (
        "ExecStartPost=-/usr/bin/ssh -F none -S /run/hearth-tunnel/control -O forward "
        "-L 127.0.0.1:18444:[2001:db8::7]:8444 -L 127.0.0.1:18445:[2001:db8::7]:8445 relay1.home.example\n"
    ) in unit
    assert "ControlPath" not in tunnel.unit(MUELLER, RELAY)


def test_a_store_of_its_own_lets_in_relays_alone() -> None:
    rules = firewall.ruleset(
        (firewall.operators_ssh(2222), firewall.backups((8444, 8445), ("192.0.2.1", "2001:db8::1")))
    )

    assert [line.strip() for line in rules.splitlines() if "jump" in line] == [
        "tcp dport { 2222 } jump ssh",
        "ip saddr { 192.0.2.1 } tcp dport { 8444, 8445 } jump backups",
        "ip6 saddr { 2001:db8::1 } tcp dport { 8444, 8445 } jump backups",
    ]
    nobody = firewall.ruleset((firewall.backups((8444,), ()),))
    assert "ip saddr { 127.0.0.1 } tcp dport { 8444 } jump backups" in nobody
