"""What the stock ``pyinfra`` command learns from ``config.py``: folders as inventories, and no silent nothing.

pyinfra 3.10 takes a file, a host or a Python module for an inventory; a folder ends in IsADirectoryError. It has no
hook for other kinds, but it runs ``config.py`` before it loads the inventory, so functions of its command line can be
wrapped there. tests/unit/inventory/test_stock.py runs the real command and tells when a new pyinfra has moved them.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import click
import pyinfra_cli.cli  # type: ignore[import-untyped]
import pyinfra_cli.inventory  # type: ignore[import-untyped]

from hearth.inventory.faults import InventoryError, shown, suggestion
from hearth.inventory.groups import SLICE, groups, sliced
from hearth.inventory.pace import quicken_pyinfra
from hearth.wrapping import wrap


def teach_pyinfra() -> None:
    """Wrap three functions of pyinfra's command line, and quicken its inventory; doing it again changes nothing."""
    wrap(pyinfra_cli.inventory, "_get_groups_from_filename", _groups_of_folder)
    wrap(pyinfra_cli.cli, "make_inventory", _some_hosts)
    wrap(pyinfra_cli.cli, "_get_inventory_pattern_matches", _known_patterns)
    quicken_pyinfra()


def _groups_of_folder(stock: Callable[..., Any], inventory: str) -> Any:
    """Take a folder for a fleet's inventory, and a slice for what it says; leave every other inventory to pyinfra."""
    if inventory.endswith(SLICE):
        # Written a moment ago by this user's own run, in a folder that only he can write to.
        return pickle.loads(Path(inventory).read_bytes())  # noqa: S301
    if not Path(inventory).is_dir():
        return stock(inventory)
    try:
        # Whatever is asked for, the whole inventory is checked: no host is touched while it has a fault.
        return sliced(groups(Path(inventory)), _patterns())
    except InventoryError as error:
        _end(str(error))


def _patterns() -> list[str]:
    """What this run of pyinfra was given as --limit, and with it as --exclude; nothing when all hosts are meant."""
    context = click.get_current_context(silent=True)
    limit, exclude = (context.params.get(name) or () for name in ("limit", "exclude")) if context else ((), ())
    return [*limit, *exclude] if limit else []


def _some_hosts(stock: Callable[..., Any], inventory: str, **options: Any) -> Any:
    """Refuse an inventory without hosts: pyinfra would do nothing and call it success."""
    made = stock(inventory, **options)
    if not len(made):
        _end(f"{shown(Path(inventory))}: this inventory names no host; is the path right?")
    return made


def _known_patterns(stock: Callable[..., Any], inventory: Any, patterns: Iterable[str], option: str) -> Any:
    """Refuse a --limit or --exclude that names nothing: pyinfra would do nothing, or too much, and call it success."""
    patterns = list(patterns)
    for pattern in patterns:
        if not stock(inventory, [pattern], option):
            known = [*(host.name for host in inventory), *inventory.groups]
            _end(f"{option} {pattern}: the inventory has no such host or group{suggestion(pattern, known)}")
    return stock(inventory, patterns, option)


def _end(message: str) -> NoReturn:
    print(message, file=sys.stderr)  # noqa: T201 (pyinfra's command line is the edge here)
    sys.exit(1)
