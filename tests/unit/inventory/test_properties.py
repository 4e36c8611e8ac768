"""Whatever the files hold: loading never raises, and gives a fleet or at least one fault, never both, never neither."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hearth.inventory import load
from hearth.inventory.findings import schema_faults
from hearth.inventory.marks import parse
from hearth.inventory.schema import SCHEMAS, Kind, fits
from hearth.inventory.sizes import format_size, parse_size
from tests.unit.inventory.corpus import GOOD, make_fleet

FILES = ("fleet.yaml", "households/mueller.yaml", "local.yaml")
FAST = settings(max_examples=80)

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(["1e3", "22:30", "no", "0x1f", "~", "$6$abcdefghijk", "03:00-05:00", "3000M", "ssh-ed25519 AAAA"])
)
_properties = st.sampled_from(
    [
        *("id", "slot", "domain", "relay", "owncloud", "support", "screens", "users", "name", "keys", "operators"),
        *("helpers", "relays", "pis", "releases", "defaults", "zone", "updates", "window", "port", "key", "hosts"),
        *("operator", "authority", "folder", "host_keys", "address", "public_port", "time_zone", "sha256"),
    ]
)
_structures = st.recursive(
    _scalars,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(_properties | st.text(max_size=8), below, max_size=6),
    max_leaves=25,
)


KINDS: dict[str, Kind] = {
    "fleet.yaml": "fleet",
    "households/mueller.yaml": "household",
    "households/schmidt.yaml": "household",
    "local.yaml": "local",
}
# Values beside the border between right and wrong, where two readers of a schema may part.
_near_misses = st.sampled_from(
    [
        *(
            0,
            1,
            -1,
            17,
            17.0,
            1.5,
            22,
            65535,
            65536,
            10**17,
            True,
            False,
            None,
            "",
            " ",
            "a",
            "A-b",
            "a" * 31,
            "a" * 64,
        ),
        *("mueller", "müller", "\uff21\uff22", "x.home.example", "x..y", "1G", "0G", "99999999G", "24:00-01:00"),
        *(
            "03:00-05:00",
            "\u0661G",
            "2026-11-23",
            "2026-1-3",
            "https://a.example/x",
            "https://a.example/\u00a0x",
            "::1",
        ),
        *([], ["a"], ["a", "a"], [1, True], [1, 1.0], [{}, {}], {}, {"name": "a"}, {"name": "a", "public_port": 8443}),
    ]
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield make_fleet(Path(made) / "fleet")


def _load_with(folder: Path, file: str, content: bytes) -> None:
    """Load the good fleet with one file replaced, and hold the promise of this module."""
    good = (GOOD / file).read_bytes()
    (folder / file).write_bytes(content)
    try:
        loaded = load(folder)
    finally:
        (folder / file).write_bytes(good)
    assert (loaded.fleet is None) == bool(loaded.faults)
    for fault in loaded.faults:
        told = str(fault)
        assert "\n" not in told
        told.encode("utf-8")
        assert 1 <= fault.line <= content.count(b"\n") + content.count(b"\r") + 2 or fault.file != folder / file
        assert fault.column >= 1


@FAST
@given(file=st.sampled_from(FILES), content=st.binary(max_size=300))
def test_arbitrary_bytes_never_raise(folder: Path, file: str, content: bytes) -> None:
    _load_with(folder, file, content)


@FAST
@given(file=st.sampled_from(FILES), text=st.text(alphabet="{}[]:,-#&*!|>'\"%@`~? \n\tab1.<\\u0", max_size=60))
def test_arbitrary_marks_of_yaml_never_raise(folder: Path, file: str, text: str) -> None:
    _load_with(folder, file, text.encode())


@FAST
@given(file=st.sampled_from(FILES), structure=_structures)
def test_arbitrary_structures_never_raise(folder: Path, file: str, structure: Any) -> None:
    _load_with(folder, file, yaml.safe_dump(structure, allow_unicode=True).encode("utf-8", "replace"))


@FAST
@given(data=st.data(), file=st.sampled_from(FILES), value=_structures)
def test_one_value_of_the_good_fleet_replaced_never_raises(
    folder: Path, data: st.DataObject, file: str, value: Any
) -> None:
    document = yaml.safe_load((GOOD / file).read_bytes())
    place, step = data.draw(st.sampled_from(list(_places(document))))
    place[step] = value

    _load_with(folder, file, yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace"))


@FAST
@given(data=st.data(), file=st.sampled_from(FILES), byte=st.integers(0, 255))
def test_one_byte_of_the_good_fleet_replaced_never_raises(
    folder: Path, data: st.DataObject, file: str, byte: int
) -> None:
    content = bytearray((GOOD / file).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = byte

    _load_with(folder, file, bytes(content))


@FAST
@given(data=st.data(), file=st.sampled_from(FILES))
def test_the_good_fleet_cut_off_anywhere_never_raises(folder: Path, data: st.DataObject, file: str) -> None:
    content = (GOOD / file).read_bytes()

    _load_with(folder, file, content[: data.draw(st.integers(0, len(content)))])


@given(number=st.integers(1, 999_999), unit=st.sampled_from("KMGT"))
def test_a_size_keeps_its_bytes_when_written_and_read_again(number: int, unit: str) -> None:
    size_bytes = parse_size(f"{number}{unit}")

    written = format_size(size_bytes)

    assert parse_size(written) == size_bytes


@settings(max_examples=400)
@given(data=st.data(), file=st.sampled_from(sorted(KINDS)), value=_structures | _near_misses)
def test_what_is_quickly_found_to_fit_a_schema_has_no_fault_of_it(data: st.DataObject, file: str, value: Any) -> None:
    plain = yaml.safe_load((GOOD / file).read_bytes())
    place, step = data.draw(st.sampled_from(list(_places(plain))))
    if isinstance(place, dict) and data.draw(st.booleans()):
        step = data.draw(_properties)
    place[step] = value
    document, faults = parse(yaml.safe_dump(plain, allow_unicode=True).encode("utf-8", "replace"), Path(file))
    assume(document is not None and not faults)
    assert document is not None

    quick, told = fits(document, KINDS[file]), schema_faults(document, KINDS[file], Path(file))

    assert quick == (not told), told


@pytest.mark.parametrize("kind", get_args(Kind))
def test_no_schema_takes_a_fraction(kind: Kind) -> None:
    # What "whole" in the quick validator relies on.
    assert '"number"' not in (SCHEMAS / f"{kind}.schema.json").read_text()


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a document with each of its keys or positions."""
    steps = document.items() if isinstance(document, dict) else enumerate(document)
    for step, below in list(steps):
        yield document, step
        if isinstance(below, (dict, list)):
            yield from _places(below)
