"""What all that speaks HTTP here answers: statuses, errors, and values as JSON or as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn
from urllib.parse import unquote_to_bytes

from palm.errors import PalmError, TaskError
from palm.spec.names import check_name

__all__ = [
    "JSON",
    "RAW",
    "Answer",
    "Refused",
    "answer_of",
    "failure_answer",
    "function_named",
    "media_type",
    "parse_json",
]

JSON: Final = "application/json"
RAW: Final = "application/octet-stream"

#: On every answer: nothing of it is for a browser to guess at, to frame or to keep.
HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

#: Seconds after which a caller who was turned away may try again.
RETRY_AFTER: Final = 1

#: By the names of errors and of what they are derived from. A name that this version does not
#: have yet does no harm.
_STATUS: Final = {
    "FunctionNotFound": 404,
    "PayloadTooLarge": 413,
    "DeadlineExceeded": 504,
    "Busy": 503,
    "Cancelled": 503,
    "StageLost": 503,
    "TransportError": 503,
}


@dataclass(slots=True)
class Answer:
    """One answer; ``body`` has the type ``content``."""

    status: int
    body: bytes = b""
    content: str = JSON
    headers: dict[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        """Return the headers to send, but for those of the connection."""
        return {
            "Content-Type": self.content,
            "Content-Length": str(len(self.body)),
            **HEADERS,
            **self.headers,
        }


class Refused(Exception):  # noqa: N818 - reads as a sentence
    """A request that is answered without a call; ``answer`` says why."""

    def __init__(
        self, status: int, kind: str, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.answer = failure_answer(status, kind, text)
        self.answer.headers.update(headers or {})


def failure_answer(status: int, kind: str, text: str) -> Answer:
    """Return an error as all of them look; who comes too early is told when to come again."""
    body = json.dumps({"error": {"type": kind, "text": text}}).encode()
    again = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
    return Answer(status, body, headers=again)


def answer_of(outcome: object, function: str) -> Answer:
    """Return the answer to a call: its result, or its error, without any traceback."""
    if isinstance(outcome, TaskError):
        return failure_answer(_status_of(outcome), outcome.type, outcome.text)
    if isinstance(outcome, PalmError):
        return failure_answer(_status_of(outcome), type(outcome).__name__, str(outcome))
    if isinstance(outcome, bytes | bytearray | memoryview):
        return Answer(200, bytes(outcome), RAW)
    try:
        text = json.dumps(outcome, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return Answer(200, text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        kind = type(outcome).__name__
        text = f"the result of {function}, of type {kind}, cannot be sent as JSON: {error}"
        return failure_answer(500, "UnsupportedResult", text)


def _status_of(error: PalmError) -> int:
    names = (cls.__name__ for cls in type(error).__mro__)
    return next((_STATUS[name] for name in names if name in _STATUS), 500)


def parse_json(body: bytes | bytearray) -> Any:
    """Return the value in a body; raises `Refused` where there is none."""
    try:
        return json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "BadJSON", f"the body is not JSON: {error}") from None


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"there is no {text} in JSON")


def media_type(header: str | None) -> str:
    """Return the type that a ``Content-Type`` names, without its parameters."""
    return (header or "").partition(";")[0].strip().lower()


def function_named(path: str) -> tuple[str, str]:
    """Return the server ("": not said) and the function that a path names.

    Raises
    ------
    Refused
        It names none.
    """
    try:
        text = unquote_to_bytes(path.removeprefix("/")).decode()
        server, dot, function = text.rpartition(".")
        if dot:
            check_name(server)
        if function.isidentifier() and not function.startswith("_"):
            return server, function
    except (PalmError, ValueError):
        pass
    raise Refused(400, "BadName", "a path is /FUNCTION or /SERVER.FUNCTION")
