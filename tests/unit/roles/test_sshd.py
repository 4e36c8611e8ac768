"""sshd's policy, as text and by its effect."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hearth import ssh_policy
from hearth.inventory.model import Operator
from roles import sshd

from .samples import ANNA


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_only_operators_may_log_in_and_only_by_key() -> None:
    config = lines(sshd.config(2222, (ANNA, Operator("ben")), user_ca=True))
    assert "Port 2222" in config
    assert "AllowUsers anna ben" in config
    assert "PermitRootLogin no" in config
    assert "AuthenticationMethods publickey" in config
    assert f"TrustedUserCAKeys {sshd.USER_CA}" in config


def test_a_fleet_without_an_authority_trusts_none() -> None:
    assert "TrustedUserCAKeys" not in sshd.config(22, (ANNA,), user_ca=False)


def test_the_key_exchange_keeps_what_pyinfras_client_knows() -> None:
    """paramiko knows no post-quantum exchange: without curve25519 pyinfra is locked out while ssh is content."""
    import paramiko

    known = set(paramiko.Transport._preferred_kex)
    assert known & set(ssh_policy.KEX)
    assert ssh_policy.KEX[0] == "mlkem768x25519-sha256"


def test_a_relay_lets_operators_go_on_to_households_sshd_and_nowhere_else() -> None:
    config = lines(sshd.config(2222, (ANNA,), user_ca=False, forwarding="*:10022"))
    assert {"AllowTcpForwarding local", "PermitOpen *:10022", "AllowStreamLocalForwarding no"} <= set(config)
    assert "permitopen *:10022" in sshd.effective_settings(2222, "*:10022")


def test_a_boxs_tunnel_ends_on_the_loopback_whatever_the_public_port_is() -> None:
    config = lines(sshd.config(2222, (ANNA,), user_ca=False, tunnel_port=10022))
    listening = [line for line in config if line.startswith("ListenAddress")]
    assert listening == ["ListenAddress 0.0.0.0", "ListenAddress [::]", "ListenAddress 127.0.0.1:10022"]
    assert "listenaddress 127.0.0.1:10022" in sshd.effective_settings(2222, tunnel_port=10022)


def test_on_a_box_forwarding_is_left_as_it_is() -> None:
    assert "Forwarding local" not in sshd.config(2222, (ANNA,), user_ca=False)
    assert not any(line.startswith("permitopen") for line in sshd.effective_settings(2222))


def test_an_operators_keys_lie_in_roots_folder_and_nowhere_else() -> None:
    file = sshd.key_file(ANNA)
    assert file.path == "/etc/ssh/hearth-keys/anna"
    assert (file.owner, file.mode) == ("root", "644")
    assert ANNA.keys[0] in str(file.content).splitlines()


@pytest.mark.parametrize(
    ("effective", "passes"),
    [
        ("{all}", True),
        ("{all}\nport 22", True),
        ("{without port}", False),
        ("{with root}", False),
    ],
)
def test_the_check_judges_what_sshd_would_do_not_what_the_file_says(
    effective: str, passes: bool, tmp_path: Path
) -> None:
    wanted = sshd.effective_settings(2222)
    text = {
        "{all}": "\n".join(wanted),
        "{all}\nport 22": "\n".join((*wanted, "port 22")),
        "{without port}": "\n".join(wanted[1:]),
        "{with root}": "\n".join(wanted).replace("permitrootlogin no", "permitrootlogin yes"),
    }[effective]
    (tmp_path / "effective").write_text(text + "\n")
    program = tmp_path / "sshd"
    program.write_text(f'#!/bin/sh\ncase "$1" in -t) exit 0;; -T) cat {tmp_path}/effective;; esac\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", sshd.check(2222, "anna")],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is passes
    if not passes:
        assert "sshd would not use:" in done.stderr
