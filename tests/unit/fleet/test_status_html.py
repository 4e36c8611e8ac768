"""The page as text: hostile names stay text, pictures say what they show, nothing is asked of anybody."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from hearth.fleet import html_pictures
from hearth.fleet.desired import all_hosts
from hearth.fleet.html import embedded, page, sha256
from hearth.fleet.status import Answer, Finding, History, Run, Status, Visit, status
from tests.unit.fleet.fleets import a_fleet

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOSTILE = st.sampled_from(
    [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "]]>",
        '"><img src=x onerror=alert(1)>',
        "' onmouseover='alert(1)",
        "&lt;script&gt;",
        "\u2028alert(1)",
        "{{ 7 * 7 }}",
        "{% raw %}",
    ]
) | st.text(max_size=30)


class Page(HTMLParser):
    """What a browser would see: tags in their order, attributes, the embedded data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.inside: str | None = None
        self.data = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.inside = "data" if ("id", "data") in attrs else None

    def handle_endtag(self, tag: str) -> None:
        self.inside = None

    def handle_data(self, data: str) -> None:
        if self.inside == "data":
            self.data += data


def named(name: str = "plain") -> Status:
    """A status in which whatever people or hosts can name is ``name``."""
    fleet = a_fleet(1)
    answer = Answer(
        AT,
        verdict="warning",
        findings=(Finding("wanted", name, name),),
        certificate_until=AT + timedelta(days=5),
        disk=name,
        disk_free=0.5,
        cloud_version=name,
        debian_version=name,
    )
    visit = Visit(AT, name, name, name, 3.0, 1)
    told = status(fleet, all_hosts(fleet).values(), History({}, ()), AT, 30, {})
    rows = tuple(
        replace(
            row,
            host=name,
            why=name,
            household=name,
            domain=name,
            url=name,
            relay=name,
            release=name,
            last=visit,
            answer=answer,
            durations_s=(1.0, 2.0),
            drift=(1,) * 30,
        )
        for row in told.rows
    )
    run = Run(name, AT, "drift", name, name, 0, {name: 2}, 3.0, 1, 1)
    return replace(told, fleet=name, rows=rows, runs=(run, run))


PLAIN = Page(page(named()))


@given(HOSTILE)
def test_no_name_can_add_a_tag_or_an_attribute_and_each_arrives_as_it_is(name: str) -> None:
    found = Page(page(named(name)))
    assert found.tags == PLAIN.tags
    assert [key for key, _ in found.attributes] == [key for key, _ in PLAIN.attributes]
    assert {key: value for key, value in found.attributes if key.startswith("on")} == {}
    # Line ends in HTML are all \n; what JSON escapes is not touched by that.
    host = json.loads(found.data)["hosts"][0]
    assert (host.get("host", ""), host.get("why", "")) == (name, name)


@given(st.text())
def test_embedded_data_hold_no_character_that_html_knows(text: str) -> None:
    found = embedded({"name": text})
    assert not set("<>&") & set(found)
    assert json.loads(found) == {"name": text}


def test_the_page_names_no_other_place_and_forbids_every_request() -> None:
    text = page(named())
    places = re.findall(r"""(?:src|href|action|poster)\s*=\s*["']?([^"'\s>]+)|url\(([^)]*)\)|@import""", text)
    assert {place[0] for place in places} <= {"#hosts", *(f"#icon-{state}" for state in STATES)}
    assert "https://" not in text
    assert text.count("http://") == text.count("http://www.w3.org/2000/svg") == 1
    policy = next(value for key, value in PLAIN.attributes if key == "content" and value and "default-src" in value)
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


STATES = ("failed", "unreported", "warning", "waiting", "never", "good")


def test_the_policy_allows_exactly_the_script_and_the_style_that_are_there() -> None:
    text = page(named())
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(script) == len(style) == 1
    for part in (*script, *style):
        assert html.escape(sha256(part)) in text or sha256(part) in text
    assert 'style="' not in text, "the policy would refuse it"


def test_certificates_are_counted_by_the_days_they_have_left() -> None:
    assert html_pictures.spread([-3, 3, 4, 14, 15, 400], (3, 14, 30)) == [2, 2, 1, 1]
    titles = {picture.title: picture for picture in html_pictures.pictures(named())}
    assert titles["Certificate days left"].figure == "2 of 2 have 14 days or less"
    assert titles["Drift repaired"].figure == "60 repairs on 2 hosts"
    assert titles["Converge duration"].figure == "3 s at the last run"


def test_there_is_no_picture_of_what_nobody_knows() -> None:
    fleet = a_fleet(1)
    nothing = status(fleet, all_hosts(fleet).values(), History({}, ()), AT, 30)
    assert html_pictures.pictures(nothing) == []
    assert "<table" in page(nothing)


@given(st.floats(min_value=0.001, max_value=1e9))
def test_an_axis_ends_at_a_round_number_that_is_not_below_the_value(value: float) -> None:
    top = html_pictures.round_up(value)
    assert top >= value
    assert top <= max(1, value * 2.5)
    assert str(int(top)).strip("0") in ("1", "2", "5")


def test_a_bar_of_one_among_thousands_can_be_seen_and_none_has_no_bar() -> None:
    svg = html_pictures.bars([0, 1, 5000], ["a", "b", "c"], ["plain"] * 3)
    heights = [float(found) for found in re.findall(r'<rect[^>]* height="([0-9.]+)"', svg)]
    assert heights[0] == 0
    assert heights[1] >= 2
    assert heights[2] > 40
