"""The status page of 5,000 households in a real browser: read, searched, sorted, on a desk and on a phone.

With $HEARTH_SCREENSHOTS its pictures are kept in that folder, for people to look at.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from demo import generated_runs
from hearth.fleet.desired import all_hosts, kind_of
from hearth.fleet.html import page
from hearth.fleet.records import Record
from hearth.fleet.status import STATES, Status, history, status
from tests.browser.chromium import DESKTOP, PHONE, NoChromium, Screen, chromium
from tests.unit.fleet.fleets import a_fleet

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUSEHOLDS, NIGHTS = 5_000, 10
DASH = "\N{EN DASH}"
HOSTILE = '"><img src=x onerror=document.title="owned"></script><script>document.title="owned"</script>'


@dataclass(frozen=True)
class Served:
    """A page in a file, and the status that it shows."""

    file: Path
    status: Status


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """The page of 5,000 households after ten nights, one of them with a hostile name."""
    fleet = a_fleet(HOUSEHOLDS)
    hosts = all_hosts(fleet)
    records = [Record(Path("x"), tuple(events)) for events in generated_runs.nights(list(hosts), NIGHTS, AT)]
    told = history(reversed(records), AT - timedelta(days=30))
    answers = generated_runs.answers({name: kind_of(host) for name, host in hosts.items()}, AT)
    whole = status(fleet, hosts.values(), told, AT, 30, answers)
    hostile = replace(whole.rows[-1], household=HOSTILE, domain=HOSTILE, why=HOSTILE, state="failed")
    whole = replace(whole, rows=(*whole.rows[:-1], hostile))
    file = tmp_path_factory.mktemp("status") / "status.html"
    began = time.monotonic()
    text = page(whole)
    print(f"\n{len(whole.rows)} hosts: {len(text) / 1e6:.1f} MB of HTML, written in {time.monotonic() - began:.2f} s")
    file.write_text(text)
    return Served(file, whole)


def opened(served: Served, screen: Screen, *, dark: bool = False) -> Iterator[webdriver.Chrome]:
    try:
        with chromium(screen, dark=dark) as browser:
            browser.get(served.file.as_uri())
            yield browser
    except NoChromium as fault:
        pytest.fail(str(fault))


@pytest.fixture(scope="module")
def desk(served: Served) -> Iterator[webdriver.Chrome]:
    """The page on a desk."""
    yield from opened(served, DESKTOP)


@pytest.fixture(scope="module")
def phone(served: Served) -> Iterator[webdriver.Chrome]:
    """The page on a phone, in the dark."""
    yield from opened(served, PHONE, dark=True)


@pytest.fixture(params=["desk", "phone"])
def either(request: pytest.FixtureRequest) -> webdriver.Chrome:
    """The page on a desk, and on a phone."""
    browser: webdriver.Chrome = request.getfixturevalue(request.param)
    browser.refresh()
    return browser


@pytest.fixture(autouse=True)
def as_opened(request: pytest.FixtureRequest) -> None:
    """Each test finds the pages as they open."""
    for name in {"desk", "phone"} & set(request.fixturenames):
        request.getfixturevalue(name).refresh()


def column(browser: webdriver.Chrome, place: int) -> list[str]:
    """The texts of a column of the rows that are there, by one question."""
    script = "return [...document.querySelectorAll('tr.host')].map((row) => row.children[arguments[0]].innerText)"
    return [str(text) for text in browser.execute_script(script, place)]


def names(browser: webdriver.Chrome) -> list[str]:
    return [text.split("\n")[0] for text in column(browser, 0)]


def shown(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.ID, "shown").text


def head(browser: webdriver.Chrome, words: str) -> tuple[int, Any]:
    """A heading's place and its button."""
    heads = browser.find_elements(By.CSS_SELECTOR, "#heads th")
    place = next(place for place, one in enumerate(heads) if one.text.split("\n")[0] == words)
    return place, heads[place].find_element(By.TAG_NAME, "button")


