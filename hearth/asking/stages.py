"""When pyinfra's stages ask a host: Prepare in one batch, Execute in one batch up to the next change.

pyinfra asks one question at a time, and asks again in each stage. Taught by ``ask_at_once`` (from config.py), it lets
each host's deploy register its operations first. Then every operation is run up to its first question, with nobody
there to answer; the questions that were heard go to the host in one command; and the operations are run again, now
answered from memory. So an operation's questions stand in one place, the operation, and nothing of an earlier run is
needed. What comes next depends on what the operator wants:

- A plan, or a converge that shows its changes first: pyinfra's change detection, as stock. What has no answer in memory
  is asked over SSH. After the operator's Enter everything is asked anew.
- A converge that goes on by itself (``-y``), for which stock pyinfra detects nothing: a look that asks nobody. A host
  where *every* operation says from memory that it changes nothing is as it shall be: nothing is written, so Execute
  would get the same answers and is spared. Any doubt (no answer, an answer that cannot be read) leaves the host to
  Execute, as stock. What somebody else changes in between is for the next run, as if he had come a moment later.

In Execute, whoever asks takes along the questions of the operations behind it, up to the next one that will change
something, since that one makes all answers worthless.

$HEARTH_BATCH=off leaves pyinfra as it is. It has no hooks for this, so three names of its command line are wrapped;
tests/unit/asking/test_stages.py runs the real command and tells when a new pyinfra has moved them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import pyinfra_cli.cli  # type: ignore[import-untyped]
import pyinfra_cli.util  # type: ignore[import-untyped]
from pyinfra import context
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import BaseStateCallback, State
from typing_extensions import override

from hearth.asking.answers import AskedError, unique
from hearth.asking.thrift import spare_work
from hearth.connector import HearthConnector

VARIABLE = "HEARTH_BATCH"


@dataclass
class _Asking:
    """One run: whether pyinfra would detect changes, what each host's operations ask first, whom nobody needs."""

    detects: bool
    questions: dict[Host, dict[str, str | None]] = field(default_factory=dict)
    as_they_shall_be: dict[Host, bool] = field(default_factory=dict)


def ask_at_once() -> None:
    """Teach this ``pyinfra``, unless the environment says otherwise."""
    if os.environ.get(VARIABLE) == "off":
        return
    spare_work()
    asking: dict[State, _Asking] = {}

    def connecting(stock: Callable[..., None], state: State) -> None:
        asking[state] = _Asking(detects=state.check_for_changes)
        # Operations register themselves and ask nothing; ``_settle`` asks for them.
        state.check_for_changes = False
        state.callback_handlers.append(_Leaving())
        stock(state)

    def loading(stock: Callable[..., Any], filename: str, *arguments: Any, **options: Any) -> Any:
        done = stock(filename, *arguments, **options)
        state, host = _current()
        # Not a file that the deploy includes, whose operations are settled with the deploy's.
        if state in asking and filename == state.current_deploy_filename and not state.is_executing:
            _settle(asking[state], state, host)
        return done

    def executing(stock: Callable[..., None], state: State, *arguments: Any, **options: Any) -> None:
        _begin_execution(asking[state], state)
        stock(state, *arguments, **options)

    _wrap(pyinfra_cli.cli, "connect_all", connecting)
    _wrap(pyinfra_cli.util, "exec_file", loading)
    _wrap(pyinfra_cli.cli, "run_ops", executing)


def _wrap(module: Any, name: str, wrapper: Callable[..., Any]) -> None:
    stock = getattr(module, name)

    @wraps(stock)
    def taught(*arguments: Any, **options: Any) -> Any:
        return wrapper(stock, *arguments, **options)

    setattr(module, name, taught)


def _current() -> tuple[State, Host]:
    # Not the stand-ins that deploys see, which are whatever is current.
    state = context.ctx_state.get()  # type: ignore[no-untyped-call]
    return state, context.ctx_host.get()  # type: ignore[no-untyped-call]


