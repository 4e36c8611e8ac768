"""What looks like a secret: the inventory may lie in any repository, so none may stand in it, not even in a comment."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hearth.inventory.faults import Fault

AWAY = "remove it here and wherever it was shared, and replace it: an inventory holds nothing secret"

_PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY"), "a private key begins here"),
    (re.compile(r"PuTTY-User-Key-File"), "a private key begins here"),
    # crypt(5): the prefixes of yescrypt, bcrypt, SHA-256, SHA-512, MD5 and scrypt.
    (re.compile(r"\$(?:y|gy|7|2[abxy]|5|6|1)\$[./A-Za-z0-9=,$]{8,}"), "this looks like a password's hash"),
    (re.compile(r"\$argon2(?:id?|d)\$"), "this looks like a password's hash"),
    # The access keys of well-known services begin with fixed letters, so that scanners find them.
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "this looks like an access key of a cloud service"),
    (re.compile(r"\b(?:gh[opsur]_|github_pat_|glpat-|xox[abprs]-)[A-Za-z0-9_-]{16,}"), "this looks like a token"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}"), "this looks like a token"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/@:]*:[^\s/@]+@"), "this address carries a password"),
)
_ANY = re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in _PATTERNS))
# Each text that a pattern takes has one of these in it; and each name below, one of those, in small letters.
_PATTERNS_WORDS = ("PRIVATE KEY", "PuTTY", "$", "AKIA", "ASIA", "gh", "github_pat_", "glpat-", "xox", "eyJ", "://")
_NAMED_WORDS = (
    *("passw", "passphrase", "secret", "token", "credential"),
    *(f"{whose}{sign}key" for whose in ("api", "private") for sign in ("", "_", "-")),
)
# Who stands for "i" and "s" when case is ignored, and what lower() leaves of a dotted capital I.
_ALIKE = str.maketrans(
    {"\N{LATIN SMALL LETTER DOTLESS I}": "i", "\N{LATIN SMALL LETTER LONG S}": "s", "\N{COMBINING DOT ABOVE}": None}
)
# The name of a property or variable, then a value. "passphrase_file: /path" names where a secret lies, which is none.
_NAMED = re.compile(
    r"""(?ix) (?<![a-z0-9])
    ((?:[a-z0-9]+[_-])* (?:password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|credentials?)
     (?:[_-](?!file\b)[a-z0-9]+)*)
    ["']? \s* [:=] """
)
_ONE_WORD = re.compile(r"\s*\S+\s*")
_LONG = re.compile(r"[A-Za-z0-9+/_-]{32,}={0,2}")
_HEX = re.compile(r"[0-9a-f]{32,}|[0-9A-F]{32,}")
# What is long, random and public: OpenSSH public keys, checksums, the paths of addresses, and KEY records.
_PUBLIC = re.compile(
    r"(?:ssh-|ecdsa-|sk-)[\w@.-]+ +AAAA[A-Za-z0-9+/]+={0,2}|\bAAAA[A-Za-z0-9+/]{30,}={0,2}"
    r"""|\bsha256["']?: *["']?[0-9A-Fa-f]{64}\b|\bSHA256:[A-Za-z0-9+/]{43}|\bhttps?://[^\s"']*"""
    r"|^dns_key: 512 3 1[35] [A-Za-z0-9+/]{43,86}={0,2}$",
    re.MULTILINE,
)
# What hosts tell that looks like a secret and is none: the hash of a login with 256 random bits, which nobody guesses,
# and a certificate.
_COLLECTED = re.compile(
    r"^store_login: \$2[by]\$05\$[./A-Za-z0-9]{53}$|^store_certificate: MII[A-Za-z0-9+/]{200,6000}={0,2}$", re.MULTILINE
)
# Base64 of random bytes has some 5 bits a character in strings of 40; words and paths stay below 4.
_RANDOM_BITS = 4.2
_RANDOM_HEX_BITS = 3.0


def secret_faults(content: bytes, file: Path, machine_paths: bool = False) -> list[Fault]:
    """Given a file's bytes, return a fault for each line with something like a secret; the sentence never shows it.

    ``machine_paths``: the file may name long paths (local.yaml), so long random-looking words are no fault there.
    """
    text = content.decode("utf-8", "replace")
    text = _COLLECTED.sub(lambda found: " " * len(found[0]), text)
    # Most files have none of it: one look at the whole text spares the look at each line.
    if not _may_be_known(text) and (machine_paths or not (_LONG.search(text) and _LONG.search(_masked(text)))):
        return []
    return [
        Fault(file, number, column, f"{what}; {AWAY}")
        for number, line in enumerate(text.split("\n"), start=1)
        for column, what in _in_line(line, machine_paths)
    ]


def _may_be_known(text: str) -> bool:
    """Whether one of the patterns or names is in the text. Words are found much faster than what surrounds them."""
    if any(map(text.__contains__, _PATTERNS_WORDS)) and _ANY.search(text):
        return True
    lowered = text.lower() if text.isascii() else text.lower().translate(_ALIKE)
    return any(map(lowered.__contains__, _NAMED_WORDS)) and bool(_NAMED.search(text))


def _in_line(line: str, machine_paths: bool) -> Iterator[tuple[int, str]]:
    """Yield at most one find: the column (from 1) and what it looks like."""
    for pattern, what in _PATTERNS:
        match = pattern.search(line)
        if match:
            yield match.start() + 1, what
            return
    match = _NAMED.search(line)
    # A comment may speak of passwords ("# no password: the box makes it"); one word behind the colon is a value.
    if match and (not _in_comment(line, match.start()) or _ONE_WORD.fullmatch(line[match.end() :])):
        yield match.start() + 1, f'"{match[1][:40]}" names a secret'
        return
    if machine_paths:
        return
    for match in _LONG.finditer(_masked(line)):
        if looks_random(match[0]):
            yield match.start() + 1, "this long random text looks like a key or a token"
            return


def _masked(text: str) -> str:
    """The text with what is long, random and public blanked out."""
    return _PUBLIC.sub(lambda found: " " * len(found[0]), text)


def _in_comment(line: str, position: int) -> bool:
    before = line[:position]
    return before.lstrip().startswith("#") or " #" in before


def looks_random(word: str) -> bool:
    """Whether a word of 32 characters or more looks like random bytes in hexadecimal or base64."""
    if _HEX.fullmatch(word):
        return _bits_per_character(word) > _RANDOM_HEX_BITS
    mixed = any(c.isupper() for c in word) and any(c.islower() for c in word) and any(c.isdigit() for c in word)
    return mixed and _bits_per_character(word) > _RANDOM_BITS


def _bits_per_character(word: str) -> float:
    """Shannon's entropy of the word's characters, in bits."""
    counts = Counter(word)
    return -sum(n / len(word) * math.log2(n / len(word)) for n in counts.values())
