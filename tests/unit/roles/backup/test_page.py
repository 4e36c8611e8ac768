"""The page about the household's key: who gets in, what it says, and what it never does."""

from __future__ import annotations

import re
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from roles.backup.onbox import elsewhere, keys, lan, page, paperkey, repository, sheet
from roles.backup.onbox.page import Desk, Throttle
from roles.backup.onbox.repository import Repository
from roles.backup.onbox.settings import Paths, Settings
from roles.backup.onbox.system import Waits

KEY = paperkey.written("7QK2M0FZ3X9ABCDEFGHJKMNPQR")
SETTINGS = Settings("mueller", "mueller.home.example", "rest:https://127.0.0.1:18444/mueller/", ("renate",), 7443)


def route(address: str, mask: str, gateway: str = "0.0.0.0", device: str = "eth0") -> str:  # noqa: S104
    """A line of /proc/net/route."""

    def word(text: str) -> str:
        return f"{int.from_bytes(bytes(int(part) for part in text.split('.')), sys.byteorder):08X}"

    return f"{device}\t{word(address)}\t{word(gateway)}\t0001\t0\t0\t0\t{word(mask)}\t0\t0\t0\n"


HOME = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" + "".join(
    (
        route("0.0.0.0", "0.0.0.0", "192.168.1.1"),  # noqa: S104
        route("192.168.1.0", "255.255.255.0"),
        route("10.8.0.0", "255.255.0.0", "192.168.1.7"),
        route("198.51.100.0", "255.255.255.0", device="eth1"),
    )
)


@pytest.mark.parametrize(
    ("peer", "welcome"),
    [
        ("192.168.1.77", True),
        ("127.0.0.1", False),
        ("198.51.100.7", False),
        ("203.0.113.9", False),
        ("192.168.2.77", False),
        ("10.8.3.1", False),
        ("fd00::7", False),
    ],
    ids=["home", "tunnel", "public-neighbour", "internet", "other-network", "behind-a-gateway", "ipv6"],
)
def test_only_who_is_on_a_private_network_of_the_boxs_own_gets_in(peer: str, welcome: bool) -> None:
    assert lan.is_at_home(peer, HOME) is welcome


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A box whose key is made and not on paper yet."""
    page_state, cache = tmp_path / "page", tmp_path / "cache"
    paths = Paths(secrets=tmp_path, public=tmp_path, state=tmp_path, page_state=page_state, cache=cache)
    paths.page_state.mkdir()
    paths.paper_key.write_text(KEY + "\n")
    keys.write_paper(paths, keys.Paper("ab12", "2026-11-23T08:00:00Z"))
    return replace(SETTINGS, paths=paths)


@pytest.fixture
def desk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The page of a cloud that knows renate's password."""
    monkeypatch.setattr(page, "is_admin", lambda _, user, password: (user, password) == ("renate", "right"))
    return Desk(settings)


LOGIN = {"user": "renate", "password": "right"}


def shown_again(desk: Desk) -> bool:
    return KEY[:5] in desk.sheet(LOGIN, "192.168.1.77")


def test_the_sheet_is_for_the_admin_and_says_whether_somebody_saw_it_before(desk: Desk) -> None:
    assert KEY[:5] not in desk.home() + desk.sheet({"user": "renate", "password": "wrong"}, "192.168.1.77")
    first = desk.sheet(LOGIN, "192.168.1.77")
    assert all(group in first for group in KEY.split("-"))
    assert "shown before" not in first
    assert "shown before" in (again := desk.sheet(LOGIN, "192.168.1.78"))
    assert "to renate at 192.168.1.77" in again


def test_a_group_from_the_paper_leaves_the_mark_and_nothing_else_does(desk: Desk, settings: Settings) -> None:
    mark = settings.paths.page_state / "confirmed"
    number = page.confirmation(KEY)
    right = paperkey.group_of(KEY, number)
    desk.confirm({"token": "", "group": right})
    desk.sheet(LOGIN, "192.168.1.77")
    desk.confirm({"token": desk.token, "group": paperkey.group_of(KEY, number % paperkey.GROUPS + 1)})
    desk.confirm({"token": "0" * 32, "group": right})
    assert not mark.exists()
    assert "only there" in desk.confirm({"token": desk.token, "group": f" {right.lower()}"})
    assert mark.read_text().strip() == paperkey.fingerprint(KEY)


