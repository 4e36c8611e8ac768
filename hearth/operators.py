"""Operators' accounts: personal, in the group that may use sudo, without a password; one operation for all of them.

Making accounts and taking sudo away are two operations, because they stand on two sides of the lock-out guard: who
left keeps sudo until the others have proved that they can come in.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from shlex import quote

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from typing_extensions import override

GROUP = "hearth-operators"


@dataclass(frozen=True)
class Accounts:
    """Which of the asked-for accounts exist, and who is in the operators' group (None: there is no such group)."""

    existing: frozenset[str]
    members: frozenset[str] | None


def parse_accounts(lines: Iterable[str]) -> Accounts:
    """Given lines ``user NAME`` and ``group MEMBER,MEMBER``, return the Accounts."""
    existing: set[str] = set()
    members: frozenset[str] | None = None
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "user":
            existing.add(rest)
        elif kind == "group":
            members = frozenset(name for name in rest.split(",") if name)
    return Accounts(frozenset(existing), members)


class OperatorAccounts(FactBase[Accounts]):
    """The host's accounts among ``names``, and the members of the operators' group."""

    @override
    @staticmethod
    def default() -> Accounts:
        return Accounts(frozenset(), None)

    @override
    def command(self, names: tuple[str, ...]) -> str:
        listed = " ".join(quote(name) for name in names)
        return f"getent passwd {listed} | sed 's/:.*//; s/^/user /'; getent group {GROUP} | sed 's/.*:/group /'; true"

    @override
    def process(self, output: list[str]) -> Accounts:
        return parse_accounts(output)


@operation()
def present(names: tuple[str, ...]) -> Generator[StringCommand, None, None]:
    """Make the accounts ``names``, each in the operators' group."""
    found = host.get_fact(OperatorAccounts, names=names)
    if found.members is None:
        yield StringCommand("groupadd", "--system", GROUP)
    for name in names:
        if name not in found.existing:
            yield StringCommand("useradd", "--create-home", "--shell", "/bin/bash", QuoteString(name))
        if name not in (found.members or ()):
            yield StringCommand("usermod", "--append", "--groups", GROUP, QuoteString(name))


@operation()
def no_others(names: tuple[str, ...]) -> Generator[StringCommand, None, None]:
    """Take everybody but ``names`` out of the operators' group; accounts and files stay (data is never removed)."""
    found = host.get_fact(OperatorAccounts, names=names)
    for name in sorted((found.members or frozenset()) - set(names)):
        yield StringCommand("gpasswd", "--delete", QuoteString(name), GROUP)
