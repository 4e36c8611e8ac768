"""The record of a run: what is in it, what the schema says of it, what is left of it after a kill."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from hearth.fleet.events import (
    EVENTS,
    Check,
    Gate,
    HostBegin,
    HostEnd,
    Result,
    RunBegin,
    RunEnd,
    from_data,
    now,
    to_data,
)
from hearth.fleet.origin import origin
from hearth.fleet.records import Record, RecordError, Writer, latest_first, new_run_id, paths, read
from tests.unit.fleet.fleets import a_fleet, always, converged, failed, go
from tests.unit.inventory.corpus import GOOD

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas/record.schema.json").read_text())
VALID = Draft202012Validator(SCHEMA)


def a_begin(**other: Any) -> RunBegin:
    given: dict[str, Any] = {
        "run": new_run_id(now()),
        "fleet": "example",
        "kind": "converge",
        "selection": "all",
        "origin": origin(GOOD),
        "waves": (("relay1",), ("box-h000", "box-h001")),
        "households": {"h000": 1, "h001": 2},
    }
    return RunBegin(now(), **{**given, **other})


def an_end(host: str, result: Any = "converged", sha256: str = "d" * 64, attempt: int = 1) -> HostEnd:
    return HostEnd(now(), host, 1, attempt, result, None if result == "converged" else "why", 1.5, sha256)


def a_host_begin(host: str, attempt: int = 1) -> HostBegin:
    return HostBegin(now(), host, 1, attempt, "d" * 64)


def properties(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, below in schema.get("properties", {}).items():
        target = SCHEMA["$defs"][below["$ref"].rpartition("/")[2]] if "$ref" in below else below
        found.append((f"{path}{name}", target))
        found += properties(target, f"{path}{name}.")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            found += properties(schema[keyword], f"{path}*.")
    return found


def test_the_schema_is_valid_and_each_property_has_a_description_and_an_example_that_fits() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    every = [found for each in SCHEMA["$defs"].values() for found in properties(each)]
    assert len(every) > 60
    for path, schema in every:
        assert schema.get("description"), path
        assert schema.get("examples"), path
        for example in schema["examples"]:
            based = {**schema, "$defs": SCHEMA["$defs"]}
            assert not list(Draft202012Validator(based).iter_errors(example)), path


def test_the_schema_and_the_events_have_the_same_words_and_properties() -> None:
    assert {each["$ref"].rpartition("/")[2] for each in SCHEMA["oneOf"]} == set(EVENTS)
    for word, kind in EVENTS.items():
        assert set(SCHEMA["$defs"][word]["properties"]) == {"event", *(each.name for each in fields(kind))}, word
    results = SCHEMA["$defs"]["host-end"]["properties"]["result"]["enum"]
    assert set(results) == set(get_args(Result))


def test_everything_that_a_run_tells_fits_the_schema_and_reads_back_the_same() -> None:
    fleet = a_fleet(12)
    _, events = go(fleet, {"box-h004": always(failed), "box-h005": always(lambda host: converged(host, "sshd | Put"))})
    gate = Gate(now(), "box-h000", 1, False, (Check("sshd", False, "no answer"),))
    for event in (a_begin(), gate, *events):
        data = json.loads(json.dumps(to_data(event)))
        assert not list(VALID.iter_errors(data)), data
        assert from_data(data) == event


def test_an_event_of_a_newer_hearth_is_passed_over_and_a_new_property_left_out() -> None:
    assert from_data({"event": "host-danced", "time": "2026-11-23T08:30:00.000Z"}) is None
    data = to_data(an_end("box-h000")) | {"mood": "fine"}
    assert isinstance(from_data(data), HostEnd)


def test_a_record_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "hearth/example/runs/1.jsonl"
    Writer(path).add(a_begin())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_line_that_a_kill_cut_off_is_told_apart_and_all_before_it_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    writer = Writer(path)
    for event in (a_begin(), a_host_begin("box-h000"), an_end("box-h000"), a_host_begin("box-h001")):
        writer.add(event)
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(last + 1, len(whole)):
        path.write_bytes(whole[:cut])
        record = read(path)
        assert record.cut
        assert (record.state("box-h000"), record.state("box-h001")) == ("converged", "waiting")
    again = Writer(path)
    again.add(a_host_begin("box-h001"))
    record = read(path)
    assert not record.cut
    assert record.in_work == {"box-h001"}
    assert record.end is None


WRITE = """
import sys
from pathlib import Path
from hearth.fleet.events import HostBegin, now
from hearth.fleet.records import Writer
from tests.unit.fleet.test_records import a_begin
writer = Writer(Path(sys.argv[1]))
writer.add(a_begin())
number = 0
while True:
    writer.add(HostBegin(now(), f"box-{number}", 1, 1, "d" * 64))
    number += 1
    print(number, flush=True)
"""


def test_whatever_was_told_before_a_kill_is_in_the_record(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path)],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    told = 0
    for line in process.stdout:
        told = int(line)
        if told >= 50:
            process.send_signal(signal.SIGKILL)
            break
    told = max([told, *(int(line) for line in process.stdout.read().split())])
    process.wait()
    process.stdout.close()
    record = read(path)
    assert len(record.in_work) in (told, told + 1)


@pytest.mark.parametrize("line", ["{}", "no JSON", "[]", '{"event": "host-end"}', '{"event": "run-begin", "time": 5}'])
def test_a_line_that_is_no_event_is_named_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "1.jsonl"
    path.write_text(json.dumps(to_data(a_begin())) + f"\n{line}\n")
    with pytest.raises(RecordError, match=r"1\.jsonl:2: this line is no event"):
        read(path)


def test_a_record_without_a_beginning_is_refused_and_one_that_was_never_begun_passed_over(tmp_path: Path) -> None:
    (tmp_path / "2.jsonl").write_text("")
    (tmp_path / "1.jsonl").write_text(json.dumps(to_data(an_end("box-h000"))) + "\n")
    with pytest.raises(RecordError, match="has no beginning"):
        list(latest_first(tmp_path))


def test_records_come_the_latest_first(tmp_path: Path) -> None:
    for name in ("20261123T083000Z-ffff", "20261124T083000Z-0000", "20261122T083000Z-aaaa"):
        Writer(tmp_path / f"{name}.jsonl").add(a_begin(run=name))
    assert [record.begin.run[:8] for record in latest_first(tmp_path)] == ["20261124", "20261123", "20261122"]
    assert paths(tmp_path / "not-there") == []


def test_a_host_that_did_not_pass_its_gate_is_failed_in_a_run_that_was_killed(tmp_path: Path) -> None:
    gate = Gate(now(), "box-h000", 1, False, (Check("sshd", False, "no answer"),))
    record = Record(tmp_path, (a_begin(), a_host_begin("box-h000"), an_end("box-h000"), gate))
    assert record.state("box-h000") == "failed"


def test_the_end_of_a_run_says_the_state_of_each_host(tmp_path: Path) -> None:
    end = RunEnd(now(), 3, "stopped", 1.0, {"box-h000": "failed", "box-h001": "waiting"})
    record = Record(tmp_path, (a_begin(), an_end("box-h000"), end))
    assert (record.state("box-h000"), record.state("box-h001")) == ("failed", "waiting")


def test_a_full_disk_is_said_in_a_sentence() -> None:
    with pytest.raises(RecordError, match="cannot write the record"):
        Writer(Path("/dev/full")).add(a_begin())
