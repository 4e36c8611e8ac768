"""``hearth support`` as its users run it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from hearth.commands import support
from hearth.inventory.hosts import PiHost
from hearth.support import sessions
from hearth.support.sessions import Session, SessionsError, Told
from tests.unit.support import samples
from tests.unit.support.samples import HOST_KEY

EXAMPLE = Path(__file__).parents[3] / "inventory"
OMA = Session("pi1", "screen", "mueller/oma", datetime(2026, 11, 23, 8, 30, tzinfo=UTC), "198.51.100.17", 17934)
UNKNOWN = Session("pi1", "viewer")


def _hearth(*arguments: str) -> Result:
    app = typer.Typer()
    app.command("check")(lambda: None)
    app.command("support")(support.support)
    return CliRunner().invoke(app, ["support", *arguments])


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example fleet, with its Pi collected, as ``inventory`` in the current directory."""
    folder = tmp_path / "inventory"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("local.yaml", "authority", "collected"))
    (folder / "collected").mkdir()
    (folder / "collected/pi1.yaml").write_text(f"host_keys: [{HOST_KEY}]\ntunnel_host_keys: [{HOST_KEY}]\n")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_screens_instruction_has_the_commands_of_both_sides(fleet: Path) -> None:
    told = _hearth("oma").stdout
    for line in (
        "x11vnc -localhost -rfbport 5900 -nopw -forever -shared",
        "ssh -N -R 17934:localhost:5900 -p 9212 screen@pi1.home.example",
        "ssh -N -L 17934:localhost:17934 -p 9212 viewer@pi1.home.example",
        "ssh -N -D 10123 -p 22999 socks@pi1.home.example",
        f"[pi1.home.example]:9212 {HOST_KEY}",
        f"[pi1.home.example]:22999 {HOST_KEY}",
        'user_pref("network.proxy.socks_remote_dns", true);',
        'user_pref("network.proxy.no_proxies_on", "");',
        "http://router.lan/",
        "ssh_tunnel_server=pi1.home.example:9212",
        "server=localhost:17934",
    ):
        assert f"    {line}\n" in told, line


def test_the_words_fit_the_platform(fleet: Path) -> None:
    assert "TightVNC" in _hearth("oma", "--platform", "windows").stdout
    assert "Screen Sharing" in _hearth("oma", "--platform", "macos").stdout
    assert "tvnviewer.exe" in _hearth("karl", "--platform", "windows").stdout
    assert "open vnc://localhost:17935" in _hearth("karl", "--platform", "macos").stdout


def test_a_script_comes_out_as_it_is_and_nothing_beside_it(fleet: Path) -> None:
    shell = _hearth("oma", "--format", "script")
    batch = _hearth("oma", "--format", "script", "--platform", "windows")
    assert shell.stdout_bytes.startswith(b"#!/bin/sh\n")
    assert shell.stdout_bytes.endswith(b"\n")
    assert batch.stdout_bytes.startswith(b"@echo off\r\n")
    assert batch.stdout_bytes.endswith(b"exit /b 1\r\n")
    assert (shell.stderr, batch.stderr) == ("", "")


def test_the_page_is_one_file_that_loads_nothing_and_holds_the_script(fleet: Path) -> None:
    told = _hearth("oma", "--format", "html").stdout
    assert told.startswith("<!DOCTYPE html>")
    assert 'name="viewport" content="width=device-width' in told
    assert "default-src 'none'" in told
    assert "src=" not in told.replace("default-src", "").replace("style-src", "")
    assert 'download="hearth-screen-oma.sh" href="data:' in told
    assert 'download="hearth-mueller-oma.remmina" href="data:' in told
    assert HOST_KEY in told


