"""The certs role: what it reads from a box, when it acts, and what its operation does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.exceptions import FactProcessError

from hearth import authority
from hearth.inventory.hosts import Authority, Box
from roles import certs
from roles.certs.facts import Certificate, Request, TlsFiles, TlsState, parse_state
from roles.certs.rules import incomplete, needs, unserved
from tests.unit.roles.certs.box_folder import DAYS_90, MODES, NAME, BoxFolder
from tests.unit.roles.samples import BOX

NOW = datetime(2027, 1, 1, tzinfo=UTC)
LEAF = Certificate(frozenset({NAME}), b"key", "ca", NOW - timedelta(days=10), NOW + timedelta(days=80), "f00d")
GOOD = TlsState(MODES, b"key", Request(b"pem", frozenset({NAME}), b"key"), LEAF)


def leaf(**changes: object) -> TlsState:
    return replace(GOOD, certificate=replace(LEAF, **changes))  # type: ignore[arg-type]


# What the fact reads


def test_the_fact_reads_what_a_real_box_printed() -> None:
    lines = (Path(__file__).parent / "recorded-tls-state.txt").read_text().splitlines()
    state = parse_state(lines)
    assert state.modes == MODES
    assert state.request is not None
    assert state.certificate is not None
    assert state.request.names == state.certificate.names == {NAME}
    assert state.public_key == state.request.public_key == state.certificate.public_key
    assert state.certificate.issuer_key_id == "6fe223eb25d516d42ac04711ff971d3e3aafb5e6"
    assert state.certificate.end == datetime(2027, 2, 21, 5, 26, 8, tzinfo=UTC)
    assert state.apache_uses_it
    assert state.served == state.certificate
    assert state.managed is None
    assert needs(state, [NAME], state.certificate.issuer_key_id, DAYS_90, NOW) is None


def test_a_bare_host_has_nothing() -> None:
    assert TlsFiles.default() == TlsState()
    assert parse_state(["== files", "== key", "== request", "== certificate"]) == TlsState()


def test_an_apache_that_does_not_answer_is_told_from_one_without_the_site() -> None:
    assert parse_state(["== served"]) == TlsState(apache_uses_it=True)


@pytest.mark.parametrize(
    "lines",
    [
        ["sudo: command not found"],
        ["== files", "key.pem"],
        ["== key", "rubbish"],
        ["== request", "-----BEGIN CERTIFICATE REQUEST-----", "AAAA", "-----END CERTIFICATE REQUEST-----"],
        ["== certificate", "rubbish"],
        ["== served", "rubbish"],
    ],
)
def test_an_odd_answer_fails_this_host_only(lines: list[str]) -> None:
    with pytest.raises(FactProcessError, match="cannot be read"):
        TlsFiles().process(lines)


# When it acts


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (GOOD, None),
        (TlsState(), "there is none"),
        (replace(GOOD, public_key=b"other"), "the key is another"),
        (leaf(names=frozenset({"old.home.example"})), "the names are others"),
        (leaf(names=frozenset({NAME, "more.home.example"})), "the names are others"),
        (leaf(issuer_key_id="other"), "authority did not sign"),
        (leaf(issuer_key_id=None), "authority did not sign"),
        (leaf(start=NOW - timedelta(days=61), end=NOW + timedelta(days=29)), "less than a third"),
        (leaf(start=NOW - timedelta(days=59), end=NOW + timedelta(days=31)), None),
        (leaf(start=NOW - timedelta(days=99), end=NOW - timedelta(days=9)), "less than a third"),
        (leaf(end=NOW + timedelta(days=92)), "longer than"),
    ],
)
def test_a_new_certificate_is_needed_for_a_reason(state: TlsState, reason: str | None) -> None:
    found = needs(state, [NAME], "ca", DAYS_90, NOW)
    assert found is None if reason is None else reason in str(found)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (GOOD, None),
        (TlsState(), "the key is missing"),
        (replace(GOOD, request=None), "the request is missing"),
        (replace(GOOD, request=Request(b"", frozenset({"old.example"}), b"key")), "for other names"),
        (replace(GOOD, request=Request(b"", frozenset({NAME}), b"other")), "request is not the key's"),
        (replace(GOOD, certificate=None), "the certificate is missing"),
        (leaf(public_key=b"other"), "certificate is not the key's"),
        (replace(GOOD, modes={**MODES, "key.pem": "644 root:root"}), "mode or owner"),
        (replace(GOOD, modes={**MODES, "certificate.pem": "644 www-data:root"}), "mode or owner"),
    ],
)
def test_the_box_makes_its_files_again_for_a_reason(state: TlsState, reason: str | None) -> None:
    found = incomplete(state, [NAME])
    assert found is None if reason is None else reason in str(found)


@pytest.mark.parametrize(
    ("uses", "served", "stale"), [(True, "f00d", False), (True, "old", True), (True, None, True), (False, None, False)]
)
def test_apache_is_reloaded_when_it_serves_something_else(uses: bool, served: str | None, stale: bool) -> None:
    answer = replace(LEAF, fingerprint=served) if served else None
    assert unserved(replace(GOOD, apache_uses_it=uses, served=answer)) is stale
    by_acme = replace(LEAF, fingerprint="acme")
    assert unserved(replace(GOOD, apache_uses_it=uses, managed=by_acme, served=answer)) is uses
    assert not unserved(replace(GOOD, apache_uses_it=uses, managed=by_acme, served=by_acme))


# What the operation does


@pytest.fixture
def operation(monkeypatch: pytest.MonkeyPatch) -> Callable[[Box, TlsState], Iterator[object]]:
    """The commands that the operation gives for a box in a state."""

    def commands(box: Box, state: TlsState) -> Iterator[object]:
        host = SimpleNamespace(get_fact=lambda *_, **__: state, get_temp_filename=lambda path: f"/tmp/{len(path)}")
        monkeypatch.setattr(certs, "host", host)
        found: Iterator[object] = certs.put_certificate._inner(box)
        return found

    return commands


def sentence(command: object) -> str:
    assert isinstance(command, FunctionCommand)
    return str(command.args[0])


def test_planning_neither_signs_nor_asks_for_the_passphrase(
    root: Authority, operation: Callable[[Box, TlsState], Iterator[object]]
) -> None:
    locked = replace(root, folder=Path("/nowhere"), passphrase_file=Path("/nowhere/passphrase"))
    planned = operation(replace(BOX, authority=locked), replace(GOOD, certificate=None))
    assert isinstance(next(planned), StringCommand)
    assert "/nowhere/passphrase" in sentence(next(planned))


def test_a_good_certificate_needs_no_private_key_of_the_authority(
    root: Authority, operation: Callable[[Box, TlsState], Iterator[object]], box_folder: BoxFolder
) -> None:
    box_folder.make_key()
    signed = box_folder.signed(root)
    (box_folder.tls / "certificate.pem").write_bytes(signed)
    locked = replace(root, folder=Path("/nowhere"), passphrase_file=Path("/nowhere/passphrase"))
    assert list(operation(replace(BOX, authority=locked), box_folder.state())) == []


def test_the_signed_certificate_is_staged_and_installed(
    root: Authority, operation: Callable[[Box, TlsState], Iterator[object]], box_folder: BoxFolder
) -> None:
    box_folder.make_key()
    _, upload, install = operation(replace(BOX, authority=root), box_folder.state())
    assert isinstance(upload, StringCommand)
    assert isinstance(install, StringCommand)
    (box_folder.tls / "certificate.pem").write_text(str(upload.connector_arguments["_stdin"]))
    assert needs(box_folder.state(), [NAME], authority.tls_ca_key_id(root.tls_ca), DAYS_90, datetime.now(UTC)) is None
    assert str(install) == f"/usr/lib/hearth/install-certificate {NAME} {str(upload).removeprefix('cat > ')}"


def test_without_an_authority_the_way_out_is_told(operation: Callable[[Box, TlsState], Iterator[object]]) -> None:
    assert "hearth ca init" in sentence(*operation(replace(BOX, authority=None), GOOD))


def test_halves_of_two_authorities_are_refused_instead_of_signed_for_ever(
    root: Authority,
    operation: Callable[[Box, TlsState], Iterator[object]],
    box_folder: BoxFolder,
    tmp_path: Path,
) -> None:
    authority.init(tmp_path / "private", tmp_path / "public", "other", "other.example", b"correct horse battery")
    mixed = replace(root, tls_ca=tmp_path / "public" / "tls-ca.pem")
    box_folder.make_key()
    *_, refusal = operation(replace(BOX, authority=mixed), box_folder.state())
    assert "do not belong to" in sentence(refusal)
