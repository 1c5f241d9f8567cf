"""What an application behind a web server does with a request, whatever that server speaks."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from palm.errors import ConfigError, WireError
from palm.gateways import body as bodies
from palm.gateways.access import Access, read_token
from palm.gateways.answers import (
    JSON,
    RAW,
    Answer,
    Refused,
    answer_of,
    failure_answer,
    function_named,
    media_type,
    parse_json,
)
from palm.protocol.effects import Invoke
from palm.protocol.events import Completed
from palm.runtime.executor import Executor
from palm.runtime.functions import FunctionTable
from palm.servers import Worker
from palm.wire.batch import Batch
from palm.wire.codec import Codec, encode_value, is_plain
from palm.wire.message import Result, Task
from palm.wire.outcome import Failure, Kind, encode_failure, failure_of

__all__ = ["MAX_BODY", "Request", "Served", "Service", "no_pickle"]

#: What can be served: a class, an instance, or functions by name.
Served = type[Worker] | Worker | Mapping[str, Callable[[Any], Any]]

#: Bytes of a request, unless told otherwise: a lease has 256 KiB, or one large message.
MAX_BODY: Final = 64 << 20


@dataclass(slots=True)
class Request:
    """What is known of a request before its body; names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    scheme: str = "http"


class Service:
    """Answers requests for the functions of a worker.

    Parameters
    ----------
    served
        A subclass of Worker, an instance of one, or functions by name. `Worker.initialize` is
        called here, once.
    token, token_file
        What callers have to send, or the file that has it.
    allow_pickle
        Whoever has the token is trusted with pickles, which can make this process do anything.
    max_body
        Bytes of a request.
    """

    def __init__(
        self,
        served: Served,
        token: str | None,
        token_file: str | os.PathLike[str] | None,
        *,
        allow_pickle: bool,
        max_body: int,
    ) -> None:
        if (token is None) == (token_file is None):
            hint = "give token=... or token_file=..., as the worker that posts has it"
            raise ConfigError("there must be a token, and one", key="token", hint=hint)
        self.max_body = max_body
        self._access = Access(token if token is not None else read_token(Path(token_file or "")))
        self._allow_pickle = allow_pickle
        self._functions = _table(served)
        # Of what is not plain none is sent either: the other end would refuse it.
        self._sent = self._functions if allow_pickle else _plain_only(self._functions)

    def refuse_early(self, request: Request) -> None:
        """Refuse what can be refused before its body is read; raises `Refused`.

        That is what has no token, is too large, or calls nothing.
        """
        headers = request.headers
        self._access.check_place(headers.get("host"), headers.get("origin"), request.scheme)
        if request.method == "GET" and request.path == "/health":
            return
        if request.method == "GET" and request.path == "/functions":
            self._access.check_token(headers.get("authorization"))
            return
        if request.method != "POST":
            raise Refused(
                405, "MethodNotAllowed", "functions are called by POST", {"Allow": "POST"}
            )
        self._access.check_token(headers.get("authorization"))
        self._function_of(request)
        kind = media_type(headers.get("content-type"))
        if (
            kind not in ("", JSON, RAW, bodies.CONTENT)
            or headers.get("content-encoding", "identity") != "identity"
        ):
            text = f"send {JSON}, bytes as {RAW}, or {bodies.CONTENT}"
            raise Refused(415, "UnsupportedMediaType", text)
        length = headers.get("content-length") or "0"
        if not (length.isascii() and length.isdecimal()):
            raise Refused(400, "BadLength", "Content-Length is not a number")
        if len(length) > 18 or int(length) > self.max_body:
            raise self.too_large()

    def too_large(self) -> Refused:
        """Return the refusal of a body that is too large."""
        return Refused(413, "PayloadTooLarge", f"more than the limit of {self.max_body:,} bytes")

    def answer(self, request: Request, body: bytes) -> Answer:
        """Answer a request that was not refused; runs functions, in the calling thread."""
        if request.path == "/health" and request.method == "GET":
            return Answer(200, b'{"answers": true}')
        if request.path == "/functions" and request.method == "GET":
            return Answer(200, json.dumps(self._functions.names()).encode())
        try:
            name = self._function_of(request)
            kind = media_type(request.headers.get("content-type"))
            if kind == bodies.CONTENT:
                return self._run_batch(name, body)
            return self._call(name, parse_json(body) if kind == JSON else body)
        except Refused as refused:
            return refused.answer

    def _function_of(self, request: Request) -> str:
        server, name = function_named(request.path)
        if server or name not in self._functions:
            raise Refused(404, "FunctionNotFound", f"no function {name!r} is served here")
        return name

    def _call(self, name: str, value: Any) -> Answer:
        try:
            result = self._functions[name](value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a function cannot end its server
            kind, failure = failure_of(error)
            status = 413 if kind == Kind.PAYLOAD_TOO_LARGE else 500
            return failure_answer(status, failure.type, failure.text)
        return answer_of(result, name)

    def _run_batch(self, name: str, body: bytes) -> Answer:
        try:
            task, batch = bodies.unpack_task(body)
        except WireError as error:
            return failure_answer(400, "BadBatch", str(error))
        if task.function != name:
            return failure_answer(400, "BadBatch", f"a batch for {task.function!r}")
        if task.codec == Codec.PICKLE and not self._allow_pickle:
            done = [no_pickle(task.lease, task.n, "the server")]
        else:
            done = self._run(task, batch)
        return Answer(200, bodies.pack(_results(task, done)), bodies.CONTENT)

    def _run(self, task: Task, batch: Batch) -> list[Completed]:
        # Nothing ends a call here: what is over time for its caller goes on, and nobody takes it.
        task.timeout, task.lease = 0.0, 1
        executor = Executor(self._sent)
        done: list[Completed] = []
        at = 0
        while at < task.n:
            answers = executor.run(Invoke(task, batch, at, task.n))
            for each in answers:
                takes_pickle = each.codec == Codec.PICKLE and (not each.kinds or 0 in each.kinds)
                refused = takes_pickle and not self._allow_pickle  # an int of 100 bits, say
                done.append(no_pickle(each.lease, each.n, "the server") if refused else each)
                at += each.n
        return done


def no_pickle(lease: int, n: int, who: str) -> Completed:
    """Return the failure of messages that would take a pickle to be sent or read."""
    text = (
        f"it takes a pickle, which {who} does not accept: send None, bool, int, float, str, bytes,"
        " lists, and dicts with texts as keys, or allow pickles at both ends"
    )
    failure = encode_failure(Failure("PickleRefused", text))
    kinds = bytes([Kind.TASK_ERROR]) * n
    batch = Batch.pack([failure] * n)
    return Completed(lease, n, Codec.MSGPACK, batch, time.time(), bytes(4 * n), kinds)


def _results(task: Task, done: list[Completed]) -> Iterator[tuple[Result, Batch]]:
    first = task.first
    for each in done:
        if each.n:
            yield (
                Result(
                    0,
                    task.lease,
                    b"",
                    task.job,
                    first,
                    each.n,
                    task.attempt,
                    each.codec,
                    each.started,
                    each.durations,
                    each.kinds,
                ),
                each.batch,
            )
        first += each.n


def _table(served: Served) -> FunctionTable:
    if isinstance(served, Mapping):
        table = FunctionTable(served)
    else:
        worker = served() if isinstance(served, type) else served
        table = worker._table_of()  # a public name would be one that no function can have
        worker.initialize()
    if not table:
        raise ConfigError("there is nothing to serve", hint="a Worker with public methods")
    return table


def _plain_only(functions: FunctionTable) -> FunctionTable:
    return FunctionTable({name: _plain(functions[name]) for name in functions})


def _plain(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(value: Any) -> Any:
        result = function(value)
        if not is_plain(result) or encode_value(result)[0] == Codec.PICKLE:
            raise TypeError(
                f"its result, of type {type(result).__name__}, takes a pickle to be sent, and"
                " allow_pickle=True was not given"
            )
        return result

    return call
