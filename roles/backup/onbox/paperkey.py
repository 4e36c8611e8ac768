"""The household's key on paper: 130 random bits in seven groups of five characters, of which each checks itself.

    7QK2M-0FZ3X-…        four characters of the key, then one that checks them, seven times

The last two of the 28 characters check the whole. The letters are Crockford's base 32, which has no I, L, O and U, so
what is misread is put right: ``o`` is 0, ``i`` and ``l`` are 1, capitals do not matter, nor do blanks and hyphens.

A group's check character is its number plus a weighted sum over GF(32). As the weights and the numbers differ, any one
wrong character, any two neighbours that changed places and any two groups that changed places are found, and the group
is named, before anything slow or far away is asked. What is written is also restic's own password, hyphens included:
the sheet opens the repository with plain restic, should nobody have hearth any more.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUPS, GROUP = 7, 5
RANDOM = 26
"""Characters that are random; the rest of the 28 check the whole."""
MISREAD = str.maketrans("OIL", "011")
_FIELD, _TOP = 0b100101, 0b100000  # x^5 + x^2 + 1, which is primitive
_SEPARATORS = re.compile(r"[\s\-_.,:;/|\u00ad\u2010-\u2015\u2212]+")
PURPOSE = b"hearth paper key 1\n"


class Mistyped(Exception):
    """What was typed is no paper key; the message names the group."""


def _power(exponent: int) -> int:
    """The generator of GF(32) to a power."""
    value = 1
    for _ in range(exponent):
        value <<= 1
        if value & _TOP:
            value ^= _FIELD
    return value


def _product(one: int, other: int) -> int:
    """The product of two elements of GF(32)."""
    total = 0
    while other:
        if other & 1:
            total ^= one
        one <<= 1
        if one & _TOP:
            one ^= _FIELD
        other >>= 1
    return total


def check_character(number: int, four: str) -> str:
    """The character that ends group ``number`` (from 1), of which the other ``four`` are given."""
    total = number
    for place, character in enumerate(four, 1):
        total ^= _product(_power(place), ALPHABET.index(character))
    return ALPHABET[total]


def whole_check(random: str) -> str:
    """The two characters that check the whole key."""
    number = int.from_bytes(hashlib.sha256(PURPOSE + random.encode()).digest()[:2], "big") >> 6
    return ALPHABET[number >> 5] + ALPHABET[number & 31]


def written(random: str) -> str:
    """Given the 26 random characters, return the key as it stands on the sheet."""
    told = random + whole_check(random)
    fours = [told[start : start + GROUP - 1] for start in range(0, len(told), GROUP - 1)]
    return "-".join(four + check_character(number, four) for number, four in enumerate(fours, 1))


def make() -> str:
    """A new key, as it stands on the sheet."""
    return written("".join(secrets.choice(ALPHABET) for _ in range(RANDOM)))


def fingerprint(key: str) -> str:
    """What may be known of a key: it tells whether two are the same, and nothing about either (130 bits are too many
    to be tried out)."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(PURPOSE + key.encode()).digest()).decode().rstrip("=")


def parse(typed: str) -> str:
    """Given what somebody typed or scanned, return the key as it stands on the sheet.

    Raises Mistyped, which names the first group that is wrong, missing or too much.
    """
    parts = [part for part in _SEPARATORS.split(typed.upper().translate(MISREAD)) if part]
    if not parts:
        raise Mistyped("nothing was typed: the key has seven groups of five characters")
    _refuse_strangers(parts)
    groups = _grouped(parts)
    for number, group in enumerate(groups, 1):
        if number > GROUPS:
            raise Mistyped(f"the key has seven groups, and these are {len(groups)}")
        if len(group) != GROUP:
            raise Mistyped(f"group {number} ({group}) has {_count(len(group))}; each group has five")
        if not _is_right(number, group):
            raise Mistyped(_what_is_wrong(number, groups))
    if len(groups) < GROUPS:
        raise Mistyped(_missing(range(len(groups) + 1, GROUPS + 1)))
    random = "".join(group[:-1] for group in groups)
    if written(random[:RANDOM]) != "-".join(groups):
        raise Mistyped("each group may be a group of some key, and together they are none: compare all of them")
    return written(random[:RANDOM])


def group_of(key: str, number: int) -> str:
    """Group ``number`` (from 1) of a key."""
    return key.split("-")[number - 1]


def same_group(key: str, number: int, typed: str) -> bool:
    """Whether ``typed`` is group ``number`` of the key, read as tolerantly as a whole key."""
    plain = _SEPARATORS.sub("", typed.upper().translate(MISREAD))
    return secrets.compare_digest(plain.encode(), group_of(key, number).encode())


def _grouped(parts: list[str]) -> list[str]:
    """The groups as they were typed; of one long word, or groups torn apart, five characters each."""
    torn = len(parts) > GROUPS or any(len(part) > GROUP + 1 for part in parts)
    if not torn:
        return parts
    whole = "".join(parts)
    return [whole[start : start + GROUP] for start in range(0, len(whole), GROUP)]


def _refuse_strangers(parts: list[str]) -> None:
    for number, part in enumerate(parts, 1):
        for place, character in enumerate(part):
            if character not in ALPHABET:
                group = number if len(parts) > 1 else place // GROUP + 1
                raise Mistyped(f"group {group}: {character!r} is no character of a key (digits and letters without U)")


def _is_right(number: int, group: str) -> bool:
    return len(group) == GROUP and check_character(number, group[:-1]) == group[-1]


def _what_is_wrong(number: int, groups: list[str]) -> str:
    """Why group ``number`` is not right: it may be another group, or simply be mistyped."""
    group = groups[number - 1]
    places = [place for place in range(1, GROUPS + 1) if _is_right(place, group)]
    rest = groups[number - 1 :]
    if len(groups) < GROUPS and all(_is_right(place, each) for place, each in enumerate(rest, number + 1)):
        return _missing([number])
    if places and any(_is_right(number, other) for other in groups):
        return f"group {number} ({group}) looks like group {places[0]}: compare the order of the groups"
    return f"group {number} ({group}) is mistyped: compare it with the sheet"


def _missing(numbers: Iterable[int]) -> str:
    listed = [str(number) for number in numbers]
    if len(listed) == 1:
        return f"group {listed[0]} is missing: the key has seven groups of five characters"
    return f"groups {', '.join(listed[:-1])} and {listed[-1]} are missing: the key has seven groups of five characters"


def _count(number: int) -> str:
    return "one character" if number == 1 else f"{number} characters"
