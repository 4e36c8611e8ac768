"""No private key and no password of a box leaves it, or shows on it to who has no business with it."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hearth.lab.lab import Lab
from tests.lab import leaks
from tests.lab.boxes import MUELLER, REPOSITORY, Converge, Operator
from tests.lab.clouds import interpose, remove_interposed

pytestmark = pytest.mark.lab

CONFIG = "/srv/hearth/www/owncloud/config/config.php"
KEPT_CONFIG = "/var/lib/hearth/owncloud/config.php"
CANARY = "canary-7f3a9d1c5b"
PHP = "/usr/bin/php8.4"

# Run by nobody: all command lines that show while it runs, and the environments of others that it can read.
SAMPLER = """
import json, pathlib
lines, environments, end = set(), set(), pathlib.Path("/run/sampled")
while not end.exists():
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            lines.add((process / "cmdline").read_bytes().replace(b"\\0", b" ").decode(errors="replace"))
            if process.stat().st_uid != 65534:
                environments.add((process / "environ").read_bytes().decode(errors="replace"))
        except OSError:
            pass
print(json.dumps([sorted(lines), sorted(environments)]))
"""
# A release that says what it was given when it fails, as PHP's traces do.
INDISCREET = """
case "$*" in
  *maintenance:install*) echo "PDOException: cannot connect: $(cat)" >&2; exit 1 ;;
  *user:add*) echo "could not add the user with the password $OC_PASS" >&2; exit 1 ;;
esac
exec "$real" "$@"
"""


@dataclass(frozen=True)
class Trail:
    """A box's installation with everything that showed of it: outputs of converges, and what nobody saw in /proc."""

    operator: Operator
    outputs: tuple[str, ...]
    command_lines: list[str]
    environments: list[str]


@pytest.fixture(scope="module")
def known(box: Operator) -> set[str]:
    """The secrets of the box that the session's first converge made, and its host keys."""
    return set().union(*leaks.of_the_box(box).values())


def add_somebody(fleet: dict[str, Any], household: dict[str, Any]) -> None:
    household["owncloud"]["users"].append({"name": "nadia", "display_name": "Nadia Müller"})


@pytest.fixture(scope="module")
def trail(known: set[str], lab: Lab, lab_inventory: Path, tmp_path_factory: pytest.TempPathFactory) -> Trail:
    """A box whose install and whose users first fail with an indiscreet release, and then succeed, under eyes."""
    operator = Operator(lab, lab_inventory)
    lab.start_from(MUELLER, "packages")
    interpose(operator, PHP, INDISCREET)
    failed_install = operator.converge("-vvv")
    assert "install: occ maintenance:install ended with status 1" in failed_install.output
    remove_interposed(operator, PHP)
    lab.exec(MUELLER, ["bash", "-c", f"exec -a {CANARY} sleep 600 >/dev/null 2>&1 &"])
    watch = ["setpriv", "--reuid=nobody", "--clear-groups", "python3", "-c", SAMPLER]
    with subprocess.Popen(lab.exec_command(MUELLER, watch), stdout=subprocess.PIPE, text=True) as sampler:
        installed = operator.converge("-vvv")
        lab.exec(MUELLER, ["touch", "/run/sampled"])
        lines, environments = json.loads(sampler.communicate(timeout=60)[0])
    assert installed.status == 0, installed.output[-3000:]
    interpose(operator, PHP, INDISCREET)
    failed_users = operator.with_fleet(tmp_path_factory.mktemp("more") / "inventory", add_somebody).converge("-vvv")
    assert "users: occ user:add ended with status 1" in failed_users.output
    remove_interposed(operator, PHP)
    return Trail(operator, (failed_install.output, installed.output, failed_users.output), lines, environments)


@pytest.fixture(scope="module")
def own(trail: Trail) -> dict[str, set[str]]:
    """The secrets of the trail's box, by what they are."""
    return leaks.of_the_box(trail.operator)


def test_the_search_finds_what_was_planted_in_every_form(tmp_path: Path) -> None:
    secret = "s3cret/Pa$$ word-1234"
    for number, form in enumerate(sorted(leaks.forms(secret))):
        (tmp_path / f"{number}").write_bytes(b"\xff before " + form.encode() + b" after\0")
    for number, before in enumerate(("", "x", "yz")):
        (tmp_path / f"blob{number}").write_text(base64.b64encode(f"{before}{secret}, and more".encode()).decode())
    (tmp_path / "innocent").write_text("s3cret and others")
    found = leaks.files_with({secret}, tmp_path)
    assert found == sorted(str(path) for path in tmp_path.iterdir() if path.name != "innocent")


