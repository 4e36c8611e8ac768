"""Certificates by ACME, from the lab's pebble, through port 443 of the relay alone: the first, the next, the way back.

The tests follow each other: the household's issuer was the operator, becomes ACME while visitors have no road yet, then
the road comes up, and so on.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hearth.lab.acme import DIRECTORY
from hearth.lab.lab import Lab
from tests.lab.boxes import DOMAIN, MUELLER, RELAY, Converge, Operator, wait_for
from tests.lab.homes import RELAY_DEPLOY, TRUSTED, VISITOR, converged

pytestmark = pytest.mark.lab

STORE = "/var/lib/hearth/acme"
SETTINGS = "/etc/apache2/conf-enabled/hearth-acme.conf"
WISH = "/run/hearth-acme/wishes/reload"
EARLY = "/etc/apache2/conf-enabled/aa-early.conf"
ACME_ROOTS, EITHER = "/root/acme-roots.pem", "/root/either.pem"
NEW_DOMAIN = "neue-muellers.home.example"
# The road is looked at every 20 s, a certificate takes a few, the reload 5 more.
BY_ITSELF_S = 120

# Knocks until told to stop, and says each time whether the certificate was to be trusted, or what curl minds.
WATCH = (
    "rm -f /root/watched; touch /root/watching; while [ -e /root/watching ]; do "
    f"curl --silent --show-error --output /dev/null --max-time 10 --cacert {EITHER} https://{DOMAIN}/status.php "
    "2>&1 && echo fine; sleep 0.1; done >/root/watched"
)

# Half a file, the rest when told to.
SLOW_UPLOAD = (
    "{ head --bytes 3M /dev/zero; until [ -e /root/go-on ]; do sleep 0.2; done; head --bytes 3M /dev/zero; } | "
    f"curl --config /root/curlrc --silent --show-error --cacert {ACME_ROOTS} --write-out '%{{http_code}}' "
    f"--upload-file - https://{DOMAIN}/remote.php/dav/files/renate/slow.bin"
)


@dataclass(frozen=True)
class Household:
    """The household from all its sides: two operators who differ in the issuer, and a visitor."""

    by_operator: Operator
    by_acme: Operator

    @property
    def lab(self) -> Lab:
        return self.by_acme.lab

    def on_box(self, script: str, check: bool = True) -> str:
        return self.lab.exec(MUELLER, ["bash", "-c", script], check=check, timeout_s=300).stdout

    def visit(self, roots: str, *arguments: str, domain: str = DOMAIN) -> subprocess.CompletedProcess[str]:
        """Ask for a page as a visitor who trusts ``roots`` alone."""
        command = ["curl", "--silent", "--show-error", "--max-time", "10", "--cacert", roots, *arguments]
        return self.lab.exec(VISITOR, [*command, f"https://{domain}/status.php"], check=False)

    def is_trusted(self, roots: str, domain: str = DOMAIN) -> bool:
        return '"installed":true' in self.visit(roots, domain=domain).stdout

    def served(self) -> str:
        """The SHA-256 of the certificate that the box serves at home."""
        return self.on_box(
            f"openssl s_client -connect 127.0.0.1:443 -servername {DOMAIN} </dev/null 2>/dev/null | "
            "openssl x509 -noout -fingerprint -sha256"
        )

    def reloads(self) -> int:
        return self.on_box("journalctl -u apache2 -o cat").count("Reloaded apache2.service")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Fail unless every visitor who comes meanwhile finds a certificate of one of the two authorities."""
        watch = subprocess.Popen(self.lab.exec_command(VISITOR, ["bash", "-c", WATCH]))
        try:
            yield
        finally:
            self.lab.exec(VISITOR, ["rm", "-f", "/root/watching"])
            watch.wait(30)
        said = self.lab.exec(VISITOR, ["cat", "/root/watched"]).stdout.split("\n")[:-1]
        assert len(said) > 20
        assert set(said) == {"fine"}


def issued_by(operator: Operator, folder: Path, issuer: str, domain: str = DOMAIN) -> Operator:
    """The operator with a copy of his inventory in which the household's certificate comes from another issuer."""

    def change(fleet: dict[str, Any], household: dict[str, Any]) -> None:
        household["certificates"] = {"issuer": issuer}
        household["domain"] = domain

    return operator.with_fleet(folder, change)


def left_s(household: Household) -> int:
    """How many seconds the served certificate lasts."""
    end = datetime.fromisoformat(household.on_box(f"/usr/lib/hearth/served-until {DOMAIN}").strip())
    return int((end - datetime.now(UTC)).total_seconds())


