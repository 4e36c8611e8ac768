"""A converged box does what its household expects, and converging it again changes nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.boxes import DOMAIN, MUELLER, REPOSITORY, Answer, Converge, Operator
from tests.lab.clouds import version_of

pytestmark = pytest.mark.lab

FILES = "/remote.php/dav/files/renate"


@pytest.fixture(scope="module")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The largest file of the old article, 1.6 GB of noise, and its SHA-256."""
    path = tmp_path_factory.mktemp("big") / "big.bin"
    digest = hashlib.sha256()
    with Path("/dev/urandom").open("rb") as noise, path.open("wb") as file:
        for _ in range(1600):
            part = noise.read(1_000_000)
            digest.update(part)
            file.write(part)
    yield path, digest.hexdigest()
    path.unlink()


def test_the_first_converge_succeeds_for_every_operation(first_run: Converge) -> None:
    assert first_run.status == 0
    assert len(first_run.results) > 20
    assert "error" not in first_run.results.values()


def test_a_second_converge_changes_nothing(box: Operator) -> None:
    run = box.converge()
    assert run.status == 0
    assert len(run.results) > 20
    assert run.changed == []


def test_a_plan_after_a_converge_is_empty(box: Operator) -> None:
    run = subprocess.run(
        [*box.command("--limit", MUELLER, "--dry")],
        cwd=REPOSITORY,
        env=box.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line for line in run.stderr.splitlines() + run.stdout.splitlines() if line.rstrip().endswith(" -")]
    assert len(rows) > 20
    assert all(line.split()[-2:] == ["-", "-"] for line in rows), rows


def test_the_cloud_answers_under_its_name_with_the_fleets_certificate(box: Operator) -> None:
    answer = box.curl("/status.php")
    assert answer.status == 200, answer.error
    assert '"installed":true' in answer.body
    assert f'"versionstring":"{version_of(box)}"' in answer.body


def test_a_file_of_1600_megabytes_comes_back_as_it_went(box: Operator, big_file: tuple[Path, str]) -> None:
    path, digest = big_file
    assert box.curl(f"{FILES}/big.bin", "--upload-file", str(path), user="renate").status == 201
    back = path.with_suffix(".back")
    try:
        assert box.curl(f"{FILES}/big.bin", "--output", str(back), user="renate").status == 200
        with back.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == digest
    finally:
        back.unlink(missing_ok=True)


def left_behind(box: Operator) -> str:
    return box.lab.exec(
        MUELLER,
        ["find", "/srv/hearth/spool", "/srv/hearth/data", "-type", "f", "-size", "+1M", "-newer", "/tmp/before"],
    ).stdout


def test_a_file_above_the_limit_gets_413_and_leaves_nothing(box: Operator, tmp_path: Path) -> None:
    box.lab.exec(MUELLER, ["touch", "/tmp/before"])
    path = tmp_path / "above"
    with path.open("wb") as file:
        file.truncate(3000 * 1024 * 1024 + 1)
    answer = box.curl(f"{FILES}/above.bin", "--http1.1", "--upload-file", str(path), user="renate")
    assert answer.status == 413
    assert box.curl(f"{FILES}/above.bin", user="renate").status == 404
    assert left_behind(box) == ""


def test_a_file_above_the_limit_gets_413_over_http_2_too(box: Operator) -> None:
    """Asked from the box itself: curl before 8 drops an answer that comes before its upload has ended."""
    box.lab.exec(MUELLER, ["truncate", "--size", str(3000 * 1024 * 1024 + 1), "/srv/above"])
    try:
        told = ["--write-out", "%{http_version} %{http_code}", "--output", "/dev/null", "--upload-file", "/srv/above"]
        resolve = ["--resolve", f"{DOMAIN}:443:127.0.0.1"]
        asked = box.lab.exec(MUELLER, ["curl", "-sk", *resolve, *told, f"https://{DOMAIN}{FILES}/above.bin"])
    finally:
        box.lab.exec(MUELLER, ["rm", "/srv/above"])
    assert asked.stdout == "2 413"


def put_without_length(box: Operator, name: str, source: Path, *arguments: str) -> Answer:
    """Upload through a pipe: curl cannot know how much will come, and says no length."""
    pipe = source.with_suffix(".pipe")
    os.mkfifo(pipe)
    try:
        with subprocess.Popen(["sh", "-c", 'exec cat "$0" > "$1"', str(source), str(pipe)]) as feed:
            try:
                return box.curl(f"{FILES}/{name}", *arguments, "--upload-file", str(pipe), user="renate")
            finally:
                feed.kill()
    finally:
        pipe.unlink()


