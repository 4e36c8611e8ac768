"""Plans with the real ``pyinfra`` command: what each host would become, and that no host becomes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hearth.fleet import plan
from hearth.fleet.plan import Asked, planned
from hearth.fleet.plan_model import FileChange, HostPlan
from hearth.fleet.plan_text import data, lines, markdown
from hearth.fleet.slices import Slice
from tests.unit.fleet.fleets import a_fleet

pytestmark = pytest.mark.slow

CANARIES = ("xq7t-RT5n2pW9kLmZ8vYc3", "hunter2-the-second", "0123456789abcdef0123456789abcdef", "Qm9jRk1ZTndHYkZ0")
DEPLOY = """
import os
from pathlib import Path
from pyinfra import host
from pyinfra.operations import server
from hearth import artefacts, preflight
from hearth.fleet import preview

preview.STAMPS = host.data.stamps
does = host.data.get("does", "good")
stock = host.connector.run_shell_command


def noted(command, *arguments, stock=stock, said=Path(host.data.said), mute=does == "mute", **options):
    with said.open("a") as file:
        file.write(f"{command}\\n")
    done = stock(command, *arguments, **options)
    return (False, done[1]) if mute else done


host.connector.run_shell_command = noted
root = host.data.root
if does == "explode":
    raise ValueError("this host is odd, password=hunter2-the-second")
if does == "die":
    os._exit(3)
if does == "refuse":
    preflight.refuse(name="Refuse it", sentence="it runs Debian 9, and this kind of host needs Debian 13")
if does in ("good", "mute"):
    for change, files, absent in host.data.changes:
        artefacts.put(
            name=f"Put {change}",
            change=change,
            artefacts=tuple(artefacts.File(root + path, text) for path, text in files.items()),
            absent=tuple(root + path for path in absent),
        )
    server.shell(name="Do it", commands=[f"touch {root}/done"])
    server.shell(name="Nothing to do", commands=[])
