"""What a sentence may not tell: whatever looks like a secret is blanked out before it is recorded or shown."""

from __future__ import annotations

import re

from hearth.inventory.faults import UNPRINTABLE

MASK = "***"
LONGEST, LONGEST_LINE = 300, 2000
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)", re.DOTALL)
_HASH = re.compile(r"\$(?:y|gy|7|2[abxy]|5|6|1|argon2(?:id?|d))\$[./A-Za-z0-9=,$]+")
_IN_ADDRESS = re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)")
_NAMED = re.compile(
    r"""(?ix) \b
    ((?:[a-z0-9]+[_-])* (?:password|passwd|passphrase|secret|token|api[_-]?key|credentials?) (?:[_-][a-z0-9]+)*)
    (["']? \s* [:=] \s* ["']?) (?! \s* \*\*\*) ([^\s"',;]+)"""
)
# What hosts make for themselves: five groups of four for people, seven of five for the key on paper, hexadecimal for
# programs (ownCloud's salt has 30).
_MADE = re.compile(
    r"\b[a-zA-Z0-9]{4}(?:-[a-zA-Z0-9]{4}){4}\b|\b[a-zA-Z0-9]{5}(?:-[a-zA-Z0-9]{5}){6}\b|\b[0-9a-f]{24,}\b"
)
# A key or token has upper and lower case and digits, and no separators.
_RANDOM = re.compile(
    r"\b(?=[A-Za-z0-9+_-]*[a-z])(?=[A-Za-z0-9+_-]*[A-Z])(?=[A-Za-z0-9+_-]*[0-9])[A-Za-z0-9+_-]{16,}={0,2}"
)
# A line of a key in base64, whose slashes would pass for a path's; few paths are that long without any other sign.
_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/])(?=[a-z0-9+/]*[A-Z])(?=[A-Z0-9+/]*[a-z])(?=[A-Za-z+/]*[0-9])[A-Za-z0-9+/]{40,}={0,2}"
)
# The public half of an SSH key: a reviewer has to see which one is let in, and it is no secret.
_PUBLIC_KEY = re.compile(
    r"((?:sk-)?(?:ssh|ecdsa)-[a-z0-9-]+(?:-cert-v01)?(?:@openssh\.com)? AAAA[A-Za-z0-9+/]+={0,2})(?=\s|$)"
)


def masked(text: str) -> str:
    """The text in one line without terminal codes, unprintable characters and secrets, shortened to 300 characters."""
    text = _KEY_BLOCK.sub(MASK, _ANSI.sub("", text))
    text = " ".join(_without_secrets(UNPRINTABLE.sub(" ", text)).split())
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def masked_text(text: str) -> str:
    """The text in its lines, without terminal codes, unprintable characters and secrets; SSH's public keys stay."""
    text = _KEY_BLOCK.sub(MASK, _ANSI.sub("", text)).replace("\r\n", "\n")
    # The patterns' time grows with the square of a line, and a host may send any line.
    parts = _PUBLIC_KEY.split("\n".join(_not_too_long(line) for line in text.split("\n")))
    # What split() caught by the group stands at the odd places.
    parts = [part if number % 2 else _without_secrets(part) for number, part in enumerate(parts)]
    lines = "".join(parts).split("\n")
    return "\n".join("\t".join(UNPRINTABLE.sub(" ", part) for part in line.split("\t")) for line in lines)


def _not_too_long(line: str) -> str:
    """The line up to a space, so that no half of a secret is left that looks like a word."""
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE].rpartition(' ')[0]}…"


def _without_secrets(text: str) -> str:
    text = _NAMED.sub(lambda found: f"{found[1]}{found[2]}{MASK}", text)
    for pattern in (_HASH, _IN_ADDRESS, _BASE64, _MADE, _RANDOM):
        text = pattern.sub(MASK, text)
    return text
