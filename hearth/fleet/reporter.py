"""Runs inside ``pyinfra``: writes down what becomes of each host, operation by operation, for the run that started it.

pyinfra's exit status and its table cannot be trusted for this (``--no-wait`` ends with 0 whatever failed, a deploy that
cannot be prepared for one host ends all), so its own callbacks write each step as a line of JSON to the file that
$HEARTH_REPORT names. config.py puts this in place; without the variable nothing changes. ``hearth.fleet.verdict``
reads the lines.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import re
import signal
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import pyinfra_cli.cli  # type: ignore[import-untyped]
import pyinfra_cli.util  # type: ignore[import-untyped]
from pyinfra import context, logger
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State, StateStage
from typing_extensions import override

from hearth.fleet import preview
from hearth.fleet.wire import PARENT, PLAN, REPORT
from hearth.wrapping import wrap

_PR_SET_PDEATHSIG = 1
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_OF_HOST = re.compile(r"^\[([^\]]+)\]\s+(?:nested\s+)?(.*)$", re.DOTALL)
_EMPTY_WORDS = ("Error: executed ", "Error: ")
LAST_LINES = 2


def report_if_asked() -> None:
    """Let this ``pyinfra`` report, and end with the process that started it, when the environment says so."""
    path = os.environ.get(REPORT)
    if not path:
        return
    _end_with_parent(int(os.environ[PARENT]))
    reporter = Reporter(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def connected(stock: Callable[[State], None], state: State) -> None:
        state.callback_handlers.append(reporter)
        if PLAN in os.environ:
            # Which ``-y`` leaves out; without ``-y`` a host that fails is a question to whoever is at the terminal.
            state.check_for_changes = True
            reporter.is_plan = True
            preview.install(reporter.tell)
        logger.addHandler(reporter.errors)
        stock(state)

    def prepared(stock: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return stock(*arguments, **options)
        # A deploy may raise anything, and it is this host's alone.
        except Exception as fault:
            # Not the stand-in that deploys see, which is whatever host is current.
            host = context.state.inventory.get_host(context.host.name)
            reporter.tell(host, "refused", reason=_words(fault))
            context.state.fail_hosts({host})  # type: ignore[no-untyped-call]
            return None

    def named(stock: Callable[..., Any], state: State, op_hash: str, *arguments: Any, **options: Any) -> Any:
        # pyinfra keeps one set of names for an operation of all hosts; ours name what each host has of its own.
        names = options["names"] if "names" in options else arguments[-1]
        reporter.names[context.host.name, op_hash] = ", ".join(sorted(names))
        return stock(state, op_hash, *arguments, **options)

    # Names of pyinfra's that its command line calls: after its state is made, for each host and
    # deploy file, and for each operation of a host.
    wrap(pyinfra_cli.cli, "connect_all", connected)
    wrap(pyinfra_cli.util, "exec_file", prepared)
    # The package has a function of the same name, so the module is not to be had by import.
    wrap(sys.modules["pyinfra.api.operation"], "ensure_shared_op_meta", named)


def _end_with_parent(parent: int) -> None:
    """Have the kernel kill this process as soon as its parent is gone, however that one ended.

    Asked for before any host is touched; a parent that was gone before that shows as another parent's id.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the run that started this is gone; no host was touched")


def _words(fault: Exception) -> str:
    inner = getattr(fault, "exception", fault)
    return str(inner) or type(inner).__name__


class Reporter(BaseStateCallback):
    """pyinfra's callbacks as lines of a file.

    An operation's outcome is complete only after its callback, so it is told at the host's next step. Nested
    operations belong to the one that holds them.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._started: dict[Host, float] = {}
        self._ended: dict[Host, tuple[str, float, float]] = {}
        self.errors = _LastErrors()
        self.is_plan = False
        self.names: dict[tuple[str, str], str] = {}

    def tell(self, host: Host, what: str, **more: Any) -> None:
        """Write a line: which host, what happened, and when (seconds since the epoch)."""
        line = {"host": host.name, "what": what, "at": round(time.time(), 3), **more}
        os.write(self._file, json.dumps(line).encode() + b"\n")

    @override
    def host_before_connect(self, state: State, host: Host) -> None:  # type: ignore[override]
        self.tell(host, "begun")

    @override
    def host_connect_error(self, state: State, host: Host, error: Exception) -> None:  # type: ignore[override]
        self.tell(host, "unreachable", reason=_words(error))

    @override
    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]
        if host.executing_op_hash is None:
            self._tell_ended(state, host)
            self.errors.forget(host.name)
            self._started[host] = time.monotonic()

    @override
    def operation_host_success(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0
    ) -> None:
        self._note(host, op_hash)

    @override
    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        self._note(host, op_hash)

    @override
    def host_disconnect(self, state: State, host: Host) -> None:  # type: ignore[override]
        self._tell_ended(state, host)
        executed = state.current_stage >= StateStage.Execute
        if self.is_plan:
            self._tell_prepared(state, host)
        self.tell(host, "left", operations=len(host.op_hash_order), executed=executed)

    def _tell_prepared(self, state: State, host: Host) -> None:
        """Tell what would change, when nothing is executed; or that a look at the host failed, which pyinfra passes
        over as long as other hosts are left."""
        if host in state.failed_hosts:
            self.tell(host, "refused", reason=self.errors.told(host.name) or "a look at it failed")
        for op_hash in host.op_hash_order:
            meta = state.get_op_data_for_host(host, op_hash).operation_meta
            self.tell(
                host, "prepared", operation=op_hash, name=self.names[host.name, op_hash], changes=meta.will_change
            )

    def _note(self, host: Host, op_hash: str) -> None:
        if host.nested_executing_op_hash is None:
            self._ended[host] = (op_hash, time.monotonic() - self._started[host], time.time())

    def _tell_ended(self, state: State, host: Host) -> None:
        if host not in self._ended:
            return
        op_hash, duration_s, at = self._ended.pop(host)
        data = state.get_op_data_for_host(host, op_hash)
        meta = data.operation_meta
        # An exception out of a command leaves an operation without an outcome: that is a failure as well.
        succeeded = meta.is_complete() and meta.did_succeed()
        self.tell(
            host,
            "operation",
            at=round(at, 3),
            name=self.names[host.name, op_hash],
            changed=succeeded and meta.did_change(),
            failed=not succeeded and not data.global_arguments["_ignore_errors"],
            duration_s=round(duration_s, 3),
            reason=None if succeeded else self.errors.told(host.name),
        )


class _LastErrors(logging.Handler):
    """Keeps the last error lines that pyinfra printed for each host: the words for why an operation failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._lines: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=LAST_LINES))

    @override
    def emit(self, record: logging.LogRecord) -> None:
        found = _OF_HOST.match(_ANSI.sub("", record.getMessage()).strip())
        if found and found[2].strip() and not found[2].startswith(_EMPTY_WORDS):
            self._lines[found[1]].append(found[2].strip())

    def forget(self, host: str) -> None:
        """Begin anew for a host."""
        self._lines.pop(host, None)

    def told(self, host: str) -> str | None:
        """The last lines as one sentence; None when there were none."""
        return "; ".join(self._lines[host]) or None
