"""Slices with the real ``pyinfra`` command: what becomes of each host is known, whatever the others do to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hearth.fleet import slices
from hearth.fleet.locks import BusyError, fleet_lock, host_locks
from hearth.fleet.records import fleet_folder
from hearth.fleet.slices import Slice, converge
from hearth.fleet.verdict import Verdict

pytestmark = pytest.mark.slow

DEPLOY = """
import os
from pyinfra import host
from pyinfra.operations import python, server

does = host.data.get("does")
if does == "explode":
    raise ValueError("this host is odd")
server.shell(name=f"Greet {host.name}", commands=["true"])
if does == "fail":
    server.shell(name="Break", commands=["break it"])
if does == "die":
    python.call(name="Die", function=lambda: os._exit(3))
if does == "leave":
    python.call(name="Leave", function=lambda: (_ for _ in ()).throw(SystemExit(0)))
server.shell(name="Nothing to do", commands=[])
server.shell(name="The last one", commands=["true"])
"""
BROKEN = {"break it": {"success": False, "stdout": "password=hunter2", "stderr": "E: it broke"}}


def a_slice(deploy: Path, *does: str, number: int = 1) -> Slice:
    data: dict[str, Any] = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": BROKEN}
    hosts = [(f"@fake/{index}-{word}", {**data, "does": word}) for index, word in enumerate(does)]
    return Slice("example", "run", number, str(deploy), {"boxes": hosts, "all": hosts})


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    path = tmp_path / "deploy.py"
    path.write_text(DEPLOY)
    return path


def outcomes(found: dict[str, Verdict]) -> dict[str, str]:
    return {host.rpartition("-")[2]: verdict.outcome for host, verdict in found.items()}


def test_each_host_gets_its_own_verdict_and_its_own_names_of_operations(deploy: Path) -> None:
    found = converge(a_slice(deploy, "good", "fail", "explode"))
    assert outcomes(found) == {"good": "converged", "fail": "failed", "explode": "failed"}
    good, fail, explode = found.values()
    assert [(ran.name, ran.changed) for ran in good.operations] == [
        ("Greet @fake/0-good", True),
        ("Nothing to do", False),
        ("The last one", True),
    ]
    assert (fail.reason or "").startswith("Break: password=***; E: it broke; see /")
    assert [ran.name for ran in fail.operations] == ["Greet @fake/1-fail", "Break"]
    assert "its deploy cannot be prepared: this host is odd" in (explode.reason or "")
    log = Path((fail.reason or "").rpartition("see ")[2])
    assert "E: it broke" in log.read_text()
    assert not list(log.parent.glob("*.slice")), "no host data stay behind"


def test_a_host_that_brings_pyinfra_down_fails_alone(deploy: Path) -> None:
    found = converge(a_slice(deploy, "good", "die", "fine"))
    assert outcomes(found) == {"good": "converged", "die": "failed", "fine": "converged"}
    assert "ended before it did" in (found["@fake/1-die"].reason or "")


def test_an_operation_that_leaves_quietly_is_no_success(deploy: Path) -> None:
    assert outcomes(converge(a_slice(deploy, "leave"))) == {"leave": "failed"}


def test_a_deploy_that_is_not_there_is_a_failure_of_each_host(tmp_path: Path) -> None:
    assert outcomes(converge(a_slice(tmp_path / "gone.py", "good"))) == {"good": "failed"}


def test_a_host_that_another_process_converges_is_left_alone(deploy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "LOCK_PATIENCE_S", 0.0)
    with host_locks(fleet_folder("example"), ["@fake/0-good"], 0):
        found = converge(a_slice(deploy, "good", "fine"))
    assert outcomes(found) == {"good": "unreported", "fine": "converged"}
    assert found["@fake/0-good"].reason == "another converge of it is at work"


def test_a_process_that_is_silent_for_too_long_is_ended(deploy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy.write_text(DEPLOY.replace("import os\n", "import os\nimport time\n") + "time.sleep(600)\n")
    monkeypatch.setattr(slices, "SILENCE_S", 6.0)
    assert outcomes(converge(a_slice(deploy, "good"))) == {"good": "failed"}


def test_ending_all_slices_leaves_their_hosts_unreported(deploy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy.write_text(
        DEPLOY + "import time, pathlib\npathlib.Path(__file__).with_name('here').touch()\ntime.sleep(600)\n"
    )
    monkeypatch.setattr(slices, "_ending", threading.Event())
    found: dict[str, Verdict] = {}
    thread = threading.Thread(target=lambda: found.update(converge(a_slice(deploy, "good", "fine"))))
    thread.start()
    while not deploy.with_name("here").exists():
        time.sleep(0.05)
    slices.end_all()
    thread.join()
    assert outcomes(found) == {"good": "unreported", "fine": "unreported"}
    assert "the operator ended the run" in (found["@fake/0-good"].reason or "")


HOLD = """
import sys, time
from pathlib import Path
from hearth.fleet.locks import fleet_lock
with fleet_lock(Path(sys.argv[1]), "anna@desk"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_fleet_has_one_run_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(slices.CHECKOUT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with (
        pytest.raises(BusyError, match=rf"anna@desk is at work on this fleet since .* \(process {process.pid}\)"),
        fleet_lock(tmp_path, "ben@desk"),
    ):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with fleet_lock(tmp_path, "ben@desk"):
        pass


def test_the_operators_side_keeps_real_threads_and_sockets() -> None:
    program = (
        "import hearth.fleet.conduct, hearth.fleet.probes, gevent.monkey as m;"
        "assert not m.is_module_patched('threading') and not m.is_module_patched('socket')"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=slices.CHECKOUT, timeout=60)
