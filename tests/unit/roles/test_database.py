"""The database role: what it puts on the box."""

from __future__ import annotations

from roles.database import mariadb_files, redis_files


def content(path: str) -> str:
    files = {file.path: file for file in (*mariadb_files(), *redis_files())}
    found = files[path].content
    assert isinstance(found, str)
    return found


def test_mariadb_opens_no_port_and_keeps_no_binary_log() -> None:
    lines = content("/etc/mysql/mariadb.conf.d/99-hearth.cnf").splitlines()
    assert {"skip-networking", "skip-log-bin", "character-set-server = utf8mb4"} <= set(lines)


def test_redis_opens_no_port_and_its_socket_is_for_its_group_alone() -> None:
    text = content("/etc/systemd/system/redis-server.service.d/hearth.conf")
    started = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert started[0] == "ExecStart=", "Debian's own command must be taken away before ours is set"
    assert "--port 0 --unixsocket /run/redis/redis-server.sock --unixsocketperm 770" in started[1]


def test_www_data_is_in_the_group_of_redis() -> None:
    assert "m www-data redis" in content("/etc/sysusers.d/hearth-redis.conf").splitlines()


def test_every_file_says_that_it_belongs_to_hearth() -> None:
    for file in (*mariadb_files(), *redis_files()):
        assert isinstance(file.content, str)
        assert "This file belongs to hearth" in file.content.splitlines()[0]
