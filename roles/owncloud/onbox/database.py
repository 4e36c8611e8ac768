"""The cloud's database and its account in MariaDB, over the socket, as root. No password is ever an argument."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from .common import Fault, sync_folder
from .settings import Settings
from .system import ENVIRONMENT, as_child, last_words, need_room, run, write_whole

NAME = "hearth_cloud"
SOCKET = "/run/mysqld/mysqld.sock"
# The underscore is a wildcard in the database name of a GRANT.
GRANT = r"GRANT ALL PRIVILEGES ON `hearth\_cloud`.* TO `hearth_cloud`@`localhost`"
DUMP_TIMEOUT_S = 4 * 3600
START_S = 60
NOBODY_LISTENS = b"ERROR 2002"
RESERVE_BYTES = 64 << 20
# A line a row, and the same for the same rows: counted exactly, and a backup sends only the rows that changed.
ROW_BY_ROW = ("--skip-extended-insert", "--no-autocommit", "--skip-dump-date")


def sql(statements: str, *, database: str = "") -> str:
    """Run SQL as MariaDB's root over the socket and return the rows, tab-separated. Raises Fault.

    Waits for a server that is just being started: systemd starts one that crashed after five seconds.
    """
    command = ["mariadb", "--no-defaults", f"--socket={SOCKET}", "--batch", "--skip-column-names", "--raw"]
    deadline = time.monotonic() + START_S
    while True:
        done = run([*command, *([database] if database else [])], stdin=statements.encode())
        if done.returncode == 0:
            return done.stdout.decode(errors="replace")
        if NOBODY_LISTENS not in done.stderr or time.monotonic() > deadline:
            raise Fault(f"MariaDB refused: {last_words(done.stderr)}")
        time.sleep(0.5)


def password_file(settings: Settings) -> Path:
    """Where the account's password lies, for root only."""
    return settings.paths.secrets / "database"


def only_our_grants(rows: str) -> bool:
    """Given the rows of SHOW GRANTS, whether the account may do all in its own database and nothing elsewhere.

    MariaDB lists there what everybody may (TO PUBLIC) as well; that is not the account's.
    """
    grants = sorted(row.strip() for row in rows.splitlines() if "`hearth_cloud`@`localhost`" in row)
    return len(grants) == 2 and grants[0] == GRANT and grants[1].startswith("GRANT USAGE ON *.* TO ")


def is_ready(settings: Settings) -> bool:
    """Whether the account logs in with its password and has just its grants, and the database is there."""
    try:
        password = password_file(settings).read_text().strip()
    except OSError:
        return False
    done = run(
        ["mariadb", "--no-defaults", f"--socket={SOCKET}", f"--user={NAME}", "--batch", "--skip-column-names", "--raw"],
        stdin=f"USE {NAME}; SHOW GRANTS;".encode(),
        env={"MYSQL_PWD": password},
    )
    return done.returncode == 0 and only_our_grants(done.stdout.decode(errors="replace"))


def prepare(settings: Settings) -> None:
    """Make or mend database, account, password and grants. Raises Fault."""
    if is_ready(settings):
        return
    path = password_file(settings)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, secrets.token_hex(20) + "\n")
    create(settings)
    password = path.read_text().strip()
    account = "`hearth_cloud`@`localhost`"
    sql(
        f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{password}';"
        f"ALTER USER {account} IDENTIFIED BY '{password}';"
        f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account};"
        f"{GRANT};"
    )
    if not is_ready(settings):
        raise Fault("the cloud's database account was made and still cannot log in; look at MariaDB's journal")


def create(settings: Settings) -> None:
    """Make the database unless it is there."""
    sql(f"CREATE DATABASE IF NOT EXISTS {NAME} CHARACTER SET utf8mb4 COLLATE {settings.product.collation};")


def has_tables() -> bool:
    """Whether the cloud's database holds anything."""
    return sql("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema='hearth_cloud';").strip() != "0"


