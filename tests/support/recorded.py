"""Exchanges with a registry as a version of palm had them: recorded once, replayed for ever.

What only one run can know (a session, a cursor) is a name in the recording: ``{name}`` in a later
request is the value that the answer had where ``keep`` says.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from palm.registry_api import client as client_module
from tests.support.registry import Browser

__all__ = ["Exchange", "differences", "read", "recording", "replay", "write"]

#: Fields of answers that later requests repeat.
_KEPT = ("session", "cursor")


class Exchange(msgspec.Struct):
    """A request and what it got; bodies as JSON has them, with bytes in base64."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    status: int
    answer: Any
    keep: dict[str, str] = {}


@contextmanager
def recording(into: list[Exchange]) -> Iterator[None]:
    """Note what every client of this process sends and gets."""
    send = client_module._send

    def noted(connection: Any, method: str, path: str, body: Any, headers: Any, t: float) -> Any:
        answer = send(connection, method, path, body, headers, t)
        kept = {k: v for k, v in headers.items() if k != "Authorization"}
        into.append(
            Exchange(
                method, path, kept, _decoded(kept.get("Content-Type", ""), body),
                answer[0], _decoded(answer[1], answer[2]),
            )
        )  # fmt: skip
        return answer

    client_module._send = noted
    try:
        yield
    finally:
        client_module._send = send


def write(path: Path, exchanges: list[Exchange]) -> None:
    """Write a recording, with names in place of what only this run can know."""
    names: dict[str, str] = {}
    for exchange in exchanges:
        for value, name in names.items():
            exchange.path = exchange.path.replace(value, f"{{{name}}}")
            exchange.body = _replaced(exchange.body, {value: f"{{{name}}}"})
        for field in _KEPT:
            value = exchange.answer.get(field) if isinstance(exchange.answer, dict) else None
            if value and value not in names:
                names[value] = name = f"{field}{len(names)}"
                exchange.keep[name] = field
    text = json.dumps(msgspec.to_builtins(exchanges, builtin_types=()), indent=1)
    path.write_text(f"{text}\n")


def read(path: Path) -> list[Exchange]:
    """Read a recording."""
    return msgspec.json.decode(path.read_bytes(), type=list[Exchange])


def replay(
    browser: Browser, exchanges: list[Exchange], headers: Mapping[str, str]
) -> Iterator[tuple[Exchange, int, Any]]:
    """Send what was sent then; yield each exchange with the status and the answer of now."""
    names: dict[str, str] = {}
    for exchange in exchanges:
        path, body = exchange.path, exchange.body
        for name, value in names.items():
            path = path.replace(f"{{{name}}}", value)
            body = _replaced(body, {f"{{{name}}}": value})
        packed = "msgpack" in exchange.headers.get("Content-Type", "")
        data = None if body is None else (_packed(body) if packed else json.dumps(body).encode())
        got = browser.ask(exchange.method, path, data, {**exchange.headers, **headers})
        answer = _decoded(got.headers.get("Content-Type", ""), got.body)
        names |= {name: answer[field] for name, field in exchange.keep.items()}
        yield exchange, got.status, answer


def differences(before: Any, now: Any, where: str = "answer") -> list[str]:
    """Say what a reader of then would miss in an answer of now; more than there was is well."""
    if isinstance(before, dict) and isinstance(now, dict):
        missing = [f"{where}.{key} is gone" for key in before if key not in now]
        inner = [differences(before[key], now[key], f"{where}.{key}") for key in before
                 if key in now]  # fmt: skip
        return missing + [each for found in inner for each in found]
    if isinstance(before, list) and isinstance(now, list):
        if before and len(before) != len(now):
            return [f"{where} has {len(now)} entries, and had {len(before)}"]
        pairs = enumerate(zip(before, now, strict=bool(before)))
        return [each for n, (a, b) in pairs for each in differences(a, b, f"{where}[{n}]")]
    kinds = [float if isinstance(value, int | float) else type(value) for value in (before, now)]
    same = kinds[0] is kinds[1] or isinstance(before, bool) is isinstance(now, bool) is True
    return [] if same else [f"{where} is {now!r}, and was {before!r}"]


def _decoded(kind: str, data: bytes | None) -> Any:
    if not data:
        return None
    if "msgpack" in kind:
        return msgspec.to_builtins(msgspec.msgpack.decode(data), builtin_types=())
    return json.loads(data) if "json" in kind else data.decode()


def _packed(body: Any) -> bytes:
    pieces = [{**piece, "bytes": base64.b64decode(piece["bytes"])} for piece in body]
    return msgspec.msgpack.encode(pieces)


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {key: _replaced(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, names) for each in value]
    return value
