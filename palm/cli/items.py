"""Items of a job from a file or stdin: one at a time, since there may be no end to them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from palm.errors import ConfigError

__all__ = ["STDIN", "Items"]

STDIN = "-"
_FORMATS = {
    ".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet",
    ".pq": "parquet",
}  # fmt: skip


class Items:
    """The items of a file; iterate it once, in any thread.

    Parameters
    ----------
    path
        The file, or "-" for stdin.
    kind
        "json", "csv", "parquet" or "lines"; without, as the name of the file says.

    Raises
    ------
    ConfigError
        It cannot be opened, or nothing says what it is. While it is iterated: what is wrong
        with it, and in which line.
    """

    def __init__(self, path: str, kind: str | None) -> None:
        self._name = "<stdin>" if path == STDIN else path
        self._kind = kind or _kind_of(path)
        # The buffer of `sys.stdin` is locked by whoever reads it, also at the end of Python.
        try:
            self._file: IO[bytes] = open(0 if path == STDIN else path, "rb", closefd=path != STDIN)  # noqa: SIM115 - closed by `__iter__`
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error

    def __iter__(self) -> Iterator[Any]:
        with self._file:
            match self._kind:
                case "csv":
                    yield from self._rows()
                case "parquet":
                    yield from self._parquet()
                case "lines":
                    yield from (text for _, text in self._lines())
                case _:
                    yield from self._json()

    def _lines(self, lines: Iterable[bytes] | None = None) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(self._file if lines is None else lines, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise self._wrong("this is not UTF-8 text", number) from error
            yield number, text.removesuffix("\n").removesuffix("\r")

    def _json(self) -> Iterator[Any]:
        """A value a line; a ``.json`` may as well be one value, whose elements count if a list."""
        lines: Iterable[bytes] = self._file
        if self._name.endswith(".json"):
            data = self._file.read()
            try:
                value = json.loads(data)
            except ValueError:  # then each line is one
                lines = io.BytesIO(data)
            else:
                yield from value if isinstance(value, list) else [value]
                return
        for number, text in self._lines(lines):
            if text.strip():
                yield self._value(number, text)

    def _value(self, number: int, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            why = str(error).partition(":")[0]
            raise self._wrong(f"this is not JSON: {why}", number, _hint_for(text)) from error

    def _rows(self) -> Iterator[dict[str, str | None]]:
        """The first line has the names of the columns; values are texts."""
        line = 1

        def lines() -> Iterator[str]:
            nonlocal line
            for line, text in self._lines():  # noqa: B007 - the reader's own count is behind
                yield f"{text}\n"

        reader = csv.DictReader(lines(), strict=True)
        try:
            for row in reader:
                if None in row:
                    text = f"this row has more than {len(reader.fieldnames or ())} values"
                    raise self._wrong(text, line)
                yield row
        except csv.Error as error:
            raise self._wrong(f"this is not CSV: {error}", line) from error

    def _parquet(self) -> Iterator[dict[str, Any]]:
        try:
            from pyarrow import ArrowInvalid  # large, and few need it
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            hint = "pip install pyarrow"
            raise ConfigError(f"{self._name}: pyarrow is not installed here", hint=hint) from error
        try:
            for batch in ParquetFile(self._file).iter_batches(1024):
                yield from batch.to_pylist()
        except ArrowInvalid as error:
            raise self._wrong(f"this is not Parquet: {error}", None) from error

    def _wrong(self, text: str, line: int | None, hint: str | None = None) -> ConfigError:
        return ConfigError(text, file=self._name, line=line, hint=hint)


def _kind_of(path: str) -> str:
    if path == STDIN:
        return "json"
    kind = _FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        hint = "--format json, csv, parquet or lines"
        raise ConfigError(f"{path}: its name does not say what it is", hint=hint)
    return kind


def _hint_for(text: str) -> str | None:
    return "--lines takes each line as a text" if text[:1].isalnum() else None
