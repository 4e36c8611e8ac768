"""Retention on real trees: what a box gives back is taken only when it is whole, and no kill loses anything."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from roles.backup_store.onhost import main, quota, retention, trees
from roles.backup_store.onhost.keep import DAY_S
from roles.backup_store.onhost.model import Places, Settings, State, Tenant, read_state
from roles.backup_store.onhost.retention import EVERY_S, Keeper

NOW = 1_795_000_000.0
MUELLER = Tenant("mueller", 1 << 30)


class Store:
    """A store with one household, whose clock a test sets."""

    def __init__(self, root: Path) -> None:
        for name in ("repositories", "offers", "work", "grace", "state"):
            (root / name).mkdir(parents=True)
        self.places, self.now = Places(root), NOW

    def keep(self, tenant: Tenant = MUELLER) -> State:
        return Keeper(self.places, 90, lambda: self.now).keep(tenant)

    @property
    def live(self) -> Path:
        return self.places.live("mueller")

    @property
    def offered(self) -> Path:
        return self.places.offered("mueller")

    def snapshots(self) -> frozenset[str]:
        return trees.names(self.live, "snapshots")

    def waiting(self) -> list[Path]:
        return sorted((self.places.root / "grace").iterdir())

    def clear_up(self) -> None:
        """What a good box does: data that nothing needs goes, a new index comes, then it says so."""
        (self.offered / "data/aa" / name("pack-old")).unlink()
        (self.offered / "index" / name("index")).unlink()
        put(self.offered, "index", "index-new")
        (self.offered / "checked").mkdir()


def name(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def put(repository: Path, part: str, text: str, days_old: float = 0, size: int = 10) -> None:
    file = repository / part / name(text)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    os.utime(file, (NOW - days_old * DAY_S,) * 2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A household with two backups a day for ten days, 40 days ago, and one of today."""
    made = Store(tmp_path / "store")
    live = made.live
    for part in ("data", "index", "keys", "locks", "snapshots"):
        (live / part).mkdir(parents=True)
    (live / "config").write_text("config")
    put(live, "keys", "box")
    put(live, "keys", "paper")
    put(live, "index", "index")
    put(live, "data/aa", "pack-old", size=100)
    put(live, "data/bb", "pack", size=900)
    for number in range(30):
        put(live, "snapshots", f"old{number}", 40 + number / 3)
    put(live, "snapshots", "today")
    return made


def everything(repository: Path) -> dict[str, bytes]:
    return {entry.path: (repository / entry.path).read_bytes() for entry in trees.entries(repository)}


def test_an_offer_lacks_what_is_forgotten_and_shares_the_rest(store: Store) -> None:
    before = everything(store.live)

    state = store.keep()

    assert state.offer is not None
    offered = everything(store.offered)
    gone = before.keys() - offered.keys()
    assert gone and all(path.startswith("snapshots/") for path in gone)
    assert offered == {path: content for path, content in before.items() if path not in gone}
    assert everything(store.live) == before
    assert (store.offered / "data/bb" / name("pack")).stat().st_nlink == 2


def test_the_watch_looks_after_those_alone_who_have_cleared_up(store: Store, tmp_path: Path) -> None:
    """However many households there are: each would cost a look at all its files, every two seconds."""
    settings, notes = Settings(store.places.root, 90, (MUELLER, Tenant("schmidt", 1 << 30))), tmp_path / "notes"
    store.now = time.time()
    store.keep()
    put(store.places.live("schmidt"), "snapshots", "of schmidt")

    main.take_over(settings, store.places, notes)
    assert store.offered.exists() and not notes.exists()

    store.clear_up()
    assert main.cleared_up(settings, store.places).tenants == (MUELLER,)
    main.take_over(settings, store.places, notes)

    assert not store.offered.exists() and len(store.waiting()) == 1 and notes.read_text() == ""
    assert not store.places.state("schmidt").exists()


def test_what_a_box_has_cleared_up_is_taken_over_and_the_old_one_waits(store: Store) -> None:
    before = everything(store.live)
    store.keep()
    store.clear_up()
    cleared = everything(store.offered)

    state = store.keep()

    assert everything(store.live) == cleared
    assert (state.offer, state.told) == (None, None)
    assert not store.offered.exists()
    (old,) = store.waiting()
    assert everything(old) == before
    assert set(state.ledger.arrivals) == store.snapshots()
    assert store.keep().offer is None, "and not again tomorrow"


