"""Text of peers in lines of the log: it can neither hide nor pretend anything."""

from __future__ import annotations

from typing import Final

__all__ = ["LINE", "shown"]

#: Most characters of a peer's word in a line, and of its sentence.
WORD: Final = 80
LINE: Final = 1000


def shown(text: str, most: int = WORD) -> str:
    """Return `text` with what is not printable escaped, and cut after `most` characters.

    Unlike what programs print (`palm.spec.text`), a name or a reason is one word or one sentence:
    whatever else is in it stands there for somebody to see.
    """
    line = "".join(map(_visible, text[: most + 1]))
    return line if len(line) <= most else line[:most] + "..."


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
