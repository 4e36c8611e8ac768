"""Roads to a host: tried in order, host keys pinned, and every failure named."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from hearth.connector import HearthConnector
from hearth.inventory.hosts import Road
from hearth.login import NoRoadError, RelayLogin, first_open, through


class OpenServer(paramiko.ServerInterface):
    """Lets ``anna`` in with any key, and nobody else; goes on to ``boxes`` (by port) and nowhere else."""

    logins = 0
    boxes: dict[int, int]

    def __init__(self, transport: paramiko.Transport, boxes: dict[int, int]) -> None:
        self.transport, self.boxes = transport, boxes

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        OpenServer.logins += username == "anna"
        return paramiko.common.AUTH_SUCCESSFUL if username == "anna" else paramiko.common.AUTH_FAILED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        if destination[0] != "127.10.0.17":
            return paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        if destination[1] not in self.boxes:
            return paramiko.common.OPEN_FAILED_CONNECT_FAILED
        threading.Thread(target=self.forward, args=(self.boxes[destination[1]],), daemon=True).start()
        return paramiko.common.OPEN_SUCCEEDED

    def forward(self, port: int) -> None:
        # paramiko may wake a second one for the same channel, who then gets None.
        while (channel := self.transport.accept(1)) is None:
            pass
        with socket.create_connection(("127.0.0.1", port)) as box:
            threading.Thread(target=pump, args=(channel, box), daemon=True).start()
            pump(box, channel)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"


def pump(source: socket.socket | paramiko.Channel, sink: socket.socket | paramiko.Channel) -> None:
    try:
        while part := source.recv(4096):
            sink.sendall(part)
    except OSError:
        pass
    finally:
        source.close()
        sink.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, str, Path]]:
    """A real SSH server on loopback: its port, its host key line, and a client key file."""
    host_key = paramiko.RSAKey.generate(2048)
    client_key = paramiko.RSAKey.generate(2048)
    key_file = tmp_path / "key"
    client_key.write_private_key_file(str(key_file))
    listener = socket.create_server(("127.0.0.1", 0))
    # The server plays both parts: a relay, and the box behind it whose tunnel ends at port 10022 (10023: no tunnel).
    boxes = {10022: listener.getsockname()[1]}

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(host_key)
            try:
                transport.start_server(server=OpenServer(transport, boxes))
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
    assert isinstance(transport.sock, socket.socket)
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    client.close()


def behind(server: tuple[int, str, Path], **other: object) -> Road:
    """The road to the box behind the relay, with some of its properties other than they should be."""
    port, host_key, key = server
    given = {"address": "127.10.0.17", "port": 10022, "user": "anna", "host_keys": (host_key,), "identity": key}
    return Road(**{**given, "via": Road("127.0.0.1", port, "anna", (host_key,), key), **other})  # type: ignore[arg-type]


def test_a_box_is_reached_through_its_relay_by_a_login_of_its_own(server: tuple[int, str, Path]) -> None:
    before = OpenServer.logins
    client, road = first_open("box-x", (behind(server),), timeout_s=5)
    transport = client.get_transport()
    assert transport is not None
    assert transport.is_authenticated()
    assert isinstance(transport.sock, paramiko.Channel)
    assert road.via is not None
    assert OpenServer.logins - before == 2, "one at the relay, one at the box"
    client.close()


def test_boxes_behind_one_relay_share_one_login_there(server: tuple[int, str, Path]) -> None:
    before = OpenServer.logins
    found: list[object] = []

    def reach() -> None:
        found.append(first_open("box-x", (behind(server),), timeout_s=10)[0])

    threads = [threading.Thread(target=reach) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 5
    assert OpenServer.logins - before == 5 + 1


def test_a_login_at_the_relay_that_died_is_replaced(server: tuple[int, str, Path]) -> None:
    road = behind(server)
    assert road.via is not None
    first_open("box-x", (road,), timeout_s=5)
    through(road.via).close()
    client, _ = first_open("box-x", (road,), timeout_s=5)
    transport = client.get_transport()
    assert transport is not None
    assert transport.is_active()


def test_small_packets_to_the_relay_are_not_held_back(server: tuple[int, str, Path]) -> None:
    road = behind(server).via
    assert road is not None
    transport = RelayLogin(road)._transport(5)
    assert isinstance(transport.sock, socket.socket)
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    transport.close()


def test_a_relay_that_is_down_is_named_with_its_reason_and_the_next_road_is_tried(
    server: tuple[int, str, Path],
) -> None:
    port, host_key, key = server
    down = closed_port()
    through_it = behind(server, via=Road("127.0.0.1", down, "anna", (host_key,), key))
    with pytest.raises(NoRoadError, match=rf"the relay 127\.0\.0\.1:{down} cannot be reached: .*refused"):
        first_open("box-x", (through_it,), timeout_s=5)
    straight = Road("127.0.0.1", port, "anna", (host_key,), key)
    client, road = first_open("box-x", (through_it, straight), timeout_s=5)
    client.close()
    assert road is straight


def test_who_waits_while_a_relay_does_not_answer_shares_the_outcome(server: tuple[int, str, Path]) -> None:
    _, host_key, key = server
    with socket.create_server(("127.0.0.1", 0)) as silent:
        road = behind(server, via=Road("127.0.0.1", silent.getsockname()[1], "anna", (host_key,), key))
        refusals: list[str] = []

        def reach() -> None:
            with pytest.raises(NoRoadError) as caught:
                first_open("box-x", (road,), timeout_s=1)
            refusals.append(str(caught.value))

        threads = [threading.Thread(target=reach) for _ in range(8)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refusals) == 8
        assert time.monotonic() - started < 4, "one time-out for all of them, and not one for each"


def test_a_box_whose_tunnel_is_not_up_says_so(server: tuple[int, str, Path]) -> None:
    with pytest.raises(NoRoadError, match="the relay answers, the box's tunnel is not up"):
        first_open("box-x", (behind(server, port=10023),), timeout_s=5)


def test_a_relay_that_lets_nobody_through_says_what_to_do(server: tuple[int, str, Path]) -> None:
    with pytest.raises(NoRoadError, match="lets operators through to no box: converge the relay"):
        first_open("box-x", (behind(server, address="127.10.0.18"),), timeout_s=5)


def test_the_box_behind_a_relay_must_show_its_own_pinned_key(server: tuple[int, str, Path]) -> None:
    other = f"ssh-rsa {paramiko.RSAKey.generate(2048).get_base64()}"
    with pytest.raises(NoRoadError, match=r"127\.10\.0\.17.*it shows another host key than the pinned one"):
        first_open("box-x", (behind(server, host_keys=(other,)),), timeout_s=5)


def test_the_relay_must_show_its_pinned_key_before_anything_goes_through_it(server: tuple[int, str, Path]) -> None:
    port, _, key = server
    other = f"ssh-rsa {paramiko.RSAKey.generate(2048).get_base64()}"
    with pytest.raises(NoRoadError, match="cannot be reached: it shows another host key"):
        first_open("box-x", (behind(server, via=Road("127.0.0.1", port, "anna", (other,), key)),), timeout_s=5)
