"""Work that pyinfra 3.10 does again and again for each fact and operation, done once; the outcome is the same.

Each place is small enough to be sent upstream; tests/unit/asking/test_thrift.py compares it with the stock function.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pyinfra
from pyinfra.api import arguments, util
from pyinfra.api.host import HostData
from pyinfra.api.state import State


def spare_work() -> None:
    """Replace the three functions by thriftier ones; doing it again changes nothing."""
    # By name, since the package has a function that is called as its module.
    operation: Any = sys.modules["pyinfra.api.operation"]
    operation.get_operation_order_from_stack = operation_order
    arguments.all_global_arguments = global_arguments  # type: ignore[assignment]
    HostData.__getattr__ = data_of_host  # type: ignore[method-assign]


stock_global_arguments = arguments.all_global_arguments
stock_operation_order = util.get_operation_order_from_stack
stock_data_of_host = HostData.__getattr__


@functools.cache
def global_arguments() -> tuple[tuple[str, type], ...]:
    """All global arguments and their types: type hints of a class, which pyinfra evaluates for each fact."""
    return tuple(stock_global_arguments())


def operation_order(state: State) -> list[int]:
    """The line numbers that lead from the deploy file to the operation being added.

    ``inspect.stack``, which pyinfra takes, reads the source around each frame, and that twice.
    """
    frames = list(_frames(sys._getframe(1)))[::-1]
    names = [frame.f_code.co_filename for frame in frames]
    deploy, first = state.current_deploy_filename, 0
    if deploy:
        first = names.index(deploy) if deploy in names else len(names)
    own = [state.current_op_file_number] if pyinfra.is_cli else []
    # Neither pyinfra's own frames nor ours, which stand before a deploy that another one includes.
    inner = (util.PYINFRA_INSTALL_DIR, str(Path(__file__).parent))
    found = zip(frames[first:], names[first:], strict=True)
    return own + [frame.f_lineno for frame, name in found if not name.startswith(inner)]


def data_of_host(data: HostData, key: str) -> Any:
    """A host's data by name. For each fact, pyinfra looks for each of its 34 global arguments here, in five places.

    Most are in none: that is told by the names that the inventory has, which do not change any more.
    """
    known = data.__dict__
    if "names" not in known:
        # Between what a deploy sets and its defaults: of the command line, the host, its groups, the inventory.
        known["names"] = frozenset(name for place in data.datas[1:-1] for name in place())
    if key not in known["names"] and key not in data.override_datas and key not in data.datas[-1]():
        raise AttributeError(f"Host `{data.host}` has no data `{key}`")
    return stock_data_of_host(data, key)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
