"""Functions of pyinfra that have no hook, wrapped where they stand."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

_MARK = "taught_by_hearth"


def wrap(place: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Have ``wrapper`` called in place of a function, with that function before its arguments; once, however often.

    Several wrappers of one function are called from the last to the first.

    ``place``: the module or class that has it. Raises AttributeError when it has no such function.
    """
    stock = getattr(place, name)
    before = getattr(stock, _MARK, ())
    if wrapper in before:
        return

    @wraps(stock)
    def taught(*arguments: Any, **options: Any) -> Any:
        return wrapper(stock, *arguments, **options)

    setattr(taught, _MARK, (*before, wrapper))
    setattr(place, name, taught)
