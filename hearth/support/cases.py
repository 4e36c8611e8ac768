"""Whom an instruction is for: a person whose screen is helped, or a helper, and the support Pi where they meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hearth.inventory.faults import quoted, suggestion
from hearth.inventory.hosts import Fleet
from hearth.inventory.model import Helper, Household, Screen, SupportPi

HELPERS = "helpers"
"""What stands for the household in a helper's full name: ``helpers/karl``."""


class SupportError(Exception):
    """There is nothing to instruct; the message is a sentence that says why and what to do."""


@dataclass(frozen=True)
class Seen:
    """A screen that is helped, and whose household it is in."""

    household: str
    screen: Screen

    @property
    def name(self) -> str:
        """What no other screen of the fleet is called."""
        return f"{self.household}/{self.screen.name}"


@dataclass(frozen=True)
class ScreenCase:
    """A person whose screen may be seen over ``pi``, and the helpers who may see it."""

    pi: SupportPi
    seen: Seen
    helpers: tuple[Helper, ...]

    @property
    def socks(self) -> bool:
        """Whether any of the helpers may open the pages of the Pi's routers."""
        return any(self.pi.name in helper.socks for helper in self.helpers)

    @property
    def screens(self) -> tuple[Seen, ...]:
        """The screens that the instruction is about: this one."""
        return (self.seen,)


@dataclass(frozen=True)
class HelperCase:
    """A helper, and what he or she may reach over ``pi``: screens, and with ``socks`` its routers' pages."""

    pi: SupportPi
    helper: Helper
    screens: tuple[Seen, ...]
    socks: bool


Case = ScreenCase | HelperCase


def find(fleet: Fleet, name: str, pi: str | None = None) -> Case:
    """Given a screen or helper's name, alone or as HOUSEHOLD/NAME, return the case.

    ``pi``: which one, for a helper of screens on several. Raises SupportError.
    """
    wanted = _full_name(fleet, name)
    screens = _screens(fleet)
    if wanted in screens:
        case: Case = _screen_case(fleet, *screens[wanted])
        if pi not in (None, case.pi.name):
            raise SupportError(f"{wanted} is helped over {case.pi.name}, not over {quoted(pi)}; leave --pi out")
    else:
        case = _helper_case(fleet, next(each for each in fleet.helpers if f"{HELPERS}/{each.name}" == wanted), pi)
    if not case.pi.tunnel_host_keys:
        raise SupportError(
            f"the tunnel host keys of {case.pi.name} have not been collected yet: converge {case.pi.name}, "
            f"then run `hearth collect {case.pi.name}`"
        )
    return case


def _full_name(fleet: Fleet, name: str) -> str:
    """The one HOUSEHOLD/NAME or helpers/NAME that ``name`` stands for."""
    known = [*_screens(fleet), *(f"{HELPERS}/{helper.name}" for helper in fleet.helpers)]
    meant = [each for each in dict.fromkeys(known) if name in (each, each.partition("/")[2])]
    if not meant:
        hint = suggestion(name, {each.partition("/")[2] for each in known} | set(known))
        raise SupportError(f"there is no screen or helper {quoted(name)}{hint or '; the fleet has none'}")
    if len(meant) > 1:
        raise SupportError(f"{quoted(name)} can be {' or '.join(meant)}; say which")
    return meant[0]


def _screens(fleet: Fleet) -> Mapping[str, tuple[Household, Seen]]:
    return {
        seen.name: (household, seen)
        for household in fleet.households
        for seen in (Seen(household.id, screen) for screen in household.screens)
    }


def _screen_case(fleet: Fleet, household: Household, seen: Seen) -> ScreenCase:
    pi = next((each for each in fleet.pis if each.name == household.pi), None)
    if pi is None:
        raise SupportError(f"{household.id} has no support Pi; list one under pis in fleet.yaml")
    return ScreenCase(pi, seen, tuple(each for each in fleet.helpers if each.name in seen.screen.helpers))


def _helper_case(fleet: Fleet, helper: Helper, wanted: str | None) -> HelperCase:
    helped = [(house.pi, seen) for house, seen in _screens(fleet).values() if helper.name in seen.screen.helpers]
    reached = [pi for pi in fleet.pis if pi.name in helper.socks or any(name == pi.name for name, _ in helped)]
    if not reached:
        raise SupportError(f"{helper.name} helps nobody yet; name {helper.name} under helpers of a screen")
    chosen = [pi for pi in reached if wanted in (None, pi.name)]
    names = " and ".join(pi.name for pi in reached)
    if not chosen:
        raise SupportError(f"{helper.name} reaches nothing over {quoted(wanted)}, only over {names}")
    if len(chosen) > 1:
        raise SupportError(f"{helper.name} helps over {names}; say which with --pi, such as --pi {reached[0].name}")
    pi = chosen[0]
    return HelperCase(pi, helper, tuple(seen for name, seen in helped if name == pi.name), pi.name in helper.socks)
