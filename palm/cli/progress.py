"""A line on a terminal that says how far something is; elsewhere nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["progress"]


@contextmanager
def progress(line: Callable[[], str]) -> Iterator[None]:
    """Show what ``line`` returns by then, on stderr, until the block is left.

    It is called in a thread of its own.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # slow to load, and of use on a terminal only

    with Console(stderr=True).status(_Line(line)):
        yield


class _Line:
    """Text that is asked for anew whenever it is drawn."""

    def __init__(self, line: Callable[[], str]) -> None:
        self._line = line

    def __rich__(self) -> Text:
        from rich.text import Text  # see above

        return Text(self._line())
