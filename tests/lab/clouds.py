"""Clouds for the tests: the stand-in's releases as pins, what a household keeps in its cloud, and what a box is."""

from __future__ import annotations

import json
import os
import secrets
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.lab import real_release
from hearth.lab.lab import Lab
from hearth.lab.topology import RELEASES_NAME
from tests.lab.boxes import MUELLER, REPOSITORY, Converge, Operator

SUMS = {
    name: digest
    for digest, name in (
        line.split("  ") for line in (REPOSITORY / "tests/unit/release/SHA256SUMS").read_text().splitlines()
    )
}
MANIFEST = Path(__file__).with_name("manifest.py")
FILE = "/remote.php/dav/files/renate/letter.txt"
SCHMIDT = "box-schmidt"
CARD = "/remote.php/dav/addressbooks/users/renate/contacts/oma.vcf"
EVENT = "/remote.php/dav/calendars/renate/personal/birthday.ics"

HOLD = """
case "$* " in
  *"{words}"*) if [ -e /run/hold ]; then touch /run/hold/held; while [ -e /run/hold ]; do sleep 0.2; done; fi ;;
esac
exec "$real" "$@"
"""
"""For ``interpose``: a program waits for whoever watches it, in those of its calls that hold the words."""


def pin(version: str, product: str = "owncloud") -> dict[str, Any]:
    """The release of the stand-in as an operator pins it in fleet.yaml."""
    archive = f"{product}-{version}.tar.bz2"
    return {
        "product": product,
        "version": version,
        "url": f"http://{RELEASES_NAME}/{archive}",
        "sha256": SUMS[archive],
        "archive_top": product,
        "php": "8.4",
        "ignore_deprecations": (product, version) == ("owncloud", "11.0.0"),
    }


def pinned(
    operator: Operator, folder: Path, version: str, *, when: str = "now", **changes: str | list[str]
) -> Operator:
    """The operator after moving the pin: ``when`` is the household's updates.release, ``changes`` spoil the pin."""

    def move(fleet: dict[str, Any], household: dict[str, Any]) -> None:
        fleet["releases"] = [pin(version) | changes]
        household["updates"] = {"release": when}

    return operator.with_fleet(folder, move)


def status(operator: Operator) -> dict[str, Any]:
    """What the cloud says of itself at /status.php; empty when it does not say it."""
    answer = operator.curl("/status.php")
    return dict(json.loads(answer.body)) if answer.status == 200 else {}


def serves(operator: Operator, version: str) -> bool:
    """Whether the household gets this version, whole."""
    said = status(operator)
    wanted = {"installed": True, "maintenance": False, "needsDbUpgrade": False, "versionstring": version}
    return {key: said.get(key) for key in wanted} == wanted


def version_of(operator: Operator) -> str:
    """The version that the operator's inventory pins for ownCloud."""
    fleet = yaml.safe_load((operator.inventory / "fleet.yaml").read_text())
    return str(next(release["version"] for release in fleet["releases"] if release["product"] == "owncloud"))


@dataclass(frozen=True)
class Belongings:
    """What a household has in its cloud: a file, a calendar entry and a contact."""

    letter: str
    event: str
    card: str

    def are_there(self, operator: Operator) -> bool:
        """Whether the household logs in and finds all of it, unchanged."""
        found = [operator.curl(path, user="renate") for path in (FILE, EVENT, CARD)]
        return [(one.status, one.body) for one in found] == [
            (200, each) for each in (self.letter, self.event, self.card)
        ]


def move_in(operator: Operator, folder: Path) -> Belongings:
    """Put a household's belongings into its cloud."""
    event = f"BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:{secrets.token_hex(8)}\nEND:VEVENT\nEND:VCALENDAR\n"
    card = f"BEGIN:VCARD\nVERSION:3.0\nFN:Oma Müller {secrets.token_hex(8)}\nEND:VCARD\n"
    mine = Belongings(letter=secrets.token_urlsafe(200_000), event=event, card=card)
    for path, text in ((FILE, mine.letter), (EVENT, mine.event), (CARD, mine.card)):
        source = folder / "belonging"
        source.write_text(text)
        answer = operator.curl(path, "--upload-file", str(source), user="renate")
        assert answer.status in (201, 204), answer
    return mine


def manifest(operator: Operator) -> list[str]:
    """What the box is, in lines that are the same on every box of this household, however it was converged."""
    return operator.lab.exec(
        operator.host, ["python3", "-"], stdin=MANIFEST.read_text(), timeout_s=120
    ).stdout.splitlines()


def difference(found: list[str], wanted: list[str]) -> list[str]:
    """What two manifests do not share, for a message."""
    return [f"- {line}" for line in wanted if line not in set(found)] + [
        f"+ {line}" for line in found if line not in set(wanted)
    ]


def interpose(operator: Operator, program: str, text: str) -> None:
    """Put a shell script before a program of the box; it finds the program itself under ``$real``."""
    script = textwrap.dedent(text)
    operator.lab.exec(
        operator.host,
        [
            "sh",
            "-c",
            f"test -e {program}.real || cp -a {program} {program}.real; cat > {program}.new; "
            f"chmod 755 {program}.new; mv {program}.new {program}",
        ],
        stdin=f"#!/bin/sh\nreal={program}.real\n{script}\n",
    )


def remove_interposed(operator: Operator, program: str) -> None:
    """Take the script away again."""
    operator.lab.exec(operator.host, ["mv", f"{program}.real", program])


@pytest.fixture
def old_cloud(lab: Lab, lab_inventory: Path, first_run: Converge, tmp_path: Path) -> Operator:
    """The operator of a box that serves the stand-in's 11.0.0, also when the run is about a real release."""
    operator = Operator(lab, lab_inventory)
    if real_release.tarball(os.environ) is None:
        lab.start_from(MUELLER, "converged")
        return operator
    lab.start_from(MUELLER, "packages")
    operator = pinned(operator, tmp_path / "stand-in", "11.0.0", when="window")
    assert operator.converge().status == 0
    return operator


@pytest.fixture(scope="session")
def bare(lab: Lab, start: Callable[..., None]) -> str:
    """The name of a snapshot of a host on its first day."""
    start(SCHMIDT)
    assert lab.exec(SCHMIDT, ["test", "-e", "/usr/lib/hearth"], check=False).returncode == 1, "hearth has been here"
    lab.snapshot(SCHMIDT, "bare")
    return "bare"


@pytest.fixture(scope="module")
def bare_mueller(lab: Lab, start: Callable[..., None], bare: str) -> None:
    """mueller's box on its first day, whatever other test files have made of it."""
    start(MUELLER)
    lab.start_from(MUELLER, bare)


@pytest.fixture
def bare_box(lab: Lab, lab_inventory: Path, start: Callable[..., None], bare: str) -> Operator:
    """The operator of mueller's box on its first day."""
    start(MUELLER)
    lab.start_from(MUELLER, bare)
    return Operator(lab, lab_inventory)
