"""Results of a job as they are written: a line of JSON each, or rows of CSV."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from palm.cli.failures import FAILED, CommandFailed

__all__ = ["CsvRows", "JsonLines", "Output"]

#: Seconds that a result waits at most for others to be written with it.
_FLUSH_AFTER = 0.05


class JsonLines:
    """Writes each value as JSON on a line of its own; what JSON does not have as its `repr`."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder(enc_hook=_plain).encode

    def line(self, value: Any) -> bytes:
        """Return the line of a value."""
        try:
            return self._encode(value) + b"\n"
        except (TypeError, ValueError, RecursionError):  # a key that is no text, or the like
            return self._encode(repr(value)) + b"\n"


class CsvRows:
    """Writes each value as a row; the first one says which columns there are."""

    def __init__(self) -> None:
        self._columns: list[str] = []
        self._json = JsonLines()

    def line(self, value: Any) -> bytes:
        """Return the row of a value, below the names of the columns if it is the first.

        Raises
        ------
        CommandFailed
            It has a column that the first one has not.
        """
        row = value if isinstance(value, Mapping) else {"result": value}
        cells = {str(key): self._cell(each) for key, each in row.items()}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self._columns:
            self._columns = list(cells)
            writer.writerow(self._columns)
        if more := [key for key in cells if key not in self._columns]:
            hint = "leave --csv out: JSON takes any result"
            text_ = f"a result has {', '.join(more)}, which the first has not ({hint})"
            raise CommandFailed(text_, FAILED)
        writer.writerow([cells.get(key, "") for key in self._columns])
        return text.getvalue().encode("utf-8", "backslashreplace")

    def _cell(self, value: Any) -> str:
        """A text as it is; of anything else what JSON has for it."""
        if value is None:
            return ""
        text = value if isinstance(value, str) else self._json.line(value).decode().strip()
        is_quoted = text is not value and text.startswith('"')
        return str(json.loads(text)) if is_quoted else text


class Output:
    """A file that is flushed soon, not at once: results flow, and many take one call."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._written = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._flush_soon, name="palm-flush", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._over = True
        self._written.set()
        self._thread.join()
        self._file.flush()

    def write(self, data: bytes) -> None:
        """Write data, which is there for others soon."""
        self._file.write(data)
        self._written.set()

    def _flush_soon(self) -> None:
        pause = threading.Event()
        while not self._over:
            self._written.wait()
            pause.wait(_FLUSH_AFTER)
            self._written.clear()
            # What cannot be written is the affair of who writes next, or of the end.
            with suppress(OSError, ValueError):
                self._file.flush()


def _plain(value: Any) -> Any:
    """What JSON has in the place of a value that it has not."""
    for method in ("tolist", "to_dict"):  # of numpy's and of pandas' values
        convert = getattr(value, method, None)
        if callable(convert) and not isinstance(value, type):
            return convert()
    return repr(value)
