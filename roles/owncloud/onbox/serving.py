"""Whether a version serves, asked of the box's own web server."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
from typing import Any

from .common import Fault
from .settings import Settings, Web

POLL_S = 120


def judge(answer: dict[str, Any], version: str) -> str:
    """Given the JSON of ``/status.php``, return why this is not ``version`` serving, or the empty string."""
    if answer.get("versionstring") != version:
        return f"status.php says version {answer.get('versionstring')}"
    wrong = [
        words
        for key, wanted, words in (
            ("installed", True, "not installed"),
            ("maintenance", False, "in maintenance mode"),
            ("needsDbUpgrade", False, "in need of a database upgrade"),
        )
        if answer.get(key) is not wanted
    ]
    return f"status.php says it is {' and '.join(wrong)}" if wrong else ""


def ask_status(web: Web, domain: str) -> dict[str, Any]:
    """The JSON of the box's own ``/status.php``. Raises OSError, HTTPException or ValueError.

    Over loopback to the box's own web server, so the certificate is not verified: it may still be the bridge that the
    box signed itself, and nobody else can answer there.
    """
    connection = http.client.HTTPConnection(web.address, web.port, timeout=20)
    connection.sock = socket.create_connection((web.address, web.port), timeout=20)
    if web.tls:
        context = ssl._create_unverified_context()  # noqa: S323
        connection.sock = context.wrap_socket(connection.sock, server_hostname=domain)
    with contextlib.closing(connection):
        connection.request("GET", "/status.php", headers={"Host": domain, "Connection": "close"})
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise ValueError(f"status.php answers {answer.status}")
        return dict(json.loads(answer.read(100_000)))


def wait_until_serving(settings: Settings, version: str) -> None:
    """Return once the web server serves ``version``. Raises Fault after two minutes, with what it said last."""
    deadline, why = time.monotonic() + POLL_S, ""
    while time.monotonic() < deadline:
        try:
            why = judge(ask_status(settings.web, settings.domain), version)
        except (OSError, http.client.HTTPException, ValueError) as fault:
            why = f"status.php cannot be read ({fault})"
        if not why:
            return
        time.sleep(1)
    raise Fault(f"{version} does not serve: {why}")
