"""The ``hearth`` program as a whole: what it loads before it does anything."""

import subprocess
import sys
from pathlib import Path

INVENTORY = Path(__file__).parents[3] / "inventory"
CONNECTING = {"distributed", "gevent", "paramiko", "pyinfra"}


def loaded_by(program: str) -> set[str]:
    """The modules that are loaded once a program has run."""
    program += "; import sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def test_no_verb_waits_for_the_libraries_that_connect_before_it_connects() -> None:
    loaded = loaded_by(
        "from hearth.cli import VERBS, app; from typer.main import get_group; "
        "verbs = [get_group(app).commands[name] for name in VERBS]"
    )

    assert {"hearth.commands.converge", "hearth.commands.restore"} <= loaded
    assert CONNECTING & loaded == set()


def test_a_verb_loads_itself_alone_and_a_good_inventory_no_writer_of_faults() -> None:
    check = f"from hearth.cli import app; app(['check', {str(INVENTORY)!r}], standalone_mode=False)"

    loaded = loaded_by(check)

    assert {name for name in loaded if name.startswith("hearth.commands.")} == {
        "hearth.commands.inventory",
        "hearth.commands.loading",
        "hearth.commands.options",
    }
    assert {"jsonschema", "hearth.inventory.findings"} & loaded == set()
