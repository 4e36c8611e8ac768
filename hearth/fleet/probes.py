"""Looking at hosts from outside: the effects of ``hearth.fleet.gate``, and of whoever else wants to know."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from pyinfra.api.exceptions import ConnectError

from hearth.fleet.events import Check
from hearth.fleet.gate import Outside, Web, status_fault
from hearth.fleet.masking import masked
from hearth.inventory.hosts import Road
from hearth.login import through

TIMEOUT_S = 15.0
# A converge may have cut the tunnel, which comes back within its restart's wait and the relay's notice of the old one.
PATIENCE_S = 60.0
EVERY_S = 3.0
MOST_BYTES = 65_536


def look(target: Outside) -> tuple[Check, ...]:
    """Look once at all that a host owes from outside. Never raises for what the host does."""
    checks: list[Check] = []
    if target.sshd is not None:
        checks += _sshd(target.sshd)
    if target.tunnel_server is not None:
        checks.append(_check("tunnel server", partial(_greeted, target.tunnel_server)))
    if target.web is not None:
        checks += _cloud(target.web)
    return tuple(checks)


def look_until_passed(
    target: Outside,
    patience_s: float = PATIENCE_S,
    looker: Callable[[Outside], tuple[Check, ...]] = look,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Check, ...]:
    """Look until all is as it should be, or ``patience_s`` seconds have passed; return the last look."""
    until = time.monotonic() + patience_s
    while True:
        checks = looker(target)
        if all(check.passed for check in checks) or time.monotonic() + EVERY_S > until:
            return checks
        sleep(EVERY_S)


def certificate_until(web: Web) -> datetime:
    """Shake hands and return when the certificate that was shown ends. Raises OSError (ssl.SSLError is one)."""
    with _handshake(web) as connection:
        told = connection.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(told["notAfter"])), UTC)


def _cloud(web: Web) -> list[Check]:
    try:
        connection = _handshake(web)
    except (OSError, ValueError) as fault:
        return [Check("certificate", False, _sentence(web, fault))]
    with connection:
        return [Check("certificate", True), _check("status.php", partial(_status, web, connection))]


def _handshake(web: Web) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(web.root) if web.root else None)
    plain = socket.create_connection((web.address, web.port), timeout=TIMEOUT_S)
    try:
        return context.wrap_socket(plain, server_hostname=web.name)
    except BaseException:
        plain.close()
        raise


def _sentence(web: Web, fault: Exception) -> str:
    where = f"{web.name} at {web.address}:{web.port}"
    if isinstance(fault, ssl.SSLCertVerificationError):
        return masked(f"the certificate that {where} shows is not good: {fault.verify_message}")
    return masked(f"{where} gives no TLS handshake ({fault or type(fault).__name__})")


def _status(web: Web, connection: ssl.SSLSocket) -> str | None:
    client = http.client.HTTPConnection(web.name, timeout=TIMEOUT_S)
    # A connection of ours, since http.client can only go where the name leads.
    client.sock = connection
    client.request("GET", "/status.php", headers={"User-Agent": "hearth-gate"})
    answer = client.getresponse()
    return status_fault(answer.status, answer.read(MOST_BYTES))


def _sshd(road: Road) -> list[Check]:
    if road.via is None:
        return [_check("sshd", partial(_greeted, (road.address, road.port)))]
    try:
        channel = through(road.via).channel((road.address, road.port), TIMEOUT_S)
    except ConnectError as fault:
        return [Check("tunnel", False, masked(str(fault)))]
    channel.settimeout(TIMEOUT_S)
    try:
        return [Check("tunnel", True), _check("sshd", lambda: _greeting_fault(channel.recv(64)))]
    finally:
        channel.close()


def _greeted(address: tuple[str, int]) -> str | None:
    with socket.create_connection(address, timeout=TIMEOUT_S) as connection:
        return _greeting_fault(connection.recv(64))


def _greeting_fault(greeting: bytes) -> str | None:
    return None if greeting.startswith(b"SSH-2.0-") else "what answers there is no SSH server"


def _check(name: str, look_at: Callable[[], str | None]) -> Check:
    try:
        fault = look_at()
    except (OSError, EOFError, http.client.HTTPException) as error:
        fault = f"no answer ({error or type(error).__name__})"
    return Check(name, fault is None, masked(fault) if fault else None)