"""


class World:
    """A folder that stands for a host's files, and what a deploy shall make of them."""

    def __init__(self, folder: Path) -> None:
        self.root, self.stamps, self.deploy = folder / "root", folder / "stamps", folder / "deploy.py"
        self.said = folder / "said"
        self.root.mkdir()
        self.stamps.mkdir()
        self.deploy.write_text(DEPLOY)
        self.changes: list[tuple[str, dict[str, str], tuple[str, ...]]] = []

    def has(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        file.chmod(mode)

    def shall(self, change: str, files: dict[str, str], *absent: str) -> None:
        self.changes.append((change, files, absent))

    def plan(self, *hosts: str) -> dict[str, HostPlan]:
        """Ask hosts: ``@local``, or ``@fake/NUMBER-WORD`` that does what the word says."""
        members = []
        for name in hosts:
            does = name.rpartition("-")[2] if "-" in name else "good"
            told = {"root": str(self.root), "stamps": str(self.stamps), "changes": self.changes, "does": does}
            fake = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": {"applied %s": "applied "}}
            members.append((name, {**told, **fake, "said": str(self.said)}))
        work = Slice("example", "plan", 1, str(self.deploy), {"boxes": members, "all": members})
        return {each.host: each for each in plan.look(work)}

    def files(self, *hosts: str) -> dict[str, FileChange]:
        [host] = self.plan(*(hosts or ("@local",))).values()
        assert host.outcome == "changes", host.reason
        return {file.path.removeprefix(str(self.root)): file for step in host.steps for file in step.files}

    def snapshot(self) -> list[tuple[str, bytes, float, int]]:
        every = sorted(path for folder in (self.root, self.stamps) for path in folder.rglob("*"))
        return [
            (str(path), path.read_bytes() if path.is_file() else b"", path.stat().st_mtime, path.stat().st_mode)
            for path in every
        ]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_plan_shows_each_file_with_its_difference_and_changes_nothing(world: World) -> None:
    world.has("/etc/page.conf", "one\ntwo\nthree\n")
    world.has("/etc/old.conf", "gone soon\n")
    world.has("/etc/put-last-time.conf", "gone too\n")
    (world.stamps / "page").write_text(f"digest\n{world.root}/etc/page.conf\n{world.root}/etc/put-last-time.conf\n")
    world.shall("page", {"/etc/page.conf": "one\n2\nthree\n", "/etc/new.conf": "fresh\n"}, "/etc/old.conf")
    before = world.snapshot()
    [host] = world.plan("@local").values()
    assert world.snapshot() == before
    assert [step.name for step in host.steps] == ["Put page", "Do it"], host.reason
    files = {file.path.removeprefix(str(world.root)): file for file in host.steps[0].files}
    assert list(files) == ["/etc/old.conf", "/etc/put-last-time.conf", "/etc/page.conf", "/etc/new.conf"]
    assert [file.kind for file in files.values()] == ["removed", "removed", "changed", "added"]
    assert files["/etc/page.conf"].diff == "@@ -1,3 +1,3 @@\n one\n-two\n+2\n three"
    assert files["/etc/put-last-time.conf"].diff.endswith("-gone too")
    assert files["/etc/new.conf"].diff.endswith("+fresh")


def test_what_is_sent_to_a_host_only_reads(world: World) -> None:
    world.shall("page", {"/etc/page.conf": "x"}, "/etc/old.conf")
    [host] = world.plan("@fake/1").values()
    assert [step.name for step in host.steps] == ["Put page", "Do it"], host.reason
    said = world.said.read_text().splitlines()
    assert len(said) == 2, "the state of the change, and the present contents"
    assert not [command for command in said if "touch" in command or "apply put" in command]


def test_operations_with_a_removal_come_first(world: World) -> None:
    world.has("/etc/old.conf", "gone soon\n")
    world.shall("first", {"/etc/a.conf": "a"})
    world.shall("second", {"/etc/b.conf": "b"}, "/etc/old.conf")
    [host] = world.plan("@local").values()
    assert [step.name for step in host.steps] == ["Put second", "Put first", "Do it"]


@pytest.mark.parametrize(
    "path",
    ["/etc/hearth/secrets/admin", "/etc/ssl/private/x.pem", "/srv/config/config.php", "/x/tls.key", "/x/password.txt"],
)
def test_a_file_in_a_place_of_secrets_is_never_read(world: World, path: str) -> None:
    world.has(path, "correct horse battery staple\n")
    world.shall("page", {path: "new horse battery staple\n"})
    text = json.dumps(data(_plan_of(world)))
    assert path in text
    assert "horse" not in text


def test_a_link_does_not_lead_the_plan_to_a_secret(world: World) -> None:
    world.has("/etc/hearth/secrets/admin", "correct horse battery staple\n")
    (world.root / "innocent").symlink_to(world.root / "etc/hearth/secrets")
    world.shall("page", {"/innocent/admin": "x\n"})
    assert "horse" not in json.dumps(data(_plan_of(world)))


def test_secrets_on_either_side_are_masked_in_every_form_of_the_plan(world: World) -> None:
    block = "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\nYW5vdGhlcg\n-----END OPENSSH PRIVATE KEY-----"
    old = f"user = x\ntoken: {CANARIES[0]}\npassword = {CANARIES[1]}\nid {CANARIES[2]}\n{block.format(CANARIES[3])}\n"
    world.has("/etc/page.conf", old)
    world.shall("page", {"/etc/page.conf": old.replace("user = x", "user = y").replace("W5v", "W6v")})
    found = _plan_of(world)
    for text in (json.dumps(data(found)), markdown(found), "\n".join(line.text for line in lines(found))):
        assert "+user = y" in text
        assert not [canary for canary in (*CANARIES, "W5v", "W6v") if canary in text]


def test_a_change_of_a_secret_alone_is_told_without_it(world: World) -> None:
    world.has("/etc/page.conf", "password = old-secret-of-mine\n")
    world.shall("page", {"/etc/page.conf": "password = new-secret-of-mine\n"})
    [file] = world.files().values()
    assert (file.kind, file.diff) == ("changed", "")
    assert "masked" in (file.note or "")


def test_modes_large_files_and_bytes_that_are_no_text_are_told_in_words(world: World) -> None:
    world.has("/mode", "same\n", mode=0o600)
    world.has("/large", "x\n" * 100_000)
    world.has("/bytes", b"\xff\xfe\x00")
    world.shall("page", {"/mode": "same\n", "/large": "y\n", "/bytes": "z\n"})
    files = world.files()
    assert files["/mode"].note == "mode 600 becomes 644"
    assert not any(file.diff for file in files.values())
    assert "not shown" in (files["/large"].note or "")
    assert files["/bytes"].note == "no text"


def test_files_that_are_there_without_a_stamp_are_told_as_taken_anew(world: World) -> None:
    world.has("/etc/page.conf", "x\n")
    world.shall("page", {"/etc/page.conf": "x\n"})
    [host] = world.plan("@local").values()
    assert host.steps[0].files == ()
    assert "it is not known that anything has taken them" in (host.steps[0].note or "")


def test_hosts_that_cannot_be_planned_say_why_and_spoil_no_other(world: World) -> None:
    found = world.plan("@fake/1", "@fake/2-explode", "@fake/3-refuse", "@fake/4-die")
    assert {name: each.outcome for name, each in found.items()} == {
        "@fake/1": "changes",
        "@fake/2-explode": "failed",
        "@fake/3-refuse": "failed",
        "@fake/4-die": "failed",
    }
    assert found["@fake/2-explode"].reason == "this host is odd, password=***"
    assert "needs Debian 13" in (found["@fake/3-refuse"].reason or "")
    assert "ended before it told" in (found["@fake/4-die"].reason or "")


def test_a_host_that_nobody_reaches_is_unreported(world: World) -> None:
    found = world.plan("@ssh/127.0.0.1:1", "@fake/1")
    assert [each.outcome for each in found.values()] == ["unreported", "changes"]


def test_a_look_that_fails_on_a_host_fails_its_plan(world: World) -> None:
    world.shall("page", {"/etc/page.conf": "x"})
    found = world.plan("@fake/1-mute", "@local")
    assert [each.outcome for each in found.values()] == ["failed", "changes"]


def test_a_plan_takes_no_lock_and_leaves_nothing_in_the_state_folder(
    world: World, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(world.root))
    world.plan("@fake/1")
    assert not state.exists()
    assert not list(world.root.iterdir())


def _plan_of(world: World) -> plan.Plan:
    return plan.Plan("example", hosts=tuple(world.plan("@local").values()))


def lines_of(host: str, *told: dict[str, Any]) -> list[str]:
    return [json.dumps({"host": host, "at": 0, **each}) for each in told]


class Answers:
    """Takes the place of the slices' process: each host answers what the test says, by default that all is well."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.files: dict[str, list[dict[str, Any]]] = {}
        self.away: set[str] = set()
        monkeypatch.setattr("hearth.fleet.slices.look", self.look)

    def look(self, work: Slice) -> tuple[list[str], str]:
        self.asked += work.hosts
        return [line for host in work.hosts for line in self.answer(host)], ""

    def answer(self, host: str) -> list[str]:
        if host in self.away:
            return lines_of(host, {"what": "unreachable", "reason": "the tunnel is not up"})
        files = self.files.get(host, [])
        told = [{"what": "files", "operation": "1", "files": files, "note": None}] if files else []
        return lines_of(
            host,
            *told,
            {"what": "prepared", "operation": "1", "name": "Put it", "changes": bool(files)},
            {"what": "left", "operations": 1, "executed": False},
        )


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


def test_each_host_of_the_fleet_is_asked_once_and_told_in_the_fleets_order(answers: Answers) -> None:
    answers.away = {"box-h001"}
    answers.files = {"box-h002": [{"path": "/etc/a", "kind": "removed", "note": None, "diff": ""}]}
    told: list[str] = []
    found = planned(a_fleet(25), Asked(), lambda each: told.append(each.host))
    assert sorted(answers.asked) == sorted(told) == sorted(each.host for each in found.hosts)
    assert [each.host for each in found.hosts][:3] == ["relay1", "box-h000", "box-h001"]
    assert {each.host: each.outcome for each in found.hosts if each.outcome != "unchanged"} == {
        "box-h001": "unreported",
        "box-h002": "changes",
    }
    assert (found.exit_status, found.changes) == (4, True)


def test_a_limit_asks_those_hosts_alone(answers: Answers) -> None:
    found = planned(a_fleet(5), Asked(limit=("h003", "relays")))
    assert answers.asked == ["relay1", "box-h003"]
    assert [each.host for each in found.hosts] == ["relay1", "box-h003"]


def test_a_fleet_without_changes_is_one_line(answers: Answers) -> None:
    assert [line.text for line in lines(planned(a_fleet(5), Asked()))] == ["6 hosts: 6 as they shall be"]
    assert answers.asked