def connections(household: Household) -> int:
    """How many connections stand between the relay and the box's listener for visitors."""
    return len(household.on_box("ss -Htn state established sport = :10443").splitlines())


def unchanged(run: Converge) -> None:
    converged(run)
    assert run.changed == []


@pytest.fixture(scope="module")
def household(home: Operator, visitor: str, tmp_path_factory: pytest.TempPathFactory) -> Household:
    """The household after its first day, with the operator's certificate."""
    folder = tmp_path_factory.mktemp("issuers")
    trusted = home.lab.acme_roots()
    home.lab.exec(visitor, ["tee", ACME_ROOTS], stdin=trusted)
    both = trusted + (home.inventory / "authority/tls-ca.pem").read_text()
    home.lab.exec(visitor, ["tee", EITHER], stdin=both)
    return Household(
        by_operator=issued_by(home, folder / "operator", "operator"),
        by_acme=issued_by(home, folder / "acme", "acme"),
    )


@pytest.fixture(scope="module")
def awaiting(household: Household) -> Iterator[Converge]:
    """The converge that hands the household over to ACME while no visitor gets through; the box has but a bridge."""
    household.lab.exec(RELAY, ["systemctl", "stop", "haproxy"])
    household.on_box("rm /etc/hearth/tls/certificate.pem")
    yield household.by_acme.converge()
    household.lab.exec(RELAY, ["systemctl", "start", "haproxy"])


@pytest.fixture(scope="module")
def trusted(household: Household, awaiting: Converge) -> Household:
    """The household once its road has come up."""
    household.lab.exec(RELAY, ["systemctl", "start", "haproxy"])
    wait_for(lambda: household.is_trusted(ACME_ROOTS), BY_ITSELF_S, "the certificate by ACME")
    return household


def test_before_its_road_is_up_the_home_is_served_and_nobody_is_asked(household: Household, awaiting: Converge) -> None:
    converged(awaiting)
    assert any("its certificate by ACME is awaited" in name for name in awaiting.results)
    assert not any("signed by the fleet's authority" in name for name in awaiting.results)
    asked = "curl --silent --insecure --write-out ' %{http_code}' --resolve "
    page = household.on_box(f"{asked} {DOMAIN}:443:127.0.0.1 https://{DOMAIN}/status.php")
    assert '"installed":true' in page
    assert page.endswith(" 200")
    issuer = f"openssl s_client -connect 127.0.0.1:443 -servername {DOMAIN} </dev/null 2>/dev/null"
    assert "O=hearth bridge" in household.on_box(f"{issuer} | openssl x509 -noout -issuer -nameopt RFC2253")
    assert household.on_box(f"ls {STORE}/accounts") == "", "the ACME server has not been asked"
    unchanged(household.by_acme.converge())


def test_once_the_road_is_up_visitors_trust_the_certificate_without_anybodys_hand(trusted: Household) -> None:
    assert trusted.is_trusted(ACME_ROOTS)
    run = trusted.by_acme.converge()
    unchanged(run)
    until = trusted.on_box(f"/usr/lib/hearth/served-until {DOMAIN}")
    assert any(f"its certificate by ACME lasts until {until[:10]}" in name for name in run.results)


def test_a_renewed_certificate_is_served_without_anybodys_hand_and_no_upload_is_cut(trusted: Household) -> None:
    before, account = trusted.served(), trusted.on_box(f"cat {STORE}/accounts/*/account.json")
    trusted.lab.exec(VISITOR, ["tee", "/root/curlrc"], stdin=f'user = "renate:{trusted.by_acme.passwords()["renate"]}"')
    trusted.lab.exec(VISITOR, ["rm", "-f", "/root/go-on"])
    sending = subprocess.Popen(
        trusted.lab.exec_command(VISITOR, ["bash", "-c", SLOW_UPLOAD]), stdout=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: connections(trusted) > 0, 30, "the upload's begin")
        trusted.on_box(f"echo 'MDRenewWindow {left_s(trusted) + 2}s' >{EARLY}; systemctl reload apache2")
        wait_for(lambda: trusted.served() != before, BY_ITSELF_S, "the renewed certificate")
        assert trusted.is_trusted(ACME_ROOTS)
        assert sending.poll() is None
    finally:
        trusted.on_box(f"rm {EARLY}; systemctl reload apache2")
        trusted.lab.exec(VISITOR, ["touch", "/root/go-on"])
    told, _ = sending.communicate(timeout=120)
    assert told in ("201", "204")
    assert trusted.on_box(f"cat {STORE}/accounts/*/account.json") == account, "there is one account for good"


