"""Who comes in to a box, with what, and as whom: operators by key or certificate, nobody else by anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hearth import authority
from hearth.lab import keys
from tests.lab.boxes import MUELLER, Operator
from tests.lab.logins import BEN, BENCH_KEY, log_in, new_key

pytestmark = pytest.mark.lab

REFUSED = "Permission denied (publickey)."
HOUR = timedelta(hours=1)


def journal_of_sshd(box: Operator) -> str:
    return box.lab.exec(MUELLER, ["journalctl", "--unit=ssh", "--output=cat"]).stdout


def signed(
    box: Operator,
    folder: Path,
    principal: str,
    *,
    valid_for: timedelta = HOUR,
    now: datetime | None = None,
    by: tuple[Path, bytes] | None = None,
) -> Path:
    """A new key with a certificate for ``principal``, of the fleet's authority unless it is signed ``by`` another."""
    private, public = new_key(folder, "certified")
    own = (keys.private_authority(box.lab.folder), keys.passphrase_file(box.lab.folder).read_bytes())
    signer, passphrase = by or own
    line = authority.sign_ssh_user_key(signer, passphrase, public, [principal], valid_for, "the test's key", now)
    private.with_name("certified-cert.pub").write_text(line)
    return private


def refused(box: Operator, user: str, identity: Path) -> bool:
    """Whether sshd refuses the log-in for want of a key, and for no other reason."""
    attempt = log_in(box, user, identity, "true")
    return attempt.returncode == 255 and REFUSED in attempt.stderr


def test_a_certificate_of_the_fleets_authority_opens_the_operators_account(box: Operator, tmp_path: Path) -> None:
    entered = log_in(box, "anna", signed(box, tmp_path, "anna"), "sudo -n id -un")
    assert entered.stdout == "root\n", entered.stderr
    accepted = [line for line in journal_of_sshd(box).splitlines() if "ID the test's key" in line]
    assert accepted
    assert accepted[-1].startswith("Accepted publickey for anna from 127.")
    assert "ED25519-CERT" in accepted[-1]


def test_a_certificate_for_another_person_opens_nothing(box: Operator, tmp_path: Path) -> None:
    assert refused(box, "anna", signed(box, tmp_path, BEN))


def test_a_certificate_that_has_ended_opens_nothing(box: Operator, tmp_path: Path) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert refused(box, "anna", signed(box, tmp_path, "anna", now=yesterday))
    assert "Certificate invalid: expired" in journal_of_sshd(box)


def test_a_certificate_of_another_authority_opens_nothing(box: Operator, tmp_path: Path) -> None:
    foreign, passphrase = tmp_path / "foreign", b"a passphrase of somebody else"
    authority.init(foreign, tmp_path / "public", "other", "other.example", passphrase)
    assert refused(box, "anna", signed(box, tmp_path, "anna", by=(foreign, passphrase)))


def test_neither_passwords_nor_questions_are_offered(box: Operator, tmp_path: Path) -> None:
    """Ben's key is not known; sshd names what it would take instead, and that is nothing."""
    identity, _ = new_key(tmp_path, "unknown")
    box.lab.exec(MUELLER, ["chpasswd"], stdin="anna:a-good-password\n")
    try:
        for method in ("password", "keyboard-interactive"):
            attempt = log_in(box, "anna", identity, "true", options=("-o", f"PreferredAuthentications={method}"))
            assert attempt.returncode == 255
            assert REFUSED in attempt.stderr
    finally:
        box.lab.exec(MUELLER, ["usermod", "--password", "!", "anna"])


def test_root_cannot_log_in_even_with_the_key_of_the_first_day(box: Operator) -> None:
    bench = box.lab.folder / BENCH_KEY
    public = bench.with_suffix(".pub").read_text().split()[1]
    assert public in box.lab.exec(MUELLER, ["cat", "/root/.ssh/authorized_keys"]).stdout
    assert refused(box, "root", bench)


def test_a_key_that_somebody_adds_to_an_account_from_inside_does_not_count(box: Operator, tmp_path: Path) -> None:
    identity, public = new_key(tmp_path, "slipped-in")
    script = "install -d -m 700 ~/.ssh && cat > ~/.ssh/authorized_keys && chmod 600 ~/.ssh/authorized_keys"
    box.lab.exec(MUELLER, ["runuser", "-u", "anna", "--", "sh", "-c", f"cd; {script}"], stdin=f"{public}\n")
    assert refused(box, "anna", identity)


def test_a_new_operator_comes_in_and_a_removed_one_loses_all_but_his_files(box: Operator, tmp_path: Path) -> None:
    identity, public = new_key(tmp_path, BEN)
    with_ben = box.with_fleet(
        tmp_path / "fleet", lambda fleet, _: fleet["operators"].append({"name": BEN, "keys": [public]})
    )
    assert refused(box, BEN, identity)

    assert with_ben.converge().status == 0
    entered = log_in(box, BEN, identity, "echo mine > kept && sudo -n id -un")
    assert entered.stdout == "root\n", entered.stderr
    forwarded_nothing(box, identity)

    assert box.converge().status == 0
    assert refused(box, BEN, identity)
    become_root = ["runuser", "-u", BEN, "--", "sudo", "-n", "true"]
    assert box.lab.exec(MUELLER, become_root, check=False).returncode != 0
    assert box.lab.exec(MUELLER, ["cat", f"/home/{BEN}/kept"]).stdout == "mine\n"
    assert box.lab.exec(MUELLER, ["stat", "--format=%U", f"/home/{BEN}"]).stdout == f"{BEN}\n"


def forwarded_nothing(box: Operator, identity: Path) -> None:
    """Log in with an agent and a display to forward; a plain key, since the certificates forbid both by themselves."""
    session = log_in(
        box,
        BEN,
        identity,
        'echo "agent=$SSH_AUTH_SOCK display=$DISPLAY"',
        options=("-o", "ForwardAgent=yes", "-o", "ForwardX11=yes", "-o", "LogLevel=DEBUG1"),
    )
    assert session.stdout == "agent= display=\n", session.stderr


def test_a_box_that_shows_another_host_key_is_not_converged(
    box: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    swap = (
        "cd /etc/ssh && for end in '' .pub; do mv ssh_host_ed25519_key$end /root/kept$end; done && "
        "ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key && systemctl reload ssh"
    )
    back = (
        "cd /etc/ssh && for end in '' .pub; do mv /root/kept$end ssh_host_ed25519_key$end; done && systemctl reload ssh"
    )
    box.lab.exec(MUELLER, ["sh", "-c", swap])
    try:
        run = box.converge()
    finally:
        box.lab.exec(MUELLER, ["sh", "-c", back])
    assert run.status != 0
    assert run.results == {}
    assert "it shows another host key than the pinned one" in run.output
    assert box.converge().status == 0
    assert not (tmp_path / ".ssh/known_hosts").exists()
