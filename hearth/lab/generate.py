"""A fleet of any size that nobody has: an inventory's files as text, the same for the same number.

For measuring and for tests. Its keys are well formed and nobody's: there are no private halves.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from hearth.inventory.faults import shown
from hearth.lab.process import LabError

HOUSEHOLDS_A_RELAY = 5_000
FIRST_SCREEN_PORT = 20_000
ZONE = "home.example"

# fmt: off
_SURNAMES = (
    "mueller", "schmidt", "schneider", "fischer", "weber", "meyer", "wagner", "becker", "schulz", "hoffmann",
    "koch", "richter", "klein", "wolf", "neumann", "schwarz", "braun", "hofmann", "zimmermann", "krueger",
    "hartmann", "lange", "werner", "krause", "lehmann", "huber", "kaiser", "fuchs", "peters", "lang",
)
_FIRST_NAMES = (
    "Renate", "Jonas", "Paul", "Karin", "Anna", "Leon", "Mia", "Emma", "Lukas", "Petra", "Uwe", "Hanna", "Emil",
    "Lina", "Oskar", "Ida", "Max", "Nina", "Tom", "Eva",
)
# fmt: on
_TIME_ZONES = ("Europe/Berlin", "Europe/Vienna", "Europe/Zurich")
# The loader is the C one where PyYAML has it; 10,000 files would take half a minute otherwise.
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def inventory(households: int) -> Iterator[tuple[str, str]]:
    """The files of an inventory with so many ``households``: paths below its folder, and their texts.

    Raises LabError when there are more than slots.
    """
    if not 1 <= households <= 65_000:
        raise LabError(f"{households} households: give a number from 1 to 65000")
    relays = -(-households // HOUSEHOLDS_A_RELAY)
    yield "fleet.yaml", _text(_fleet(relays))
    for number in range(1, relays + 1):
        yield f"collected/relay{number}.yaml", _text(_collected(f"relay{number}", server=True))
    yield "collected/pi1.yaml", _text(_collected("pi1", server=True))
    for number in range(households):
        home = household(number)
        yield f"households/{home['id']}.yaml", _text(home)
        yield f"collected/box-{home['id']}.yaml", _text(_collected(f"box-{home['id']}", server=False))


def write(households: int, folder: Path) -> None:
    """Write the files of ``inventory`` into a folder; raise LabError when it is there and not empty, or cannot be."""
    files = inventory(households)
    first = next(files)
    try:
        if folder.exists() and any(folder.iterdir()):
            raise LabError(f"{shown(folder)}: this folder is not empty; give a new one")
        for below in ("households", "collected"):
            (folder / below).mkdir(parents=True)
        for path, text in chain([first], files):
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabError(f"{shown(folder)}: the fleet cannot be written there ({error.strerror})") from error


def household(number: int) -> dict[str, Any]:
    """The household with this ``number``, counted from 0, as its file has it."""
    name = _SURNAMES[number % len(_SURNAMES)]
    home = f"{name}-{number // len(_SURNAMES) + 1}"
    people = [_FIRST_NAMES[(number * 7 + each) % len(_FIRST_NAMES)] for each in range(1 + number % 4)]
    found: dict[str, Any] = {
        "id": home,
        "slot": number + 1,
        "domain": f"{home}.{ZONE}",
        "relay": f"relay{number // HOUSEHOLDS_A_RELAY + 1}",
        "time_zone": _TIME_ZONES[number % len(_TIME_ZONES)],
        "owncloud": {
            "upload_limit": f"{1 + number % 4}G",
            "users": [
                {"name": person.lower(), "display_name": f"{person} {name.title()}", "admin": place == 0}
                for place, person in enumerate(people)
            ],
        },
    }
    # One household in ten has somebody whose screen is helped.
    if number % 10 == 0:
        screen = {"name": "oma", "port": FIRST_SCREEN_PORT + number // 10, "key": key(f"screen {number}")}
        found["support"] = {"screens": [screen | {"helpers": ["karl"]}]}
    return found


def key(seed: str) -> str:
    """A public key line of OpenSSH for which there is no private half that anybody knows."""
    kind = b"ssh-ed25519"
    point = hashlib.sha256(seed.encode()).digest()
    blob = struct.pack(">I", len(kind)) + kind + struct.pack(">I", len(point)) + point
    return f"{kind.decode()} {base64.b64encode(blob).decode()}"


def _fleet(relays: int) -> dict[str, Any]:
    return {
        "name": "generated",
        "zone": ZONE,
        "time_zone": "Europe/Berlin",
        "operators": [{"name": "anna", "keys": [key("anna")]}],
        "helpers": [{"name": "karl", "keys": [key("karl")]}],
        "relays": [{"name": f"relay{each}", "address": f"relay{each}.{ZONE}"} for each in range(1, relays + 1)],
        "pis": [{"name": "pi1", "address": f"pi1.{ZONE}"}],
        "releases": [
            {
                "product": "owncloud",
                "version": "11.0.0",
                "url": "https://releases.example/owncloud-11.0.0.tar.bz2",
                "sha256": hashlib.sha256(b"owncloud").hexdigest(),
                "archive_top": "owncloud",
                "php": "8.4",
            }
        ],
    }


def _collected(host: str, *, server: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"host_keys": [key(f"{host} host")]}
    return found | ({"tunnel_host_keys": [key(f"{host} server")]} if server else {"tunnel_key": key(f"{host} tunnel")})


def _text(data: dict[str, Any]) -> str:
    return str(yaml.dump(data, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=10_000))
