"""Dead letters: messages that ended every worker that ran them, kept to be sent again.

One file a message, in the state folder of the master's cluster: a line of JSON, which says what it
is, and the payload as it travelled. The names of files sort by time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from palm.errors import PalmError
from palm.files import privatefile
from palm.runtime.folders import Folders, private_folder
from palm.wire.batch import Buffer

__all__ = ["DeadLetters", "Letter"]

#: Most letters that are kept, and most bytes of their files; the oldest make room.
MAX_LETTERS: Final = 10_000
MAX_BYTES: Final = 1 << 30

#: Longest first line of a file, bytes.
MAX_LINE: Final = 256 * 1024

_ENDING: Final = ".letter"


class Letter(msgspec.Struct):
    """What is known of a message.

    ``time`` is when it was given up (seconds, UTC), ``index`` its position in its job, ``size``
    that of its payload (bytes), ``codec`` how that was packed.
    """

    master: str
    function: str
    job: str
    index: int
    attempts: int
    codec: int
    client: str
    text: str
    time: float = 0.0
    size: int = 0
    id: str = ""


class DeadLetters:
    """The dead letters of one cluster."""

    def __init__(self, folder: Path, most: int = MAX_LETTERS, most_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self._most = most
        self._most_bytes = most_bytes

    @classmethod
    def of(cls, folders: Folders) -> DeadLetters:
        """Return those of a cluster; the folder is made if it is not there.

        Raises
        ------
        ConfigError
            The folder cannot be used.
        """
        cluster = private_folder(folders.state / folders.cluster, "PALM_STATE_DIR")
        return cls(private_folder(cluster / "dead-letters", "PALM_STATE_DIR"))

    def add(self, letter: Letter, payload: Buffer) -> list[str]:
        """Keep a letter, which gets its ``id``; return those of the oldest, which made room.

        Raises
        ------
        OSError
            It cannot be written.
        """
        letter.id = f"{time.time_ns():020d}-{os.urandom(3).hex()}"
        letter.time, letter.size = time.time(), len(payload)
        unfinished = self.folder / f"{letter.id}.tmp"
        try:
            with open(unfinished, "xb", opener=_private) as file:
                file.write(msgspec.json.encode(letter) + b"\n")
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self._path(letter.id))
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        return self._trim()

    def letters(self) -> list[Letter]:
        """Return all letters, the oldest first; what is no letter is left out."""
        return [letter for letter in map(self._read, self._ids()) if letter is not None]

    def find(self, letter: str) -> Letter | None:
        """Return a letter by its id."""
        return self._read(letter) if letter in self._ids() else None

    def payload(self, letter: Letter) -> bytes:
        """Return what was sent.

        Raises
        ------
        PalmError
            The letter is gone, or cut off.
        """
        try:
            with open(self._path(letter.id), "rb") as file:
                file.readline(MAX_LINE)
                payload = file.read()
        except OSError as error:
            raise PalmError(f"dead letter {letter.id}: {error.strerror}") from error
        if len(payload) != letter.size:
            raise PalmError(
                f"dead letter {letter.id} has {len(payload):,} of {letter.size:,} bytes"
            )
        return payload

    def remove(self, letter: str) -> bool:
        """Delete a letter; return whether it was there."""
        if letter not in self._ids():
            return False
        self._path(letter).unlink(missing_ok=True)
        return True

    def _path(self, letter: str) -> Path:
        return self.folder / f"{letter}{_ENDING}"

    def _ids(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob(f"*{_ENDING}"))

    def _read(self, letter: str) -> Letter | None:
        try:
            with open(self._path(letter), "rb") as file:
                found = msgspec.json.decode(file.readline(MAX_LINE), type=Letter)
        except (OSError, *privatefile.UNREADABLE):
            return None
        found.id = letter
        return found

    def _trim(self) -> list[str]:
        """Delete the oldest until the rest is within bounds; the latest stays in any case."""
        sizes = dict(self._sizes())
        total, dropped = sum(sizes.values()), []
        for letter in list(sizes)[:-1]:
            if len(sizes) <= self._most and total <= self._most_bytes:
                break
            total -= sizes.pop(letter)
            self._path(letter).unlink(missing_ok=True)
            dropped.append(letter)
        return dropped

    def _sizes(self) -> Iterator[tuple[str, int]]:
        for letter in self._ids():
            try:
                yield letter, self._path(letter).stat().st_size
            except FileNotFoundError:  # removed meanwhile
                continue


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
