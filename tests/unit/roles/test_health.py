"""The health role: what a host is told to look at, and what is put on it."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import replace
from pathlib import Path

from hearth.artefacts import File, Link
from hearth.inventory.hosts import PiHost, RelayHost
from hearth.inventory.model import Operator, Relay, SupportPi
from roles import health
from roles.health.description import description
from roles.health.onhost.model import Settings, settings
from tests.unit.roles.samples import ANNA, BOX, HOUSEHOLD

UNITS = ("ssh.service", "apache2.service", "redis-server.service")
ONHOST = Path(health.__file__).parent / "onhost"


def relay_host(operators: tuple[Operator, ...] = (ANNA,)) -> RelayHost:
    relay = Relay("relay1", "relay1.home.example", 2222)
    return RelayHost("relay1", (), operators, 2222, "Europe/Berlin", None, relay, (HOUSEHOLD,))


def server(machine: RelayHost | PiHost) -> health.Wanted:
    return health.of_server(machine, UNITS, firewall="nft list table inet hearth", tunnel_sshd="true")


def read_back(wanted: health.Wanted) -> Settings:
    """The description as the program on the host reads it."""
    files = {file.path: file for file in health.files(wanted)}
    found = files["/etc/hearth/health.toml"]
    assert isinstance(found, File)
    return settings(found.raw.decode())


def test_a_box_is_asked_for_its_name_its_room_its_services_and_its_tunnel() -> None:
    told = read_back(health.of_box(BOX, UNITS, "hearth-tunnel.service"))
    assert (told.host, told.kind, told.units, told.tunnel) == ("box-mueller", "box", UNITS, "hearth-tunnel.service")
    assert told.web is not None
    assert told.web.domain == "mueller.home.example"
    assert (told.paths[-1], told.room_bytes) == ("/srv/hearth/data", HOUSEHOLD.owncloud.room)
    assert {probe.name: probe.unit for probe in told.probes} == {
        "database": "mariadb.service",
        "redis": "redis-server.service",
    }
    assert told.cron is not None


def test_a_box_without_a_tunnel_is_not_asked_for_one() -> None:
    assert read_back(health.of_box(BOX, UNITS, None)).tunnel is None


def test_a_box_is_asked_for_its_backups_age_once_something_makes_backups() -> None:
    assert read_back(health.of_box(BOX, UNITS, None)).backup is None
    told = read_back(health.of_box(BOX, UNITS, None, backup_folder="/var/lib/hearth/backup")).backup
    assert told is not None
    assert (told.stamp, told.most_age_days) == ("/var/lib/hearth/backup/last-good", HOUSEHOLD.backup.max_age_days)


def test_a_relay_is_asked_for_its_firewall_its_tunnel_server_and_its_router_and_a_pi_for_no_router() -> None:
    names = [probe.name for probe in read_back(server(relay_host())).probes]
    assert names == ["firewall", "tunnel sshd", "router"]
    pi = PiHost("pi1", (), (ANNA,), 2222, "UTC", None, SupportPi("pi1", "pi1.home.example", 2222, 9212), (), ())
    told = read_back(server(pi))
    assert (told.kind, [probe.name for probe in told.probes]) == ("pi", ["firewall", "tunnel sshd"])
    assert told.web is None


def test_the_checks_run_as_an_account_that_may_look_and_change_nothing() -> None:
    texts = {
        kind: {file.path: file.raw.decode() for file in health.files(wanted) if isinstance(file, File)}
        for kind, wanted in {"box": health.of_box(BOX, UNITS, None), "relay": server(relay_host())}.items()
    }
    for kind, capability in (("box", ""), ("relay", "CAP_NET_ADMIN")):
        unit = texts[kind]["/etc/systemd/system/hearth-health.service"].splitlines()
        assert {"User=hearth-health", "NoNewPrivileges=yes", "ProtectSystem=strict", "SuccessExitStatus=1 2"} <= set(
            unit
        )
        assert f"CapabilityBoundingSet={capability}" in unit
        assert not any(line.startswith("ReadWritePaths=") for line in unit)
    assert "m hearth-health redis" in texts["box"]["/etc/sysusers.d/hearth-health.conf"].splitlines()
    assert "redis" not in texts["relay"]["/etc/sysusers.d/hearth-health.conf"]


def test_the_banner_is_a_file_that_pam_shows_and_no_program_that_runs_at_each_login() -> None:
    links = [file for file in health.files(health.of_box(BOX, UNITS, None)) if isinstance(file, Link)]
    assert links == [Link("/etc/motd.d/50-hearth-health", "/run/hearth-health/banner")]


def test_every_file_says_that_it_belongs_to_hearth_and_every_program_can_be_read_by_debian_12s_python() -> None:
    for file in health.files(health.of_box(BOX, UNITS, None)):
        if isinstance(file, File):
            assert "This file belongs to hearth" in "".join(file.raw.decode().splitlines()[:2]), file.path
    for path in ONHOST.glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 11))


def test_what_a_host_is_told_is_plain_data_without_a_secret() -> None:
    odd = replace(BOX, household=replace(HOUSEHOLD, domain='x"]\n[web]'))
    data = tomllib.loads(description(health.of_box(odd, UNITS, None)))
    assert data["web"]["domain"] == 'x"]\n[web]'
    assert not any("key" in name or "pass" in name for name in data)
