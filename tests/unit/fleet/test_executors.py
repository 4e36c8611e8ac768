"""Slices on a Dask cluster: a scheduler and two workers in processes of their own, over TLS, one of them killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hearth.fleet.events import to_data
from hearth.fleet.executors import SchedulerError, check_scheduler, pool
from hearth.fleet.records import Record
from tests.unit.fleet.command import REPOSITORY, Operator, an_operator, never_twice_at_a_time, wait_for
from tests.unit.fleet.test_gate import certificate

pytestmark = pytest.mark.slow

BOXES = [f"box-h{number}" for number in range(6)]


@dataclass
class Cluster:
    """A running cluster: the scheduler's address, and its two workers."""

    address: str
    workers: list[subprocess.Popen[bytes]]


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return an_operator(tmp_path)


@pytest.fixture
def cluster(tmp_path: Path, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    (tmp_path / "tls").mkdir()
    root, chain = certificate(tmp_path / "tls", "dask.example", 30)
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", "true")
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TLS__CA_FILE", str(root))
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT", str(chain))
        monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY", str(chain))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        "STAND_IN": str(operator.folder),
        "HEARTH_PYINFRA": str(operator.folder / "pyinfra"),
    }
    place = tmp_path / "scheduler.json"

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "cluster.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *arguments, "--scheduler-file", str(place), "--no-dashboard"],
                cwd=tmp_path,
                env=environment,
                stdout=log,
                stderr=log,
            )

    with ExitStack() as ending:

        def ended(process: subprocess.Popen[bytes]) -> None:
            process.kill()
            process.wait()

        scheduler = start("distributed.cli.dask_scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", "0")
        ending.callback(ended, scheduler)
        wait_for(place.exists, "the scheduler")
        workers = []
        for name in ("one", "two"):
            options = ("--no-nanny", "--nthreads", "1", "--name", name, "--local-directory", str(tmp_path / name))
            workers.append(start("distributed.cli.dask_worker", *options))
            ending.callback(ended, workers[-1])
        wait_for(lambda: (tmp_path / "cluster.log").read_text().count("Registered to") == 2, "two workers")
        yield Cluster(json.loads(place.read_text())["address"], workers)


def told(record: Record) -> dict[str, Any]:
    """What a record says of each host, without times and attempts."""
    left_out = {"time", "duration_s", "attempt", "wave"}
    return {
        host: {key: value for key, value in to_data(end).items() if key not in left_out}
        for host, end in record.hosts.items()
    } | {"end": record.end.states if record.end else None}


def test_two_workers_one_of_them_killed_leave_the_same_record_as_processes_here(
    operator: Operator, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cluster.address.startswith("tls://")
    operator.does("box-h2", "drift")
    operator.does("box-h4", "wait")
    process = operator.start("--yes", "--no-gate", "--waves", "1,100%", "--scheduler", cluster.address)
    wait_for(lambda: ("begin", "box-h4") in operator.log(), "a slice on a worker")
    worker_of = {
        int(Path(f"/proc/{pid}/stat").read_text().split()[3])
        for pid in (
            int(line.split()[2])
            for line in (operator.folder / "log").read_text().splitlines()
            if line.startswith("begin box-h4")
        )
    }
    killed = next(worker for worker in cluster.workers if worker.pid in worker_of)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    operator.let_go("box-h4")
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stdout + stderr
    there = told(operator.record())
    assert operator.visits()["box-h4"] == 2, "its slice went to the other worker"
    never_twice_at_a_time(operator.log(), killed=frozenset(BOXES))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other-state"))
    here = operator.converge("--waves", "1,100%")
    assert here.returncode == 0
    assert told(operator.record()) == there


def test_a_cluster_that_is_not_there_is_said_in_a_sentence_and_touches_nobody(operator: Operator) -> None:
    with pytest.raises(SchedulerError, match="cannot be reached"), pool("tcp://127.0.0.1:1", 1):
        pass


@pytest.mark.parametrize(
    "address", ["tls://runner.example:8786", "tcp://127.0.0.1:8786", "tcp://localhost:1", "tcp://[::1]:1"]
)
def test_an_encrypted_scheduler_or_one_on_this_machine_will_do(address: str) -> None:
    check_scheduler(address)


@pytest.mark.parametrize(
    "address", ["tcp://runner.example:8786", "runner:8786", "http://127.0.0.1:1", "tls://", "tls://a:b", "tls://host"]
)
def test_any_other_scheduler_is_refused(address: str) -> None:
    with pytest.raises(SchedulerError):
        check_scheduler(address)
