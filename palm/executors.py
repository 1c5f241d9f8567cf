"""A worker's target that runs any callable: ``palm worker palm.executors --master foo``.

It is what `palm.Client.executor` calls. Whoever may be a client of the master may have anything
run by it, as the user whose worker it is; no worker serves it unless it was told to.
"""

from __future__ import annotations

import io
import pickle
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["Raised", "call"]


class Raised:
    """What a callable raised, packed, with the text of its traceback."""

    __slots__ = ("packed", "traceback")

    def __init__(self, packed: bytes, traceback: str) -> None:
        self.packed = packed
        self.traceback = traceback

    def restore(self) -> Exception:
        """Return the error, with the remote traceback as its cause."""
        error: Exception = pickle.loads(self.packed)
        error.__cause__ = _RemoteTraceback(self.traceback)
        return error


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
        packed = _pack(error)
        if packed is None:
            raise
        return Raised(packed, "".join(frames))


def _call_each(function: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> list[Any]:
    return [function(*args) for args in items]


class _Pickler(pickle.Pickler):
    """Packs as it is done everywhere: the other side may lack what libraries add to it in here.

    Importing Dask, for one, is enough to have all errors packed by a library of its own.
    """

    dispatch_table: Mapping[type, Any] = {}


def _pack(error: Exception) -> bytes | None:
    """Return an error packed, or None if it cannot be made again of that."""
    packed = io.BytesIO()
    try:
        _Pickler(packed, 5).dump(error)
        pickle.loads(packed.getvalue())
    except Exception:  # noqa: BLE001 - whatever the class of the user's does
        return None
    return packed.getvalue()
