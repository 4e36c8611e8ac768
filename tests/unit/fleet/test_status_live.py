"""What hosts answer: taken apart with care, since a host may be broken or somebody else's by now."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.fleet import live
from hearth.fleet.events import Check
from hearth.fleet.gate import Outside
from hearth.fleet.live import AnswerError, parse
from hearth.fleet.status import Answer
from hearth.inventory.hosts import Box, Road
from hearth.lab.generate import key
from tests.unit.roles.samples import BOX

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
TOLD: dict[str, Any] = {
    "host": "box-mueller",
    "at": "2026-11-23T12:00:00Z",
    "verdict": "warning",
    "checks": ["disk"],
    "findings": [
        {"check": "disk", "level": "wanted", "sentence": "the disk is nearly full", "next": "make room"},
        {"check": "redis", "level": "required", "sentence": "Redis does not answer", "next": "restart it"},
    ],
    "facts": {
        "certificate_until": "2027-02-21T08:44:19Z",
        "cloud_version": "11.0.0",
        "debian_version": "13.7",
        "tunnel_since": "2026-11-23T08:44:38Z",
        "backup_at": "2026-11-23T01:10:00Z",
        "proven_at": "2026-11-02T01:20:00Z",
        "disks": [
            {"path": "/", "size_bytes": 1000, "free_bytes": 500},
            {"path": "/srv/hearth", "size_bytes": 1000, "free_bytes": 90},
        ],
        "updates": 3,
        "security_updates": 1,
        "reboot_required": False,
    },
}


def test_an_answer_tells_the_fullest_disk_and_what_is_required_first() -> None:
    answer = parse(json.dumps(TOLD), AT)
    assert (answer.disk, answer.disk_free, answer.updates, answer.security_updates) == ("/srv/hearth", 0.09, 3, 1)
    assert [finding.level for finding in answer.findings] == ["required", "wanted"]
    assert answer.certificate_until == datetime(2027, 2, 21, 8, 44, 19, tzinfo=UTC)
    assert (answer.cloud_version, answer.fault) == ("11.0.0", None)
    assert answer.backup_at == datetime(2026, 11, 23, 1, 10, tzinfo=UTC)
    assert answer.proven_at == datetime(2026, 11, 2, 1, 20, tzinfo=UTC)


def test_what_sudo_says_before_the_answer_does_not_disturb_it() -> None:
    assert parse("sudo: unable to resolve host\n" + json.dumps(TOLD), AT).verdict == "warning"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sudo: /usr/lib/hearth/health: command not found", "no health check yet"),
        ("sh: 1: /usr/lib/hearth/health: No such file or directory", "no health check yet"),
        ("", "gave no verdict"),
        ("health: this host cannot be judged: converge it", "cannot be judged"),
        ('{"verdict": "good"}', "gave no verdict"),
        ("[" * 100_000, "gave no verdict"),
        (json.dumps(TOLD | {"verdict": "splendid"}), "no verdict that is known"),
    ],
)
def test_an_answer_that_is_no_verdict_ends_in_a_sentence(text: str, told: str) -> None:
    with pytest.raises(AnswerError, match=told):
        parse(text, AT)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {"verdict": st.sampled_from(["good", "bad"]), "findings": _values | st.just([]), "facts": _values}
    )
    | st.fixed_dictionaries(
        {
            "verdict": st.just("good"),
            "findings": st.just([]),
            "facts": st.dictionaries(st.sampled_from(sorted(TOLD["facts"])), _values),
        }
    )
)
def test_a_host_may_say_whatever_it_likes_and_is_either_understood_or_refused(data: dict[str, Any]) -> None:
    try:
        answer = parse(json.dumps(data), AT)
    except AnswerError:
        return
    assert isinstance(answer, Answer)
    assert answer.updates is None or 0 <= answer.updates < 100_000
    assert answer.disk_free is None or 0 <= answer.disk_free <= 1


def test_a_host_cannot_write_to_the_operators_terminal() -> None:
    finding = {"check": "x", "level": "wanted", "sentence": "\x1b]0;owned\x07\x1b[2J\u202egnp", "next": "\r\n"}
    answer = parse(json.dumps(TOLD | {"findings": [finding] * 100}), AT)
    assert len(answer.findings) == live.MOST_FINDINGS
    assert all(character.isprintable() for each in answer.findings for character in each.sentence + each.next_step)


def box_at(port: int) -> Box:
    return replace(BOX, roads=(Road("127.0.0.1", port, "anna", (key("box"),)),))


def test_a_host_that_is_silent_or_gone_is_a_fault_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOGIN_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answer = live.ask(box_at(silent.getsockname()[1]))
        assert answer.verdict is None
        assert answer.fault is not None
    assert live.ask(replace(BOX, roads=())).fault == (
        "no road to box-mueller is known; add it under hosts: in the inventory's local.yaml, or collect it: "
        "hearth collect"
    )


class Trickle:
    """A connection whose command never ends: it sends a part at a time, for ever."""

    def __init__(self, part: bytes) -> None:
        self.part = part
        self.closed = threading.Event()

    def exec_command(self, command: str, timeout: float) -> tuple[None, Any, None]:
        assert command.endswith("/usr/lib/hearth/health --json 2>&1")
        return None, self, None

    @property
    def channel(self) -> Trickle:
        return self

    def settimeout(self, _: float) -> None:
        pass

    def recv(self, _: int) -> bytes:
        time.sleep(0.01)
        return self.part

    def close(self) -> None:
        self.closed.set()


@pytest.mark.parametrize(
    ("part", "patience_s", "told"), [(b"x" * 10_000, 60.0, "without an end"), (b"x", 0.2, "did not answer")]
)
def test_an_answer_without_an_end_is_ended(
    monkeypatch: pytest.MonkeyPatch, part: bytes, patience_s: float, told: str
) -> None:
    client = Trickle(part)
    monkeypatch.setattr(live, "ANSWER_S", patience_s)
    monkeypatch.setattr(live, "first_open", lambda *_: (client, Road("127.0.0.1", 22, "root", ())))
    fault = live.ask(BOX).fault
    assert fault is not None
    assert told in fault
    assert client.closed.is_set()


def test_what_is_wrong_from_outside_is_a_finding_of_a_host_that_thinks_it_is_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    well = parse(json.dumps(TOLD | {"verdict": "good", "findings": []}), AT)
    seen = Outside("box-mueller")
    monkeypatch.setattr(live, "_asked", lambda _: well)
    monkeypatch.setattr(live, "look", lambda _: (Check("certificate", True), Check("status.php", False, "no answer")))
    answer = live.ask(BOX, seen)
    assert (answer.verdict, answer.findings[0].sentence) == ("bad", "from outside: no answer")
    monkeypatch.setattr(live, "look", lambda _: (Check("certificate", True),))
    assert live.ask(BOX, seen) == well


def test_a_host_without_a_road_in_says_whether_its_cloud_answers_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_asked", lambda _: Answer(AT, fault="the login was refused"))
    monkeypatch.setattr(live, "look", lambda _: (Check("status.php", True),))
    fault = live.ask(BOX, Outside("box-mueller")).fault
    assert fault == "the login was refused; what it serves answers from outside"
