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
from palm.runtime.limits import OutOfTime, TimeLimit, limit_of
from palm.wire.batch import MAX_PAYLOAD, Batch, Buffer
from palm.wire.codec import Codec, decode_values, encode_values
from palm.wire.outcome import Failure, Kind, encode_failure, failure_of

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

    def take_all(self) -> list[Completed]:
        """Pack what is complete and was not taken before, at the end of the run."""
        answers = [self.take(over=True)]
        while not answers[-1].over:
            answers.append(self.take(over=True))
        return answers

    def take(self, *, over: bool) -> Completed:
        """Pack what is complete and was not taken before, as much as one batch may hold.

        ``over``: the run is, so that it ends with what is packed unless something is left.
        """
        first, stop = self.taken, len(self.durations)
        failures = {at - first: f for at, f in self.failures.items() if first <= at < stop}
        codec, payloads, failures = _encode(self.results[first:stop], failures)
        batch = Batch.pack(payloads)
        n = batch.fitting()
        self.taken = first + n
        return Completed(
            self.invoke.task.lease,
            n,
            codec,
            batch.cut(0, n),
            self.started + sum(self.durations[:first]),
            self.durations[first : first + n].tobytes(),
            _kinds(batch.n, failures)[:n],
            over and first + n == stop,
        )

    def take_without(self, seconds: float, text: str) -> list[Completed]:
        """Pack what is complete, and the failure of the message that runs and will not end."""
        self.invoke.stop = 0
        stop = len(self.durations)
        late = _Run(self.invoke)
        late.started, late.taken = self.started, self.taken
        late.results = [*self.results[:stop], b""]
        late.failures = {at: f for at, f in self.failures.items() if at < stop}
        late.failures[stop] = _out_of_time(text)
        late.durations = self.durations[:stop] + array("f", [seconds])
        return late.take_all()


class Executor:
    """Runs functions of a table in the calling thread.

    ``limit`` ends a call that takes longer than its message says.
    """

    def __init__(self, functions: FunctionTable, limit: TimeLimit | None = None) -> None:
        self._functions = functions
        self._limit = limit or TimeLimit()
        self._lease = 0
        self._values: list[Any] = []
        self._most = MAX_PAYLOAD
        self._run: _Run | None = None
        self._taking = threading.Lock()

    def run(self, invoke: Invoke) -> list[Completed]:
        """Run messages from ``invoke.start`` on, for `ANSWER_AFTER` seconds or to its ``stop``.

        Return what became of them, in order: the last one says that it was all.
        """
        task = invoke.task
        if task.lease != self._lease or invoke.start == 0:
            self._lease, self._values = task.lease, _decode(task.codec, invoke.batch)
        run = self._run = _Run(invoke)
        try:
            function = self._functions[task.function]
            seconds = limit_of(task.timeout)
            if seconds:
                with self._limit.around(seconds, ANSWER_AFTER):
                    self._call_all(lambda value: self._limit.call(function, value), run)
            else:
                self._call_all(function, run)
        finally:
            with self._taking:
                self._run = None
        answers = run.take_all()
        batch = answers[0].batch
        if batch.size > ANSWER_SIZE:
            self._most = max(1, ANSWER_SIZE * batch.n // batch.size)
        return answers

    def take_early(self) -> Completed | None:
        """Return what is done of a run that goes on, for another thread to answer."""
        with self._taking:
            run = self._run
            if run is None or len(run.durations) == run.taken:
                return None
            return run.take(over=False)

    def take_overdue(self) -> list[Completed]:
        """Return what is done of a run that has to end by force, for another thread to answer.

        The message that does not end has its outcome in it; the process must not go on.
        """
        found = self._limit.overdue()
        if found is None:
            return []
        with self._taking:
            if self._run is None:
                return []
            began, text = found
            return self._run.take_without(time.monotonic() - began, text)

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
        if max(map(len, payloads), default=0) > MAX_PAYLOAD:
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
    if isinstance(error, OutOfTime):
        return _out_of_time(failure.text, failure.traceback)
    return kind, encode_failure(failure)


def _out_of_time(text: str, traceback: str = "") -> _Failed:
    return Kind.DEADLINE_EXCEEDED, encode_failure(Failure("DeadlineExceeded", text, traceback))
