"""Exit codes, and the error that carries one."""

from __future__ import annotations

from collections.abc import Iterable

from palm.errors import PalmError
from palm.spec.names import nearest

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "NOT_READY",
    "NO_SUCH_NAME",
    "OK",
    "USAGE",
    "CommandFailed",
    "no_such_name",
]

OK, FAILED, USAGE, NO_SUCH_NAME, NOT_READY, INTERRUPTED = 0, 1, 2, 3, 4, 130


class CommandFailed(PalmError):  # noqa: N818 - reads as a sentence
    """A command that ends with ``code``."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def no_such_name(
    name: str, known: Iterable[str], cluster: str, what: str = "component"
) -> CommandFailed:
    """The error of a name that nothing has, with what was probably meant."""
    names = sorted(set(known))
    meant = nearest(name, names)
    if meant:
        hint = f"; did you mean {meant}?"
    elif names:
        hint = f"; there is {', '.join(names)}"
    else:
        hint = ""
    return CommandFailed(f"no {what} named {name!r} in cluster {cluster!r}{hint}", NO_SUCH_NAME)