def drop(settings: Settings) -> None:
    """Empty the database. The callers know that nothing of the household's is lost by it."""
    sql(f"DROP DATABASE IF EXISTS {NAME};")
    create(settings)


def size_bytes() -> int:
    """What the database holds, as MariaDB estimates it."""
    rows = sql(
        "SELECT COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables "
        "WHERE table_schema='hearth_cloud';"
    )
    return int(rows.strip().split(".")[0])


def dump(path: Path, purpose: str, *options: str) -> dict[str, int]:
    """Write the whole database to ``path``, complete and on the disk; return how many rows of each table are in it.

    The rows are counted with the options ROW_BY_ROW alone. Raises Fault.
    """
    need_room(path.parent, 2 * size_bytes() + RESERVE_BYTES, purpose)
    part = path.with_suffix(".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    command = ["mariadb-dump", "--no-defaults", f"--socket={SOCKET}", "--single-transaction", "--quick", "--hex-blob"]
    with os.fdopen(handle, "wb") as file:
        done = pipe([*command, "--routines", "--triggers", *options, NAME], stdout=file.fileno())
        os.fsync(file.fileno())
    if done.returncode:
        raise Fault(f"{purpose} is not to be had: {last_words(done.stderr)}")
    part.replace(path)
    sync_folder(path.parent)
    return count_rows(path)


def count_rows(path: Path) -> dict[str, int]:
    """Given a dump with a line a row, return each table's number of rows; text with line ends stands in one line."""
    found: dict[str, int] = {}
    with path.open("rb") as file:
        for line in file:
            if line.startswith((b"CREATE TABLE `", b"INSERT INTO `")):
                table = line.split(b"`", 2)[1].decode()
                found[table] = found.get(table, 0) + line.startswith(b"INSERT")
    return found


def restore(settings: Settings, path: Path) -> None:
    """Put a dump of this box's own into a freshly made database; can be repeated until it succeeds. Raises Fault."""
    drop(settings)
    with path.open("rb") as file:
        done = pipe(["mariadb", "--no-defaults", f"--socket={SOCKET}", NAME], stdin=file.fileno())
    if done.returncode:
        raise Fault(f"the database as it was before could not be put back: {last_words(done.stderr)}")


def import_foreign(settings: Settings, path: Path) -> None:
    """Put a dump that another box made into a freshly made database. Raises Fault.

    As www-data and with the cloud's own account, never as root: whoever had that box may have written anything into
    the dump, and so it can reach no more than the cloud itself can.
    """
    drop(settings)
    password = password_file(settings).read_text().strip()
    client = ["mariadb", "--no-defaults", f"--socket={SOCKET}", f"--user={NAME}", NAME]
    with path.open("rb") as file:
        done = pipe(client, stdin=file.fileno(), web=True, env={"MYSQL_PWD": password})
    if done.returncode:
        raise Fault(f"the database of the backup could not be imported: {last_words(done.stderr)}")


def table_rows() -> dict[str, int]:
    """How many rows each table of the cloud's database has, counted."""
    names = sql("SELECT table_name FROM information_schema.tables WHERE table_schema='hearth_cloud';").splitlines()
    if not names:
        return {}
    counts = " UNION ALL ".join(f"SELECT '{name}', COUNT(*) FROM `{name}`" for name in names)  # noqa: S608
    rows = (line.split("\t") for line in sql(f"{counts};", database=NAME).splitlines())
    return {name: int(count) for name, count in rows}


def pipe(
    command: list[str],
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    *,
    web: bool = False,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a MariaDB program between a file and the server; who it is and how it dies is as in ``system.run``."""
    try:
        return subprocess.run(
            as_child(command, web=web),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, **(env or {})},
            timeout=DUMP_TIMEOUT_S,
            check=False,
            close_fds=False,
        )
    except subprocess.TimeoutExpired:
        raise Fault(f"{command[0]} did not end within {DUMP_TIMEOUT_S} seconds") from None
