"""Debian's packages, all that a host's roles need in one operation."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from typing_extensions import override

# Nobody is there to answer debconf, and a package's new default never replaces a file that somebody changed.
_APT = (
    "DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef "
    "-o Dpkg::Options::=--force-confold --quiet --yes --no-install-recommends"
)


LOCK_TRIES, LOCK_WAIT_S = 150, 2


def when_unlocked(command: str) -> str:
    """The shell command that runs ``command`` as soon as no other apt or dpkg holds its lock.

    DPkg::Lock::Timeout is heeded neither by dpkg itself nor for apt's package lists, and an apt whose operator was
    killed goes on for minutes. Fails with the command's own words when they are not about a lock.
    """
    return (
        f"tries=0; until said=$(LC_ALL=C {command} 2>&1); do tries=$((tries+1)); "
        f'case "$said" in *lock*) test $tries -lt {LOCK_TRIES} && sleep {LOCK_WAIT_S} && continue;; esac; '
        'printf "%s\\n" "$said" >&2; exit 1; done'
    )


def parse_installed(lines: Iterable[str]) -> frozenset[str]:
    """Given lines ``STATUS NAME`` as dpkg-query prints them, return the names that are wholly installed."""
    return frozenset(name for status, _, name in (line.partition(" ") for line in lines) if status == "ii")


class InstalledPackages(FactBase[frozenset[str]]):
    """Which of ``names`` are installed, and whether dpkg was interrupted (then none counts)."""

    @override
    @staticmethod
    def default() -> frozenset[str]:
        return frozenset()

    @override
    def command(self, names: tuple[str, ...]) -> str:
        listed = " ".join(quote(name) for name in names)
        return f"dpkg-query --show --showformat '${{db:Status-Abbrev}}${{Package}}\\n' {listed} 2>/dev/null; true"

    @override
    def process(self, output: list[str]) -> frozenset[str]:
        return parse_installed(output)


@operation()
def installed(names: tuple[str, ...]) -> Generator[StringCommand, None, None]:
    """Install those of ``names`` that are missing, after finishing whatever an earlier run left half installed."""
    wanted = tuple(sorted(set(names)))
    found = host.get_fact(InstalledPackages, names=wanted)
    missing = [name for name in wanted if name not in found]
    if missing:
        yield StringCommand(when_unlocked("dpkg --configure -a --force-confdef --force-confold"))
        yield StringCommand(when_unlocked(f"{_APT} update"))
        yield StringCommand(f"{_APT} --fix-broken install", *(quote(name) for name in missing))
