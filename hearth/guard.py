"""The lock-out guard: a change that can cut the operator off holds only if the operator can still come back.

deploy-rs's idea, over SSH alone: the host arms a timer that undoes the change, the change is activated, and the
operator's side must then log in *anew* over a road that it will use from now on (never the first day's), with
pyinfra's own client (a file that ``sshd -t`` accepts, or a client of another make that still gets in, prove nothing).
What comes over that new connection disarms the timer. Without it the host goes back by itself, also when the
operator's machine has died.
"""

from __future__ import annotations

import time

from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from hearth import layout
from hearth.connector import HearthConnector
from hearth.login import RefusedError

ATTEMPTS_EVERY_S = 2.0
# A host that has undone a change needs a moment to reload; after that the operator is told that it did not come back.
GRACE_S = 20
# How long after the last word of a dead connection it may take until its reader has noticed.
NOTICED_S = 2.0


def confirm_anew(connector: HearthConnector, change: str, token: str, until: float) -> str | None:
    """Log in anew and settle the change; return None, or the reason why that cannot be done.

    It is tried until ``until`` (a time of ``time.monotonic()``, in seconds) passes. A refusal is final: an sshd that
    is asked again and again only shuts our address out (PerSourcePenalties), and hides the reason behind that.
    """
    while True:
        try:
            with connector.connect_anew() as session:
                status, output = session.run(f"{layout.APPLY} confirm {change} {token}")
            return None if status == 0 else output
        except RefusedError as fault:
            return str(fault)
        except ConnectError as fault:
            if time.monotonic() + ATTEMPTS_EVERY_S > until:
                return str(fault)
            time.sleep(ATTEMPTS_EVERY_S)


def has_been_undone(connector: HearthConnector, change: str, undone_at: float, until: float) -> bool:
    """Wait for the host to answer over the road taken before, with no such change left; False when ``until`` passes.

    Nobody asks before ``undone_at``, for the penalties' sake. Both are times of ``time.monotonic()``, in seconds.
    """
    # In words, since a sudo that refuses ends with the status of a test that fails.
    look = f"test -e /var/lib/hearth/changes/{change} && echo waiting || echo undone"
    time.sleep(max(0.0, undone_at - time.monotonic()))
    while time.monotonic() < until:
        try:
            with connector.connect_anew(as_before=True) as session:
                if session.run(look)[1].startswith("undone"):
                    return True
        except ConnectError:
            pass
        time.sleep(ATTEMPTS_EVERY_S)
    return False


def put(host: Host, connector: HearthConnector, payload: str, timeout_s: int) -> str | None:
    """Put the change over the existing connection; None when the host took it or its answer got lost on the way.

    A firewall or a tunnel that cuts established connections swallows the answer: then only the new login can tell.
    """
    try:
        succeeded, output = host.run_shell_command(
            StringCommand(layout.APPLY, "put"), _stdin=payload, _timeout=timeout_s
        )
        # A change that fails says why; where nobody says anything, the connection's end may be known a moment later.
        is_silent = not succeeded and not output.output
        lost = "the connection was cut" if connector.is_cut or (is_silent and _is_cut_soon(connector)) else None
    except (TimeoutError, OSError, SSHException) as fault:
        succeeded, lost = False, str(fault)
    if lost is not None:
        logger.info(f"{host.print_prefix}no answer over the old connection ({lost}); logging in anew")
        return None
    return None if succeeded else output.output or "it ended without a word"


def _is_cut_soon(connector: HearthConnector) -> bool:
    until = time.monotonic() + NOTICED_S
    while not connector.is_cut and time.monotonic() < until:
        time.sleep(0.05)
    return connector.is_cut


def still_connected(host: Host, connector: HearthConnector) -> bool:
    """Give the rest of the run a connection again if the change has cut the old one; False when there is none."""
    if not connector.is_cut:
        return True
    try:
        connector.reconnect()
    except ConnectError as fault:
        logger.error(f"{host.print_prefix}the change holds, but the connection was cut and none came after: {fault}")
        return False
    return True


def put_and_confirm(state: State, host: Host, change: str, payload: str, token: str, guard_s: int) -> bool:
    """Put a guarded change and confirm it anew; False (a failed operation) when the host has gone back.

    Called by pyinfra at execution (``FunctionCommand``), so it reports by its result and by the host's log.
    """
    connector = host.connector
    if not isinstance(connector, HearthConnector):
        raise PyinfraError(f"{host.name} is not reached by hearth's connector, so a guarded change cannot be confirmed")
    started = time.monotonic()
    fault = put(host, connector, payload, guard_s // 3)
    if fault is not None:
        logger.error(f"{host.print_prefix}{change}: {fault}")
        return False
    # Two thirds of the host's time are for trying; the last third stays free, since the host's clock started first.
    fault = confirm_anew(connector, change, token, started + guard_s * 2 / 3)
    if fault is None:
        return still_connected(host, connector)
    logger.error(f"{host.print_prefix}{change}: the operator could not log in anew: {fault}")
    if has_been_undone(connector, change, started + guard_s, started + guard_s + GRACE_S):
        logger.error(f"{host.print_prefix}{change}: the host has undone the change by itself and answers again")
    else:
        logger.error(f"{host.print_prefix}{change}: the host does not answer yet; it undoes the change by itself")
    return False
