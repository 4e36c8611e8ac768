"""The household's key on paper: what is misread is put right, what is mistyped is named by its group."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roles.backup.onbox import paperkey
from roles.backup.onbox.paperkey import ALPHABET, GROUP, GROUPS, Mistyped, parse, written

KEYS = st.text(ALPHABET, min_size=paperkey.RANDOM, max_size=paperkey.RANDOM).map(written)
KEY = written("7QK2M0FZ3X9ABCDEFGHJKMNPQR")


def test_two_keys_differ_and_each_has_seven_groups_of_five() -> None:
    made = {paperkey.make() for _ in range(50)}
    assert len(made) == 50
    assert all(re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{5}-){6}[0-9A-HJKMNP-TV-Z]{5}", key) for key in made)
    assert all(parse(key) == key for key in made)


@given(KEYS)
def test_however_it_is_written_it_is_the_same_key(key: str) -> None:
    for typed in (
        key.lower(),
        key.replace("-", ""),
        key.replace("-", " "),
        key.replace("-", " \u2013 "),
        f"  {key}\n",
        key.replace("0", "o").replace("1", "l"),
        key.replace("0", "O").replace("1", "I"),
        " ".join(key.replace("-", "")),
    ):
        assert parse(typed) == key


@given(KEYS, st.integers(0, GROUPS - 1), st.integers(0, GROUP - 1), st.sampled_from(ALPHABET))
def test_any_one_wrong_character_is_found_and_its_group_named(key: str, group: int, place: int, other: str) -> None:
    groups = key.split("-")
    if groups[group][place] == other:
        return
    groups[group] = groups[group][:place] + other + groups[group][place + 1 :]
    with pytest.raises(Mistyped, match=rf"^group {group + 1} "):
        parse("-".join(groups))


@given(KEYS, st.integers(0, GROUPS - 1), st.integers(0, GROUP - 2))
def test_two_neighbours_that_changed_places_are_found_and_named(key: str, group: int, place: int) -> None:
    groups = key.split("-")
    word = groups[group]
    if word[place] == word[place + 1]:
        return
    groups[group] = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    with pytest.raises(Mistyped, match=rf"^group {group + 1} "):
        parse("-".join(groups))


@given(KEYS, st.integers(0, GROUPS - 2))
def test_two_groups_that_changed_places_are_found(key: str, first: int) -> None:
    groups = key.split("-")
    groups[first], groups[first + 1] = groups[first + 1], groups[first]
    if groups[first] == groups[first + 1]:
        return
    with pytest.raises(Mistyped, match=rf"^group {first + 1} .*looks like group {first + 2}"):
        parse("-".join(groups))


@given(KEYS, st.integers(1, GROUPS))
def test_a_group_left_out_is_named(key: str, number: int) -> None:
    groups = key.split("-")
    del groups[number - 1]
    with pytest.raises(Mistyped, match=rf"^group {number} is missing"):
        parse("-".join(groups))


def test_a_truncated_key_names_what_is_missing() -> None:
    groups = KEY.split("-")
    with pytest.raises(Mistyped, match=r"^groups 4, 5, 6 and 7 are missing"):
        parse("-".join(groups[:3]))
    with pytest.raises(Mistyped, match=r"^group 7 \(.{4}\) has 4 characters; each group has five"):
        parse(KEY[:-1])
    with pytest.raises(Mistyped, match=r"^group 7 \(.{4}\) has 4 characters"):
        parse(KEY.replace("-", "")[:-1])
    with pytest.raises(Mistyped, match="nothing was typed"):
        parse(" - \n")


def test_a_group_too_much_and_a_character_that_no_key_has_are_named() -> None:
    with pytest.raises(Mistyped, match="these are 8"):
        parse(KEY + "-" + KEY.split("-", maxsplit=1)[0])
    with pytest.raises(Mistyped, match=r"^group 2: 'U' is no character of a key"):
        parse(KEY[:8] + "u" + KEY[9:])
    with pytest.raises(Mistyped, match=r"^group 3: '€'"):
        parse(KEY.replace("-", "")[:10] + "€" + KEY.replace("-", "")[11:])


def test_groups_that_are_each_right_and_of_two_keys_are_no_key() -> None:
    other = written("0123456789ABCDEFGHJKMNPQRS")
    with pytest.raises(Mistyped, match="together they are none"):
        parse("-".join(KEY.split("-")[:4] + other.split("-")[4:6] + KEY.split("-")[6:]))


@given(KEYS, KEYS)
def test_a_fingerprint_tells_keys_apart_and_nothing_of_them(one: str, other: str) -> None:
    assert (paperkey.fingerprint(one) == paperkey.fingerprint(other)) == (one == other)
    assert re.fullmatch("SHA256:[A-Za-z0-9+/]{43}", paperkey.fingerprint(one))


def test_a_typed_group_is_compared_as_tolerantly_as_a_key() -> None:
    third = paperkey.group_of(KEY, 3)
    assert paperkey.same_group(KEY, 3, f" {third.lower()} ")
    assert not paperkey.same_group(KEY, 3, paperkey.group_of(KEY, 4))