def keep(browser: webdriver.Chrome, name: str) -> None:
    if folder := os.environ.get("HEARTH_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(folder, f"{name}.png")))


def test_the_page_opens_with_what_needs_somebody_first(desk: webdriver.Chrome, served: Served) -> None:
    timing = desk.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    print(f"\nloaded in {timing:.0f} ms")
    keep(desk, "desktop")
    assert shown(desk) == f"{len(served.status.rows):,} hosts"
    counts = served.status.counts
    for state in STATES:
        button = desk.find_element(By.CSS_SELECTOR, f".state.{state}")
        assert button.find_element(By.CLASS_NAME, "count").text == f"{counts[state]:,}"
    states = [text.split("\n")[0] for text in column(desk, 1)]
    assert states[: counts["failed"]] == ["Failed"] * min(counts["failed"], len(states))
    assert states == sorted(states, key=("Failed", "Unreported", "Warning", "Waiting", "Never seen", "Good").index)


def test_searching_shows_those_hosts_and_no_others(desk: webdriver.Chrome) -> None:
    field = desk.find_element(By.ID, "search")
    began = time.monotonic()
    field.send_keys("h123")
    print(f"\nsearched 5,000 households by four keys in {(time.monotonic() - began) * 1000:.0f} ms")
    assert sorted(names(desk)) == ["h123", *(f"h123{digit}" for digit in range(10))]
    assert shown(desk) == "11 of 5,001 hosts"
    field.send_keys(" good")
    assert all(text.startswith("Good") for text in column(desk, 1))
    field.send_keys(" nobody")
    assert "No host is like that." in desk.find_element(By.ID, "rows").text
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.DELETE)
    assert shown(desk) == "5,001 hosts"


def test_a_click_on_a_heading_sorts_all_hosts_and_another_turns_the_order(
    desk: webdriver.Chrome, served: Served
) -> None:
    days = sorted(left for row in served.status.rows if (left := row.certificate_days(AT)) is not None)
    place, button = head(desk, "Certificate")
    began = time.monotonic()
    button.click()
    print(f"\nsorted 5,000 households in {(time.monotonic() - began) * 1000:.0f} ms")
    told = [int(text.split()[0]) for text in column(desk, place) if text != "ended"]
    assert told == [left for left in days if left >= 0][: len(told)]
    assert desk.find_elements(By.CSS_SELECTOR, "#heads th")[place].get_attribute("aria-sort") == "ascending"
    button.click()
    assert [int(text.split()[0]) for text in column(desk, place)] == days[::-1][:100]
    assert desk.find_elements(By.CSS_SELECTOR, "#heads th")[place].get_attribute("aria-sort") == "descending"
    assert len(desk.find_elements(By.CSS_SELECTOR, "#heads th[aria-sort]")) == 1


def test_what_is_not_known_stands_last_in_either_order(desk: webdriver.Chrome) -> None:
    desk.find_element(By.CSS_SELECTOR, ".state.unreported").click()
    desk.find_element(By.CSS_SELECTOR, ".state.warning").click()
    place, button = head(desk, "Disk free")
    for _ in range(2):
        button.click()
        desk.execute_script("for (const more = document.getElementById('more'); !more.hidden;) more.click()")
        known = [text != DASH for text in column(desk, place)]
        assert False in known
        assert known == sorted(known, reverse=True)


def test_states_can_be_picked_alone_and_together(desk: webdriver.Chrome, served: Served) -> None:
    counts = served.status.counts
    failed, unreported = (desk.find_element(By.CSS_SELECTOR, f".state.{state}") for state in ("failed", "unreported"))
    failed.click()
    assert failed.get_attribute("aria-pressed") == "true"
    assert shown(desk) == f"{counts['failed']} of 5,001 hosts"
    unreported.click()
    assert shown(desk) == f"{counts['failed'] + counts['unreported']} of 5,001 hosts"
    failed.click()
    assert {text.split("\n")[0] for text in column(desk, 1)} == {"Unreported"}


def test_scrolling_brings_more_hosts_until_all_are_there(desk: webdriver.Chrome) -> None:
    assert len(names(desk)) == 100
    desk.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    deadline = time.monotonic() + 20
    while len(names(desk)) < 200:
        assert time.monotonic() < deadline, "scrolling to the end brought no more hosts"
        time.sleep(0.05)


def test_everything_can_be_done_with_the_keyboard_alone(desk: webdriver.Chrome) -> None:
    desk.find_element(By.ID, "search").send_keys("h1234", Keys.TAB)
    for _ in range(30):
        focused = desk.switch_to.active_element
        if focused.get_attribute("aria-controls"):
            break
        focused.send_keys(Keys.TAB)
    assert desk.switch_to.active_element.text == "h1234"
    desk.switch_to.active_element.send_keys(Keys.ENTER)
    opened_button = desk.switch_to.active_element
    assert opened_button.get_attribute("aria-expanded") == "true"
    details = desk.find_element(By.ID, str(opened_button.get_attribute("aria-controls")))
    keep(desk, "details")
    assert "https://h1234.home.example/" in details.text
    assert "box-h1234" in details.text
    opened_button.send_keys(Keys.SPACE)
    assert opened_button.get_attribute("aria-expanded") == "false"
    assert desk.find_elements(By.CSS_SELECTOR, "tr.details") == []


