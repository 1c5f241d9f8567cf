"""A worker's target that runs any callable: ``palm worker palm.executors --master foo``.

It is what `palm.Client.executor` calls. Whoever may be a client of the master may have anything
run by it, as the user whose worker it is; no worker serves it unless it was told to.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Raised", "call"]


class Raised:
    """What a callable raised, with the text of its traceback."""

    __slots__ = ("error", "traceback")

    def __init__(self, error: Exception, traceback: str) -> None:
        self.error = error
        self.traceback = traceback

    def restore(self) -> Exception:
        """Return the error, with the remote traceback as its cause."""
        self.error.__cause__ = _RemoteTraceback(self.traceback)
        return self.error


class _RemoteTraceback(Exception):  # noqa: N818 - it is no error but where one came from
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def call(payload: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> Any:
    """Call ``function(*args, **kwargs)``; what it raises is returned as `Raised`.

    An error that cannot travel is raised: its type, text and traceback arrive all the same.
    """
    function, args, kwargs = payload
    try:
        return function(*args, **kwargs)
    except Exception as error:
        entry = error.__traceback__
        frames = traceback.format_exception(type(error), error, entry and entry.tb_next)
        if not _travels(error):
            raise
        return Raised(error, "".join(frames))


def _call_each(function: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> list[Any]:
    return [function(*args) for args in items]


def _travels(error: Exception) -> bool:
    """Whether an error can be packed, and made again of that."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever the class of the user's does
        return False
    return True
