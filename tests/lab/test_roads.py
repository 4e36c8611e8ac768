"""From the first day to the box behind its tunnel: collected keys, the road through the relay, what comes out of it.

The flow of the first day is what the fixture ``home`` begins with (tests/lab/homes.py): converge the relay, collect it,
converge the box over the bench, collect it, converge the relay again. From there on the bench link is out, as in life.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hearth.lab.lab import Lab
from tests.lab.boxes import DOMAIN, MUELLER, RELAY, Operator, wait_for
from tests.lab.homes import ADDRESS, collect, copied, tunnel_is_up

pytestmark = pytest.mark.lab

VISITOR = "203.0.113.7"
KNOWN_HOSTS = Path("~/.ssh/known_hosts").expanduser()
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIpXP9AFoGk1W0fpexBZwAiJPu0Je/YLODK3EBYBnCqp"

# Run on the relay as HAProxy would: a PROXY v2 header (haproxy's proxy-protocol.txt, section 2.2), then TLS.
VISIT = """
import socket, ssl, struct, sys
address, visitor, name, path = sys.argv[1:]
raw = socket.create_connection((address, 10443), timeout=10)
if visitor:
    body = socket.inet_aton(visitor) + socket.inet_aton(address) + struct.pack("!HH", 50123, 443)
    raw.sendall(b"\\r\\n\\r\\n\\0\\r\\nQUIT\\n\\x21\\x11" + struct.pack("!H", len(body)) + body)