def _settle(asking: _Asking, state: State, host: Host) -> None:
    """Find out what the host's operations would do; called in the host's own context, once its deploy is loaded."""
    asked = asking.questions.setdefault(host, {})
    metas = {
        op_hash: state.get_op_data_for_host(host, op_hash).operation_meta
        for op_hash in host.op_hash_order
        if op_hash in state.ops[host] and op_hash not in asked
    }
    connector = host.connector
    if isinstance(connector, HearthConnector):
        with connector.answers.by_heart():
            asked |= {op_hash: _first_question(meta) for op_hash, meta in metas.items()}
        connector.gather(unique(asked.values()))
    else:
        asked |= dict.fromkeys(metas)
    if asking.detects:
        for meta in metas.values():
            _count(state, host, meta)
    elif isinstance(connector, HearthConnector):
        with connector.answers.by_heart(), _forgiving(host):
            # All of them, since Execute wants to know which one is next to change something.
            still = [_surely_changes_nothing(meta) for meta in metas.values()]
        asking.as_they_shall_be[host] = asking.as_they_shall_be.get(host, True) and all(still)


def _first_question(meta: OperationMeta) -> str | None:
    """Run an operation up to its first question, and return it; None when it asks nothing that a batch can answer."""
    try:
        meta.will_change  # noqa: B018 (a property that runs the operation up to its first command)
    except AskedError as asked:
        return asked.question
    # Whoever runs it in earnest says why it cannot be prepared.
    except Exception:
        return None
    return None


def _count(state: State, host: Host, meta: OperationMeta) -> None:
    """Detect whether an operation will change something, and count it for pyinfra's table as pyinfra does."""
    counted = state.get_meta_for_host(host)
    if meta.will_change:
        counted.ops_change += 1
        counted.ops_no_change -= 1


def _surely_changes_nothing(meta: OperationMeta) -> bool:
    try:
        return not meta.will_change
    except (AskedError, Exception):
        return False


class _forgiving:  # noqa: N801 (read as a word of a with statement)
    """Meanwhile an answer that cannot be read fails no host: it leaves the operation in doubt."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._state = host.state

    def __enter__(self) -> None:
        self._host.state = _Forgiving(self._state)  # type: ignore[assignment]

    def __exit__(self, *_: object) -> None:
        self._host.state = self._state


class _Forgiving:
    """pyinfra's state, for a host's facts to see, but for one thing."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    def fail_hosts(self, hosts: set[Host]) -> None:
        """Called by pyinfra for a fact that fails."""
        raise AskedError(None)


def _nothing() -> Iterator[PyinfraCommand]:
    return iter(())


def _begin_execution(asking: _Asking, state: State) -> None:
    """Spare the hosts that are as they shall be; let the others ask anew, up to the next change at a time."""
    for host in state.inventory.get_active_hosts():
        connector = host.connector
        if not isinstance(connector, HearthConnector):
            continue
        connector.answers.forget()
        if asking.as_they_shall_be.get(host):
            for data in state.ops[host].values():
                data.command_generator = _nothing
            connector.leave()
        else:
            connector.answers.ahead = _Ahead(state, host, asking.questions.get(host, {}))


@dataclass(frozen=True)
class _Ahead:
    """The questions of the operation at work and of those behind it, up to the next that may change something."""

    state: State
    host: Host
    questions: dict[str, str | None]

    def __call__(self) -> tuple[str, ...]:
        if self.host.executing_op_hash not in self.questions:
            return ()
        order = self.host.op_hash_order
        found: list[str | None] = []
        for op_hash in order[order.index(self.host.executing_op_hash) :]:
            found.append(self.questions.get(op_hash))
            if not _changes_nothing(self.state, self.host, op_hash):
                break
        return tuple(unique(found))


def _changes_nothing(state: State, host: Host, op_hash: str) -> bool:
    data = state.ops[host].get(op_hash)
    return data is None or data.operation_meta._maybe_is_change is False


class _Leaving(BaseStateCallback):
    """Leaves each host after its last operation, while others are still at work."""

    @override
    def operation_host_success(self, state: State, host: Host, op_hash: str, retry_count: int = 0) -> None:  # type: ignore[override]
        if op_hash == host.op_hash_order[-1] and isinstance(host.connector, HearthConnector):
            host.connector.leave()
