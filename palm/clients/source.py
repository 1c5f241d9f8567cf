"""Where a job's items come from: what they are, how many, and by what index they go."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Any

from palm.errors import ConfigError

__all__ = ["Source"]


class Source:
    """Items of a job.

    Attributes
    ----------
    size
        How many there are; None when that is not known.
    is_at_hand
        Whether taking an item cannot block or run code of the user.
    index
        Of the DataFrame or Series that they are from; None for other iterables.
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self.index: Any = None
        self.size: int | None = None
        self.is_at_hand = type(items) in (list, tuple, range)
        self._items = items
        pandas = sys.modules.get("pandas")  # what was never imported cannot have been passed
        if pandas is not None and isinstance(items, pandas.DataFrame | pandas.Series):
            from palm.clients import frame  # pandas: see above

            self.index, self.size = items.index, len(items)
            self._items = frame.items(items)
            self.is_at_hand = True
        elif isinstance(items, str | bytes):
            raise ConfigError(
                "a single text or bytes is not a series of items",
                hint="give [item], or call client.eval for one message",
            )
        elif not _is_iterable(items):
            raise ConfigError(
                f"items of type {type(items).__name__} cannot be iterated",
                hint="give a list, any other iterable, a DataFrame or a Series",
            )
        else:
            self.size = _size(items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)


def _is_iterable(items: Any) -> bool:
    # Asked of the type: `iter` itself is for the thread that takes the items.
    return isinstance(items, Iterable) or hasattr(type(items), "__getitem__")


def _size(items: Any) -> int | None:
    try:
        return len(items) if isinstance(items, Sized) else None
    except TypeError:  # of a job, for one, when the number of its messages is not known
        return None