def test_a_hostile_name_is_shown_and_does_nothing(desk: webdriver.Chrome) -> None:
    desk.find_element(By.ID, "search").send_keys("onerror")
    button = desk.find_element(By.CSS_SELECTOR, "tr.host button")
    assert button.text == HOSTILE
    button.click()
    assert HOSTILE in desk.find_element(By.CSS_SELECTOR, "tr.details").text
    assert desk.find_elements(By.TAG_NAME, "img") == []
    assert desk.title != "owned"


def test_the_page_asks_nobody_for_anything_and_has_nothing_to_complain_of(served: Served) -> None:
    for browser in opened(served, DESKTOP):
        browser.find_element(By.ID, "search").send_keys("h1")
        messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        asked = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
        # The browser's own first page is made of chrome: and data: parts.
        assert {url for url in asked if not url.startswith(("chrome:", "data:"))} == {served.file.as_uri()}
        assert browser.get_log("browser") == []


def roles(browser: webdriver.Chrome) -> list[str]:
    """The roles of the accessibility tree: what a screen reader is told."""
    browser.execute_cdp_cmd("Accessibility.enable", {})
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    return [node["role"]["value"] for node in nodes if not node.get("ignored") and "role" in node]


def test_a_screen_reader_is_told_of_a_table_on_a_desk_and_on_a_phone(either: webdriver.Chrome) -> None:
    found = roles(either)
    assert found.count("table") == 1
    assert found.count("row") == 101
    assert (found.count("columnheader"), found.count("cell")) == (11, 1100)
    assert "searchbox" in found


# For each text the contrast of its colour with what is behind it (WCAG 2.2, 1.4.3); the lowest with its words.
CONTRAST = """
const light = (rgb) => rgb.slice(0, 3).map((part) => part / 255)
  .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
  .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
const parts = (colour) => colour.match(/[0-9.]+/g).map(Number);
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const found = parts(getComputedStyle(element).backgroundColor);
    if (found.length === 3 || found[3] > 0) return found;
  }
  return [255, 255, 255];
};
const found = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement, words = texts.currentNode.textContent.trim();
  if (!words || element.closest("script, style, noscript") || !element.getClientRects().length) continue;
  const style = getComputedStyle(element);
  const colour = element.closest("svg") ? style.fill : style.color;
  const [a, b] = [light(parts(colour)), light(behind(element))].sort((x, y) => y - x);
  found.push([(a + 0.05) / (b + 0.05), words.slice(0, 40)]);
}
return found.sort((x, y) => x[0] - y[0])[0];
"""


def test_every_text_can_be_read_by_day_and_by_night(either: webdriver.Chrome) -> None:
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        either.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        # Colours change in a tenth of a second.
        either.refresh()
        ratio, words = either.execute_script(CONTRAST)
        assert ratio >= 4.5, f"{words!r} has a contrast of {ratio:.2f} in the {scheme}"


def test_a_phone_shows_cards_that_fit_and_can_be_searched_and_sorted(phone: webdriver.Chrome, served: Served) -> None:
    keep(phone, "phone-dark")
    width = phone.execute_script("return document.documentElement.scrollWidth")
    assert width <= PHONE.width, "the page is wider than the phone"
    Select(phone.find_element(By.ID, "sort")).select_by_visible_text("Drift")
    most = sorted((row.drift_sum for row in served.status.rows), reverse=True)[:20]
    script = "return [...document.querySelectorAll('td[data-label=Drift]')].slice(0, 20).map((cell) => cell.innerText)"
    assert [int(text) for text in phone.execute_script(script)] == most
    phone.find_element(By.ID, "search").send_keys("h4321")
    assert names(phone) == ["h4321"]
    small = phone.execute_script(
        "return [...document.querySelectorAll('button, input, select')].filter((one) => one.getClientRects().length"
        " && !one.closest('thead') && one.getBoundingClientRect().height < 24).map((one) => one.outerHTML)"
    )
    assert small == [], "WCAG 2.2, 2.5.8: what is touched is at least 24 pixels high"