def test_what_was_replaced_can_be_put_back_until_its_grace_is_over(store: Store) -> None:
    before = everything(store.live)
    store.keep()
    store.clear_up()
    store.keep()

    main.put_back(store.places, "mueller")
    assert everything(store.live) == before
    main.put_back(store.places, "mueller")

    for day in range(0, 91, 5):
        store.now = NOW + day * DAY_S
        store.keep()
    assert len(store.waiting()) == 1
    store.now = NOW + 91 * DAY_S
    store.keep()
    assert store.waiting() == []


def _without(path: str) -> Callable[[Store], None]:
    return lambda store: (store.offered / path).unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_without("config"), "without its config"),
        (_without(f"keys/{name('paper')}"), "other keys"),
        (_without(f"snapshots/{name('today')}"), "other snapshots"),
        (lambda store: put(store.offered, "snapshots", "invented"), "other snapshots"),
        (lambda store: put(store.offered, "keys", "thief"), "other keys"),
        (_without(f"data/bb/{name('pack')}"), "the data would shrink from 1000 to 0 bytes"),
        (_without(f"index/{name('index-new')}"), "without an index"),
    ],
)
def test_a_clone_that_is_not_whole_is_discarded_with_one_sentence(
    store: Store, spoil: Callable[[Store], None], sentence: str
) -> None:
    before = everything(store.live)
    store.keep()
    store.clear_up()
    spoil(store)

    state = store.keep()

    assert state.told is not None and sentence in state.told
    assert everything(store.live) == before
    assert not store.offered.exists() and store.waiting() == []
    assert store.keep().offer is None, "a day passes before the next"
    store.now += DAY_S
    assert store.keep().offer is not None


def test_a_collapse_that_somebody_accepts_is_taken_over(store: Store) -> None:
    store.keep()
    store.clear_up()
    (store.offered / "data/bb" / name("pack")).unlink()
    state = read_state(store.places.state("mueller"))
    retention.write_state(store.places.state("mueller"), replace(state, collapse_accepted=True))

    assert store.keep().told is None
    assert len(store.waiting()) == 1


def test_a_backup_that_came_meanwhile_makes_the_offer_worthless_and_there_is_another(store: Store) -> None:
    store.keep()
    store.clear_up()
    put(store.live, "snapshots", "came meanwhile")

    assert store.keep().offer is None
    assert name("came meanwhile") in store.snapshots()
    state = store.keep()
    assert state.offer is not None and name("came meanwhile") in state.offer.snapshots


@pytest.mark.parametrize("where", ["live", "offered"])
def test_nothing_is_taken_over_while_somebody_is_at_work(store: Store, where: str) -> None:
    store.keep()
    store.clear_up()
    put(getattr(store, where), "locks", "lock")

    assert store.keep().offer is not None
    assert store.waiting() == []
    store.now += 3600
    os.utime(store.live, None)
    store.keep()
    assert len(store.waiting()) == 1, "a lock of half an hour is a dead one"


def test_a_backup_that_begins_in_the_moment_of_the_exchange_is_not_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.keep()
    store.clear_up()
    real, done = trees.exchange, []

    def exchange(one: Path, other: Path) -> None:
        if not done:
            put(store.live, "data/cc", "just before")
        real(one, other)
        if not done:
            put(store.live, "data/dd", "just after")
        done.append(one)

    monkeypatch.setattr(trees, "exchange", exchange)
    store.keep()

    assert len(done) == 2, "it was exchanged back"
    assert {f"data/cc/{name('just before')}", f"data/dd/{name('just after')}"} <= everything(store.live).keys()
    assert f"data/aa/{name('pack-old')}" in everything(store.live)


