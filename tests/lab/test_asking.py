"""A batch of questions decides what stock pyinfra decides, host by host and command by command, and costs what it may.

``decisions`` runs the same pyinfra twice, with the batch and with $HEARTH_BATCH=off, and compares the operations and
their commands one by one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import pytest
import yaml

from hearth.lab.generate import household, key
from hearth.lab.lab import Lab
from tests.lab.boxes import MUELLER, PI, RELAY, REPOSITORY, Operator, parse_results
from tests.lab.test_crash import fill
from tests.lab.test_drift import DRIFTS

pytestmark = pytest.mark.lab

RECORDER = Path(__file__).with_name("record_run.py")
BATCH = "python3 -ISB -"
SESSIONS = "/usr/lib/hearth/tunnel-sessions"
CLOUD = "/usr/lib/hearth/owncloud"
MOST_PLANNED, MOST_CONVERGED = 3, 4

RELAY_DRIFTS = (
    "hostname drifted",
    "nft delete table inet hearth",
    "usermod --shell /bin/sh hearth-tunnel",
    "chmod 644 /etc/ssh/hearth-tunnel/ssh_host_ed25519_key",
    "rm /etc/sysctl.d/60-hearth-tunnel.conf",
    "echo '# mine' >> /etc/ssh/tunnel-keys/hearth-tunnel",
    "systemctl stop haproxy",
    "useradd mallory; gpasswd --add mallory hearth-operators",
)


BROKEN = ("echo broken >&2; exit 1", "echo nonsense", "printf 'end \\377\\n'", "kill $$")
"""What the program that lists sessions does instead."""


@dataclass(frozen=True)
class Site:
    """A host, its operator and its deploy."""

    operator: Operator
    host: str
    deploy: str

    def run(self, *arguments: str, batch: str = "on", limit_s: float = 30) -> Recorded:
        """Run pyinfra with these arguments, recorded."""
        with tempfile.NamedTemporaryFile() as record:
            done = subprocess.run(
                [
                    *(sys.executable, str(RECORDER), record.name),
                    *(f"{self.operator.inventory}/", self.deploy, "--limit", self.host, *arguments),
                ],
                cwd=REPOSITORY,
                env=self.operator.environment() | {"HEARTH_BATCH": batch, "RECORD_LIMIT_S": str(limit_s)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=600,
                check=False,
            )
            found = json.loads(Path(record.name).read_text())
        return Recorded(done.returncode, done.stdout, found["operations"], found["sent"])

    def break_(self, *commands: str) -> None:
        """Do this on the host by hand."""
        for command in commands:
            self.operator.lab.exec(self.host, ["sh", "-c", command])


@dataclass(frozen=True)
class Recorded:
    """A run: exit status, what it printed, its operations, and the commands that left for the host."""

    status: int
    output: str
    operations: list[dict[str, Any]]
    sent: list[str]

    @property
    def decisions(self) -> tuple[int, list[dict[str, Any]]]:
        """All that must be the same with and without the batch."""
        return self.status, self.operations

    @property
    def changed(self) -> list[str]:
        """The operations that changed, or would change, something."""
        return [operation["name"] for operation in self.operations if operation["changed"]]

    @property
    def batches(self) -> int:
        """How many of the commands were batches."""
        return sum(command.endswith(BATCH) for command in self.sent)


def same_plan(site: Site) -> Recorded:
    """Plan with and without the batch; the same comes of it. Returns the plan with it."""
    with_batch, stock = site.run("--dry"), site.run("--dry", batch="off")
    assert with_batch.decisions == stock.decisions, with_batch.output[-2000:]
    assert stock.batches == 0
    return with_batch


def replaced(program: str) -> str:
    """The command that puts a shell's words in the place of the program that lists sessions."""
    return f"printf '%s\\n' '#!/bin/sh' {quote(program)} > {SESSIONS}"


@pytest.fixture(scope="module")
def steady(box: Operator) -> Site:
    """A converged box; each test leaves it so. Tests that begin with another box come behind those of this one."""
    return Site(box, MUELLER, "deploys/box.py")


