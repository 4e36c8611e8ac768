"""Fleets for the tests: the good fleet of the corpus, with as many households as a test wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any

from hearth.fleet import slices
from hearth.fleet.choice import ordered_waves
from hearth.fleet.desired import all_hosts
from hearth.fleet.events import Event, RunEnd
from hearth.fleet.executors import Pool
from hearth.fleet.limits import parse_waves
from hearth.fleet.run import Run, Settings, Work
from hearth.fleet.slices import Slice
from hearth.fleet.verdict import Ran, Verdict
from hearth.inventory import load_or_raise
from hearth.inventory.hosts import Fleet
from tests.unit.inventory.corpus import GOOD

Script = Callable[[str, int], Verdict]


def a_fleet(households: int = 2, relays: int = 1, pis: int = 0, canary: str | None = None) -> Fleet:
    """A fleet of households h000, h001, …, each behind one of the relays."""
    good = load_or_raise(GOOD)
    relay_names = [f"relay{number + 1}" for number in range(relays)]
    return replace(
        good,
        households=tuple(
            replace(
                good.households[0],
                id=f"h{number:03}",
                slot=number + 1,
                domain=f"h{number:03}.home.example",
                relay=relay_names[number % relays] if relays else None,
                screens=(),
                pi=None,
            )
            for number in range(households)
        ),
        relays=tuple(replace(good.relays[0], name=name, address=f"{name}.home.example") for name in relay_names),
        pis=tuple(replace(good.pis[0], name=f"pi{number + 1}") for number in range(pis)),
        roads={},
        canary=canary,
    )


def converged(host: str, *changed: str) -> Verdict:
    return Verdict(
        host, "converged", None, 1.0, (Ran("base", False, False, 0.1), *(Ran(n, True, False, 0.1) for n in changed))
    )


def failed(host: str) -> Verdict:
    return Verdict(host, "failed", "apache: no", 1.0, (Ran("apache", False, True, 0.1, "no"),))


def unreported(host: str) -> Verdict:
    return Verdict(host, "unreported", "the box's tunnel is not up")


class AtOnce(Executor):
    """Does what is submitted right away, and hands the slice to the script of the test."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.tries: dict[str, int] = {}

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future[Any]:
        assert fn is slices.converge
        work: Slice = arguments[0]
        future: Future[Any] = Future()
        found = {}
        try:
            for host in work.hosts:
                self.tries[host] = self.tries.get(host, 0) + 1
                found[host] = self.script(host, self.tries[host])
            future.set_result(found)
        except RuntimeError as fault:
            future.set_exception(fault)
        return future


def go(
    fleet: Fleet,
    script: Mapping[str, Script] | Script,
    waves: str = "1,10%,100%",
    settings: Settings | None = None,
    at_once: int = 4,
    meet: Callable[[Run], None] = lambda _run: None,
    **work: Any,
) -> tuple[RunEnd, list[Event]]:
    """Run over a fleet in which each host does what the script says; by default all converge.

    ``meet``: gets the run before it goes.
    """

    def told(host: str, attempt: int) -> Verdict:
        if callable(script):
            return script(host, attempt)
        return script[host](host, attempt) if host in script else converged(host)

    hosts = [host for host in all_hosts(fleet) if not host.startswith("pi")]
    events: list[Event] = []
    run = Run(
        Work(
            fleet,
            "20261123T083000Z-0000",
            ordered_waves(fleet, hosts, parse_waves(waves)),
            dict.fromkeys(all_hosts(fleet), "d" * 64),
            **{"reached": {}, **work},
        ),
        settings or Settings(gate=False, again_after_s=0),
        Pool(AtOnce(told), at_once),
        events.append,
    )
    meet(run)
    return run.go(), events


def always(verdict: Callable[[str], Verdict]) -> Script:
    return lambda host, _attempt: verdict(host)
