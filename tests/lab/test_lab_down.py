"""`hearth lab down` removes everything, whatever happened before."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hearth.lab import cgroups
from hearth.lab.lab import Lab
from tests.lab.conftest import copy_of_the_example, lab_name
from tests.lab.footprint import Watch, alive, processes_in, processes_of, program
from tests.lab.test_lab import command

pytestmark = pytest.mark.lab


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def assert_gone(lab: Lab, watch: Watch, processes: set[int], inventory: Path, files: set[str]) -> None:
    assert watch.left_over() == set()
    assert alive(processes | processes_of(lab.name)) == set()
    assert files_below(inventory) == files


def test_down_removes_hosts_that_run_that_were_killed_and_strangers_in_their_network(tmp_path: Path) -> None:
    lab, inventory = Lab(lab_name("d")), copy_of_the_example(tmp_path / "inventory")
    files, watch = files_below(inventory), Watch(lab.name)
    try:
        lab.up(["relay1", "box-mueller", "visitor"], inventory)
        assert len(watch.more()) > 5, "the watch does not see the lab"
        stranger = subprocess.Popen(["ip", "netns", "exec", lab.netns("visitor"), "sleep", "600"])
        for pid in cgroups.pids(cgroups.group(lab.name, "box-mueller")):
            if program(pid) == "systemd-nspawn":
                os.kill(pid, signal.SIGKILL)
        processes = processes_of(lab.name)
        assert len(processes) > 10
    finally:
        lab.down()
    assert stranger.wait(timeout=5) == -signal.SIGKILL
    assert_gone(lab, watch, processes, inventory, files)


def test_down_needs_no_record_of_what_was_made(tmp_path: Path) -> None:
    lab, inventory = Lab(lab_name("n")), copy_of_the_example(tmp_path / "inventory")
    files, watch = files_below(inventory), Watch(lab.name)
    try:
        lab.up(["pi1"], inventory)
        processes = processes_of(lab.name)
        (lab.folder / "lab.json").unlink()
    finally:
        lab.down()
    assert_gone(lab, watch, processes, inventory, files)
    lab.down()


@pytest.mark.parametrize("seconds", [0.6, 0.9, 1.2, 1.6, 2.0, 2.5, 3.2])
def test_down_clears_up_after_an_up_that_was_killed(tmp_path: Path, seconds: float) -> None:
    lab, inventory = Lab(lab_name("k")), copy_of_the_example(tmp_path / "inventory")
    files, watch = files_below(inventory), Watch(lab.name)
    up = subprocess.Popen(
        command("up", "--inventory", str(inventory), "--name", lab.name),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(seconds)
        up.kill()
        up.wait()
        processes = processes_of(lab.name)
    finally:
        lab.down()
    assert_gone(lab, watch, processes, inventory, files)


def test_up_completes_what_a_killed_up_began(tmp_path: Path) -> None:
    lab, inventory = Lab(lab_name("c")), copy_of_the_example(tmp_path / "inventory")
    try:
        for seconds in (1.0, 1.5, 2.0):
            up = subprocess.Popen(
                command("up", "--inventory", str(inventory), "--name", lab.name), stdout=subprocess.DEVNULL
            )
            time.sleep(seconds)
            up.kill()
            up.wait()
        lab.up((), inventory)
        assert {host.state for host in lab.status()} == {"running"}
        lab.exec("box-mueller", ["bash", "-c", "exec 3<>/dev/tcp/relay1.home.example/22"], timeout_s=5)
    finally:
        lab.down()


def test_a_build_of_a_base_ends_with_the_command_that_wanted_it(tmp_path: Path) -> None:
    lab, inventory = Lab(lab_name("m")), copy_of_the_example(tmp_path / "inventory")
    up = subprocess.Popen(
        command("up", "visitor", "--rebuild", "--inventory", str(inventory), "--name", lab.name),
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (building := builders()):
            assert time.monotonic() < deadline and up.poll() is None
            time.sleep(0.1)
        namespaces = {Path(f"/proc/{pid}/ns/net").stat().st_ino for pid in building}
        assert namespaces and processes_in(namespaces)
        up.kill()
        up.wait()
        deadline = time.monotonic() + 10
        while alive(builders()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert alive(builders()) == set()
    finally:
        lab.down()


def builders() -> set[int]:
    """Processes that build a base below the cache folder."""
    pattern = "mmdebstrap.*/hearth-lab/.building-"
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False)
    return {int(line) for line in found.stdout.split()}
