"""The stock ``pyinfra`` command with hearth's config.py: what it detects and runs is what it detects and runs without.

The hosts here have pyinfra's own local connector, so this is about the places in pyinfra that are wrapped; what is
asked of real hosts is tests/lab/test_asking.py's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CONFIG = "from hearth.asking.stages import ask_at_once\n\nask_at_once()\n"
INCLUDED = """\
from pyinfra.operations import files

files.file(name="Make a file by an included deploy", path="{folder}/included")
"""
DEPLOY = """\
from pyinfra import host, local
from pyinfra.operations import files, server

files.file(name="Keep what is there", path="{folder}/kept")
made = files.file(name="Make a file", path="{folder}/made")
local.include("included.py")
if made.changed:
    server.shell(name="Follow what will change", commands=["echo followed"])
server.shell(name="Only where it is wanted", commands=["echo wanted"], _if=made.did_change)
for number in host.loop(range(2)):
    files.file(name=f"Make file {{number}}", path=f"{folder}/{{number}}")
"""


def pyinfra(folder: Path, *arguments: str, batch: str = "on", answer: str = "\n") -> str:
    """What ``pyinfra @local …`` prints in a folder with hearth's config.py."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pyinfra")), "@local", *arguments],
        cwd=folder,
        env=os.environ | {"PYINFRA_PROGRESS": "off", "COLUMNS": "200", "HEARTH_BATCH": batch},
        input=answer,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.py").write_text(CONFIG)
    (tmp_path / "deploy.py").write_text(DEPLOY.format(folder=tmp_path))
    (tmp_path / "included.py").write_text(INCLUDED.format(folder=tmp_path))
    (tmp_path / "kept").touch()
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [("--dry",), ("--dry", "-y"), ("-y",), (), ("-y", "--no-wait"), ("-y", "--serial"), ("--dry", "--json")],
)
def test_the_stock_command_prints_the_same_with_and_without(folder: Path, arguments: tuple[str, ...]) -> None:
    printed = {}
    for batch in ("off", "on"):
        printed[batch] = pyinfra(folder, "deploy.py", *arguments, batch=batch)
        for path in ("made", "included", "0", "1"):
            (folder / path).unlink(missing_ok=True)
    assert "Ready: deploy.py" in printed["off"]
    assert printed["on"] == printed["off"]


@pytest.mark.parametrize("command", [("exec", "--", "echo", "said"), ("server.shell", "echo said")])
def test_commands_without_a_deploy_file_are_left_alone(folder: Path, command: tuple[str, ...]) -> None:
    printed = {batch: pyinfra(folder, "-y", *command, batch=batch) for batch in ("off", "on")}
    assert "said" in printed["off"]
    assert printed["on"] == printed["off"]
