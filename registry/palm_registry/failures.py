"""Why the registry refuses: one class for each kind of answer that a client can act on."""

from __future__ import annotations

from typing import Any

from palm.errors import RegistryError

__all__ = [
    "Busy",
    "Conflict",
    "Forbidden",
    "Gone",
    "Invalid",
    "NotFound",
    "OtherVersion",
    "Refused",
    "TooLarge",
    "TooMany",
    "Unauthorised",
]


class Refused(RegistryError):  # noqa: N818 - says what happened, as palm's own errors do
    """A request that is not done; ``code`` is for programs, ``data`` for those who know it."""

    def __init__(self, code: str, text: str, hint: str = "", **data: Any) -> None:
        super().__init__(text)
        self.code = code
        self.hint = hint
        self.data = data


class Invalid(Refused):
    """The request says something that cannot be meant."""


class Unauthorised(Refused):
    """Nobody knows who asks."""


class Forbidden(Refused):
    """Whoever asks may not, or not from there."""


class NotFound(Refused):
    """There is no such thing, or not for whoever asks."""


class Conflict(Refused):
    """It does not fit what is there."""


class Gone(Refused):
    """It was there once and will not be again."""


class TooLarge(Refused):
    """The request has more bytes than one may have."""


class Busy(Refused):
    """It could be done, but not now."""


class OtherVersion(Refused):
    """Whoever asks speaks a version of the API that is not understood."""


class TooMany(Refused):
    """It was tried too often; ``data["retry"]`` seconds from now it may be tried again."""