def test_the_web_servers_account_can_wish_for_a_reload_and_for_nothing_else(trusted: Household) -> None:
    before, process = trusted.reloads(), trusted.on_box("systemctl show --property=MainPID --value apache2")
    as_www_data = "setpriv --reuid www-data --regid www-data --clear-groups --"
    trusted.on_box(f"{as_www_data} touch {WISH}")
    wait_for(lambda: trusted.reloads() > before, 60, "the reload")
    assert trusted.on_box("systemctl show --property=MainPID --value apache2") == process
    for path in ("/run/hearth-acme/open", f"{STORE}/domains/{DOMAIN}/privkey.secp256r1.pem", f"{STORE}/accounts"):
        tried = trusted.on_box(
            f"{as_www_data} sh -c 'test -w {path} && echo writes; cat {path} 2>/dev/null'", check=False
        )
        assert tried == "", path


def test_drift_is_repaired_and_the_certificate_stays(trusted: Household) -> None:
    before = trusted.served()
    trusted.on_box(f"sed -i /MDomain/d {SETTINGS}; systemctl stop hearth-acme-reload.path; systemctl reload apache2")
    wait_for(lambda: trusted.served() != before, 30, "the bridge")
    run = trusted.by_acme.converge()
    converged(run)
    assert run.changed == [f"Certificates by ACME | Let Apache ask {DIRECTORY}"]
    assert trusted.served() == before
    assert trusted.on_box("systemctl is-active hearth-acme-reload.path") == "active\n"
    unchanged(trusted.by_acme.converge())


def test_the_key_is_nowhere_but_on_the_box(trusted: Household) -> None:
    key = trusted.on_box(f"cat {STORE}/domains/{DOMAIN}/privkey.secp256r1.pem")
    assert "PRIVATE KEY" in key
    line = key.splitlines()[1]
    assert len(line) > 40
    search = "grep -rslF -f - /etc /home /opt /root /run /srv /tmp /var || true"
    assert trusted.lab.exec(RELAY, ["sh", "-c", search], stdin=line, timeout_s=300).stdout == ""
    assert not [path for path in trusted.by_acme.inventory.rglob("*") if path.is_file() and line in path.read_text()]
    readable = f"find {STORE} /etc/hearth/tls -name '*key*' -not -perm 600 -not -path '*/staging/*'"
    assert trusted.on_box(readable) == ""


def test_the_issuer_changes_both_ways_and_every_visitor_meets_a_certificate_to_trust(
    trusted: Household,
) -> None:
    with trusted.watched():
        run = trusted.by_operator.converge()
        converged(run)
        assert "Certificates by ACME | Ask no ACME server" in run.changed
        assert trusted.is_trusted(TRUSTED)
        assert trusted.on_box(f"ls {STORE}/domains {SETTINGS} 2>&1", check=False).count("No such file") == 2
        unchanged(trusted.by_operator.converge())
        converged(trusted.by_acme.converge())
        wait_for(lambda: trusted.is_trusted(ACME_ROOTS), BY_ITSELF_S, "the certificate by ACME")


def test_a_missing_root_of_the_acme_server_is_told_before_the_box_is_touched(
    trusted: Household, tmp_path: Path
) -> None:
    other = issued_by(trusted.by_acme, tmp_path / "inventory", "acme")
    root = other.inventory / "authority/acme-root.pem"
    root.unlink()
    run = other.converge()
    assert run.status != 0
    assert f"the root of the ACME server, certificates.root, cannot be read: {root}" in run.output
    assert f"Refuse {MUELLER}" in run.output
    assert "Install the packages" not in run.output


def test_another_domain_gets_a_certificate_of_its_own(trusted: Household, tmp_path: Path) -> None:
    moved = issued_by(trusted.by_acme, tmp_path / "inventory", "acme", domain=NEW_DOMAIN)
    trusted.lab.publish(f"{NEW_DOMAIN}. A {trusted.lab.public_address(RELAY)}")
    converged(moved.converge(limit=RELAY, deploy=RELAY_DEPLOY))
    converged(moved.converge())
    wait_for(lambda: trusted.is_trusted(ACME_ROOTS, NEW_DOMAIN), BY_ITSELF_S, "the new domain's certificate")
    unchanged(moved.converge())