@pytest.fixture(scope="module")
def relay(bare_relay: Operator) -> Site:
    """A converged relay; each test leaves it so."""
    site = Site(bare_relay, RELAY, "deploys/relay.py")
    assert site.operator.converge(limit=RELAY, deploy=site.deploy).status == 0
    return site


def assert_within_budget(site: Site, *flags: str) -> None:
    """Nothing changes, and both a plan and a converge (with ``flags``) ask what they need in one batch."""
    for arguments, most in ((("--dry",), MOST_PLANNED), (("-y", *flags), MOST_CONVERGED)):
        run = site.run(*arguments)
        assert (run.status, run.changed) == (0, []), run.output[-2000:]
        assert len(run.sent) <= most, run.sent
        assert run.batches == 1
        if "-y" in arguments:
            assert set(parse_results(run.output).values()) == {"no change"}, "all of it is in pyinfra's own table"


def test_an_unchanged_box_is_asked_once_by_an_operator_who_needs_sudo(steady: Site) -> None:
    assert_within_budget(steady, "--no-wait")
    assert any(command.startswith(f"sudo -H -n {BATCH}") for command in same_plan(steady).sent)


def test_a_full_tmp_changes_neither_what_is_decided_nor_what_it_costs(steady: Site) -> None:
    """Here without --no-wait, which the test above has."""
    fill(steady.operator, "/tmp")
    try:
        assert_within_budget(steady)
    finally:
        steady.break_("umount /tmp")


def test_a_question_that_hangs_keeps_no_other_answer_back(steady: Site) -> None:
    """Once: asked again, alone, it answers."""
    steady.break_(f"cp -a {CLOUD} {CLOUD}.real")
    hanging = f'#!/bin/sh\ntest -e /run/hung || {{ touch /run/hung; sleep 1000; }}\nexec {CLOUD}.real "$@"\n'
    steady.operator.lab.exec(MUELLER, ["tee", CLOUD], stdin=hanging)
    try:
        run = steady.run("--dry", limit_s=8)
    finally:
        steady.break_(f"mv {CLOUD}.real {CLOUD}")
    assert run.status == 0
    assert run.changed == ["owncloud | Describe ownCloud 11.0.0 to the box"]
    alone = [command for command in run.sent if not command.endswith(BATCH)]
    assert all("MachineFact" in command or "os-release" in command or f"{CLOUD} status" in command for command in alone)


def test_a_bare_host_is_decided_upon_as_stock(bare_box: Operator) -> None:
    """It has no Python, and root logs in."""
    plan = same_plan(Site(bare_box, MUELLER, "deploys/box.py"))
    assert len(plan.changed) > 20


def test_a_box_that_was_left_half_converged_is_finished_as_stock_would(packaged_box: Operator) -> None:
    site, lab = Site(packaged_box, MUELLER, "deploys/box.py"), packaged_box.lab
    assert packaged_box.converge_until("Let MariaDB listen", lambda: None)
    lab.snapshot(MUELLER, "half")
    lab.start(MUELLER)
    same_plan(site)
    with_batch = site.run("-y")
    lab.start_from(MUELLER, "half")
    stock = site.run("-y", batch="off")
    assert with_batch.decisions == stock.decisions
    assert with_batch.status == 0, with_batch.output[-3000:]


def test_a_box_where_everything_drifted_is_put_right_as_stock_would(fresh_box: Operator) -> None:
    """The list covers each kind of fact and artefact, an undo that waits among them."""
    site, drift = Site(fresh_box, MUELLER, "deploys/box.py"), [done for done, _ in DRIFTS]
    site.break_(*drift)
    assert set(same_plan(site).changed) >= {operation for _, operation in DRIFTS}
    with_batch = site.run("-y")
    fresh_box.lab.start_from(MUELLER, "converged")
    site.break_(*drift)
    stock = site.run("-y", batch="off")
    assert with_batch.decisions == stock.decisions
    assert sorted(with_batch.changed) == sorted(operation for _, operation in DRIFTS)
    assert len(with_batch.sent) < len(stock.sent)


