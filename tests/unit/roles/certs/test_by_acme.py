"""Certificates by ACME: what Apache is told, where the box looks for its road, what mod_md may wish for."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hearth.artefacts import File
from hearth.inventory.hosts import Authority, Box
from hearth.inventory.model import Certificates, Relay
from roles import certs
from roles.certs import by_acme
from roles.certs.facts import Certificate, TlsState
from roles.certs.rules import unserved
from tests.unit.roles.certs.box_folder import NAME, BoxFolder, program
from tests.unit.roles.samples import BOX, HOUSEHOLD

RELAY = Relay("relay1", "relay1.home.example", 2222)
ACME = replace(BOX, certificates=Certificates("acme", contact="anna@home.example"), relay=RELAY)


def at(access: str) -> Box:
    """The box of a household that is reached so."""
    return replace(ACME, household=replace(HOUSEHOLD, access=access), relay=RELAY if access == "relay" else None)  # type: ignore[arg-type]


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


# What Apache is told


def test_mod_md_asks_lets_encrypt_for_the_domain_through_port_443_alone() -> None:
    told = lines(by_acme.settings(ACME))
    for line in (
        f"MDomain {NAME}",
        "MDCertificateAuthority https://acme-v02.api.letsencrypt.org/directory",
        "MDCertificateAgreement accepted",
        "MDContactEmail anna@home.example",
        "MDCAChallenges tls-alpn-01",
        "Protocols acme-tls/1",
        "MDPrivateKeys secp256r1",
    ):
        assert line in told
    assert not [line for line in told if line.startswith("MDCACertificateFile")]


@pytest.mark.parametrize(("access", "port"), [("relay", 10443), ("forwarded", 443), ("upnp", 443)])
def test_the_challenge_is_expected_where_the_outsides_port_443_ends(access: str, port: int) -> None:
    assert f"MDPortMap http:- https:{port}" in lines(by_acme.settings(at(access)))


def test_no_page_tells_visitors_about_the_certificate() -> None:
    told = lines(by_acme.settings(ACME))
    assert "MDCertificateStatus off" in told
    assert "MDServerStatus off" in told
    assert "md-status" not in by_acme.settings(ACME)


def test_a_private_servers_root_goes_to_the_box(root: Authority) -> None:
    private = replace(ACME, certificates=replace(ACME.certificates, root=root.tls_ca))
    put = {file.path: file for file in by_acme.files(private) if isinstance(file, File)}
    assert put["/etc/hearth/tls/acme-root.pem"].raw == root.tls_ca.read_bytes()
    assert "MDCACertificateFile /etc/hearth/tls/acme-root.pem" in lines(by_acme.settings(private))


def test_every_file_says_whose_it_is() -> None:
    for file in by_acme.files(ACME):
        if isinstance(file, File):
            assert "hearth" in "".join(str(file.content).splitlines()[:2]), file.path


def test_only_a_box_with_an_acme_server_has_the_units() -> None:
    assert certs.services(ACME) == ("hearth-acme-road.service", "hearth-acme-reload.path")
    assert certs.services(BOX) == ()


def test_a_private_root_that_is_missing_or_damaged_is_told(root: Authority, tmp_path: Path) -> None:
    def refused(path: Path | None) -> str | None:
        return certs.refusal(replace(ACME, certificates=replace(ACME.certificates, root=path)))

    damaged = tmp_path / "damaged.pem"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    missing = refused(tmp_path / "none.pem")
    assert missing is not None
    assert f"{tmp_path}/none.pem" in missing
    assert "No such file" in missing
    assert "holds no certificate" in str(refused(damaged))
    assert refused(root.tls_ca) is None
    assert refused(None) is None
    assert certs.refusal(replace(BOX, certificates=Certificates("operator", root=tmp_path / "none.pem"))) is None


# The road


def test_the_box_asks_at_its_relay_and_waits_as_long_as_it_takes() -> None:
    assert by_acme.road(ACME) == ("relay1.home.example:443", 0)
    assert by_acme.road(replace(ACME, relay=replace(RELAY, address="2001:db8::1"))) == ("[2001:db8::1]:443", 0)


@pytest.mark.parametrize("access", ["forwarded", "upnp"])
def test_without_a_relay_the_box_asks_by_its_name_and_goes_on_when_the_router_hides_it(access: str) -> None:
    address, patience_s = by_acme.road(at(access))
    assert address == f"{NAME}:443"
    assert patience_s > 0


@pytest.fixture
def awaiting(serving: BoxFolder) -> BoxFolder:
    """A box whose Apache serves the bridge, and on which the ACME files lie."""
    for folder in ("run/wishes", "lib"):
        (serving.base / folder).mkdir(parents=True)
    (serving.base / "apache2/conf-enabled/hearth-acme.conf").write_text(f"MDomain {NAME}\n")
    program(serving.base / "lib" / "install-certificate", f'echo "$*" >>{serving.base}/installed')
    return serving


def opened(box: BoxFolder) -> bool:
    return (box.base / "run" / "open").exists()


def test_mod_md_may_begin_once_the_box_meets_itself_outside(awaiting: BoxFolder) -> None:
    done = awaiting.run("acme-road", NAME, f"127.0.0.1:{awaiting.port}", "0")
    assert done.returncode == 0, done.stderr
    assert opened(awaiting)
    assert (awaiting.base / "installed").read_text() == f"{NAME}\n"


def test_as_long_as_the_box_does_not_meet_itself_mod_md_may_not_begin(awaiting: BoxFolder) -> None:
    (awaiting.base / "run" / "open").touch()
    with pytest.raises(subprocess.TimeoutExpired):
        awaiting.run("acme-road", NAME, "127.0.0.1:1", "0", timeout_s=2)
    assert not opened(awaiting)
    assert not (awaiting.base / "installed").exists()


def test_where_the_road_may_be_hidden_patience_ends(awaiting: BoxFolder) -> None:
    assert awaiting.run("acme-road", NAME, "127.0.0.1:1", "60").returncode == 0
    assert opened(awaiting)


# What mod_md says, and may wish for


def say(box: BoxFolder, event: str, uid: int = 33) -> int:
    program(box.base / "bin" / "id", f"echo {uid}")
    return box.run("acme-message", event, NAME).returncode


def test_mod_md_is_kept_from_asking_until_the_road_is_open(awaiting: BoxFolder) -> None:
    assert say(awaiting, "renewing") != 0
    (awaiting.base / "run" / "open").touch()
    assert say(awaiting, "renewing") == 0


def test_only_a_renewed_certificate_makes_a_wish(awaiting: BoxFolder) -> None:
    wish = awaiting.base / "run" / "wishes" / "reload"
    for event in ("challenge-setup:tls-alpn-01:mueller.home.example", "installed", "errored", "expiring"):
        assert say(awaiting, event) == 0
    assert not wish.exists()
    assert say(awaiting, "renewed") == 0
    assert wish.exists()


def test_root_writes_nothing_into_the_folder_of_the_web_servers_account(awaiting: BoxFolder) -> None:
    precious = awaiting.base / "precious"
    precious.write_text("text")
    (awaiting.base / "run" / "wishes" / "reload").symlink_to(precious)
    assert say(awaiting, "renewed", uid=0) == 0
    assert precious.read_text() == "text"


# What Apache serves


@pytest.fixture
def with_new_certificate(awaiting: BoxFolder, root: Authority) -> BoxFolder:
    """A box whose mod_md has fetched a certificate, which its Apache takes at the next reload, as mod_md does."""
    staging, domains = awaiting.store / "staging" / NAME, awaiting.store / "domains" / NAME
    staging.mkdir(parents=True)
    domains.mkdir(parents=True)
    (staging / "job.json").write_text('{\n  "finished": true,\n  "errors": 0\n}')
    (staging / "pubcert.secp256r1.pem").write_bytes(awaiting.signed(root))
    program(
        awaiting.base / "bin" / "systemctl",
        f'[ "$1" = is-active ] && exit 0\n'
        f"[ -e {awaiting.base}/stubborn ] && exit 0\n"
        f"mv {staging}/*.pem {domains} && rm -r {staging}; cp {domains}/*.pem {awaiting.base}/served.pem",
    )
    return awaiting


def test_a_reload_brings_what_mod_md_has_fetched(with_new_certificate: BoxFolder) -> None:
    box = with_new_certificate
    bridge = box.state().served
    done = box.install()
    assert (done.returncode, done.stderr) == (0, "")
    state = box.state()
    assert state.served == state.managed != bridge
    assert not unserved(state)


def test_a_reload_that_brings_nothing_is_told(with_new_certificate: BoxFolder) -> None:
    (with_new_certificate.base / "stubborn").touch()
    done = with_new_certificate.install()
    assert done.returncode == 1
    assert "does not answer with the certificate that it has" in done.stderr


def test_what_mod_md_has_counts_for_nothing_once_acme_is_given_up(with_new_certificate: BoxFolder) -> None:
    box = with_new_certificate
    assert box.install().returncode == 0
    (box.base / "apache2/conf-enabled/hearth-acme.conf").unlink()
    assert box.state().managed is None
    assert unserved(box.state())


def test_the_end_of_the_served_certificate_is_told_whoever_issued_it(
    with_new_certificate: BoxFolder,
) -> None:
    box = with_new_certificate
    for _ in range(2):
        served = box.state().served
        assert served is not None
        assert box.run("served-until", NAME).stdout == f"{served.end:%Y-%m-%d %H:%M:%SZ}\n"
        box.install()
    shutil.rmtree(box.store)
    assert BoxFolder(box.base, port=1).run("served-until", NAME).returncode != 0


def test_how_far_the_certificate_is_stands_in_the_operations_name() -> None:
    end = datetime(2027, 2, 21, tzinfo=UTC)
    leaf = Certificate(frozenset({NAME}), b"key", "ca", end - timedelta(days=90), end, "f00d")
    assert "is awaited" in by_acme.standing(NAME, TlsState(certificate=leaf))
    assert "lasts until 2027-02-21" in by_acme.standing(NAME, TlsState(certificate=leaf, managed=leaf))