with ssl._create_unverified_context().wrap_socket(raw, server_hostname=name) as tls:
    tls.sendall(f"GET {path} HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    answer = b""
    while part := tls.recv(65536):
        answer += part
print(answer.decode(errors="replace"))
"""


def visit(lab: Lab, path: str, visitor: str = VISITOR) -> str:
    """What the box answers to a visitor whose connection comes out of the relay's end of the tunnel."""
    return lab.exec(RELAY, ["python3", "-", ADDRESS, visitor, DOMAIN, path], stdin=VISIT, check=False).stdout


def known_hosts() -> bytes | None:
    return KNOWN_HOSTS.read_bytes() if KNOWN_HOSTS.exists() else None


def test_a_converge_through_the_relay_needs_no_further_flag_and_changes_nothing(home: Operator) -> None:
    before = known_hosts()
    run = home.converge()
    assert run.status == 0, run.output[-4000:]
    assert len(run.results) > 20
    assert run.changed == []
    assert known_hosts() == before, "the operator's own known_hosts is not touched"


def test_collecting_again_changes_nothing(home: Operator) -> None:
    files = {path: (path.read_text(), path.stat().st_mtime_ns) for path in (home.inventory / "collected").iterdir()}
    run = collect(home, RELAY, "mueller")
    assert (run.returncode, run.stdout) == (0, f"{RELAY}: no change\n{MUELLER}: no change\n")
    assert files == {path: (path.read_text(), path.stat().st_mtime_ns) for path in files}
    assert {path.name for path in files} == {f"{RELAY}.yaml", f"{MUELLER}.yaml"}


def test_what_is_collected_is_public(home: Operator) -> None:
    text = "".join(path.read_text() for path in (home.inventory / "collected").iterdir())
    assert "PRIVATE" not in text
    assert home.lab.exec(MUELLER, ["stat", "-c", "%U %a", "/etc/hearth/tunnel/key"]).stdout == "hearth-tunnel 600\n"


def test_another_pinned_host_key_is_told_and_only_replaced_when_asked_for(home: Operator, tmp_path: Path) -> None:
    other = copied(home, tmp_path / "inventory")
    file = other.inventory / f"collected/{RELAY}.yaml"
    data = yaml.safe_load(file.read_text())
    right = data["tunnel_host_keys"]
    file.write_text(yaml.safe_dump(data | {"tunnel_host_keys": [OTHER_KEY]}))
    refused = collect(other, RELAY)
    assert refused.returncode == 1
    assert refused.stderr.count("SHA256:") == 2
    assert yaml.safe_load(file.read_text())["tunnel_host_keys"] == [OTHER_KEY]
    assert collect(other, RELAY, "--replace").returncode == 0
    assert yaml.safe_load(file.read_text())["tunnel_host_keys"] == right


def test_a_box_that_is_down_fails_alone_and_says_why(home: Operator, tmp_path: Path) -> None:
    """Schmidt's box is switched off; the relay that both are behind answers."""
    if any(host.name == "box-schmidt" and host.state == "running" for host in home.lab.status()):
        home.lab.stop("box-schmidt")
    other = copied(home, tmp_path / "inventory")
    (other.inventory / "collected/box-schmidt.yaml").write_text(f"host_keys: [{OTHER_KEY}]\ntunnel_key: {OTHER_KEY}\n")
    asked = collect(other, "schmidt", "mueller")
    assert asked.returncode == 1
    assert "the relay answers, the box's tunnel is not up" in asked.stderr
    assert asked.stdout == f"{MUELLER}: no change\n"
    run = other.converge(limit="boxes")
    assert "box-schmidt" in run.output
    assert "the relay answers, the box's tunnel is not up" in run.output
    assert run.changed == []
    assert len(run.results) > 20


def test_the_visitors_own_address_stands_in_the_log(home: Operator) -> None:
    assert '"installed":true' in visit(home.lab, "/status.php?roads")
    log = home.lab.exec(MUELLER, ["grep", "roads", "/var/log/apache2/hearth-access.log"]).stdout
    assert log.startswith(f"{VISITOR} - - [")


def test_redirects_carry_no_inner_port(home: Operator) -> None:
    answers = [visit(home.lab, path) for path in ("/apps", "/.well-known/caldav", "/.well-known/carddav")]
    places = [line for answer in answers for line in answer.splitlines() if line.lower().startswith("location:")]
    assert len(places) == 3, answers
    assert all(place.split()[1].startswith(f"https://{DOMAIN}/") for place in places), places


def test_a_connection_without_the_proxy_header_gets_no_answer(home: Operator) -> None:
    assert visit(home.lab, "/status.php", visitor="") == ""


def test_a_forged_proxy_header_gets_nobody_in(home: Operator) -> None:
    """Row 21: from the network the listener is not there; on the box itself only the tunnel's account gets in."""
    forge = "curl -sk --max-time 5 --haproxy-protocol -o /dev/null -w %{http_code}"
    own = home.lab.exec(MUELLER, ["hostname", "-I"]).stdout.split()
    assert own
    for address in own:
        url = f"https://[{address}]:10443/" if ":" in address else f"https://{address}:10443/"
        assert home.lab.exec(MUELLER, [*forge.split(), url], check=False).stdout == "000", address
    for user, code in {"www-data": "000", "anna": "000", "nobody": "000", "hearth-tunnel": "200"}.items():
        as_user = ["setpriv", "--reuid", user, "--regid", "nogroup", "--clear-groups", "--"]
        asked = home.lab.exec(MUELLER, [*as_user, *forge.split(), "https://127.0.0.1:10443/status.php"], check=False)
        assert asked.stdout == code, user


def test_a_header_forged_on_port_443_is_no_header(home: Operator) -> None:
    forge = "curl -sk --max-time 5 --haproxy-protocol -o /dev/null -w %{http_code} https://127.0.0.1/status.php"
    assert home.lab.exec(MUELLER, forge.split(), check=False).stdout == "000"


def test_a_change_of_the_tunnel_holds_although_it_cuts_the_road_that_it_came_over(home: Operator) -> None:
    home.lab.exec(MUELLER, ["sh", "-c", "echo '# drift' >>/etc/hearth/tunnel/known_hosts"])
    run = home.converge()
    assert run.status == 0, run.output[-4000:]
    assert run.changed == [f"tunnel | Keep the tunnel to {RELAY} up"]
    assert "the connection was cut" in run.output
    assert home.converge().changed == []


def test_the_port_of_sshd_moves_although_only_the_tunnel_leads_to_the_box(home: Operator, tmp_path: Path) -> None:
    moved = home.with_fleet(tmp_path / "inventory", lambda fleet, household: household.update(ssh_port=2299))
    run = moved.converge()
    assert run.status == 0, run.output[-4000:]
    assert run.changed == ["sshd | Harden sshd and let the operators in"]
    listening = home.lab.exec(MUELLER, ["ss", "-Hltn"]).stdout
    assert ":2299 " in listening
    assert ":2222 " not in listening
    assert moved.converge().changed == []
    assert home.converge().status == 0


def test_a_relay_with_another_host_key_is_refused_and_the_tunnel_goes_back(home: Operator, tmp_path: Path) -> None:
    """Row 23, and the guard: the box that is told of another key opens no tunnel, and takes the old one up again."""
    other = copied(home, tmp_path / "inventory")
    file = other.inventory / f"collected/{RELAY}.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"tunnel_host_keys": [OTHER_KEY]}))
    run = other.converge()
    assert run.status != 0
    assert "the host has undone the change by itself and answers again" in run.output
    log = home.lab.exec(MUELLER, ["journalctl", "-u", "hearth-tunnel", "-o", "cat"]).stdout
    assert "Host key verification failed" in log
    assert home.converge().changed == []


def test_a_killed_tunnel_comes_back_by_itself_without_the_cloud(home: Operator) -> None:
    cloud = ("apache2", "mariadb", "redis-server", "php8.4-fpm")
    home.lab.exec(MUELLER, ["systemctl", "stop", *cloud])
    try:
        home.lab.exec(MUELLER, ["systemctl", "kill", "--signal=KILL", "hearth-tunnel"])
        wait_for(lambda: not tunnel_is_up(home.lab), 60, "the relay to notice")
        wait_for(lambda: tunnel_is_up(home.lab), 60, "the tunnel")
        assert collect(home, "mueller").stdout == f"{MUELLER}: no change\n"
    finally:
        home.lab.exec(MUELLER, ["systemctl", "start", *cloud])


def test_a_relay_that_is_down_is_named_and_the_box_is_still_found_on_the_bench(home: Operator) -> None:
    home.lab.stop(RELAY)
    try:
        asked = collect(home, "mueller")
        assert asked.returncode == 1
        assert f"the relay {home.lab.address(RELAY)}:2222 cannot be reached" in asked.stderr
        home.lab.bench(MUELLER, True)
        assert collect(home, "mueller").returncode == 0
    finally:
        home.lab.start(RELAY)
        home.lab.bench(MUELLER, False)
    wait_for(lambda: tunnel_is_up(home.lab), 90, "the tunnel")