def test_a_box_has_secrets_of_every_kind(own: dict[str, set[str]], known: set[str]) -> None:
    least = {"TLS key": 2, "SSH host keys": 8, "passwords of programs": 1, "passwords of people": 3, "config.php": 3}
    assert {kind: len(found) for kind, found in own.items() if len(found) < least[kind]} == {}
    assert set(own) == set(least)
    assert not own["passwords of people"] & known, "each box makes its own"


def test_the_output_of_a_first_converge_at_vvv_holds_no_secret(
    first_run: Converge, known: set[str], tmp_path: Path
) -> None:
    assert "/usr/lib/hearth/owncloud install" in first_run.output, "it shows the commands, so it is -vvv"
    (tmp_path / "output").write_text(first_run.output)
    assert leaks.files_with(known, tmp_path) == []


def test_a_converge_that_fails_amid_secrets_tells_none(trail: Trail, own: dict[str, set[str]], tmp_path: Path) -> None:
    for number, output in enumerate(trail.outputs):
        (tmp_path / f"{number}").write_text(output)
    assert leaks.files_with(set().union(*own.values()), tmp_path) == []
    assert "PDOException: cannot connect" in trail.outputs[0]
    assert "could not add the user with the password …" in trail.outputs[2]


def test_nothing_on_the_operators_side_holds_a_secret_of_a_box(
    trail: Trail, own: dict[str, set[str]], known: set[str], tmp_path: Path
) -> None:
    """The hosts' own disks lie in the lab's folder, below hosts/ and snapshots/: they are not the operator's."""
    everything = known.union(*own.values())
    places = (trail.operator.inventory, trail.operator.lab.folder, REPOSITORY, Path.home() / ".ssh")
    assert leaks.files_with(everything, *places, without=("hosts", "snapshots", ".venv")) == []
    (tmp_path / "planted").write_text(f"x{min(everything)}y")
    assert leaks.files_with(everything, *places, tmp_path, without=("hosts", "snapshots", ".venv")) == [
        str(tmp_path / "planted")
    ]


def test_no_secret_is_on_a_command_line_or_in_an_environment_that_others_can_read(
    trail: Trail, own: dict[str, set[str]], tmp_path: Path
) -> None:
    seen = "\n".join(trail.command_lines)
    assert CANARY in seen
    for command in ("occ maintenance:install", "occ user:add", "/usr/lib/hearth/owncloud install"):
        assert command in seen, f"{command} was not seen, so the look was too slow to prove anything"
    (tmp_path / "seen").write_text("\n".join([*trail.command_lines, *trail.environments]))
    assert leaks.files_with(set().union(*own.values()), tmp_path) == []


def test_the_authoritys_keys_and_passphrase_are_in_no_output_and_not_on_the_box(
    trail: Trail, first_run: Converge, tmp_path: Path
) -> None:
    authority = leaks.of_the_authority(trail.operator)
    folder = trail.operator.lab.folder
    lie = [folder / "authority/ssh-user-ca.key", folder / "authority/tls-ca.key", folder / "keys/passphrase"]
    assert leaks.files_with(authority, folder, without=("hosts", "snapshots")) == [str(path) for path in lie]
    (tmp_path / "outputs").write_text("".join((*trail.outputs, first_run.output)))
    assert leaks.files_with(authority, tmp_path, trail.operator.inventory) == []
    assert leaks.files_on_the_box(trail.operator, authority, "/") == []


def test_secrets_lie_on_the_box_in_their_files_alone_and_root_alone_reads_them(
    trail: Trail, own: dict[str, set[str]]
) -> None:
    found = leaks.files_on_the_box(trail.operator, set().union(*own.values()), "/")
    assert found == [
        *(f"/etc/hearth/secrets/{name}" for name in ("backup-key", "database", "store-password")),
        *("/etc/hearth/tls/key.pem", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key"),
        *("/root/household-passwords.txt", CONFIG, KEPT_CONFIG),
    ]
    modes = trail.operator.lab.exec(MUELLER, ["stat", "--format=%n %a %U:%G", *found]).stdout.splitlines()
    assert modes == [f"{path} 640 www-data:www-data" if path == CONFIG else f"{path} 600 root:root" for path in found]


def test_the_web_server_reads_no_secret_but_its_own_configuration(trail: Trail, own: dict[str, set[str]]) -> None:
    everything = set().union(*own.values())
    assert leaks.files_on_the_box(trail.operator, everything, "/", user="www-data") == [CONFIG]
    assert leaks.files_on_the_box(trail.operator, everything, "/", user="nobody") == []
