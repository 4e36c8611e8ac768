from xml.etree import ElementTree

import pytest

from demo.bench import chart, report
from demo.bench.figures import Results
from demo.bench.goals import ANSIBLE, FIRST_BOX, FLOOR, HEARTH, MITOGEN, PEERS, STOCK, UNCHANGED_BOX
from demo.bench.machine import cpu_model
from tests.unit.bench.samples import RESULTS, runs

SVG = "{http://www.w3.org/2000/svg}"


def test_a_case_shows_its_peers_in_order_with_medians_ratios_and_rounds() -> None:
    rows = report.case_table(RESULTS, UNCHANGED_BOX).splitlines()[2:]

    assert [row.split(" | ")[0].strip("| ") for row in rows] == [FLOOR, HEARTH, STOCK, MITOGEN, ANSIBLE]
    assert rows[2] == "| pyinfra | 40.00 | 25 (15.0 … 40) | 1.00 | 1.00 (1.00 … 1.00) | 0.50 | 3 | 3 |"
    assert rows[4].endswith("| 3 | 1 |")


def test_a_peer_beside_which_hearth_was_not_measured_has_no_ratio() -> None:
    rows = report.case_table(Results({FIRST_BOX: {MITOGEN: runs(8)}}), FIRST_BOX).splitlines()[2:]

    assert rows == ["| Ansible + mitogen | 8.00 | - | 1.00 | - | 0.50 | 3 | 1 |"]


def test_the_page_has_goals_figures_machine_command_and_what_failed() -> None:
    page = report.document(RESULTS, {"CPU": "Z80", "cores": "1"}, "make bench")

    assert "| an unchanged box against Ansible, wall | >= 25x | 30 (30 … 30) | met |" in page
    assert "### A box, unchanged, 20 ms one way" in page
    assert "| CPU | Z80 |" in page
    assert "Measured by `make bench`." in page
    assert "- Ansible + mitogen, a box, first run, 20 ms one way: it ended with status 4: unreachable / gone\n" in page
    assert "and more" not in page
    assert "](benchmarks.svg)" in page


def test_a_page_without_failures_has_no_place_for_them() -> None:
    assert "could not be measured" not in report.document(Results(RESULTS.cases), {}, "make bench")


def test_every_table_has_as_many_cells_in_each_row() -> None:
    page = report.document(RESULTS, {"CPU": "Z80"}, "make bench")
    tables = [block for block in page.split("\n\n") if block.startswith("|")]

    assert tables
    for table in tables:
        assert len({line.count("|") for line in table.strip().splitlines()}) == 1


def test_the_chart_is_svg_with_a_bar_for_each_ratio_and_none_for_hearth() -> None:
    groups = chart.bars(RESULTS)
    drawn = ElementTree.fromstring(chart.draw(groups))  # noqa: S314 (our own)

    assert [len(group) for _, group in groups] == [4, 1]
    words = [text.text for text in drawn.iter(f"{SVG}text")]
    assert words.count(STOCK) == 1
    assert HEARTH not in words
    assert "30x" in words
    coloured = [rectangle for rectangle in drawn.iter(f"{SVG}rect") if rectangle.get("fill") in chart.COLOURS.values()]
    assert len(coloured) == 5


def test_every_bar_and_whisker_lies_inside_the_chart() -> None:
    drawn = ElementTree.fromstring(chart.draw(chart.bars(RESULTS)))  # noqa: S314 (our own)

    for rectangle in list(drawn.iter(f"{SVG}rect"))[1:]:
        left, width = float(rectangle.get("x", "")), float(rectangle.get("width", ""))
        assert chart.LEFT <= left <= left + width <= chart.WIDTH - chart.RIGHT


def test_a_faster_peer_stands_left_of_one_and_a_slower_one_right_of_it() -> None:
    assert chart.place(0.5, 0.1, 100) < chart.place(1, 0.1, 100) < chart.place(30, 0.1, 100)


def test_a_chart_of_nothing_is_still_a_chart() -> None:
    assert ElementTree.fromstring(chart.draw([])).tag == f"{SVG}svg"  # noqa: S314 (our own)


def test_every_peer_has_a_colour() -> None:
    assert set(chart.COLOURS) == set(PEERS) - {HEARTH}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["processor\t: 0", "model name\t: AMD EPYC 7B13", "flags\t\t: fpu"], "AMD EPYC 7B13"),
        (["Hardware\t: BCM2835", "Model\t\t: Raspberry Pi 4"], "Raspberry Pi 4"),
    ],
)
def test_the_processor_is_named_as_the_kernel_names_it(lines: list[str], words: str) -> None:
    assert cpu_model(lines) == words