def test_a_file_without_a_length_arrives_whole_or_gets_413(box: Operator, tmp_path: Path) -> None:
    """macOS sends its files so; the limit is lowered, so that the test need not spool gigabytes."""
    small = box.with_fleet(
        tmp_path / "small", lambda fleet, household: household["owncloud"].update(upload_limit="64M")
    )
    assert small.converge().status == 0
    try:
        below, above, back = tmp_path / "below", tmp_path / "above", tmp_path / "back"
        below.write_bytes(bytes(range(256)) * (60 << 12))
        above.write_bytes(bytes(65 << 20))
        for version in ("--http1.1", "--http2"):
            small.lab.exec(MUELLER, ["touch", "/tmp/before"])
            assert put_without_length(small, "no", above, version).status == 413
            assert small.curl(f"{FILES}/no", user="renate").status == 404
            assert left_behind(small) == ""
            assert put_without_length(small, f"yes{version}", below, version).status == 201
            assert small.curl(f"{FILES}/yes{version}", "--output", str(back), user="renate").status == 200
            assert back.read_bytes() == below.read_bytes()
    finally:
        assert box.converge().status == 0


@pytest.mark.parametrize("what", ["caldav", "carddav"])
def test_calendar_discovery_keeps_scheme_host_and_port(box: Operator, what: str) -> None:
    answer = box.curl(f"/.well-known/{what}")
    assert (answer.status, answer.location) == (301, f"https://{DOMAIN}/remote.php/dav/")
    published = box.curl(f"/.well-known/{what}", "--header", f"Host: {DOMAIN}:20443")
    assert (published.status, published.location) == (301, f"https://{DOMAIN}:20443/remote.php/dav/")


def test_a_new_user_has_a_calendar_and_an_address_book(box: Operator) -> None:
    for path in ("calendars/jonas/personal/", "addressbooks/users/jonas/contacts/"):
        answer = box.curl(f"/remote.php/dav/{path}", "--request", "PROPFIND", "--header", "Depth: 0", user="jonas")
        assert answer.status == 207


def test_http_is_sent_to_https(box: Operator) -> None:
    done = subprocess.run(
        [
            *("curl", "--silent", "--write-out", "%{http_code} %{redirect_url}", "--output", "/dev/null"),
            f"http://{box.lab.address(MUELLER)}/some/page",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"301 https://{DOMAIN}/some/page"


def test_private_folders_and_status_pages_are_closed(box: Operator) -> None:
    for path in ("/config/config.php", "/data/", "/server-status", "/.git/config"):
        assert box.curl(path).status in (403, 404), path
    local = ["curl", "--silent", "--insecure", "--output", "/dev/null", "--write-out", "%{http_code}"]
    asked = box.lab.exec(MUELLER, [*local, "--header", f"Host: {DOMAIN}", "https://127.0.0.1/server-status"])
    assert asked.stdout in ("403", "404")


def test_security_headers_come_once_and_https_is_demanded_on_every_answer(box: Operator) -> None:
    for path in ("/status.php", "/does/not/exist", "/config/config.php"):
        assert "strict-transport-security: max-age=63072000" in box.curl(path, "--head").body.lower(), path
    headers = box.curl("/status.php", "--head").body.lower()
    for name in ("x-content-type-options", "x-frame-options", "referrer-policy", "x-robots-tag"):
        assert headers.count(f"{name}:") == 1, headers


def test_only_ssh_the_web_and_the_page_of_the_households_key_listen_on_the_network(box: Operator) -> None:
    listening = box.lab.exec(MUELLER, ["ss", "-Hltn"]).stdout.split("\n")
    ports = {line.split()[3].rsplit(":", 1)[1] for line in listening if line and "127.0.0." not in line}
    assert ports == {"2222", "80", "443", "7443"}


def test_debian_updates_itself_in_the_window_from_debian_alone(box: Operator) -> None:
    timer = box.lab.exec(MUELLER, ["systemctl", "show", "--property=NextElapseUSecRealtime", "apt-daily-upgrade.timer"])
    hour = int(timer.stdout.split()[2].split(":")[0])
    assert hour == 3
    assert box.lab.exec(MUELLER, ["date", "+%Z"]).stdout.strip() in ("CET", "CEST")
    told = box.lab.exec(MUELLER, ["unattended-upgrade", "--dry-run", "--debug"], timeout_s=300)
    allowed = next(line for line in told.stdout.splitlines() if line.startswith("Allowed origins are"))
    assert "label=Debian-Security" in allowed
    assert "Enabled logging" in told.stdout or "pkgs that look like they should be upgraded" in told.stdout


def test_a_name_that_is_no_household_matches_no_host(box: Operator) -> None:
    run = box.converge(limit="box-muller")
    assert run.status != 0
    assert run.results == {}
