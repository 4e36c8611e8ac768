"""Packages wait for an apt that still runs, and only for that."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hearth import packages


def run(program: Path, text: str) -> subprocess.CompletedProcess[str]:
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    command = packages.when_unlocked(str(program)).replace("sleep 2", "sleep 0.01")
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)


def test_a_lock_that_goes_is_waited_for(tmp_path: Path) -> None:
    count = tmp_path / "count"
    held = f'echo x >> {count}; test $(wc -l < {count}) -gt 3 || {{ echo "frontend lock was locked" >&2; exit 2; }}'
    assert run(tmp_path / "dpkg", held).returncode == 0
    assert count.read_text().count("x") == 4


def test_a_lock_that_stays_is_told_in_the_end(tmp_path: Path) -> None:
    done = run(tmp_path / "dpkg", 'echo "frontend lock was locked by apt" >&2; exit 2')
    assert done.returncode == 1
    assert "locked by apt" in done.stderr


def test_another_fault_is_told_at_once(tmp_path: Path) -> None:
    count = tmp_path / "count"
    done = run(tmp_path / "dpkg", f"echo x >> {count}; echo 'no such file' >&2; exit 2")
    assert (done.returncode, done.stderr) == (1, "no such file\n")
    assert count.read_text() == "x\n"


def test_only_wholly_installed_packages_count() -> None:
    lines = ["ii apache2", "iU php8.4-fpm", "rc old", "ii curl"]
    assert packages.parse_installed(lines) == {"apache2", "curl"}
