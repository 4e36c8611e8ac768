"""Sizes as people and PHP write them (``3000M``) and as bytes."""

from __future__ import annotations

import re
from functools import cache

_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SIZE = re.compile(r"([1-9][0-9]{0,5})([KMGT])")


@cache
def parse_size(text: str) -> int:
    """Given ``3000M``, return bytes; K, M, G and T are multiples of 1024 as in PHP. Raise ValueError otherwise."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no size such as 3000M")
    return int(match[1]) * _UNITS[match[2]]


def format_size(size_bytes: int) -> str:
    """Given bytes, return them as they would be written in the inventory, in the largest unit that divides them."""
    for unit in "TGMK":
        if size_bytes and size_bytes % _UNITS[unit] == 0:
            return f"{size_bytes // _UNITS[unit]}{unit}"
    return str(size_bytes)
