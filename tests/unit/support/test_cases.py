"""Whom ``hearth support NAME`` is about, and the sentence when it is about nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hearth.support.cases import HelperCase, ScreenCase, SupportError, find
from tests.unit.support.samples import KARL, LENE, OPA, PI, fleet

PI2 = replace(PI, name="pi2", address="pi2.home.example")


def test_a_screen_is_found_by_its_name_with_its_pi_and_helpers() -> None:
    case = find(fleet(), "opa")
    assert isinstance(case, ScreenCase)
    assert (case.seen.name, case.seen.screen, case.pi, case.helpers) == ("schmidt/opa", OPA, PI, (KARL,))
    assert case.socks


def test_a_helper_is_found_with_every_screen_that_names_it() -> None:
    case = find(fleet(), "karl")
    assert isinstance(case, HelperCase)
    assert [seen.name for seen in case.screens] == ["mueller/oma", "schmidt/opa", "schmidt/oma"]
    assert case.socks


def test_a_name_in_two_households_has_to_be_told_apart() -> None:
    with pytest.raises(SupportError, match=r'^"oma" can be mueller/oma or schmidt/oma; say which$'):
        find(fleet(), "oma")
    case = find(fleet(), "schmidt/oma")
    assert isinstance(case, ScreenCase)
    assert case.seen.screen.port == 17936


def test_a_helper_with_a_screens_name_has_to_be_told_apart() -> None:
    both = fleet(helpers=(KARL, replace(KARL, name="opa")))
    with pytest.raises(SupportError, match=r'^"opa" can be schmidt/opa or helpers/opa; say which$'):
        find(both, "opa")
    case = find(fleet(helpers=(replace(KARL, socks=("pi1",)), LENE)), "helpers/karl")
    assert isinstance(case, HelperCase)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("opo", r'there is no screen or helper "opo"; did you mean "opa"\?'),
        ("mueler/oma", r'there is no screen or helper "mueler/oma"; did you mean "mueller/oma"\?'),
        ("lene", "lene helps nobody yet; name lene under helpers of a screen"),
    ],
)
def test_a_name_that_stands_for_nobody_gets_a_sentence(name: str, sentence: str) -> None:
    with pytest.raises(SupportError, match=f"^{sentence}$"):
        find(fleet(), name)


def test_a_pi_whose_host_keys_are_not_known_gets_the_way_out() -> None:
    bare = fleet(pis=(replace(PI, tunnel_host_keys=()),))
    for name in ("opa", "karl"):
        with pytest.raises(SupportError, match="not been collected yet: converge pi1, then run `hearth collect pi1`"):
            find(bare, name)


def test_a_helper_over_two_pis_says_which() -> None:
    two = fleet(pis=(PI, PI2), second_pi="pi2")
    with pytest.raises(SupportError, match="karl helps over pi1 and pi2; say which with --pi, such as --pi pi1"):
        find(two, "karl")
    case = find(two, "karl", "pi2")
    assert isinstance(case, HelperCase)
    assert ([seen.name for seen in case.screens], case.socks) == (["schmidt/opa", "schmidt/oma"], False)
    with pytest.raises(SupportError, match=r'karl reaches nothing over "pi3", only over pi1 and pi2'):
        find(two, "karl", "pi3")
    with pytest.raises(SupportError, match=r"mueller/oma is helped over pi1, not over"):
        find(two, "mueller/oma", "pi2")


def test_a_fleet_without_a_pi_says_so() -> None:
    with pytest.raises(SupportError, match="schmidt has no support Pi"):
        find(fleet(pis=()), "opa")
