"""``--since``: the hosts that a change of the inventory, or of the roles, since a git revision touches."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hearth.fleet.desired import CHECKOUT, desired_states
from hearth.fleet.plan import Asked, planned
from hearth.fleet.since import SinceError, since
from hearth.inventory import load_or_raise
from tests.unit.fleet.command import an_operator
from tests.unit.fleet.test_plan import Answers

HOUSEHOLDS = 4


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


class Repository:
    """A git repository with an inventory of four households behind one relay, and perhaps roles."""

    def __init__(self, folder: Path, inventory: str = "fleet/inventory") -> None:
        self.top = folder / "repository"
        self.inventory = self.top / inventory
        self.inventory.parent.mkdir(parents=True)
        made = an_operator(folder, HOUSEHOLDS).inventory
        shutil.move(made, self.inventory)
        self.git("init", "--quiet", "--initial-branch", "main", str(self.top))
        (self.inventory / ".gitignore").write_text("/local.yaml\n/authority/\n/collected/\n")
        self.commit()

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=anna", "-c", "user.email=anna@example", "-c", "commit.gpgsign=false"]
        folder = ["-C", str(self.top)] if self.top.exists() else []
        done = subprocess.run(["git", *who, *folder, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")
        return self.git("rev-parse", "HEAD")

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        path = self.inventory / name
        text = path.read_text()
        assert change(text) != text
        path.write_text(change(text))

    def touched(self, revision: str = "HEAD", checkout: Path = CHECKOUT) -> set[str]:
        return set(since(load_or_raise(self.inventory), revision, checkout).touched)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def set_domain(number: int) -> Callable[[str], str]:
    return lambda text: re.sub(r"(?m)^domain: .*", f"domain: other{number}.home.example", text)


def test_a_change_of_one_household_touches_its_box_and_its_relay_alone(repository: Repository) -> None:
    assert repository.touched() == set()
    repository.edit("households/h2.yaml", set_domain(2))
    assert repository.touched() == {"relay1", "box-h2"}


def test_a_change_that_the_relay_does_not_render_leaves_the_relay_alone(repository: Repository) -> None:
    repository.edit("households/h1.yaml", lambda text: re.sub(r"(?m)^room: .*", "room: 7G", text) + "# by hand\n")
    assert repository.touched() <= {"box-h1"}
    repository.commit()
    repository.edit("households/h1.yaml", lambda text: text + "# and a comment\n")
    assert repository.touched() == set()


def test_neither_the_checkout_nor_the_index_nor_a_hook_has_a_part_in_it(repository: Repository) -> None:
    first = repository.commit()
    repository.edit("households/h2.yaml", set_domain(2))
    repository.git("add", "--all")
    repository.edit("households/h3.yaml", set_domain(3))
    for hook in ("post-checkout", "post-index-change"):
        path = repository.top / ".git/hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch {repository.top}/hooked\n")
        path.chmod(0o755)
    before = repository.git("status", "--porcelain"), repository.git("diff", "--cached")
    (repository.top / "hooked").unlink(missing_ok=True)
    assert repository.touched(first) == {"relay1", "box-h2", "box-h3"}
    assert not (repository.top / "hooked").exists()
    assert (repository.git("status", "--porcelain"), repository.git("diff", "--cached")) == before


def test_a_new_household_touches_its_box_and_one_that_left_its_relay(repository: Repository, answers: Answers) -> None:
    (repository.inventory / "households/h3.yaml").unlink()
    found = planned(load_or_raise(repository.inventory), Asked(since="HEAD"))
    assert answers.asked == ["relay1"]
    assert (found.removed, found.untouched, found.warning) == ({"h3": 4}, 3, None)
    repository.commit()
    repository.git("checkout", "--quiet", "HEAD~1", "--", ".")
    assert repository.touched() == {"relay1", "box-h3"}


def test_more_removals_than_a_converge_takes_are_warned_of(repository: Repository, answers: Answers) -> None:
    for name in ("h2", "h3"):
        (repository.inventory / f"households/{name}.yaml").unlink()
    fleet = load_or_raise(repository.inventory)
    assert "--max-removals is 1" in (planned(fleet, Asked(since="HEAD")).warning or "")
    assert planned(fleet, Asked(since="HEAD", max_removals="2")).warning is None
    assert "the whole fleet only" in (planned(fleet, Asked(since="HEAD", limit=("relays",))).warning or "")
    assert answers.asked


def test_untouched_hosts_are_not_visited(repository: Repository, answers: Answers) -> None:
    found = planned(load_or_raise(repository.inventory), Asked(since="HEAD"))
    assert (answers.asked, found.hosts, found.untouched) == ([], (), HOUSEHOLDS + 1)


def test_a_changed_role_touches_the_hosts_that_are_made_of_it(tmp_path: Path) -> None:
    repository = Repository(tmp_path, "inventory")
    for folder in ("deploys", "roles", "hearth"):
        shutil.copytree(CHECKOUT / folder, repository.top / folder, ignore=shutil.ignore_patterns("__pycache__"))
    repository.commit()
    assert repository.touched(checkout=repository.top) == set()
    with (repository.top / "roles/apache/__init__.py").open("a") as role:
        role.write("# more\n")
    boxes = {f"box-h{number}" for number in range(HOUSEHOLDS)}
    assert repository.touched(checkout=repository.top) == boxes
    with (repository.top / "hearth/artefacts.py").open("a") as module:
        module.write("# more\n")
    assert repository.touched(checkout=repository.top) == {*boxes, "relay1"}


def test_what_git_ignores_has_no_past_and_counts_as_unchanged(repository: Repository) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKq9kQ0aL0zH3H2oYq4rj3J4JxqvGm6Jt7k3V9n5u1aB"
    (repository.inventory / "collected").mkdir()
    (repository.inventory / "collected/relay1.yaml").write_text(f"host_keys: ['{key}']\n")
    (repository.inventory / "collected/box-new.yaml").write_text(f"host_keys: ['{key}']\n")
    (repository.inventory / "local.yaml").write_text(
        f"hosts:\n  box-new: {{address: 10.0.0.9, host_keys: ['{key}']}}\n"
    )
    new = (repository.inventory / "households/h3.yaml").read_text().replace("h3", "new").replace("slot: 4", "slot: 9")
    (repository.inventory / "households/new.yaml").write_text(new)
    assert repository.touched() == {"relay1", "box-new"}


@pytest.mark.parametrize("revision", ["nonsense", "--output=x", "HEAD:fleet", "", "HEAD~99"])
def test_a_revision_that_is_not_there_is_one_sentence(repository: Repository, revision: str) -> None:
    with pytest.raises(SinceError, match="the inventory's repository has no such revision") as refusal:
        repository.touched(revision)
    assert "\n" not in str(refusal.value)


def test_a_revision_whose_inventory_cannot_be_read_is_one_sentence(repository: Repository) -> None:
    repository.edit("households/h1.yaml", lambda text: text.replace("slot: 2", "slot: two"))
    repository.commit()
    repository.edit("households/h1.yaml", lambda text: text.replace("slot: two", "slot: 2"))
    with pytest.raises(SinceError, match=r"cannot be read: fleet/inventory/households/h1.yaml:\d+: ") as refusal:
        repository.touched()
    assert "\n" not in str(refusal.value)


def test_a_revision_from_before_the_inventory_is_one_sentence(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "--orphan", "empty")
    repository.git("rm", "--quiet", "-r", "--cached", ".")
    repository.git("commit", "--quiet", "--allow-empty", "--message", "nothing")
    repository.git("checkout", "--quiet", "--force", "main")
    with pytest.raises(SinceError, match="cannot be read"):
        repository.touched("empty")


def test_links_of_a_revision_lead_nobody_out_of_its_folder(repository: Repository, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "households").mkdir(parents=True)
    (outside / "local.yaml").write_text("mine\n")
    moved = repository.inventory.with_name("moved")
    repository.inventory.rename(moved)
    repository.inventory.symlink_to(outside)
    repository.commit()
    repository.inventory.unlink()
    moved.rename(repository.inventory)
    with pytest.raises(SinceError, match="was a link"):
        repository.touched()
    assert (outside / "local.yaml").read_text() == "mine\n"


def test_outside_a_repository_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    inventory = an_operator(tmp_path, 1).inventory
    with pytest.raises(SinceError, match="in no git repository"):
        since(load_or_raise(inventory), "HEAD")


def _edits(number: int) -> dict[str, Callable[[Path], None]]:
    """Changes of one household's file, by what they are called."""

    def edited(pattern: str, new: str) -> Callable[[Path], None]:
        return lambda path: path.write_text(re.sub(pattern, new, path.read_text(), flags=re.MULTILINE))

    return {
        "domain": edited(r"^domain: .*", f"domain: new{number}.home.example"),
        "slot": edited(r"^slot: .*", f"slot: {number + 50}"),
        "gone": lambda path: path.unlink(),
        "comment": lambda path: path.write_text(f"# {number}\n{path.read_text()}"),
    }


CHANGES = st.dictionaries(st.integers(1, HOUSEHOLDS - 1), st.sampled_from(["domain", "slot", "gone", "comment"]))


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changes=CHANGES, of_fleet=st.booleans())
def test_since_names_the_hosts_that_a_full_comparison_names(changes: dict[int, str], of_fleet: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository(Path(folder))
        before = desired_states(load_or_raise(repository.inventory))
        for number, what in changes.items():
            _edits(number)[what](repository.inventory / f"households/h{number}.yaml")
        if of_fleet:
            repository.edit("fleet.yaml", lambda text: text.replace("ssh_port: ", "ssh_port: 1", 1))
        after = desired_states(load_or_raise(repository.inventory))
        expected = {name for name in after if before.get(name) != after[name]}
        assert repository.touched() == expected
