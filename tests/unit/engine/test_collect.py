"""What hosts tell about themselves becomes a file that is stable, and a pinned key is never replaced in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hearth import collect
from hearth.collect import CollectError
from hearth.inventory.collected import Collected

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMIvScik939+AuX714xMbrQJMOfQtSEVEM3CbJtNkYb"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIpXP9AFoGk1W0fpexBZwAiJPu0Je/YLODK3EBYBnCqp"
DNS_KEY = "512 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="
OTHER_DNS_KEY = "512 3 15 2Mpzqz67SwuFCgpurHtoArXa7jUAN0uygRtMJpokUeU="


def test_a_boxs_answer_becomes_its_keys_without_their_comments() -> None:
    told = collect.parse([f"host {OTHER} root@box", f"host {KEY}", f"tunnel {KEY} box-mueller"])
    assert told == Collected(tuple(sorted((KEY, OTHER))), KEY)


def test_a_relays_answer_holds_the_keys_of_its_tunnel_server() -> None:
    assert collect.parse([f"host {KEY}", f"tunnel-host {OTHER}"]) == Collected((KEY,), None, (OTHER,))


def test_a_boxs_answer_holds_its_key_for_dns_updates() -> None:
    assert collect.parse([f"host {KEY}", f"dns {DNS_KEY}"]) == Collected((KEY,), dns_key=DNS_KEY)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [f"host {KEY}", f"dns {KEY}"],
        [f"host {KEY}", f"tunnel {DNS_KEY}"],
        [f"host {KEY}", "dns Private-key-format: v1.3"],
        [f"host {KEY}", f"dns {DNS_KEY} ; evil.example. IN A 192.0.2.1"],
        [f"tunnel {KEY}"],
        [f"host {KEY}", "tunnel ssh-ed25519 AAAA"],
        [f"host {KEY}", "-----BEGIN OPENSSH PRIVATE KEY-----"],
        [f"host {KEY}", f'tunnel command="/bin/sh" {OTHER}'],
    ],
)
def test_an_answer_that_is_no_answer_is_refused(lines: list[str]) -> None:
    with pytest.raises(CollectError):
        collect.parse(lines)


def test_the_same_keys_give_the_same_file_and_it_says_who_wrote_it(tmp_path: Path) -> None:
    told = Collected((KEY,), OTHER)
    file = tmp_path / "collected" / "box-mueller.yaml"
    collect.write(file, collect.rendered("box-mueller", told))
    assert file.read_text().startswith("# Written by `hearth collect box-mueller`")
    assert collect.read(file) == told
    assert collect.rendered("box-mueller", collect.read(file)) == file.read_text()
    assert yaml.safe_load(file.read_text()) == {"host_keys": [KEY], "tunnel_key": OTHER}
    assert [path.name for path in tmp_path.rglob("*")] == ["collected", "box-mueller.yaml"]


def test_another_host_key_is_refused_with_both_fingerprints() -> None:
    for old, new in (
        (Collected((KEY,)), Collected((OTHER,))),
        (Collected((KEY,), None, (KEY,)), Collected((KEY,), None, (OTHER,))),
    ):
        with pytest.raises(CollectError) as caught:
            collect.refuse_other_keys(old, new)
        assert collect.fingerprints([KEY]) in str(caught.value)
        assert collect.fingerprints([OTHER]) in str(caught.value)
        assert "--replace" in str(caught.value)


def test_a_key_that_the_host_does_not_show_any_more_is_dropped_and_told() -> None:
    old, new = Collected((KEY, OTHER)), Collected((KEY,))
    collect.refuse_other_keys(old, new)
    assert collect.differences(old, new) == (
        f"host keys now {collect.fingerprints([KEY])}, before {collect.fingerprints([KEY, OTHER])}",
    )


def test_a_new_tunnel_key_is_taken_and_told() -> None:
    old, new = Collected((KEY,), KEY), Collected((KEY,), OTHER)
    collect.refuse_other_keys(old, new)
    assert collect.differences(old, new) == (
        f"tunnel key now {collect.fingerprints([OTHER])}, before {collect.fingerprints([KEY])}",
    )
    assert collect.differences(new, new) == ()


def test_a_key_for_dns_updates_is_kept_and_told_when_it_is_new_or_other(tmp_path: Path) -> None:
    none, old, new = Collected((KEY,)), Collected((KEY,), dns_key=DNS_KEY), Collected((KEY,), dns_key=OTHER_DNS_KEY)
    file = tmp_path / "collected" / "box-mueller.yaml"
    collect.write(file, collect.rendered("box-mueller", old))
    assert collect.read(file) == old
    assert collect.differences(none, old) == (f"DNS key {collect.fingerprints([DNS_KEY])}",)
    assert collect.differences(old, none) == ("no DNS key any more",)
    assert [len(sentence.split("SHA256:")) for sentence in collect.differences(old, new)] == [3]


def test_fingerprints_are_those_of_ssh_keygen() -> None:
    assert collect.fingerprints([KEY]) == "SHA256:vpVILrt3rafLYYmBsSeU+fLoz7hZxB47GVUfWL/2kOc"
