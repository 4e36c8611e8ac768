"""Being ended by somebody: once is enough."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_once() -> None:
    """Have the first SIGINT or SIGTERM raise KeyboardInterrupt, and later ones do nothing, also to new children.

    So what is cleaned up is cleaned up whole: timeout(1) sends its signal twice (to its child, then to the group), and
    people press Ctrl-C again when it takes long. Also where SIGINT is ignored, as it is for a shell's background job.
    Raises ValueError outside the main thread.
    """
    for number in _SIGNALS:
        signal.signal(number, _end)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
