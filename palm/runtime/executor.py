"""Runs the messages of a lease, one after the other, and packs what became of them."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final

from palm.protocol.effects import Invoke
from palm.protocol.events import Completed
from palm.runtime.functions import FunctionTable
from palm.wire.batch import MAX_PAYLOAD, Batch, Buffer
from palm.wire.codec import Codec, decode_values, encode_values
from palm.wire.outcome import Kind, encode_failure, failure_of

__all__ = ["Executor"]

#: Seconds after which what is done is answered, though the lease is not at its end.
ANSWER_AFTER: Final = 0.02

#: Bytes of results that one answer should not exceed by far.
ANSWER_SIZE: Final = 256 * 1024

_Failed = tuple[Kind, bytes]


class _Undecodable:
    """Stands for a payload that could not be decoded."""

    def __init__(self, error: BaseException) -> None:
        self.failure = _failure(error, "its payload cannot be read: ")


class _Run:
    """What became of the messages of an `Invoke`, while they are run."""

    __slots__ = ("durations", "failures", "invoke", "results", "started", "taken")

    def __init__(self, invoke: Invoke) -> None:
        self.invoke = invoke
        self.started = time.time()
        self.results: list[Any] = []
        #: By position among the results.
        self.failures: dict[int, _Failed] = {}
        #: Seconds of each; the last to grow, so its length counts what is complete.
        self.durations = array("f")
        #: How many were answered already.
        self.taken = 0

    def take(self, *, over: bool) -> Completed:
        """Pack what is complete and was not taken before."""
        first, stop = self.taken, len(self.durations)
        self.taken = stop
        failures = {at - first: f for at, f in self.failures.items() if first <= at < stop}
        codec, payloads, failures = _encode(self.results[first:stop], failures)
        return Completed(
            self.invoke.task.lease,
            stop - first,
            codec,
            Batch.pack(payloads),
            self.started + sum(self.durations[:first]),
            self.durations[first:stop].tobytes(),
            _kinds(stop - first, failures),
            over,
        )


class Executor:
    """Runs functions of a table in the calling thread."""

    def __init__(self, functions: FunctionTable) -> None:
        self._functions = functions
        self._lease = 0
        self._values: list[Any] = []
        self._most = MAX_PAYLOAD
        self._run: _Run | None = None
        self._taking = threading.Lock()

    def run(self, invoke: Invoke) -> Completed:
        """Run messages from ``invoke.start`` on, for `ANSWER_AFTER` seconds or to its ``stop``."""
        task = invoke.task
        if task.lease != self._lease or invoke.start == 0:
            self._lease, self._values = task.lease, _decode(task.codec, invoke.batch)
        run = self._run = _Run(invoke)
        try:
            self._call_all(self._functions[task.function], run)
        finally:
            with self._taking:
                self._run = None
        completed = run.take(over=True)
        if completed.batch.size > ANSWER_SIZE:
            self._most = max(1, ANSWER_SIZE * completed.n // completed.batch.size)
        return completed

    def take_early(self) -> Completed | None:
        """Return what is done of a run that goes on, for another thread to answer."""
        with self._taking:
            run = self._run
            if run is None or len(run.durations) == run.taken:
                return None
            return run.take(over=False)

    def _call_all(self, function: Callable[[Any], Any], run: _Run) -> None:
        clock = time.perf_counter
        invoke, results, durations = run.invoke, run.results, run.durations
        most = invoke.start + self._most
        before = clock()
        until = before + ANSWER_AFTER
        for at in range(invoke.start, invoke.stop):
            if at >= invoke.stop or at >= most:  # `stop` is lowered while a function runs
                break
            value = self._values[at]
            result: Any = b""
            try:
                if type(value) is _Undecodable:
                    run.failures[len(results)] = value.failure
                else:
                    result = function(value)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - a function cannot end its worker
                run.failures[len(results)] = _failure(error)
            results.append(result)
            now = clock()
            durations.append(now - before)
            before = now
            if now >= until:
                break


def _decode(codec: int, batch: Batch) -> list[Any]:
    payloads = batch.payloads()
    try:
        return decode_values(codec, payloads)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - whatever a pickle raises: find out whose
        return [_decode_one(codec, payload) for payload in payloads]


def _decode_one(codec: int, payload: Buffer) -> Any:
    try:
        return decode_values(codec, [payload])[0]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a payload cannot end its worker either
        return _Undecodable(error)


def _encode(
    results: list[Any], failures: dict[int, _Failed]
) -> tuple[Codec, Sequence[Buffer], dict[int, _Failed]]:
    """Return payloads of results and failures; a result that cannot be sent is a failure."""
    try:
        codec, payloads = encode_values(results)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - whatever pickling raises: find out whose
        codec, payloads, failures = _encode_singly(results, failures)
    else:
        if any(len(payload) > MAX_PAYLOAD for payload in payloads):
            codec, payloads, failures = _encode_singly(results, failures)
    for at, (_, payload) in failures.items():
        payloads[at] = payload
    return codec, payloads, failures


def _encode_singly(
    results: list[Any], failures: dict[int, _Failed]
) -> tuple[Codec, list[Buffer], dict[int, _Failed]]:
    codec, payloads, failures = Codec.PICKLE, [], dict(failures)
    for at, result in enumerate(results):
        payload: Buffer = b""
        try:
            # Beside a tuple everything is pickled: a batch has one codec.
            codec, (payload, _) = encode_values([result, ()])
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever pickling raises
            failures.setdefault(at, _failure(error, "its result cannot be sent: "))
        payloads.append(payload)
    return codec, payloads, failures


def _kinds(n: int, failures: dict[int, _Failed]) -> bytes:
    if not failures:
        return b""
    kinds = bytearray(n)
    for at, (kind, _) in failures.items():
        kinds[at] = kind
    return bytes(kinds)


def _failure(error: BaseException, what: str = "") -> _Failed:
    kind, failure = failure_of(error, what)
    return kind, encode_failure(failure)
