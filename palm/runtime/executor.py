"""Runs the messages of a lease, one after the other, and packs what became of them."""

from __future__ import annotations

import time
import traceback
from array import array
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final

from palm.errors import PayloadTooLarge
from palm.protocol.effects import Invoke
from palm.protocol.events import Completed
from palm.runtime.functions import FunctionTable
from palm.wire.batch import MAX_PAYLOAD, Batch, Buffer
from palm.wire.codec import Codec, decode_values, encode_values
from palm.wire.outcome import Failure, Kind, encode_failure

__all__ = ["Executor"]

#: Seconds after which what is done is answered, though the lease is not at its end.
ANSWER_AFTER: Final = 0.02

#: Bytes of results that one answer should not exceed by far.
ANSWER_SIZE: Final = 256 * 1024


class _Undecodable:
    """Stands for a payload that could not be decoded."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class Executor:
    """Runs functions of a table in the calling thread."""

    def __init__(self, functions: FunctionTable) -> None:
        self._functions = functions
        self._lease = 0
        self._values: list[Any] = []
        self._most = MAX_PAYLOAD

    def run(self, invoke: Invoke) -> Completed:
        """Run messages from ``invoke.start`` on, for `ANSWER_AFTER` seconds or to its ``stop``."""
        task = invoke.task
        if task.lease != self._lease or invoke.start == 0:
            self._lease, self._values = task.lease, _decode(task.codec, invoke.batch)
        function = self._functions[task.function]
        started = time.time()
        results, failures, durations = self._call_all(function, invoke)
        codec, payloads, failures = _encode(results, failures)
        batch = Batch.pack(payloads)
        if batch.size > ANSWER_SIZE:
            self._most = max(1, ANSWER_SIZE * batch.n // batch.size)
        return Completed(
            task.lease,
            batch.n,
            codec,
            batch,
            started,
            durations.tobytes(),
            _kinds(batch.n, failures),
        )

    def _call_all(
        self, function: Callable[[Any], Any], invoke: Invoke
    ) -> tuple[list[Any], dict[int, bytes], array[float]]:
        """Return results, failures by their position among them, and seconds for each."""
        clock = time.perf_counter
        results: list[Any] = []
        failures: dict[int, bytes] = {}
        durations = array("f")
        most = invoke.start + self._most
        before = clock()
        until = before + ANSWER_AFTER
        for at in range(invoke.start, invoke.stop):
            if at >= invoke.stop or at >= most:  # `stop` is lowered while a function runs
                break
            value = self._values[at]
            try:
                if type(value) is _Undecodable:
                    raise value.error
                result = function(value)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # also SystemExit: a function cannot end its worker
                failures[len(results)] = _failure(error)
                result = b""
            results.append(result)
            now = clock()
            durations.append(now - before)
            before = now
            if now >= until:
                break
        return results, failures, durations


def _decode(codec: int, batch: Batch) -> list[Any]:
    payloads = batch.payloads()
    try:
        return decode_values(codec, payloads)
    except Exception:  # whatever a pickle raises: find out whose
        return [_decode_one(codec, payload) for payload in payloads]


def _decode_one(codec: int, payload: Buffer) -> Any:
    try:
        return decode_values(codec, [payload])[0]
    except Exception as error:
        return _Undecodable(error)


def _encode(
    results: list[Any], failures: dict[int, bytes]
) -> tuple[Codec, Sequence[Buffer], dict[int, bytes]]:
    """Return payloads of results and failures; a result that cannot be sent is a failure."""
    try:
        codec, payloads = encode_values(results)
        if all(len(payload) <= MAX_PAYLOAD for payload in payloads):
            for at, payload in failures.items():
                payloads[at] = payload
            return codec, payloads, failures
    except Exception:  # whatever pickling raises: find out which
        pass
    more = dict(failures)
    for at, result in enumerate(results):
        if at not in more:
            try:
                if len(encode_values([result])[1][0]) > MAX_PAYLOAD:
                    raise PayloadTooLarge("a result is too large", limit=MAX_PAYLOAD)
            except Exception as error:
                more[at] = _failure(error, what="its result cannot be sent: ")
    return _encode([b"" if at in more else r for at, r in enumerate(results)], more)


def _kinds(n: int, failures: dict[int, bytes]) -> bytes:
    if not failures:
        return b""
    kinds = bytearray(n)
    for at in failures:
        kinds[at] = Kind.TASK_ERROR
    return bytes(kinds)


def _failure(error: BaseException, what: str = "") -> bytes:
    trace = _trim(error.__traceback__)
    text = "".join(traceback.format_exception(type(error), error, trace))
    return encode_failure(Failure(type(error).__name__, what + _text(error), text))


def _trim(trace: TracebackType | None) -> TracebackType | None:
    """Leave our own frame out: the user's code begins after it."""
    return trace.tb_next if trace is not None and trace.tb_next is not None else trace


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # a user's __str__ may do anything
        return f"<its text cannot be shown: {type(broken).__name__}>"
