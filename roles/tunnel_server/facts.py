"""What the host says about its tunnel accounts, its host key, and the sessions that outlived their keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from shlex import quote

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase
from typing_extensions import override

from hearth.layout import TUNNEL_SESSIONS


@dataclass(frozen=True)
class Login:
    """An account as passwd and shadow have it."""

    home: str
    shell: str
    password: str


def parse_logins(lines: Iterable[str]) -> dict[str, Login]:
    """Given lines of passwd (``passwd NAME:…``) and of shadow (``shadow NAME:PASSWORD``), return NAME -> Login."""
    logins: dict[str, Login] = {}
    passwords: dict[str, str] = {}
    for line in lines:
        word, _, rest = line.partition(" ")
        fields = rest.split(":")
        if word == "passwd":
            logins[fields[0]] = Login(home=fields[5], shell=fields[6], password="")
        elif word == "shadow":
            passwords[fields[0]] = fields[1]
    return {name: Login(each.home, each.shell, passwords.get(name, "")) for name, each in logins.items()}


class Logins(FactBase[dict[str, Login]]):
    """The accounts among ``names``. A password's hash is never printed: only whether it is the ``*`` it should be."""

    @override
    @staticmethod
    def default() -> dict[str, Login]:
        return {}

    @override
    def command(self, names: tuple[str, ...]) -> str:
        listed = " ".join(quote(name) for name in names)
        return (
            f"getent passwd {listed} | sed 's/^/passwd /'; "
            f'getent shadow {listed} | awk -F: \'{{ print "shadow " $1 ":" ($2 == "*" ? "*" : "other") }}\'; true'
        )

    @override
    def process(self, output: list[str]) -> dict[str, Login]:
        return parse_logins(output)


class HostKey(FactBase[str | None]):
    """The public key that belongs to the private key at ``path``, None where there is none that root alone reads."""

    @override
    @staticmethod
    def default() -> None:
        return None

    @override
    def command(self, path: str) -> str:
        key = quote(path)
        return (
            f"test \"$(stat -c '%a %U' {key} 2>/dev/null)\" = '600 root' && "
            f"own=$(ssh-keygen -y -P '' -f {key} 2>/dev/null | cut -d' ' -f1,2) && "
            f'test "$own" = "$(cut -d\' \' -f1,2 {key}.pub 2>/dev/null)" && echo "$own"; true'
        )

    @override
    def process(self, output: list[str]) -> str | None:
        return output[0] if output else None


@dataclass(frozen=True)
class Stale:
    """What ``tunnel-sessions end`` would do: whom it would end, a sentence each; whether lines are unrecorded."""

    sessions: tuple[str, ...] = ()
    unrecorded: bool = False


def parse_stale(lines: Iterable[str]) -> Stale:
    """Given the output of ``tunnel-sessions status``, return Stale. Raises ValueError on lines of another form."""
    sessions: list[str] = []
    unrecorded = False
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "end":
            sessions.append(rest)
        elif word == "unrecorded":
            unrecorded = True
        else:
            raise ValueError(f"unexpected line: {line!r}")
    return Stale(tuple(sessions), unrecorded)


class StaleSessions(FactBase[Stale]):
    """The live sessions whose key or grant is gone."""

    default = Stale

    @override
    def command(self) -> str:
        return f"test ! -x {TUNNEL_SESSIONS} || {TUNNEL_SESSIONS} status"

    @override
    def process(self, output: list[str]) -> Stale:
        try:
            return parse_stale(output)
        except ValueError as fault:
            raise FactProcessError(f"the live tunnels cannot be read: {fault}") from fault