def test_what_was_confirmed_is_forgotten_once_and_an_old_mark_counts_for_no_new_key(settings: Settings) -> None:
    mark = settings.paths.page_state / "confirmed"
    mark.write_text(paperkey.fingerprint(paperkey.make()))
    keys.settle(settings)
    assert settings.paths.paper_key.read_text().strip() == KEY
    assert keys.is_unprinted(settings.paths)
    assert not mark.exists()
    mark.write_text(paperkey.fingerprint(KEY))
    keys.settle(settings)
    assert settings.paths.paper_key.read_text() == ""
    assert not keys.is_unprinted(settings.paths)
    assert not shown_again(Desk(settings))


def test_a_mistyped_key_is_named_before_the_repository_is_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(_: Settings) -> None:
        raise Waits("the store does not answer")

    monkeypatch.setattr(page, "the_store", asked)
    assert "Group 7 is missing" in desk.test({"key": KEY[:-6]})
    assert "the store does not answer" in desk.test({"key": KEY})


SILENT = "exec sleep 60"
REPEATING = 'echo "Stat(<config/>) returned error, retrying after 1s: Get: dial tcp 192.0.2.1: refused" >&2; ' + SILENT


@pytest.mark.parametrize(("restic", "why"), [(SILENT, "it gives no answer"), (REPEATING, "Get: dial tcp 192.0.2.1")])
def test_who_tests_a_key_is_told_soon_that_the_server_is_away(
    desk: Desk, settings: Settings, monkeypatch: pytest.MonkeyPatch, restic: str, why: str
) -> None:
    assert repository.LOOK_S <= 20, "well under half a minute"
    monkeypatch.setattr(repository, "LOOK_S", 1)
    monkeypatch.setattr(Repository, "command", lambda *_: ["sh", "-c", restic])
    settings.paths.credentials.write_text("AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n")
    desk.settings = replace(settings, store=False, repository="s3:https://s3.example/b")
    begun = time.monotonic()
    told = desk.test({"key": KEY})
    assert time.monotonic() - begun < 10
    away = f"which says nothing against it: s3:https://s3.example/b is not reached ({why}"
    assert away in told
    assert "is its server up, and the address right? Try again in an hour; if it stays so, tell who looks" in told


def test_who_tests_a_key_is_told_that_an_ssh_server_does_not_answer(
    desk: Desk, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert elsewhere.CONNECT_S < elsewhere.ANSWER_S <= 20, "well under half a minute"
    monkeypatch.setattr(elsewhere, "CONNECT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"sftp://m@127.0.0.1:{mute.getsockname()[1]}//m"
        desk.settings = replace(settings, store=False, repository=url)
        assert f"{url} is not reached (Connection" in desk.test({"key": KEY})
        # Somebody who lets the box in and then says no more.
        monkeypatch.setattr(elsewhere, "CONNECT_S", 60)
        monkeypatch.setattr(elsewhere, "ANSWER_S", 1)
        assert f"{url} is not reached (ssh gave no answer within 1 seconds" in desk.test({"key": KEY})


def test_who_tests_a_key_is_told_that_the_store_is_away_before_restic_is_asked(desk: Desk, settings: Settings) -> None:
    keys.make_certificate(settings)
    settings.paths.page_certificate.rename(settings.paths.certificate)
    desk.settings = replace(settings, repository="rest:https://127.0.0.1:1/mueller/")
    assert "the store does not answer through the tunnel" in desk.test({"key": KEY})


def test_who_guesses_is_told_to_wait_whoever_it_is() -> None:
    throttle = Throttle()
    assert [throttle.allows(second) for second in range(7)] == [True] * 5 + [False] * 2
    assert throttle.allows(400)


def test_the_sheet_says_all_that_is_needed_and_escapes_it() -> None:
    told = sheet.sheet(sheet.Sheet("mueller", "a<b>.example", "2026-11-23", KEY))
    assert "a&lt;b&gt;.example" in told
    assert paperkey.fingerprint(KEY) in told.replace("&#x27;", "'")
    assert "hearth-restore" in told
    assert re.search(r"<svg[^>]*viewBox", told)
    assert not re.search(r"https?://(?!www\.w3\.org)|src=|href=", told), "it needs nothing from anywhere"
    plain = sheet.for_terminal(sheet.Sheet("mueller", "mueller.home.example", "2026-11-23", KEY))
    assert all(f"{number}. {group}" in plain for number, group in enumerate(KEY.split("-"), 1))
