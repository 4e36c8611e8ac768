"""One lab for a whole test run: hosts start when a test first asks for them, and all of it goes at the end.

Its name holds the process id of the run, so runs side by side do not meet, and the next run can tell which labs a
killed run has left behind.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hearth.lab import register
from hearth.lab.lab import Lab
from hearth.lab.real_release import with_real_release
from tests.lab.boxes import bare_pi, bare_relay, box, first_run, fresh_box, packaged_box, pi_snapshot, relay_snapshot
from tests.lab.clouds import bare, bare_box, bare_mueller, old_cloud
from tests.lab.homes import first_day, home, visitor

__all__ = [
    "bare",
    "bare_box",
    "bare_mueller",
    "bare_pi",
    "bare_relay",
    "box",
    "first_day",
    "first_run",
    "fresh_box",
    "home",
    "old_cloud",
    "packaged_box",
    "pi_snapshot",
    "relay_snapshot",
    "visitor",
]

EXAMPLE = Path(__file__).parents[2] / "inventory"

# The files that take two minutes and more, the longest first: with several at a time none of them is left for the end.
LONGEST_FIRST = (
    "fleet",
    "recovery",
    "crash",
    "restore",
    "fleet_gitops",
    "asking",
    "upgrade",
    "fleet_secrets",
    "guard",
    "access",
    "roads",
    "pi",
    "health",
    "firewall",
    "box",
    "backup_elsewhere",
    "backup",
    "tunnel_attacks",
    "router",
    "acme",
    "pi_attacks",
    "nextcloud",
    "store",
    "store_apart",
    "chain",
    "support",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; a file's tests stay together and in their order."""
    place = {f"test_{name}": number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def lab_name(suffix: str = "") -> str:
    """The name of a lab of this test run."""
    return f"t{os.getpid()}{suffix}"


def copy_of_the_example(folder: Path) -> Path:
    """The example fleet without anything that belongs to a machine."""
    return Path(shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("local.yaml", "authority", "collected")))


@pytest.fixture(scope="session")
def lab_inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inventory that the run's lab is up for: a copy, so that a test may write into it.

    With $HEARTH_OWNCLOUD_TARBALL its boxes get the real release. Mueller's certificate comes from the operator here:
    most tests need the box alone, and a certificate by ACME needs the relay too (test_acme.py).
    """
    folder = tmp_path_factory.mktemp("fleet")
    example = copy_of_the_example(folder / "inventory")
    household = example / "households/mueller.yaml"
    household.write_text(household.read_text().replace("issuer: acme", "issuer: operator"))
    return with_real_release(example, folder / "real", os.environ)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The run's lab; nothing runs in it before ``start``."""
    take_down_labs_of_dead_runs()
    # A run that is told to end takes its lab down as one that is interrupted at the keyboard.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    made = Lab(lab_name())
    try:
        yield made
    finally:
        made.down()
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def start(lab: Lab, lab_inventory: Path) -> Callable[..., None]:
    """Start hosts unless they run: ``start("box-mueller", "relay1")``."""

    def start_hosts(*hosts: str) -> None:
        running = {host.name for host in lab.status() if host.state == "running"}
        if missing := [host for host in hosts if host not in running]:
            lab.up(missing, lab_inventory)

    return start_hosts


def take_down_labs_of_dead_runs() -> None:
    """Clear away what test runs left that were killed before they could do it."""
    for name in register.read().labs:
        run = re.fullmatch(r"t(\d+)[a-z]?", name)
        if run and not Path("/proc", run[1]).exists():
            Lab(name).down()
