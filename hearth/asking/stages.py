"""When pyinfra's stages ask a host: Prepare in one batch, Execute in one batch up to the next change.

pyinfra asks one question at a time, and asks again in each stage. Taught by ``ask_at_once`` (from config.py), it lets
each host's deploy register its operations first. Then every operation is run up to its first question, with nobody
there to answer; the questions that were heard go to the host in one command; and the operations are run again, now
answered from memory, and once more where one asks on. So an operation's questions stand in one place, the operation,
and nothing of an earlier run is needed. What comes next depends on what the operator wants:

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

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyinfra_cli.cli  # type: ignore[import-untyped]
import pyinfra_cli.util  # type: ignore[import-untyped]
from pyinfra import context, logger
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import BaseStateCallback, State, StateOperationHostData
from typing_extensions import override

from hearth.asking.answers import AskedError
from hearth.asking.thrift import spare_work
from hearth.connector import HearthConnector
from hearth.wrapping import wrap

VARIABLE = "HEARTH_BATCH"
ROUNDS = 3


@dataclass
class _Asking:
    """One run: whether pyinfra would detect changes, what each host's operations ask, which of them have been heard.

    ``told``: what they tell the operator, who has not heard it yet.
    """

    detects: bool
    questions: dict[Host, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    settled: dict[Host, set[str]] = field(default_factory=lambda: defaultdict(set))
    told: dict[Host, list[logging.LogRecord]] = field(default_factory=lambda: defaultdict(list))


def ask_at_once() -> None:
    """Teach this ``pyinfra``, unless the environment says otherwise."""
    if os.environ.get(VARIABLE) == "off":
        return
    spare_work()
    asking: dict[State, _Asking] = {}

    def loading_all(stock: Callable[..., None], state: State, filename: str) -> None:
        if state not in asking:
            asking[state] = _Asking(detects=state.check_for_changes)
            state.callback_handlers.append(_Leaving())
        # Operations register themselves and ask nothing; ``_settle`` asks for them.
        state.check_for_changes = False
        try:
            stock(state, filename)
        finally:
            state.check_for_changes = asking[state].detects

    # Around the deploy file and not in it: pyinfra numbers operations by the lines on the stack from that file on.
    def loading(stock: Callable[..., None], state: State, load: Callable[[], Any], name: str) -> None:
        def load_and_settle() -> None:
            load()
            _settle(asking[state], state, _current_host())

        stock(state, load_and_settle if state in asking else load, name)

    def executing(stock: Callable[..., None], state: State, *arguments: Any, **options: Any) -> None:
        if state in asking:
            _begin_execution(asking[state], state)
        stock(state, *arguments, **options)

    wrap(pyinfra_cli.cli, "load_deploy_file", loading_all)
    wrap(pyinfra_cli.util, "_parallel_load_hosts", loading)
    wrap(pyinfra_cli.cli, "run_ops", executing)


def _current_host() -> Host:
    # Not the stand-in that deploys see, which is whatever is current.
    return context.ctx_host.get()  # type: ignore[no-untyped-call,no-any-return]


def _settle(asking: _Asking, state: State, host: Host) -> None:
    """Find out what the host's operations would do; called in the host's own context, once its deploy is loaded."""
    metas = {
        op_hash: state.get_op_data_for_host(host, op_hash).operation_meta
        for op_hash in host.op_hash_order
        if op_hash in state.ops[host] and op_hash not in asking.settled[host]
    }
    asking.settled[host].update(metas)
    if isinstance(host.connector, HearthConnector):
        _look(host.connector, host, metas, asking.questions[host], asking.told[host])
    if asking.detects:
        _tell(asking.told.pop(host, []))
        _detect(state, host, metas)


def _look(
    connector: HearthConnector,
    host: Host,
    metas: dict[str, OperationMeta],
    questions: dict[str, list[str]],
    told: list[logging.LogRecord],
) -> None:
    """Learn by heart what the operations ask, and so what they would do.

    An operation whose second question depends on its first answer is met in the second round; ``questions`` grows, and
    so does what was ``told``.
    """
    for _ in range(ROUNDS):
        with connector.answers.by_heart(), _forgiving(host, told):
            asked = {op_hash: _first_question(meta) for op_hash, meta in metas.items()}
        new = {op_hash: question for op_hash, question in asked.items() if question is not None}
        if not any(question not in questions.get(op_hash, ()) for op_hash, question in new.items()):
            return
        for op_hash, question in new.items():
            questions.setdefault(op_hash, []).append(question)
        connector.gather(new.values())


def _first_question(meta: OperationMeta) -> str | None:
    """Run an operation up to the first question that nobody has answered, and return it.

    None when it comes to its end without one, or asks what cannot be asked in a batch.
    """
    try:
        meta.will_change  # noqa: B018 (a property that runs the operation up to its first command)
    except AskedError as asked:
        return asked.question
    # Whoever runs it in earnest says why it cannot be prepared.
    except Exception:
        return None
    return None


def _detect(state: State, host: Host, metas: dict[str, OperationMeta]) -> None:
    """Detect what each operation will change, and count it for pyinfra's table, as pyinfra does.

    Where that fails, as for the last host of a run, the operations from there on are not the host's: stock pyinfra
    would not have come to them.
    """
    counted = state.get_meta_for_host(host)
    left = list(metas)
    try:
        while left:
            if metas[left[0]].will_change:
                counted.ops_change += 1
                counted.ops_no_change -= 1
            left.pop(0)
    finally:
        for op_hash in left:
            host.op_hash_order.remove(op_hash)
            del state.ops[host][op_hash]
            counted.ops -= 1
            counted.ops_no_change -= 1


class _forgiving:  # noqa: N801 (read as a word of a with statement)
    """Meanwhile an answer that cannot be read fails no host: it leaves the operation in doubt. Nothing is printed.

    What operations tell is kept in ``told``: whether it holds shows when it is known what the run changes. Errors are
    not, for whoever runs the operation in earnest gets them again.
    """

    def __init__(self, host: Host, told: list[logging.LogRecord]) -> None:
        self._host = host
        self._state = host.state
        self._told = told

    def __enter__(self) -> None:
        self._host.state = _Forgiving(self._state)  # type: ignore[assignment]
        logger.addFilter(self._keep)

    def __exit__(self, *_: object) -> None:
        logger.removeFilter(self._keep)
        self._host.state = self._state

    def _keep(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR:
            self._told.append(record)
        return False


def _tell(records: list[logging.LogRecord]) -> None:
    for record in records:
        logger.handle(record)


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
        if not asking.detects and all(_changes_nothing(data) for data in state.ops[host].values()):
            for data in state.ops[host].values():
                data.command_generator = _nothing
            # Nobody runs its operations again, so what they told would be lost.
            _tell(asking.told.pop(host, []))
            connector.leave()
        else:
            connector.answers.ahead = _Ahead(state, host, asking.questions[host])


@dataclass(frozen=True)
class _Ahead:
    """The questions of the operation at work and of those behind it, up to the next that may change something."""

    state: State
    host: Host
    questions: dict[str, list[str]]

    def __call__(self) -> tuple[str, ...]:
        if self.host.executing_op_hash is None:
            return ()
        order = self.host.op_hash_order
        found: list[str] = []
        for op_hash in order[order.index(self.host.executing_op_hash) :]:
            found += self.questions.get(op_hash, ())
            data = self.state.ops[self.host].get(op_hash)
            if data is not None and not _changes_nothing(data):
                break
        return tuple(found)


def _changes_nothing(data: StateOperationHostData) -> bool:
    """Whether an operation was seen to change nothing; not ``will_change``, which would ask."""
    return data.operation_meta._maybe_is_change is False


class _Leaving(BaseStateCallback):
    """Leaves each host after its last operation, while others are still at work."""

    @override
    def operation_host_success(self, state: State, host: Host, op_hash: str, retry_count: int = 0) -> None:  # type: ignore[override]
        if op_hash == host.op_hash_order[-1] and isinstance(host.connector, HearthConnector):
            host.connector.leave()
