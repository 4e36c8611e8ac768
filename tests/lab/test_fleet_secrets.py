"""Nothing that a box, its relay or the authority keep secret stands in what the fleet's commands print and write.

Plans, runs, records, the slices' logs at -vvv, the status and gitops are made as indiscreet as can be: somebody has put
the box's secrets in clear into a file that the plan shows, and the release says what it was given when it fails.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from hearth import layout
from tests.lab import leaks
from tests.lab.boxes import MUELLER, RELAY, Operator
from tests.lab.clouds import interpose, remove_interposed
from tests.lab.signed import Signed, a_repository
from tests.lab.test_secrets import INDISCREET, PHP

pytestmark = pytest.mark.lab

SITE = "/etc/apache2/sites-enabled/hearth.conf"
FORMATS = {"plan": ("text", "markdown", "json"), "status": ("text", "json", "html")}


@dataclass(frozen=True)
class Told:
    """``said``: a folder with what each command printed, a file each. ``secrets``: of all hosts, by what they are."""

    signed: Signed
    said: Path
    secrets: dict[str, set[str]]

    @property
    def everything(self) -> set[str]:
        return set().union(*self.secrets.values())

    def says(self, name: str, *arguments: str, status: int = 0) -> str:
        """Run ``hearth`` with that exit status, and keep what it prints under ``name``."""
        run = self.signed.fleet.hearth(*arguments)
        (self.said / name).write_text(run.stdout + run.stderr)
        assert run.returncode == status, run.stdout + run.stderr
        return run.stdout


def of_all(operator: Operator) -> dict[str, set[str]]:
    """The secrets of box, relay and authority."""

    def lines(host: str, pattern: str) -> set[str]:
        return leaks.key_lines(operator.lab.exec(host, ["sh", "-c", f"cat {pattern}"]).stdout)

    relay = set().union(*(lines(RELAY, f"/etc/ssh/ssh_host_{kind}_key") for kind in ("rsa", "ed25519")))
    return leaks.of_the_box(operator) | {
        "tunnel key": lines(MUELLER, layout.TUNNEL_KEY),
        "relay": relay | lines(RELAY, layout.TUNNEL_HOST_KEY),
        "authority": leaks.of_the_authority(operator),
        "operator": leaks.key_lines((operator.lab.folder / "keys/operator").read_text()),
    }


def spill(told: Told) -> None:
    """Write the box's secrets in clear into a file that everybody may read, and that the next converge puts right."""
    box = leaks.of_the_box(told.signed.fleet.operator)
    lines = "".join(f"# {kind}: {secret}\n# {secret}\n" for kind, some in box.items() for secret in sorted(some))
    told.signed.fleet.lab.exec(MUELLER, ["sh", "-c", f"cat >>{SITE}"], stdin=lines)
    assert told.signed.fleet.lab.exec(MUELLER, ["cat", SITE]).stdout.endswith(lines)


@pytest.fixture(scope="module")
def told(home: Operator, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Everything that the fleet's commands tell of a home in which all goes wrong, and then right."""
    folder = tmp_path_factory.mktemp("told")
    signed = a_repository(home, folder / "fleet")
    (signed.fleet.inventory / "local.yaml").write_text(signed.local.read_text())
    fleet = signed.fleet
    made = Told(signed, folder / "said", of_all(home))
    made.said.mkdir()
    verbose = folder / "pyinfra"
    verbose.write_text(f'#!/bin/sh\nexec {Path(sys.executable).with_name("pyinfra")} "$@" -vvv\n')
    verbose.chmod(0o755)
    fleet.rewrite(
        "households/mueller.yaml",
        lambda data: data["owncloud"]["users"].append({"name": "nadia", "display_name": "Nadia Müller"}),
    )
    spill(made)
    for form in FORMATS["plan"]:
        made.says(f"plan-{form}", "plan", "--since", "HEAD", "--format", form)
    interpose(fleet.operator, PHP, INDISCREET)
    made.says("converge-text", "converge", "--yes", "--attempts", "1", status=2)
    made.says("status-of-a-failure", "status")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEARTH_PYINFRA", str(verbose))
        made.says("converge-json", "converge", "--yes", "--attempts", "1", "--format", "json", status=2)
    remove_interposed(fleet.operator, PHP)
    spill(made)
    signed.push()
    run = signed.gitops("--drift")
    (made.said / "gitops").write_text(run.stdout + run.stderr)
    assert run.returncode == 0, run.stdout + run.stderr
    for form in FORMATS["status"]:
        made.says(f"status-{form}", "status", "--live", "--format", form)
    # The household has one password more than before: what is looked for are the secrets of both times.
    later = of_all(home)
    return Told(signed, made.said, {kind: made.secrets[kind] | later[kind] for kind in later})


def test_there_are_secrets_of_every_kind_to_look_for(told: Told) -> None:
    least = {"TLS key": 2, "SSH host keys": 8, "passwords of programs": 1, "passwords of people": 3, "config.php": 3}
    least |= {"tunnel key": 1, "relay": 9, "authority": 4, "operator": 1}
    assert {kind: len(some) for kind, some in told.secrets.items() if len(some) < least[kind]} == {}
    assert set(told.secrets) == set(least)


def test_the_commands_told_of_all_that_holds_secrets_and_stayed_readable(told: Told) -> None:
    """Without this, silence would prove nothing."""
    said = {path.name: path.read_text() for path in told.said.iterdir()}
    for form in FORMATS["plan"]:
        assert SITE in said[f"plan-{form}"]
        assert "# ***" in said[f"plan-{form}"], "the spilt lines are shown, masked"
        assert "nadia" in said[f"plan-{form}"]
    assert "users: occ user:add ended with status 1" in said["converge-text"]
    logs = "".join(path.read_text() for path in told.signed.fleet.state.rglob("*.log"))
    assert "/usr/lib/hearth/owncloud users" in logs, "it shows the commands, so it is -vvv"
    assert "could not add the user with the password …" in logs
    assert "users: occ user:add ended with status 1" in said["status-of-a-failure"]
    assert "Serve" in told.signed.fleet.records()[0].read_text(), "the drift that the night repaired"


def test_nothing_that_hosts_and_authority_keep_stands_in_what_was_printed_or_written(told: Told) -> None:
    places = (told.said, told.signed.folder, told.signed.fleet.state)
    assert leaks.files_with(told.everything, *places) == []


def test_the_same_search_finds_a_secret_of_each_kind_where_one_is_written(told: Told, tmp_path: Path) -> None:
    for kind, some in told.secrets.items():
        (tmp_path / kind.replace(" ", "-")).write_text(f"before {min(some)} after{os.linesep}")
    found = leaks.files_with(told.everything, told.said, tmp_path)
    assert found == sorted(str(path) for path in tmp_path.iterdir())
    assert leaks.files_on_the_box(told.signed.fleet.operator, told.everything, "/etc/hearth") != []
