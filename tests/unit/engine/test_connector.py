"""Roads to a host: tried in order, host keys pinned, and every failure named."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from hearth.connector import HearthConnector, NoRoadError, first_open
from hearth.inventory.model import Road


class OpenServer(paramiko.ServerInterface):
    """Lets ``anna`` in with any key, and nobody else."""

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL if username == "anna" else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, str, Path]]:
    """A real SSH server on loopback: its port, its host key line, and a client key file."""
    host_key = paramiko.RSAKey.generate(2048)
    client_key = paramiko.RSAKey.generate(2048)
    key_file = tmp_path / "key"
    client_key.write_private_key_file(str(key_file))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(host_key)
            try:
                transport.start_server(server=OpenServer())
            except (paramiko.SSHException, EOFError):
                transport.close()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], f"ssh-rsa {host_key.get_base64()}", key_file
    listener.close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_the_connector_calls_a_host_by_its_plain_name() -> None:
    assert list(HearthConnector.make_names_data("box-mueller")) == [("box-mueller", {}, [])]


def test_a_bare_host_is_reached_over_the_first_days_road_when_the_operators_is_closed(
    server: tuple[int, str, Path],
) -> None:
    port, host_key, key = server
    roads = (
        Road("127.0.0.1", closed_port(), "anna", (host_key,), key),
        Road("127.0.0.1", port, "anna", (host_key,), key),
    )
    client, road = first_open("box-x", roads, timeout_s=5)
    client.close()
    assert road is roads[1]


def test_every_road_that_failed_is_named_with_its_reason(server: tuple[int, str, Path]) -> None:
    port, host_key, key = server
    closed = closed_port()
    roads = (
        Road("127.0.0.1", closed, "anna", (host_key,), key),
        Road("127.0.0.1", port, "mallory", (host_key,), key),
    )
    with pytest.raises(NoRoadError) as caught:
        first_open("box-x", roads, timeout_s=5)
    assert f"anna@127.0.0.1:{closed}" in str(caught.value)
    assert "refused" in str(caught.value)
    assert f"mallory@127.0.0.1:{port}: the login was refused" in str(caught.value)


def test_another_host_key_than_the_pinned_one_is_refused_before_any_login(server: tuple[int, str, Path]) -> None:
    port, _, key = server
    other = f"ssh-rsa {paramiko.RSAKey.generate(2048).get_base64()}"
    with pytest.raises(NoRoadError, match="another host key than the pinned one"):
        first_open("box-x", (Road("127.0.0.1", port, "anna", (other,), key),), timeout_s=5)


def test_a_road_without_a_pinned_host_key_is_not_taken(server: tuple[int, str, Path]) -> None:
    port, _, key = server
    with pytest.raises(NoRoadError, match="no host key is pinned"):
        first_open("box-x", (Road("127.0.0.1", port, "anna", (), key),), timeout_s=5)


def test_a_missing_identity_is_said_and_no_key_of_somebody_else_is_tried(server: tuple[int, str, Path]) -> None:
    port, host_key, key = server
    with pytest.raises(NoRoadError, match="No such private key file"):
        first_open("box-x", (Road("127.0.0.1", port, "anna", (host_key,), key.with_name("gone")),), timeout_s=5)


def test_a_host_without_roads_says_where_to_add_one() -> None:
    with pytest.raises(NoRoadError, match=r"local\.yaml"):
        first_open("box-x", (), timeout_s=5)


def test_small_packets_are_not_held_back(server: tuple[int, str, Path]) -> None:
    port, host_key, key = server
    client, _ = first_open("box-x", (Road("127.0.0.1", port, "anna", (host_key,), key),), timeout_s=5)
    transport = client.get_transport()
    assert transport is not None
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    client.close()
