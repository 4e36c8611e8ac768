"""A plan as people, reviewers and programs read it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hearth.fleet.masking import masked_text
from hearth.fleet.plan_model import FileChange, HostPlan, Plan, Step
from hearth.fleet.plan_text import data, lines, markdown

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas/plan.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
CHANGED = FileChange("/etc/haproxy/haproxy.cfg", "changed", "mode 600 becomes 644", "@@ -1 +1 @@\n-old\n+new")
REMOVED = FileChange("/etc/old.conf", "removed", None, "@@ -1 +0,0 @@\n-gone")
ADDED = FileChange("/etc/new.conf", "added")
PLAN = Plan(
    "example",
    "18dc07f0d3b6a1a4c1b2f5d6e7a8b9c0d1e2f3a4",
    (
        HostPlan("relay1", "changes", None, (Step("router | Route each name", (CHANGED,)),)),
        *(HostPlan(f"box-{name}", "changes", None, (Step("Put it", (REMOVED, ADDED)),)) for name in "abcdefg"),
        HostPlan("box-h", "unchanged"),
        HostPlan("box-i", "unreported", "its tunnel is not up"),
        HostPlan("box-j", "failed", "it runs Debian 9"),
    ),
    untouched=5,
    removed={"mueller": 17},
    without_deploy=("pi1",),
)


def text(plan: Plan) -> str:
    return "\n".join(line.text for line in lines(plan))


def test_removals_stand_before_every_host_and_hosts_with_removals_before_the_others() -> None:
    for told in (text(PLAN), markdown(PLAN)):
        places = [
            told.index(word)
            for word in ("Removals", "mueller (slot 17) loses its route", "/etc/old.conf", "Put it", "Route each name")
        ]
        assert places == sorted(places)


def test_hosts_with_the_same_changes_are_told_once_and_unchanged_ones_in_the_sum_alone() -> None:
    for told in (text(PLAN), markdown(PLAN)):
        assert told.count("Put it") == 1
        assert "box-a, box-b, box-c, box-d, box-e and 2 more" in told
        assert "box-h" not in told
        assert (
            "11 hosts: 8 would change, 1 as they shall be, 1 cannot be planned, 1 not reached; "
            "5 others untouched since 18dc07f0d3b6"
        ) in told


def test_who_was_not_reached_or_cannot_be_planned_is_named_with_the_reason() -> None:
    assert "  box-i: its tunnel is not up" in text(PLAN)
    assert "- box-i: `its tunnel is not up`" in markdown(PLAN)
    assert "  box-j: it runs Debian 9" in text(PLAN)
    assert "- box-j: `it runs Debian 9`" in markdown(PLAN)
    assert "pi1" in text(PLAN)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [((), 0), (("changes",), 0), (("unchanged",), 0), (("unreported", "changes"), 4), (("unreported", "failed"), 2)],
)
def test_the_exit_status_tells_whether_all_could_be_asked(outcomes: tuple[Any, ...], status: int) -> None:
    assert Plan("x", hosts=tuple(HostPlan(f"{n}", each) for n, each in enumerate(outcomes))).exit_status == status


def test_the_data_fit_the_schema_and_each_property_has_words_and_an_example() -> None:
    told = json.loads(json.dumps(data(PLAN)))
    VALIDATOR.validate(told)
    assert told["removed"] == [{"household": "mueller", "slot": 17}]
    assert told["counts"] == {"changes": 8, "unchanged": 1, "failed": 1, "unreported": 1, "untouched": 5}
    assert told["hosts"][1]["steps"][0]["files"][0]["diff"] == REMOVED.diff
    for example in SCHEMA["examples"]:
        VALIDATOR.validate(example)

    def walk(node: Any) -> None:
        for name, each in node.get("properties", {}).items():
            assert each.get("description"), name
            assert each.get("examples"), name
            walk(each.get("items", each))

    for part in (SCHEMA, *SCHEMA["$defs"].values()):
        walk(part)


def test_a_comment_folds_each_group_and_keeps_diffs_in_fences() -> None:
    told = markdown(PLAN)
    assert told.count("<details>") == told.count("</details>") == 2
    assert "<summary><b>relay1</b>: 1 operation</summary>" in told
    assert "    ```diff\n    @@ -1 +1 @@\n    -old\n    +new\n    ```\n" in told


def test_what_a_host_tells_cannot_leave_its_place_in_a_comment() -> None:
    evil = "x`@everyone</details><img src=x>\n```\n# not a heading"
    file = FileChange(f"/etc/{evil}", "changed", evil, f"@@ -1 +1 @@\n-a\n+{evil}\n+````")
    told = markdown(Plan("x", hosts=(HostPlan("box-a", "changes", None, (Step(evil, (file,), evil),)),), warning=evil))
    outside = re.sub(r"(?ms)^ *(`{3,})diff$.*?^ *\1$", "", told)
    outside = re.sub(r"`[^`\n]*`", "", outside)
    assert not re.search(r"@everyone|<img|not a heading", outside)
    assert outside.count("</details>") == 1


@given(st.integers(600, 20_000), st.integers(0, 40), st.integers(0, 3000))
def test_a_comment_is_never_too_long_and_says_what_it_leaves_out(longest: int, groups: int, size: int) -> None:
    hosts = tuple(
        HostPlan(f"box-{n}", "changes", None, (Step(f"Put {n}", (replace(CHANGED, diff="+x\n" * size),)),))
        for n in range(groups)
    )
    told = markdown(Plan("example", hosts=hosts, removed={f"h{n}": n + 1 for n in range(groups)}), longest)
    assert len(told) <= longest
    assert told.count("<details>") == told.count("</details>")
    left_out = [int(number) for number in re.findall(r"the changes of (\d+) host", told)]
    assert told.count("<details>") + sum(left_out) == groups
    assert all(f"h{n} (slot" in told for n in range(groups)) or re.search(r"- and \d+ more", told) or not groups


def test_masked_text_keeps_its_lines_and_the_public_halves_of_ssh_keys() -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKq9kQ0aL0zH3H2oYq4rj3J4JxqvGm6Jt7k3V9n5u1aB"
    told = masked_text(f"\tone\x1b[31m\x07\n{key} anna\npassword: hunter2\nt = xq7tRT5n2pW9kLmZ8vYc3\n")
    assert told == f"\tone \n{key} anna\npassword: ***\nt = ***\n"


def test_lines_that_no_program_writes_are_cut_before_they_are_masked() -> None:
    told = masked_text(f"{'a-' * 60_000}\n{'word ' * 1000}\nend")
    first, second, last = told.split("\n")
    assert (first, last) == ("…", "end")
    assert second.endswith("word…")
    assert len(second) <= 2001


def test_a_comment_that_grows_too_long_leaves_out_the_texts_of_new_files_first() -> None:
    new = FileChange("/etc/new.conf", "added", None, "+new\n" * 1000)
    host = HostPlan("box-a", "changes", None, (Step("Put it", (CHANGED, new)),))
    told = markdown(Plan("example", hosts=(host,)), 2000)
    assert "+new\n" in told
    assert told.count("+new") == 1, "the line of the file that was there"
    assert "added `/etc/new.conf`" in told
    assert "some diffs of 1 host" in told


def test_a_plan_without_hosts_says_that_there_is_nothing_to_do() -> None:
    assert text(Plan("example", "a" * 40, untouched=3)) == (
        "No host has anything to do; 3 others untouched since aaaaaaaaaaaa"
    )