def test_a_relay_of_hundreds_of_households_is_asked_no_more(relay: Site, tmp_path: Path) -> None:
    operator = relay.operator.with_fleet(tmp_path / "inventory", lambda fleet, household: None)
    for number in range(300):
        home = household(number) | {"slot": 100 + number, "relay": RELAY}
        (operator.inventory / f"households/{home['id']}.yaml").write_text(yaml.safe_dump(home, allow_unicode=True))
        told = yaml.safe_dump({"host_keys": [key(f"host {number}")], "tunnel_key": key(f"tunnel {number}")})
        collected = operator.inventory / f"collected/box-{home['id']}.yaml"
        collected.parent.mkdir(exist_ok=True)
        collected.write_text(told)
    site = Site(operator, RELAY, relay.deploy)
    grown = site.run("-y")
    assert grown.status == 0, grown.output[-2000:]
    assert "Tunnels | Put the keys that may open tunnels (300)" in " ".join(grown.changed)
    assert_within_budget(site)
    assert relay.run("-y").status == 0


def test_a_relay_is_asked_once_and_put_right_as_stock_would(relay: Site) -> None:
    assert_within_budget(relay, "--no-wait")
    relay.break_(*RELAY_DRIFTS)
    assert len(same_plan(relay).changed) >= len(RELAY_DRIFTS)
    with_batch = relay.run("-y")
    assert len(with_batch.changed) >= len(RELAY_DRIFTS)
    assert_within_budget(relay)
    relay.break_(*RELAY_DRIFTS)
    assert relay.run("-y", batch="off").decisions == with_batch.decisions


@pytest.mark.parametrize("program", BROKEN)
def test_a_question_that_fails_ends_a_plan_as_stock(relay: Site, program: str) -> None:
    relay.break_(f"cp -a {SESSIONS} {SESSIONS}.real", replaced(program))
    try:
        same_plan(relay)
    finally:
        relay.break_(f"mv {SESSIONS}.real {SESSIONS}")


def test_a_question_that_fails_is_mended_by_a_converge_as_stock(relay: Site) -> None:
    """The program that is asked is a file of hearth's own, which the converge puts back before it asks."""
    relay.break_(replaced(BROKEN[0]))
    broken = relay.run("-y")
    assert (broken.status, broken.changed) == (0, ["Tunnels | Put the program that lists and ends sessions"])
    relay.break_(replaced(BROKEN[0]))
    assert relay.run("-y", batch="off").decisions == broken.decisions


def test_a_login_shell_that_prints_is_met_as_stock_meets_it(relay: Site) -> None:
    relay.break_("mv ~anna/.bashrc ~anna/kept; echo 'echo Welcome' > ~anna/.bashrc")
    try:
        plan = same_plan(relay)
        assert plan.batches == 1, "tried once, and not again"
        assert "Welcome" in plan.output
    finally:
        relay.break_("mv ~anna/kept ~anna/.bashrc")


def test_a_sudo_that_asks_for_a_password_is_met_as_stock_meets_it(relay: Site) -> None:
    relay.break_("sed -i.kept s/NOPASSWD:// /etc/sudoers.d/hearth")
    try:
        with_batch, stock = relay.run("--dry"), relay.run("--dry", batch="off")
    finally:
        relay.break_("mv /etc/sudoers.d/hearth.kept /etc/sudoers.d/hearth")
    assert with_batch.decisions == stock.decisions
    assert with_batch.status != 0


def test_a_pi_is_asked_once(lab: Lab, lab_inventory: Path, bare_pi: None) -> None:
    site = Site(Operator(lab, lab_inventory), PI, "deploys/pi.py")
    assert site.operator.converge(limit=PI, deploy=site.deploy).status == 0
    assert_within_budget(site)
    site.break_("rm /etc/hearth/tunnel-hosts", "systemctl stop hearth-tunnel-watch")
    assert len(same_plan(site).changed) == 2
