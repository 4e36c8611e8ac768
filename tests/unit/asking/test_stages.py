"""The stock ``pyinfra`` command with hearth's config.py: what it detects and runs is what it detects and runs without.

The host here is this machine, by pyinfra's own local connector, or by hearth's with the wire replaced; real hosts are
asked in tests/lab/test_asking.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CONFIG = "from hearth.asking.stages import ask_at_once\n\nask_at_once()\n"
# Notes what would leave for a host in the file ``sent``, and runs it here.
HERE = """
import subprocess, sys
from pyinfra.connectors.local import LocalConnector
from pyinfra.connectors.ssh import SSHConnector
from hearth.connector import HearthConnector

def note(what):
    with open("sent", "a") as file:
        print(what, file=file)

def ask(self, script):
    note("batch")
    return subprocess.run([sys.executable, "-ISB", "-"], input=script, capture_output=True, check=True).stdout

def alone(self, command, print_output=False, print_input=False, **arguments):
    note(command)
    return LocalConnector.run_shell_command(self, command, print_output, print_input, **arguments)

HearthConnector._connect = lambda self: None
HearthConnector._ask = ask
SSHConnector.run_shell_command = alone
"""
QUESTIONS = """
from pyinfra import host
from pyinfra.api import FactBase, operation

class There(FactBase):
    def command(self, path):
        return f"test -e {{path}} && echo there; true"
    def process(self, output):
        return True

@operation()
def put(path):
    if not host.get_fact(There, path=path):
        yield f"touch {{path}}"
    else:
        host.log(f"{{path}} waits")

for name in host.loop(("a", "b", "c", "d", "e")):
    put(name=f"Put {{name}}", path=f"{folder}/{{name}}")
"""
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


def pyinfra(folder: Path, *arguments: str, batch: str = "on", host: str = "@local") -> str:
    """What ``pyinfra @local …`` prints in a folder with hearth's config.py; who is asked to press Enter does so."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pyinfra")), host, *arguments],
        cwd=folder,
        env=os.environ | {"PYINFRA_PROGRESS": "off", "COLUMNS": "200", "HEARTH_BATCH": batch},
        input="\n",
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


@dataclass(frozen=True)
class Here:
    """This machine as a host of hearth's connector, with five files that it may have."""

    folder: Path

    def sent(self, *arguments: str, missing: str = "", batch: str = "on") -> list[str]:
        """What leaves for the host, when it lacks the files ``missing`` (a letter each)."""
        for name in "abcde":
            (self.folder / name).unlink(missing_ok=True)
            if name not in missing:
                (self.folder / name).touch()
        (self.folder / "sent").write_text("")
        self.printed(*arguments, batch=batch)
        return (self.folder / "sent").read_text().replace(f"{self.folder}/", "").splitlines()

    def printed(self, *arguments: str, batch: str = "on") -> str:
        """What is printed when the host has the files that it has."""
        printed = pyinfra(self.folder, "questions.py", *arguments, batch=batch, host="@hearth/here")
        assert "Put e" in printed or "Skipping" in printed, printed
        return printed


@pytest.fixture
def here(tmp_path: Path) -> Here:
    (tmp_path / "config.py").write_text(HERE + CONFIG)
    (tmp_path / "questions.py").write_text(QUESTIONS.format(folder=tmp_path))
    return Here(tmp_path)


@pytest.mark.parametrize("arguments", [("--dry",), ("--dry", "-y"), ("-y",), ("-y", "--no-wait"), ("-y", "--serial")])
def test_a_host_as_it_shall_be_is_asked_once(here: Here, arguments: tuple[str, ...]) -> None:
    assert here.sent(*arguments) == ["batch"]


def test_after_the_operators_enter_everything_is_asked_anew(here: Here) -> None:
    assert here.sent() == ["batch", "batch"]


def test_what_will_change_ends_what_is_asked_ahead(here: Here) -> None:
    before, rest = ["batch", "batch", "touch c"], ["batch"]
    assert here.sent("-y", missing="c") == before + rest
    assert here.sent(missing="c") == before + rest
    assert here.sent("--dry", missing="c") == ["batch"]


def test_a_host_that_lacks_all_is_sent_no_more_than_by_stock(here: Here) -> None:
    stock = here.sent("-y", missing="abcde", batch="off")
    assert len(stock) == 10
    assert here.sent("-y", missing="abcde") == ["batch", *stock]


@pytest.mark.parametrize("arguments", [("-y",), ("--dry",)])
@pytest.mark.parametrize("missing", ["", "c"])
def test_what_an_operation_tells_is_heard_once_whether_or_not_its_host_is_spared(
    here: Here, arguments: tuple[str, ...], missing: str
) -> None:
    for name in set("abcde") - set(missing):
        (here.folder / name).touch()
    told = here.printed(*arguments)
    assert [told.count(f"/{name} waits") for name in "abcde"] == [0 if name in missing else 1 for name in "abcde"]