def test_a_key_that_ends_is_told(fleet: Path) -> None:
    household = fleet / "households/mueller.yaml"
    text = household.read_text()
    line = next(line for line in text.splitlines() if "key: ssh-" in line)
    ends = f'      key:\n        key:{line.partition("key:")[2]}\n        until: "2027-01-31"'
    household.write_text(text.replace(line, ends))
    assert "The key ends after 2027-01-31." in _hearth("oma").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["omi"], 'inventory: there is no screen or helper "omi"; did you mean "oma"?'),
        ([], "say whose screen, or which helper: hearth support NAME"),
        (["oma", "opa"], "say whose screen, or which helper: hearth support NAME"),
        (["oma", "--format", "json"], "--format json is for --sessions; take text, html or script"),
        (["--sessions", "--format", "html"], "--sessions is told as --format text or json"),
        (["--sessions", "p1"], 'inventory: there is no support Pi "p1"; did you mean "pi1"?'),
    ],
)
def test_bad_input_gets_one_sentence(fleet: Path, arguments: list[str], sentence: str) -> None:
    run = _hearth(*arguments)
    assert (run.exit_code, run.stdout, run.stderr) == (1, "", f"{sentence}\n")


def test_a_pi_that_is_not_collected_gets_the_way_out(fleet: Path) -> None:
    (fleet / "collected/pi1.yaml").unlink()
    run = _hearth("oma")
    assert (run.exit_code, run.stdout) == (1, "")
    assert run.stderr == (
        "inventory: the tunnel host keys of pi1 have not been collected yet: converge pi1, "
        "then run `hearth collect pi1`\n"
    )


def _answer(monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
    def ask(host: PiHost) -> Told:
        assert host.name == "pi1"
        return told

    monkeypatch.setattr(sessions, "ask", ask)


def test_sessions_are_a_table_for_people_and_plain_data_for_programs(
    fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    _answer(monkeypatch, Told("pi1", (OMA, UNKNOWN)))
    table, data = _hearth("--sessions"), _hearth("--sessions", "pi1", "--format", "json")
    told = table.stdout.splitlines()[1].split()
    assert (told[:3], told[-2:]) == (["pi1", "mueller/oma", "screen"], ["198.51.100.17", "17934"])
    assert "not known" in table.stdout
    assert json.loads(data.stdout) == [
        {
            "pi": "pi1",
            "person": "mueller/oma",
            "kind": "screen",
            "since": "2026-11-23T08:30:00+00:00",
            "from": "198.51.100.17",
            "port": 17934,
        },
        {"pi": "pi1", "person": None, "kind": "viewer", "since": None, "from": None, "port": None},
    ]
    assert (table.exit_code, data.exit_code) == (0, 0)


def test_nobody_connected_is_said(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, Told("pi1"))
    assert _hearth("--sessions").stdout == "nobody is connected\n"
    assert json.loads(_hearth("--sessions", "--format", "json").stdout) == []


def test_a_pi_that_does_not_tell_is_a_failure_with_its_reason(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, Told("pi1", failure="no road to pi1 is known"))
    run = _hearth("--sessions")
    assert (run.exit_code, run.stdout, run.stderr) == (1, "", "pi1: not asked: no road to pi1 is known\n")


def test_a_pi_without_a_road_is_told_and_not_thrown() -> None:
    (host,) = samples.fleet().pi_hosts()
    told = sessions.ask(host)
    assert told.sessions == ()
    assert told.failure is not None
    assert told.failure.startswith("no road to pi1 is known")


def test_what_the_pi_prints_becomes_sessions() -> None:
    lines = [
        '{"person": "mueller.oma", "kind": "screen", "since": "2026-11-23T08:30:00Z", "from": "198.51.100.17", '
        '"port": 17934}',
        '{"person": null, "kind": "viewer", "since": null, "from": null, "port": null}',
    ]
    assert sessions.parse("pi1", lines) == (OMA, UNKNOWN)
    assert sessions.parse("pi1", []) == ()


@pytest.mark.parametrize(
    "line", ["", "[]", "{}", "3", '{"person": "a", "kind": "b", "since": "soon", "from": 1, "port": 2}']
)
def test_an_answer_that_is_no_answer_is_refused(line: str) -> None:
    with pytest.raises(SessionsError, match="its answer cannot be used"):
        sessions.parse("pi1", [line])
