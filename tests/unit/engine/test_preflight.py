"""A host that will not do is refused with one sentence that says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hearth.preflight import WITH_SMALL_BOARDS, Machine, parse_machine, refusal

GIB = 1 << 30
GOOD = Machine("debian", "13", "amd64", 10 * GIB, systemd=True)


def test_a_debian_13_machine_with_room_is_taken() -> None:
    assert refusal(GOOD, ("13",), 6 * GIB) is None


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (replace(GOOD, release="12"), "it runs debian 12, and this kind of host needs Debian 13"),
        (replace(GOOD, system="ubuntu", release="26.04"), "ubuntu 26.04"),
        (replace(GOOD, system="", release=""), "it runs unknown"),
        (replace(GOOD, architecture="i386"), "its architecture is i386"),
        (replace(GOOD, free_bytes=GIB), "only 1024 MiB are free"),
        (replace(GOOD, systemd=False), "systemd does not run"),
    ],
)
def test_what_will_not_do_is_named(machine: Machine, words: str) -> None:
    sentence = refusal(machine, ("13",), 6 * GIB)
    assert sentence is not None
    assert words in sentence


def test_a_small_old_board_will_do_where_nothing_is_bound_to_an_architecture() -> None:
    board = replace(GOOD, system="raspbian", release="12", architecture="armhf")
    assert refusal(board, ("12", "13"), GIB, WITH_SMALL_BOARDS) is None
    assert "amd64 and arm64" in str(refusal(board, ("12", "13"), GIB))


def test_a_converged_box_that_its_household_has_filled_is_still_converged() -> None:
    assert refusal(replace(GOOD, free_bytes=GIB, converged=True), ("13",), 6 * GIB) is None


def test_the_facts_output_is_read() -> None:
    lines = ["ID debian", 'VERSION_ID "13"', "architecture arm64", "free 1048576", "converged", "systemd"]
    assert parse_machine(lines) == Machine("debian", "13", "arm64", 1 << 20, systemd=True, converged=True)
