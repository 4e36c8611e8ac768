"""The relay's router: real HAProxy, real TLS clients on the internet, and stand-ins where the tunnels would end."""

from __future__ import annotations

import json
import subprocess
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from hearth.inventory import load_or_raise
from hearth.lab.lab import Lab
from roles.router import MAPS_PROGRAM, render
from tests.lab.boxes import Operator, wait_for
from tests.lab.fleets import leave_out
from tests.lab.routing import (
    CHUNK_BYTES,
    CHUNKS,
    CROWD,
    DEPLOY,
    GO_ON,
    MUELLER,
    PUBLIC_PORT,
    RELAY,
    SCHMIDT,
    STAND_INS,
    VISITOR,
    WEBER,
    WHOLE,
    Relay,
)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def relay(lab: Lab, bare_relay: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A converged relay with two households, one of which has a public port, and their stand-ins."""
    deploy = tmp_path_factory.mktemp("router") / "relay.py"
    deploy.write_text(DEPLOY)
    made = Relay(lab, bare_relay.inventory, deploy)
    made.household("schmidt", lambda data: data.update(relay={"name": RELAY, "public_port": PUBLIC_PORT}))
    run = made.converge()
    assert run.status == 0, run.output[-4000:]
    tools = "apt-get update -qq && apt-get install -y -qq --no-install-recommends curl openssl procps python3"
    for name in (RELAY, VISITOR):
        lab.exec(name, ["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", tools], timeout_s=300)
    made.on(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
        *("-subj", "/CN=stand-in", "-keyout", "/root/stand-in.key", "-out", "/root/stand-in.crt"),
    )
    text = STAND_INS.replace("CHUNK_BYTES", str(CHUNK_BYTES)).replace("CHUNKS", str(CHUNKS)).replace("GO_ON", GO_ON)
    lab.exec(RELAY, ["sh", "-c", "cat > /root/stand-ins.py"], stdin=text)
    made.on("systemd-run", "--quiet", "--unit=stand-ins", "python3", "/root/stand-ins.py")
    wait_for(lambda: made.on("ss", "-Hltn", "sport = :10443").count("127.") == 4, 20, "the stand-ins")
    yield made


def test_a_second_converge_changes_nothing(relay: Relay) -> None:
    run = relay.converge()
    assert (run.status, run.changed) == (0, [])
    assert len(run.results) > 5


def test_each_name_leads_to_its_household_which_sees_the_visitors_real_address(relay: Relay) -> None:
    visitor = relay.lab.public_address(VISITOR)
    assert relay.curl(f"https://{MUELLER}/") == f"mueller saw {visitor}"
    assert relay.curl(f"https://{SCHMIDT}/") == f"schmidt saw {visitor}"


def test_a_visitor_over_ipv6_is_seen_with_that_address(relay: Relay) -> None:
    ends = {RELAY: "fd00:db8::1", VISITOR: "fd00:db8::2"}
    for name, address in ends.items():
        relay.lab.exec(name, ["ip", "address", "add", f"{address}/64", "dev", "eth0", "nodad"])
    try:
        to_relay = ("--resolve", f"{MUELLER}:443:[{ends[RELAY]}]")
        assert relay.curl(f"https://{MUELLER}/", *to_relay) == f"mueller saw {ends[VISITOR]}"
    finally:
        for name, address in ends.items():
            relay.lab.exec(name, ["ip", "address", "del", f"{address}/64", "dev", "eth0"])


def test_an_upper_case_name_and_a_hello_in_two_segments_arrive(relay: Relay) -> None:
    asked = ("openssl", "s_client", "-connect", f"{relay.address}:443", "-servername", MUELLER.upper())
    assert "CN=stand-in" in relay.visit(*asked).stdout.replace(" ", "")
    assert relay.seen()[-1][0] == "mueller"
    assert relay.knock(SCHMIDT, "in two")["answered"]
    assert relay.seen()[-1][0] == "schmidt"


@pytest.mark.parametrize(
    "name",
    [
        ("-servername", "unknown.home.example"),
        ("-servername", "home.example"),
        ("-servername", f"x.{MUELLER}"),
        ("-servername", f"{MUELLER}."),
        ("-servername", "127.10.0.17"),
        ("-servername", "198.51.100.11"),
        ("-servername", "127.0.0.1"),
        ("-servername", "#"),
        ("-servername", f"{MUELLER} "),
        ("-noservername",),
    ],
    ids=lambda name: name[-1],
)
def test_a_tls_client_without_a_households_name_reaches_nobody(relay: Relay, name: tuple[str, ...]) -> None:
    before = relay.seen()
    answer = relay.visit("openssl", "s_client", "-connect", f"{relay.address}:443", *name)
    assert "no peer certificate available" in answer.stdout
    assert relay.seen() == before


@pytest.mark.parametrize("how", ["http", "ssh", "zeros", "half", "space"])
def test_what_is_no_whole_hello_with_a_households_name_reaches_nobody(relay: Relay, how: str) -> None:
    before = relay.seen()
    answer = relay.knock(MUELLER, how)
    assert not answer["answered"]
    assert answer["seconds"] < 8
    assert relay.seen() == before
    assert relay.knock(MUELLER, "whole")["answered"], "the same client with a whole hello must get through"


def test_a_public_port_leads_to_its_household_whatever_name_is_asked_for(relay: Relay) -> None:
    visitor = relay.lab.public_address(VISITOR)
    for name in (SCHMIDT, "relay1.home.example"):
        assert relay.curl(f"https://{name}:{PUBLIC_PORT}/") == f"schmidt saw {visitor}"
    assert relay.curl(f"https://{relay.address}:{PUBLIC_PORT}/") == f"schmidt saw {visitor}", "without any name"
    before = relay.seen()
    assert relay.curl(f"http://{SCHMIDT}:{PUBLIC_PORT}/") == ""
    assert relay.seen() == before


@pytest.mark.parametrize(
    ("request_line", "host", "expected"),
    [
        ("/some/page?q=1", MUELLER, f"301 https://{MUELLER}/some/page?q=1"),
        ("/", f"{SCHMIDT.upper()}:80", f"301 https://{SCHMIDT}/"),
        ("//evil.example/", MUELLER, f"301 https://{MUELLER}//evil.example/"),
        ("/", "evil.example", "404 "),
        ("/", f"{MUELLER}.", "404 "),
        ("/", f"evil.example/{MUELLER}", "4"),
        ("/", f"{MUELLER}@evil.example", "4"),
        ("/", "", "4"),
    ],
)
def test_http_is_sent_to_https_of_households_alone(relay: Relay, request_line: str, host: str, expected: str) -> None:
    answer = relay.curl(
        f"http://{relay.address}{request_line}",
        *("--header", f"Host: {host}" if host else "Host:", "--output", "/dev/null"),
        *("--write-out", "%{http_code} %{redirect_url}"),
    )
    assert answer.startswith(expected)
    assert expected in ("4", answer)


def test_the_metrics_are_for_the_relay_alone(relay: Relay) -> None:
    assert "haproxy_process_current_connections" in relay.on("curl", "-s", "http://127.0.0.1:8404/metrics")
    for path in (f"http://{relay.address}:8404/metrics", f"http://{relay.address}/metrics"):
        assert relay.curl(path) == ""
    assert relay.on("ss", "-Hltn", "sport = :8404").split()[3] == "127.0.0.1:8404"


def test_only_root_can_command_haproxy_which_serves_in_a_chroot_without_rights(relay: Relay) -> None:
    asked = "import socket; socket.socket(socket.AF_UNIX).connect('/run/haproxy-master.sock')"
    for user in ("haproxy", "nobody"):
        assert (
            "PermissionError"
            in relay.lab.exec(RELAY, ["runuser", "-u", user, "--", "python3", "-c", asked], check=False).stderr
        )
    worker = relay.on("pgrep", "-u", "haproxy", "haproxy").split()[0]
    assert relay.on("readlink", f"/proc/{worker}/root").strip() == "/var/lib/haproxy"
    assert "CapEff:\t0000000000000000" in relay.on("cat", f"/proc/{worker}/status")


def test_the_journal_names_the_household_the_visitor_and_who_was_refused(relay: Relay) -> None:
    relay.curl(f"https://{MUELLER}/")
    relay.curl(f"https://{SCHMIDT}:{PUBLIC_PORT}/")
    relay.visit("curl", "-sk", "--connect-to", f"::{relay.address}:", "https://no.such.example/")
    time.sleep(1)
    lines = relay.on("journalctl", "--unit=haproxy", "--output=cat").splitlines()
    visitor = relay.lab.public_address(VISITOR)
    assert any(line.startswith(f'household="mueller" visitor={visitor}:') for line in lines)
    assert any('household="schmidt"' in line and "over=ports" in line for line in lines)
    assert any('household="" ' in line and 'asked="no.such.example"' in line for line in lines)


def test_one_household_at_its_limit_does_not_hinder_another(relay: Relay) -> None:
    sources = ["198.51.100.201", "198.51.100.202", "198.51.100.203"]
    for source in sources:
        relay.visit("ip", "address", "add", f"{source}/24", "dev", "eth0")
    argv = ["python3", "-c", CROWD, relay.address, MUELLER, "300", *sources]
    crowd = subprocess.Popen(
        relay.lab.exec_command(VISITOR, argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert crowd.stdout is not None
        counts = json.loads(crowd.stdout.readline())
        limits = render.LIMITS
        assert counts[sources[0]] == limits.per_source
        assert sum(counts.values()) == limits.per_household
        from_third = ("--interface", sources[2], "--max-time", "5")
        assert relay.curl(f"https://{MUELLER}/", *from_third) == ""
        assert relay.curl(f"https://{SCHMIDT}/") == f"schmidt saw {relay.lab.public_address(VISITOR)}"
    finally:
        crowd.communicate("")
        for source in sources:
            relay.visit("ip", "address", "del", f"{source}/24", "dev", "eth0")
    wait_for(lambda: relay.curl(f"https://{MUELLER}/").startswith("mueller"), 10, "room for mueller again")


def test_a_household_comes_and_goes_without_a_reload_and_nobody_else_notices(relay: Relay) -> None:
    processes = relay.processes()
    download = relay.slowly(MUELLER)
    relay.household("weber", lambda data: data.update(id="weber", slot=19, domain=WEBER, support={}))
    run = relay.converge()
    assert (run.status, run.changed) == (0, ["Router | Lead visitors to their households"]), run.output
    came = relay.curl(f"https://{WEBER}/", "--resolve", f"{WEBER}:443:{relay.address}")
    (relay.inventory / "households/weber.yaml").unlink()
    assert relay.converge().status == 0
    before = relay.seen()
    gone = relay.curl(f"https://{WEBER}/", "--resolve", f"{WEBER}:443:{relay.address}")
    assert (came, gone) == (f"weber saw {relay.lab.public_address(VISITOR)}", "")
    assert relay.seen() == before
    assert relay.rest_of(download) == WHOLE
    assert relay.processes() == processes


def test_a_removed_household_loses_its_connections_in_old_processes_too(relay: Relay) -> None:
    old, other = relay.slowly(SCHMIDT), relay.slowly(MUELLER)
    port = {"name": RELAY, "public_port": 20444}
    relay.household("mueller", lambda data: data.update(relay=port))
    assert relay.converge().status == 0, "a port of its own is a matter of the configuration: this reloads"
    assert relay.curl(f"https://{MUELLER}:20444/").startswith("mueller")
    assert len(relay.on("pgrep", "-u", "haproxy", "haproxy").split()) == 2, "the old process must still serve"
    new = relay.slowly(SCHMIDT)
    # Where another test file has started schmidt's box, the machine knows it.
    files = [relay.inventory / name for name in ("households/schmidt.yaml", "local.yaml")]
    texts = [file.read_text() for file in files]
    leave_out(relay.inventory, "schmidt")
    try:
        run = relay.converge()
        assert run.status == 0, run.output
        assert old.wait(timeout=20) != 0
        assert new.wait(timeout=20) != 0
        assert not relay.is_connected(SCHMIDT)
        assert relay.curl(f"https://{SCHMIDT}/") == ""
        assert relay.rest_of(other) == WHOLE
    finally:
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        relay.household("mueller", lambda data: data.update(relay=RELAY))
        assert relay.converge().status == 0
    assert relay.curl(f"https://{SCHMIDT}/").startswith("schmidt")
    assert relay.curl(f"https://{MUELLER}:20444/") == ""


def test_what_was_changed_by_hand_is_repaired_and_never_publishes_the_relay_itself(relay: Relay) -> None:
    hosts = f"{render.FOLDER}/hosts.map"
    relay.ask(f"set map {hosts} {MUELLER} 127.0.0.1")
    relay.ask(f"del map {hosts} {SCHMIDT}")
    relay.ask(f"add map {hosts} evil.example 127.10.0.19")
    before = relay.seen()
    assert relay.curl(f"https://{MUELLER}/") == ""
    assert relay.seen() == before, "127.0.0.1:10443 must not be reached, whatever the map says"
    assert "1 to add, 1 to remove, 1 to change" in relay.on(MAPS_PROGRAM, "check", check=False)
    run = relay.converge()
    assert (run.status, run.changed) == (0, ["Router | See that the running router has these households"]), run.output
    assert relay.curl(f"https://{MUELLER}/").startswith("mueller")
    assert relay.curl(f"https://{SCHMIDT}/").startswith("schmidt")
    assert relay.converge().changed == []


def test_a_port_that_another_program_holds_undoes_the_change_and_the_router_goes_on(relay: Relay) -> None:
    relay.on("systemd-run", "--quiet", "--unit=squatter", "python3", "-m", "http.server", "20445")
    wait_for(lambda: bool(relay.on("ss", "-Hltn", "sport = :20445").strip()), 10, "the other program")
    relay.household("mueller", lambda data: data.update(relay={"name": RELAY, "public_port": 20445}))
    try:
        run = relay.converge()
        assert run.status != 0
        assert "the old files are back" in run.output
        assert "but" not in run.output.partition("the old files are back")[2].splitlines()[0]
        assert relay.curl(f"https://{MUELLER}/").startswith("mueller")
    finally:
        relay.on("systemctl", "stop", "squatter")
        relay.household("mueller", lambda data: data.update(relay=RELAY))
        assert relay.converge().status == 0
    assert relay.converge().changed == []


def test_a_reinstalled_package_keeps_our_configuration(relay: Relay) -> None:
    apt = "apt-get install -y -qq --reinstall haproxy"
    relay.lab.exec(RELAY, ["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", apt], timeout_s=300)
    assert relay.on(MAPS_PROGRAM, "check") == ""
    assert relay.curl(f"https://{MUELLER}/").startswith("mueller")


def test_ten_thousand_households_are_taken_at_runtime(relay: Relay) -> None:
    host = load_or_raise(relay.inventory).relay_hosts()[0]
    one = host.households[0]
    many = tuple(
        replace(one, id=f"household{slot}", slot=slot, domain=f"household{slot}.home.example")
        for slot in range(1, 10001)
    )
    started = time.monotonic()
    maps = render.maps(replace(host, households=many))
    rendered_s = time.monotonic() - started
    processes = relay.processes()
    for name, text in maps.items():
        relay.lab.exec(RELAY, ["sh", "-c", f"cat > {render.FOLDER}/{name}"], stdin=text)
    started = time.monotonic()
    relay.on(MAPS_PROGRAM, "apply")
    applied_s = time.monotonic() - started
    started = time.monotonic()
    relay.on(MAPS_PROGRAM, "check")
    checked_s = time.monotonic() - started
    size = sum(len(text) for text in maps.values())
    print(  # noqa: T201
        textwrap.dedent(f"""
        10,000 households: maps of {size:,} bytes rendered in {rendered_s:.2f} s,
        taken at runtime in {applied_s:.2f} s, compared in {checked_s:.2f} s""")
    )
    try:
        last = "household17.home.example"
        assert relay.curl(f"https://{last}/", "--resolve", f"{last}:443:{relay.address}").startswith("mueller")
        assert relay.processes() == processes
    finally:
        assert relay.converge().status == 0
