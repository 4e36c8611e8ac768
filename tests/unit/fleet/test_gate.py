"""The look from outside: what each kind of host owes, and what the probes make of real TLS and SSH servers."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hearth.fleet import gate, probes
from hearth.fleet.desired import all_hosts
from hearth.fleet.events import Check
from hearth.fleet.gate import Outside, Web, failure, outside, status_fault
from hearth.inventory.hosts import Authority, Fleet, Road
from tests.unit.fleet.fleets import a_fleet

NAME = "h000.home.example"
ROAD = Road("192.0.2.9", 2222, "anna", ("ssh-ed25519 AAAA",))
TUNNEL = Road("127.10.0.1", 10022, "anna", ("ssh-ed25519 AAAA",), via=ROAD)
FIRST = replace(ROAD, first_day=True)
HEALTHY = {"installed": True, "maintenance": False, "needsDbUpgrade": False}


def collected(fleet: Fleet, roads: tuple[Road, ...] = (TUNNEL,)) -> Fleet:
    """The fleet after its first day."""
    authority = Authority(Path("/root.pem"), "ssh-ed25519 AAAA", Path("/private"))
    return replace(
        fleet,
        households=tuple(replace(each, tunnel_key="ssh-ed25519 AAAA") for each in fleet.households),
        relays=tuple(replace(each, tunnel_host_keys=("ssh-ed25519 AAAA",)) for each in fleet.relays),
        roads={"relay1": (ROAD,), "box-h000": roads},
        authority=authority,
    )


def owed(fleet: Fleet, host: str = "box-h000") -> Outside | None:
    return outside(all_hosts(fleet)[host], gate.relay_roads(fleet))


def test_a_box_is_asked_by_its_name_where_the_operator_finds_its_relay() -> None:
    found = owed(collected(a_fleet(1)))
    assert found == Outside("box-h000", Web("192.0.2.9", NAME, Path("/root.pem")), TUNNEL)


def test_a_box_with_an_address_of_its_own_is_asked_at_its_domain() -> None:
    fleet = collected(a_fleet(1, relays=0), (ROAD,))
    open_door = replace(fleet, households=(replace(fleet.households[0], access="forwarded", relay=None),))
    found = owed(open_door)
    assert found
    assert found.web == Web(NAME, NAME, Path("/root.pem"))


def test_an_acme_box_is_vouched_for_by_whom_this_machine_trusts() -> None:
    fleet = collected(a_fleet(1))
    acme = replace(fleet, households=(replace(fleet.households[0], issuer="acme"),))
    found = owed(acme)
    assert found
    assert found.web == Web("192.0.2.9", NAME, None)


def test_on_the_first_day_nobody_is_asked_and_before_the_relay_knows_a_box_only_its_sshd() -> None:
    fleet = collected(a_fleet(1))
    assert owed(replace(fleet, roads={"box-h000": (FIRST,)})) is None
    unknown = replace(fleet, households=(replace(fleet.households[0], tunnel_key=None),), roads={"box-h000": (ROAD,)})
    assert owed(unknown) == Outside("box-h000", sshd=ROAD)


def test_a_relay_must_answer_at_its_sshd_and_at_its_tunnels_port() -> None:
    assert owed(collected(a_fleet(1)), "relay1") == Outside("relay1", sshd=ROAD, tunnel_server=("192.0.2.9", 9212))


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, json.dumps(HEALTHY), None),
        (503, "", "HTTP status 503"),
        (200, "<html>", "does not answer with a status"),
        (200, "[]", "does not answer with a status"),
        (200, json.dumps(HEALTHY | {"installed": False}), "not installed"),
        (200, json.dumps(HEALTHY | {"maintenance": True}), "maintenance mode"),
        (200, json.dumps(HEALTHY | {"needsDbUpgrade": True}), "waits for its upgrade"),
    ],
)
def test_the_status_page_is_read_with_care(status: int, body: str, words: str | None) -> None:
    fault = status_fault(status, body.encode())
    assert (fault is None) == (words is None)
    assert words is None or words in (fault or "")


def test_a_failure_names_each_look_that_did_not_pass() -> None:
    checks = (Check("tunnel", True), Check("sshd", False, "no answer"), Check("certificate", False, "it ended"))
    assert failure(checks) == "it converged, but from outside: sshd: no answer; certificate: it ended"
    assert failure(checks[:1]) is None


class Cloud:
    """A TLS server on loopback that answers every request with a page."""

    def __init__(self, folder: Path, name: str, days: int) -> None:
        self.page = json.dumps(HEALTHY)
        self.root, chain = certificate(folder, name, days)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(chain)
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def web(self, name: str = NAME) -> Web:
        return Web("127.0.0.1", name, self.root, self.listener.getsockname()[1])

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self.listener.accept()
                with self._context.wrap_socket(plain, server_side=True) as stream:
                    stream.recv(4096)
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.page)}\r\n\r\n"
                    stream.sendall((head + self.page).encode())
            except ssl.SSLError:
                continue
            except OSError:
                return


def certificate(folder: Path, name: str, days: int) -> tuple[Path, Path]:
    """A root and a certificate with its key, as files; it ends in ``days`` days."""
    begin = (datetime.now(UTC) - timedelta(days=30)).replace(tzinfo=None)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])

    def made(
        subject: x509.Name, public: ec.EllipticCurvePublicKey, until: int, *more: x509.ExtensionType
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        builder = builder.not_valid_before(begin)
        builder = builder.not_valid_after((datetime.now(UTC) + timedelta(days=until)).replace(tzinfo=None))
        for each in more:
            builder = builder.add_extension(each, critical=isinstance(each, x509.BasicConstraints))
        return builder.sign(root_key, hashes.SHA256())

    identifier = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    root = made(issuer, root_key.public_key(), 400, x509.BasicConstraints(True, None), identifier, usage)
    leaf = made(
        x509.Name([]),
        key.public_key(),
        days,
        x509.SubjectAlternativeName([x509.DNSName(name)]),
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "root.pem").write_bytes(root.public_bytes(encoding))
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    (folder / "chain.pem").write_bytes(private + leaf.public_bytes(encoding))
    return folder / "root.pem", folder / "chain.pem"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path, NAME, 60)
    yield made
    made.listener.close()


def looked(web: Web) -> dict[str, str | None]:
    return {check.name: check.reason for check in probes.look(Outside("box-h000", web))}


def test_a_healthy_cloud_passes(cloud: Cloud) -> None:
    assert looked(cloud.web()) == {"certificate": None, "status.php": None}
    left = probes.certificate_until(cloud.web()) - datetime.now(UTC)
    assert timedelta(days=59) < left <= timedelta(days=60)


def test_a_certificate_for_another_name_does_not_pass(cloud: Cloud) -> None:
    (reason,) = looked(cloud.web("other.home.example")).values()
    assert "Hostname mismatch" in (reason or "")


def test_a_certificate_of_somebody_elses_authority_does_not_pass(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other, _ = certificate(tmp_path / "other", NAME, 60)
    (reason,) = looked(replace(cloud.web(), root=other)).values()
    assert "is not good" in (reason or "")


def test_a_certificate_that_has_ended_does_not_pass(tmp_path: Path) -> None:
    ended = Cloud(tmp_path, NAME, -1)
    (reason,) = looked(ended.web()).values()
    assert "expired" in (reason or "")
    ended.listener.close()


def test_a_cloud_in_maintenance_mode_does_not_pass(cloud: Cloud) -> None:
    cloud.page = json.dumps(HEALTHY | {"maintenance": True})
    assert looked(cloud.web()) == {"certificate": None, "status.php": "the cloud is in maintenance mode"}


def test_nobody_at_home_is_said_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (reason,) = looked(Web("127.0.0.1", NAME, None, port)).values()
    assert "gives no TLS handshake" in (reason or "")


@pytest.mark.parametrize(("greeting", "passed"), [(b"SSH-2.0-OpenSSH_10\r\n", True), (b"220 mail\r\n", False)])
def test_sshd_is_known_by_its_greeting(greeting: bytes, passed: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            connection.sendall(greeting)
            connection.close()

        threading.Thread(target=greet, daemon=True).start()
        (check,) = probes.look(Outside("x", sshd=Road("127.0.0.1", listener.getsockname()[1], "anna", ())))
    assert (check.name, check.passed) == ("sshd", passed)


def test_a_look_is_repeated_until_it_passes_or_patience_ends() -> None:
    answers = [(Check("tunnel", False, "not yet"),), (Check("tunnel", True),)]
    waits: list[float] = []
    found = probes.look_until_passed(Outside("x"), 60, lambda _: answers.pop(0), waits.append)
    assert found == (Check("tunnel", True),)
    assert waits == [probes.EVERY_S]
    never = probes.look_until_passed(Outside("x"), 0, lambda _: (Check("tunnel", False, "no"),), waits.append)
    assert not never[0].passed
