"""What the registry's answers mean: a value, or an error."""

from __future__ import annotations

import http.client
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from palm.errors import ConfigError, RegistryError
from palm.registry_api import schema

__all__ = ["MSGPACK", "Answer", "Refused", "check_version", "error_in", "read"]

T = TypeVar("T")

MSGPACK = "application/msgpack"


class Refused(RegistryError):  # noqa: N818 - says what happened, as palm's own errors do
    """The registry's answer was no; ``code`` is for programs, ``hint`` and the text for people."""

    def __init__(self, status: int, detail: schema.ErrorDetail) -> None:
        super().__init__(detail.text)
        self.status = status
        self.code = detail.code
        self.hint = detail.hint
        self.data = detail.data

    def __str__(self) -> str:
        return f"{self.args[0]} ({self.hint})" if self.hint else str(self.args[0])


class Answer(NamedTuple):
    """An answer as it came; ``kind`` is its media type."""

    status: int
    kind: str
    data: bytes


def check_version(response: http.client.HTTPResponse) -> None:
    """Raise Refused if whoever answers speaks a version that does not go with ours."""
    # One that does not say is the first; but what goes wrong on the way has no version.
    said = response.headers.get(schema.API_HEADER, "" if response.status >= 400 else "1")
    problem = schema.version_problem(schema.API, int(said)) if said.isdecimal() else None
    if problem is not None:
        raise Refused(426, schema.ErrorDetail("version", *problem))


def read(answer: Answer, reply: type[T] | None) -> T:
    """Return the value in an answer, or raise the error that it is."""
    if answer.status >= 400:
        raise error_in(answer.status, answer.data)
    if reply is None:
        return cast(T, None)
    packed = answer.kind.startswith(MSGPACK)
    decode: Any = msgspec.msgpack.decode if packed else msgspec.json.decode
    try:
        return cast(T, decode(answer.data, type=reply))
    except msgspec.DecodeError as error:
        raise RegistryError(f"the registry's answer makes no sense: {error}") from error


def error_in(status: int, data: bytes) -> Exception:
    """Return the error that an answer is."""
    try:
        detail = msgspec.json.decode(data, type=schema.ErrorBody).error
    except msgspec.DecodeError:
        detail = schema.ErrorDetail(code=str(status), text=f"the registry answered {status}")
    if detail.code == "config" and detail.data.get("problems"):
        first = msgspec.convert(detail.data["problems"][0], schema.Problem)
        return ConfigError(
            first.text, file=first.file, line=first.line, key=first.key, hint=first.hint
        )
    if detail.code == "component":
        key = detail.data.get("key") or None
        return ConfigError(detail.text, key=key, hint=detail.hint or None)
    return Refused(status, detail)
