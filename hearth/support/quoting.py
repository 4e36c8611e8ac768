"""Putting a value into a shell script, a batch file or an .ini file so that it stays a value. Pure.

What the inventory holds is checked already; this is the second fence, for what a person reads and may have written.
"""

from __future__ import annotations

import re

from hearth.support.cases import SupportError

# What cmd.exe takes literally wherever it stands: no % ! ^ & | < > " ( ) and no white space.
# https://learn.microsoft.com/windows-server/administration/windows-commands/cmd#remarks
_BATCH_WORD = re.compile(r"[A-Za-z0-9._:@/+=\[\]-]+")


def remark(text: str) -> str:
    """``text`` for a comment or a title in any language: ASCII letters, digits and ``. _ / -``, one line, at most 200.

    No other letters: cmd.exe reads a file in the code page of its country, where half a letter may hide the next one.
    """
    return re.sub(r"[^A-Za-z0-9_./-]+", " ", text).strip()[:200]


def batch_word(text: str) -> str:
    """``text`` as a word of a batch file. Raises SupportError when cmd.exe would not take it literally."""
    if not _BATCH_WORD.fullmatch(text):
        raise SupportError(f"{remark(text)!r} cannot stand in a Windows script; rename it in the inventory")
    return text


def ini_value(text: str) -> str:
    """``text`` as a value of an .ini file: one line, without what GLib's key files take for a list or an escape."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\;]+", " ", text).strip()
