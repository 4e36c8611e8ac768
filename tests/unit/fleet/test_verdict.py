"""From a slice's report to what became of each host: no exit status is asked, and silence is never success."""

from __future__ import annotations

import json

import pytest

from hearth.fleet.masking import masked
from hearth.fleet.verdict import verdicts


def line(what: str, at: float = 1.0, host: str = "box-a", **more: object) -> str:
    return json.dumps({"host": host, "what": what, "at": at, **more})


def operation(name: str, at: float, changed: bool = False, failed: bool = False, reason: str | None = None) -> str:
    return line("operation", at, name=name, changed=changed, failed=failed, duration_s=0.5, reason=reason)


GOOD = [
    line("begun", 10.0),
    operation("base", 11.0),
    operation("apache", 12.5, changed=True),
    line("left", 99.0, operations=2, executed=True),
]


def test_a_host_with_all_its_operations_is_converged_and_took_until_its_last_one() -> None:
    verdict = verdicts(GOOD, ["box-a"])["box-a"]
    assert (verdict.outcome, verdict.reason, verdict.duration_s) == ("converged", None, 2.5)
    assert [(ran.name, ran.changed) for ran in verdict.operations] == [("base", False), ("apache", True)]


@pytest.mark.parametrize(
    ("lines", "outcome", "words"),
    [
        ([], "lost", "ended before it did"),
        ([line("begun")], "lost", "ended before it did"),
        (GOOD[:-1], "lost", "ended before it did"),
        ([*GOOD[:-1], line("left", operations=0, executed=False)], "lost", "ended before it did"),
        ([line("begun"), line("left", operations=0, executed=True)], "failed", "nothing to do for this host"),
        (
            [*GOOD[:2], line("left", operations=2, executed=True)],
            "failed",
            "it stopped after base, 1 operations before",
        ),
        ([*GOOD[:-1], operation("x", 13, failed=True, reason="E: no")], "failed", "x: E: no"),
        ([*GOOD[:-1], operation("x", 13, failed=True)], "failed", "x: it failed and said nothing"),
        ([line("begun"), line("unreachable", reason="the tunnel is not up")], "unreported", "the tunnel is not up"),
        ([line("begun"), line("refused", reason="no such key")], "failed", "cannot be prepared: no such key"),
        ([*GOOD[:-1], GOOD[-1][:20]], "lost", "ended before it did"),
    ],
)
def test_nothing_but_a_whole_report_is_success(lines: list[str], outcome: str, words: str) -> None:
    verdict = verdicts(lines, ["box-a"])["box-a"]
    assert verdict.outcome == outcome
    assert words in (verdict.reason or "")


def test_hosts_of_a_report_are_told_apart_and_strangers_left_out() -> None:
    found = verdicts([*GOOD, line("begun", host="box-b"), line("begun", host="stranger")], ["box-a", "box-b"])
    assert {host: verdict.outcome for host, verdict in found.items()} == {"box-a": "converged", "box-b": "lost"}


@pytest.mark.parametrize(
    ("text", "kept", "gone"),
    [
        ("mysql said: password=hunter2 is wrong", "mysql said", "hunter2"),
        ('{"secret": "q7Jx0v"}', "secret", "q7Jx0v"),
        ("the household's is abcd-efgh-jkmn-2345-pqrs", "the household's is", "abcd-efgh"),
        ("the sheet says T8BTV-AB5SV-07450-B3AQP-3QPT8-E8322-ZM8PE", "the sheet says", "T8BTV"),
        ("key 60303ae22b998861bce3b28f33eec1be758a213c", "key", "60303ae2"),
        ("salt 362f5bd9ab642d940cee3fc4dc8bb6", "salt", "362f5bd9"),
        ("line b3BlbnNzaC1rZXktdjEA/YoYROHmKtb+rEldEfYpOemJnHom/sBEVyZ2", "line", "YoYROHmK"),
        ("https://anna:geheim@cloud.example/x", "cloud.example", "geheim"),
        ("hash $y$j9T$abc/def$ghi", "hash", "j9T"),
        ("token q7Jx0vTzq7Jx0vTzq7 used", "used", "q7Jx0vTz"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\n-----END OPENSSH PRIVATE KEY-----", "***", "b3BlbnNz"),
        ("red \x1b[31mwords\x1b[0m\nand lines", "red words and lines", "\x1b"),
    ],
)
def test_a_sentence_tells_no_secret_and_stays_one_line(text: str, kept: str, gone: str) -> None:
    assert kept in masked(text)
    assert gone not in masked(text)
    assert "\n" not in masked(text)


def test_plain_words_are_not_masked() -> None:
    sentence = (
        "apache | Serve mueller.home.example over HTTPS: the check failed: AH00526 line 12 of "
        "/var/lib/hearth/changes/apache/hearth.conf at 0a1b2c3d4e5f of /usr/share/X11/locale/en/Compose"
    )
    assert masked(sentence) == sentence


def test_the_reason_of_a_verdict_is_masked() -> None:
    lines = [*GOOD[:-1], operation("db", 13, failed=True, reason="password: hunter2")]
    assert "hunter2" not in str(verdicts(lines, ["box-a"])["box-a"])
