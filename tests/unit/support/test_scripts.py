"""Scripts to send: pinned, without a secret, and with nothing in them that a name could have put there."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.inventory.model import Helper, PersonKey, Screen
from hearth.support import pages, ssh
from hearth.support.cases import Case, HelperCase, ScreenCase, Seen, SupportError, find
from hearth.support.scripts import Platform, file_name, script
from roles.tunnel_server.accounts import support_accounts
from tests.unit.support.samples import HOST_FINGERPRINT, HOST_KEY, KARL, OMA, OMAS_KEY, PI, fleet

PLATFORMS: tuple[Platform, ...] = ("linux", "windows", "macos")
NAMES = ("opa", "karl")
EVERY = [(name, platform) for name in NAMES for platform in PLATFORMS]

# What would end a quotation or begin a command in sh, in cmd.exe or in HTML, in front of a program that would run.
_BREAK = st.sampled_from(
    ["\n", "\r\n", "'", '"', "$(", "`", ";", "&", "|", "%", "^", "!", ")", "<", ">", "\\", "\0", " "]
)
HOSTILE = st.lists(st.one_of(_BREAK, st.sampled_from(["touch", "broken", "calc", "müller", "-o", "#"]))).map(
    lambda words: "x" + "".join(words)
)


def test_the_literal_commands_are_those_of_the_articles() -> None:
    assert ssh.screen_command(PI, 17934) == "ssh -N -R 17934:localhost:5900 -p 9212 screen@pi1.home.example"
    assert ssh.viewer_command(PI, 17934) == "ssh -N -L 17934:localhost:17934 -p 9212 viewer@pi1.home.example"
    assert ssh.socks_command(PI) == "ssh -N -D 10123 -p 22999 socks@pi1.home.example"


def test_what_is_asked_for_is_what_the_pi_grants() -> None:
    (machine,) = fleet().pi_hosts()
    granted = {account.name: account for account in support_accounts(machine)}
    assert "localhost:17935" in granted["screen"].listen
    assert "localhost:17935" in granted["viewer"].open
    assert "router.lan:80" in granted["socks"].open


@pytest.mark.parametrize(("name", "platform"), EVERY)
def test_every_script_pins_the_host_key_and_keeps_the_tunnel_up(name: str, platform: Platform) -> None:
    told = script(find(fleet(), name), platform)
    assert f"[pi1.home.example]:9212 {HOST_KEY}" in told
    assert "UserKnownHostsFile=hearth-pi1.known_hosts" in told
    assert "GlobalKnownHostsFile=hearth-pi1.known_hosts" in told
    for option in ("StrictHostKeyChecking=yes", "ExitOnForwardFailure=yes", "ServerAliveInterval=15"):
        assert f"-o {option}" in told
    assert "-p 9212" in told
    assert "id_ed25519" in told
    assert "PRIVATE" not in told


@pytest.mark.parametrize(("name", "platform"), EVERY)
def test_every_form_is_free_of_secrets_and_of_other_peoples_keys(name: str, platform: Platform) -> None:
    case = find(fleet(), name)
    for told in (pages.text(case, platform), pages.page(case, platform), script(case, platform)):
        assert "PRIVATE KEY" not in told
        keys = set(re.findall(r"AAAA[A-Za-z0-9+/]{30,}", told))
        assert keys == {HOST_KEY.split()[1]}


@pytest.mark.parametrize("platform", ["linux", "macos"])
@pytest.mark.parametrize("name", NAMES)
def test_a_shell_script_is_a_shell_script(name: str, platform: Platform) -> None:
    told = script(find(fleet(), name), platform)
    assert told.startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n"], input=told, text=True, check=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_windows_script_is_a_double_click_with_plink_as_the_way_out(name: str) -> None:
    case = find(fleet(), name)
    told = script(case, "windows")
    assert file_name(case, "windows").endswith(".cmd")
    assert told.startswith("@echo off\r\n")
    assert told.count("\n") == told.count("\r\n")
    assert f"-hostkey {HOST_FINGERPRINT} " in told
    lines = told.split("\r\n")
    jumps = {line.split("goto ")[1] for line in lines if "goto " in line}
    assert jumps <= {line.removeprefix(":") for line in lines if line.startswith(":")}


def test_tightvnc_listens_to_its_own_computer_alone() -> None:
    told = script(find(fleet(), "opa"), "windows")
    for setting in ("AllowLoopback:1", "LoopbackOnly:1", "AcceptHttpConnections:0", "RfbPort:5900"):
        assert setting in told
    assert "SERVER_ADD_FIREWALL_EXCEPTION=0" in told


def test_x11vnc_listens_to_its_own_computer_alone_on_the_port_that_is_forwarded() -> None:
    assert "x11vnc -localhost -rfbport 5900 " in script(find(fleet(), "opa"), "linux")
    assert "x11vnc" not in script(find(fleet(), "opa"), "macos")


def test_a_person_without_that_key_reads_which_one_the_pi_knows(tmp_path: Path) -> None:
    file = tmp_path / "help.sh"
    file.write_text(script(find(fleet(), "mueller/oma"), "linux"))
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["sh", str(file)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "SHA256:vpVILrt3rafLYYmBsSeU+fLoz7hZxB47GVUfWL/2kOc" in done.stderr
    assert list(tmp_path.iterdir()) == [file]


def test_another_identity_is_named_as_it_was_given() -> None:
    case = find(fleet(), "opa")
    assert "key=\"$HOME\"/'my keys/help'" in script(case, "linux", "~/my keys/help")
    assert 'set "KEY=D:\\keys\\help"' in script(case, "windows", "D:\\keys\\help")
    with pytest.raises(SupportError, match="cannot stand in a Windows script"):
        script(case, "windows", 'C:\\a" & calc & "')


def test_an_rsa_key_lies_where_ssh_keygen_puts_one() -> None:
    case = ScreenCase(PI, Seen("mueller", replace(OMA, key=PersonKey("ssh-rsa AAAA oma"))), ())
    assert ssh.usual_identity(case) == "id_rsa"


def _hostile(text: str, *, screen: bool) -> Case:
    """Everything that is a name, as no inventory would let it through."""
    seen = Seen(text, Screen(text, 17934, PersonKey(OMAS_KEY), (text,)))
    helper = Helper(text, KARL.keys, ("pi1",))
    return ScreenCase(PI, seen, (helper,)) if screen else HelperCase(PI, helper, (seen,), socks=True)


@given(HOSTILE, st.booleans())
def test_a_hostile_name_adds_no_line_and_no_word_to_a_shell_script(text: str, screen: bool) -> None:
    for platform in ("linux", "macos"):
        told, tame = script(_hostile(text, screen=screen), platform), script(_hostile("x", screen=screen), platform)
        assert _without_names(told) == _without_names(tame)


@given(HOSTILE, st.booleans())
def test_a_hostile_name_adds_no_line_and_no_word_to_a_batch_file(text: str, screen: bool) -> None:
    told, tame = script(_hostile(text, screen=screen), "windows"), script(_hostile("x", screen=screen), "windows")
    assert _without_names(told) == _without_names(tame)
    assert told.isascii()


def _without_names(told: str) -> list[str]:
    """The lines with what may stand in a comment or after ``say`` and ``echo`` blanked, when it is harmless there."""
    comment = r"(# |rem )((?:Shows|Lets) [A-Za-z0-9_./ -]*)\.(\r?)$"
    spoken = r'^( *(?:say "|echo ))[A-Za-z0-9_./ -]*(: point a VNC)'
    lines = told.split("\n")
    return [re.sub(spoken, r"\1NAME\2", re.sub(comment, r"\1NAME.\3", line)) for line in lines]


@given(HOSTILE)
def test_a_hostile_address_stays_one_word_in_a_shell_and_is_refused_for_windows(text: str) -> None:
    pi = replace(PI, address=f"pi1{text}")
    case = replace(find(fleet(), "opa"), pi=pi)
    command = ssh.screen_command(pi, 17934)
    assert shlex.split(command)[-1] == f"screen@pi1{text}"
    if "\0" not in text:
        call = script(case, "linux").split("keep_up -R ")[1]
        assert shlex.split(call)[:4] == ["17935:localhost:5900", "-p", "9212", f"screen@pi1{text}"]
    if not re.fullmatch(r"[A-Za-z0-9-]*", text):
        with pytest.raises(SupportError):
            script(case, "windows")


@given(HOSTILE, st.booleans())
def test_a_hostile_name_adds_no_element_to_the_page_and_no_line_to_a_remmina_file(text: str, screen: bool) -> None:
    case, tame = _hostile(text, screen=screen), _hostile("x", screen=screen)
    assert re.findall(r"<[^>]*", _without_data(pages.page(case, "linux"))) == re.findall(
        r"<[^>]*", _without_data(pages.page(tame, "linux"))
    )
    assert len(pages.remmina(case, case.screens[0]).splitlines()) == len(
        pages.remmina(tame, tame.screens[0]).splitlines()
    )


def _without_data(told: str) -> str:
    return re.sub(r'(download|href)="[^"]*"', r'\1=""', told)