@pytest.mark.slow
def test_killed_at_any_step_nothing_is_lost_and_the_next_run_finishes(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every effect of a whole round is the one before which the power goes, in turn."""
    before = everything(store.live)
    keepers = {path for path in before if not path.startswith(("snapshots/", "index/", f"data/aa/{name('pack-old')}"))}

    class Killed(BaseException):
        pass

    left = [0]

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def effect(*arguments: object, **named: object) -> object:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*arguments, **named)

        return effect

    steps = 0
    while True:
        round_ = Store(tmp_path / f"round{steps}")
        trees.remove(round_.live)
        os.system(f"cp -a {store.live} {round_.live}")  # noqa: S605 (a path of the test's own)
        with monkeypatch.context() as patch:
            for module, names in (
                (trees, ("clone", "move", "exchange", "remove", "add_missing")),
                (retention, ("write_state",)),
            ):
                for each in names:
                    patch.setattr(module, each, counted(getattr(module, each)))
            left[0] = steps
            killed = False
            try:
                round_.keep()
                round_.clear_up()
                round_.keep()
            except Killed:
                killed = True
        if not killed:
            break
        assert keepers <= everything(round_.live).keys(), steps
        # The next run discards or finishes; the box goes on with what it then finds.
        for _ in range(4):
            round_.keep()
            if round_.offered.exists() and not (round_.offered / "checked").exists():
                if (round_.offered / "data/aa" / name("pack-old")).exists():
                    round_.clear_up()
                else:
                    (round_.offered / "checked").mkdir()
        assert keepers <= everything(round_.live).keys(), steps
        assert len(round_.waiting()) == 1, steps
        assert everything(round_.waiting()[0]) == before, steps
        assert not any((round_.places.root / "work").iterdir()), steps
        steps += 1
    assert steps > 12


def test_a_household_that_is_being_restored_is_left_alone(store: Store) -> None:
    store.keep()

    state = store.keep(replace(MUELLER, rests=True))

    assert state.offer is None
    assert not store.offered.exists()


def test_a_clock_that_went_back_forgets_nothing_and_withdraws_the_offer(store: Store) -> None:
    store.keep()
    store.now -= DAY_S

    state = store.keep()

    assert state.clock is not None and "went back" in state.clock
    assert not store.offered.exists()
    store.now = NOW + 60
    assert store.keep().clock is None


def test_a_spent_quota_takes_nothing_new_and_locks_still_come_and_go(store: Store) -> None:
    small = Tenant("mueller", 1000)

    state = quota.measured(store.places, small)

    assert state.full
    modes = {path.relative_to(store.live).as_posix(): path.stat().st_mode & 0o777 for path in store.live.rglob("*/")}
    assert modes["data/aa"] == modes["snapshots"] == 0o500
    assert modes["locks"] == 0o700
    assert not quota.measured(store.places, MUELLER).full
    assert (store.live / "data/aa").stat().st_mode & 0o777 == 0o700


def test_a_full_repository_is_cleared_up_all_the_same(store: Store) -> None:
    quota.measured(store.places, Tenant("mueller", 1000))
    store.keep()
    store.clear_up()

    store.keep()

    assert len(store.waiting()) == 1


def test_only_a_household_that_left_the_inventory_can_be_removed(store: Store) -> None:
    settings = Settings(store.places.root, 90, (MUELLER,))

    with pytest.raises(ValueError, match="is in the inventory"):
        main.removed(settings, store.places, "mueller")
    with pytest.raises(ValueError, match="there is nothing of"):
        main.removed(replace(settings, tenants=()), store.places, "schmidt")
    for wrong in ("..", ".", "", "../repositories/mueller", "mueller/../mueller"):
        with pytest.raises(ValueError, match="is no household's id"):
            main.named(wrong)
    assert "left" in main.removed(replace(settings, tenants=()), store.places, "mueller")
    assert not store.live.exists()


def test_the_next_clearing_up_comes_after_four_weeks(store: Store) -> None:
    store.keep()
    store.clear_up()
    store.keep()
    for number in range(9):
        put(store.live, "snapshots", f"more{number}")

    for day in (7, 14, 21):
        store.now = NOW + day * DAY_S
        assert store.keep().offer is None
    # What came within the same minutes is one day's, of which the first and the last stay.
    store.now = NOW + EVERY_S
    put(store.live, "snapshots", "much later", -28)
    assert store.keep().offer is not None
