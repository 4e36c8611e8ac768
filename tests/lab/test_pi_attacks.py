"""What the keys of screens, helpers and SOCKS can be abused for at the support Pi, tried with real ssh clients.

Every attack is run against four servers on one Debian 13 Pi (tests/lab/sshds.py); tests/lab/test_pi.py runs them
against a Debian 12 Pi as it was converged. The rows are those of the table in docs/pi.md.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hearth.lab.lab import Lab
from tests.lab.sshds import (
    ANYBODYS,
    ATTACKER,
    KEY,
    OPEN_PORTS,
    VARIANTS,
    Attack,
    Variant,
    start_services,
    start_weaker_sshds,
)
from tests.lab.supporters import (
    KEYS,
    OMA,
    ONKEL,
    OTHER_PORT,
    PAGE,
    PI,
    ROUTER,
    ROUTER_NAME,
    SESSIONS,
    TANTE,
    Pi,
    converged_pi,
    in_router,
    page,
    router_pages,
    screens_attacks,
    socks_attacks,
    viewers_attacks,
    without,
)

pytestmark = pytest.mark.lab

OWN = f"-R {OMA}:localhost:22"
OWN_ATTACKS = {"screen": screens_attacks(KEY), "viewer": viewers_attacks(KEY), "socks": socks_attacks()}
# What is no account's own is tried with one key on the weaker servers, where all keys meet the same.
CASES = [
    *((account, attack, variant) for variant in VARIANTS for account in KEYS for attack in OWN_ATTACKS[account]),
    *(("screen", attack, variant) for variant in VARIANTS for attack in ANYBODYS),
    *((account, attack, "hardened") for account in ("viewer", "socks") for attack in ANYBODYS),
]


@pytest.fixture(scope="module")
def pi(
    lab: Lab,
    lab_inventory: Path,
    start: Callable[..., None],
    bare_pi: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pi]:
    """A converged Pi, the weaker sshds beside it, and a router that lets the attacker through to all of them."""
    start(ATTACKER)
    made = converged_pi(lab, lab_inventory, tmp_path_factory.mktemp("pi-attacks") / "inventory")
    made.on("sh", "-c", f"echo '{ROUTER} {ROUTER_NAME} fritz.box' >>/etc/hosts")
    start_services(lab, PI, TANTE, ONKEL)
    start_weaker_sshds(lab, PI, made.accounts())
    made.on(*shlex.split(OPEN_PORTS))
    forward = "nft add rule inet router prerouting iifname wan tcp dport 9213-9215 dnat ip to 192.168.1.10"
    subprocess.run(in_router(lab, *forward.split()), check=True)
    with router_pages(lab):
        yield made


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_account_may_do_what_it_is_for_on_each_server(pi: Pi, variant: Variant) -> None:
    assert pi.sshd(variant, "screen").holds(OWN)
    assert pi.sshd(variant, "viewer").reads(f"localhost:{ONKEL}") == "banner\n"
    for place in (ROUTER, ROUTER_NAME):
        assert page(0, f"{place}:80").works(pi.sshd(variant, "socks"))


@pytest.mark.parametrize(("account", "attack", "variant"), CASES, ids=str)
def test_an_attack_is_refused_by_both_fences_and_by_each_that_claims_to(
    pi: Pi, account: str, attack: Attack, variant: Variant
) -> None:
    assert attack.is_refused_as_it_shall_be(pi.sshd(variant, account))


def test_a_tunnels_key_opens_no_operators_account_and_no_other_tunnel_account(pi: Pi, tmp_path: Path) -> None:
    """Row 13. The operators' sshd is tried from the Pi's home network: its router forwards the tunnels' ports alone."""
    hardened = pi.sshd("hardened", "screen")
    for account in KEYS:
        mine = pi.sshd("hardened", account)
        for other in KEYS:
            login = f"ssh {{options}} -f -N -M -S /run/attack.sock {other}@{{host}} && echo connected"
            assert (mine.run(login) == "connected\n") is (account == other), (account, other)
    assert hardened.run("timeout 3 bash -c 'exec 3<>/dev/tcp/{host}/2222' && echo connected; true") == ""
    keys, home = "/etc/ssh/hearth-keys/anna", pi.lab.netns(PI)
    file = tmp_path / "oma"
    file.write_text(pi.lab.exec(ATTACKER, ["cat", "/root/keys/oma"]).stdout)
    file.chmod(0o600)
    options = (
        "-F none -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    )
    login = [
        "ip",
        "netns",
        "exec",
        home,
        "ssh",
        *options.split(),
        "-i",
        str(file),
        "-p",
        "2222",
        "anna@127.0.0.1",
        "id",
    ]

    def operator_is_let_in() -> bool:
        return "(anna)" in subprocess.run(login, capture_output=True, text=True, timeout=30, check=False).stdout

    before = pi.on("cat", keys)
    assert not operator_is_let_in()
    pi.lab.exec(PI, ["tee", keys], stdin=before + pi.lab.exec(ATTACKER, ["cat", "/root/keys/oma.pub"]).stdout)
    try:
        assert operator_is_let_in()
    finally:
        pi.lab.exec(PI, ["tee", keys], stdin=before)


def test_a_second_client_with_the_same_key_is_refused_and_the_log_names_the_address(pi: Pi) -> None:
    """Row 15. That a first client may, is the control; and the port is free as soon as it has gone."""
    hardened = pi.sshd("hardened", "screen")
    with hardened.holding(OWN) as granted:
        assert granted
        assert not hardened.holds(OWN)
    assert f"bind [127.0.0.1]:{OMA}: Address already in use" in pi.journal()
    assert hardened.holds(OWN)


def test_keys_that_others_can_write_are_not_read(pi: Pi) -> None:
    """Row 24: root's folders, and StrictModes should that ever fail."""
    files = [line for line in pi.on("find", "/etc/ssh/tunnel-keys", "/etc/ssh/hearth-tunnel").splitlines() if line]
    assert "/etc/ssh/tunnel-keys/screen/mueller/oma" in files
    for account in KEYS:
        writable = [path for path in files if pi.on("runuser", "-u", account, "--", "find", path, "-writable")]
        assert writable == []
    strict, naive = pi.sshd("server", "screen"), pi.sshd("naive", "screen")
    assert strict.holds(OWN)
    for sshd, folder, works in ((strict, "server", False), (naive, "naive", True)):
        pi.on("chmod", "-R", "go+w", f"/etc/ssh/lab/{folder}")
        try:
            assert sshd.holds(OWN) is works
        finally:
            pi.on("chmod", "-R", "go-w", f"/etc/ssh/lab/{folder}")


def test_a_routers_name_means_the_router_whatever_the_pis_dns_says(pi: Pi) -> None:
    """Or who answers for the router's name could lead helpers, and an open SOCKS, to the Pi's own services."""
    before = pi.on("cat", "/etc/hosts")
    pi.lab.exec(PI, ["tee", "/etc/hosts"], stdin=f"127.0.0.1 localhost {ROUTER_NAME}\n")
    try:
        assert page(0, f"{ROUTER_NAME}:80").works(pi.sshd("hardened", "socks"))
        assert pi.sshd("naive", "socks").reads(f"{ROUTER_NAME}:7777") == "banner\n"
    finally:
        pi.lab.exec(PI, ["tee", "/etc/hosts"], stdin=before)
    assert PAGE not in pi.sshd("naive", "socks").reads(f"{ROUTER}:{OTHER_PORT}", "GET / HTTP/1.0\\r\\n\\r\\n")


def test_converging_a_pi_again_changes_nothing(pi: Pi) -> None:
    pi.converge()
    run = pi.converge()
    assert run.status == 0
    assert len(run.results) > 20
    assert run.changed == []


def test_a_person_who_is_taken_out_loses_the_live_session_and_the_others_notice_nothing(pi: Pi) -> None:
    """Row 16; the naive server, whose keys somebody edits by hand, keeps the session: that is the control."""
    pi.on(*shlex.split(OPEN_PORTS))
    screen, viewer, naive = pi.sshd("hardened", "screen"), pi.sshd("hardened", "viewer"), pi.sshd("naive", "screen")
    with screen.holding(OWN) as own, viewer.holding("-L 6001:localhost:17941"), naive.holding("-R 17999:localhost:22"):
        assert own
        before = pi.on("ss", "-Hltnp", f"sport = :{OMA}")
        with pi.with_people(without("karl")):
            run = pi.converge()
        assert run.status == 0, run.output[-4000:]
        assert "karl from 198.51.100" in run.output
        assert pi.on("ss", "-Hltnp", f"sport = :{OMA}") == before != ""
        assert [line for line in pi.on(SESSIONS, "list").splitlines() if "viewer" in line] == []
        assert viewer.reads(f"localhost:{ONKEL}") == ""
        assert pi.listens(17999)
    assert pi.converge().status == 0
    assert viewer.reads(f"localhost:{ONKEL}") == "banner\n"
