"""Runs the messages of a lease, one after the other, and packs what became of them."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterator
from types import CoroutineType, GeneratorType
from typing import Any, Final

from palm.errors import PayloadTooLarge
from palm.protocol.effects import Invoke
from palm.protocol.events import Completed
from palm.runtime.functions import FunctionTable
from palm.runtime.limits import OutOfTime, TimeLimit, limit_of
from palm.runtime.several import NOTHING, Several, pack_several
from palm.runtime.tasks import working_on
from palm.wire.batch import MAX_MESSAGES, MAX_PAYLOAD, Batch, Buffer
from palm.wire.codec import Codec, decode_batch, decode_values, encode_values
from palm.wire.outcome import Failure, Kind, encode_failure, failure_of

__all__ = ["Executor"]

#: Seconds after which what is done is answered, though the lease is not at its end.
ANSWER_AFTER: Final = 0.02

#: Bytes of results that one answer should not exceed by far.
ANSWER_SIZE: Final = 256 * 1024

#: Calls are timed one by one or, where the clock would take as long as they, as many at once as
#: take so long (seconds) together; no more than so many.
TIMED: Final = 5e-5
TIMED_AT_ONCE: Final = 64

#: After calls that took twice as long, so many are timed one by one: few may take nearly all of it.
TIMED_SINGLY: Final = 128

_Failed = tuple[Kind, bytes]


class _Undecodable(BaseException):
    """Stands for a payload that could not be decoded, and is raised where it is to be used."""

    def __init__(self, error: BaseException) -> None:
        self.failure = _failure(error, "its payload cannot be read: ")


class _Run:
    """What became of the messages of an `Invoke`, while they are run."""

    __slots__ = (
        "begun", "drops_none", "durations", "each", "failures", "has_several", "invoke", "results",
        "started", "taken", "timed",
    )  # fmt: skip

    def __init__(self, invoke: Invoke, *, has_several: bool, drops_none: bool) -> None:
        self.invoke = invoke
        #: Some of the results may be `Several`.
        self.has_several = has_several
        #: None is no result.
        self.drops_none = drops_none
        self.started = time.time()
        self.results: list[Any] = []
        #: How many results there are when the calls that were begun are complete.
        self.begun = 0
        #: By position among the results.
        self.failures: dict[int, _Failed] = {}
        #: Seconds of each; the last to grow, so its length counts what is complete.
        self.durations = array("f")
        #: Up to when, on the clock, calls are timed, and what one took of the last to be so.
        self.timed = time.perf_counter()
        self.each = 0.0
        #: How many were answered already.
        self.taken = 0

    def call(self, function: Callable[[Any], Any], values: list[Any]) -> None:
        """Call ``function`` with each value."""
        results = self.results
        self.begun = len(results) + len(values)
        append = results.append
        for value in values:
            try:
                append(function(value))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - a function cannot end its worker
                self.failures[len(results)] = _failure(error)
                append(b"")

    def call_one(self, function: Callable[[Any], Any], value: Any) -> None:
        """Call ``function`` once: what a long call has left of the caches makes more code slow."""
        self.begun += 1
        try:
            self.results.append(function(value))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            self.failures[len(self.results)] = _failure(error)
            self.results.append(b"")

    def time(self, now: float) -> None:
        """Time the calls that are complete, as many as there are: each is given as much."""
        n = len(self.results) - len(self.durations)
        if n == 1:  # as most are that are long: no array is made for it
            self.each = max(now - self.timed, 1e-9)
            self.durations.append(self.each)
        elif n:
            self.each = max(now - self.timed, 1e-9) / n
            self.durations += array("f", (self.each,)) * n
        self.timed = now

    def time_early(self, now: float) -> None:
        """Time the calls that are complete: like those before them, if another one goes on."""
        if len(self.results) == self.begun:  # none does: the last has just ended
            self.time(now)
            return
        n = len(self.results) - len(self.durations)
        self.durations += array("f", (self.each,)) * n
        self.timed += n * self.each

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
        results, many = self.results[first:stop], {}
        if self.drops_none and type(None) in set(map(type, results)):
            results = [NOTHING if result is None else result for result in results]
            many = _pack_several(results, failures)
        elif self.has_several:
            many = _pack_several(results, failures)
        codec, batch, failures = _encode(results, failures | many)
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
        late = _Run(self.invoke, has_several=self.has_several, drops_none=self.drops_none)
        late.started, late.taken = self.started, self.taken
        late.results = [*self.results[:stop], b""]
        late.failures = {at: f for at, f in self.failures.items() if at < stop}
        late.failures[stop] = _out_of_time(text)
        late.durations = self.durations[:stop] + array("f", [seconds])
        return late.take_all()


class Executor:
    """Runs functions of a table in the calling thread.

    ``limit`` ends a call that takes longer than its message says. With ``drops_none`` a function
    that returns None has no result. A run returns what is done after ``answer_after``
    seconds (None: soon).
    """

    def __init__(
        self,
        functions: FunctionTable,
        limit: TimeLimit | None = None,
        *,
        drops_none: bool = False,
        answer_after: float | None = None,
    ) -> None:
        self._answer_after = ANSWER_AFTER if answer_after is None else answer_after
        self._functions = functions
        self._drops_none = drops_none
        self._limit = limit or TimeLimit()
        self._lease = 0
        self._values: list[Any] = []
        #: Some of them could not be decoded.
        self._refuses = False
        #: Calls of one run: as many as give an answer of about `ANSWER_SIZE`.
        self._most = MAX_MESSAGES
        #: Calls that are to be timed one by one from here on.
        self._singly = 0
        self._run: _Run | None = None
        self._taking = threading.Lock()

    def run(self, invoke: Invoke) -> list[Completed]:
        """Run messages from ``invoke.start`` on, for a while (``answer_after``) or to its ``stop``.

        Return what became of them, in order: the last one says that it was all.
        """
        task = invoke.task
        if task.lease != self._lease or invoke.start == 0:
            self._lease = task.lease
            self._values, self._refuses = _decode(task.codec, invoke.batch)
        several = self._functions.yields(task.function)
        run = self._run = _Run(invoke, has_several=several, drops_none=self._drops_none)
        working_on(run)
        try:
            function = self._functions[task.function]
            if self._refuses:
                function = _refusing(function)
            seconds = limit_of(task.timeout)
            if seconds:  # each by itself: it has to be known which one does not end
                with self._limit.around(seconds, self._answer_after):
                    self._call_all(lambda value: self._limit.call(function, value), run, 1)
            else:
                self._call_all(function, run, TIMED_AT_ONCE)
        finally:
            working_on(None)
            with self._taking:
                self._run = None
        answers = run.take_all()
        batch = answers[0].batch
        if batch.size > ANSWER_SIZE:
            self._most = max(1, ANSWER_SIZE * batch.n // batch.size)
        else:  # results may have become small again
            self._most = min(2 * self._most, MAX_MESSAGES)
        return answers

    def take_early(self) -> Completed | None:
        """Return what is done of a run that goes on, for another thread to answer."""
        with self._taking:
            run = self._run
            if run is None:
                return None
            run.time_early(time.perf_counter())
            return run.take(over=False) if len(run.durations) > run.taken else None

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

    def _call_all(self, function: Callable[[Any], Any], run: _Run, most_at_once: int) -> None:
        clock, taking = time.perf_counter, self._taking
        invoke, values = run.invoke, self._values
        most = invoke.start + self._most
        at, at_once = invoke.start, 1
        until = run.timed + self._answer_after
        # `stop` is lowered while a function runs.
        while run.timed < until and (stop := min(at + at_once, invoke.stop, most)) > at:
            if at_once == 1:
                run.call_one(function, values[at])
            else:
                run.call(function, values[at:stop])
            with taking:
                run.time(clock())
            if run.each * (stop - at) > 2 * TIMED:  # uneven, or each of them long
                self._singly, at_once = TIMED_SINGLY, 1
            else:
                self._singly = max(0, self._singly - (stop - at))
                at_once = 1 if self._singly else 1 + min(int(TIMED / run.each), most_at_once - 1)
            at = stop


def _decode(codec: int, batch: Batch) -> tuple[list[Any], bool]:
    """Return the values of a batch, and whether some of them cannot be decoded."""
    try:
        return decode_batch(codec, batch), False
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - whatever a pickle raises: find out whose
        return [_decode_one(codec, payload) for payload in batch.payloads()], True


def _decode_one(codec: int, payload: Buffer) -> Any:
    try:
        return decode_values(codec, [payload])[0]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a payload cannot end its worker either
        return _Undecodable(error)


def _pack_several(results: list[Any], failures: dict[int, _Failed]) -> dict[int, _Failed]:
    """Take what is several results out of ``results``; return its payloads, by position."""
    packed: dict[int, _Failed] = {}
    for at, result in enumerate(results):
        if type(result) is Several and at not in failures:
            results[at] = b""
            try:
                payload = pack_several(result)
                if len(payload) > MAX_PAYLOAD:
                    text = f"{len(payload):,} bytes in all, more than {MAX_PAYLOAD:,}"
                    raise PayloadTooLarge(text, limit=MAX_PAYLOAD)
                packed[at] = Kind.MANY, payload
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever pickling raises
                packed[at] = _failure(error, "its result cannot be sent: ")
    return packed


def _encode(
    results: list[Any], failures: dict[int, _Failed]
) -> tuple[Codec, Batch, dict[int, _Failed]]:
    """Return results and failures, packed; a result that cannot be sent is a failure."""
    try:
        codec, payloads = encode_values(results)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - whatever pickling raises: find out whose
        return _encode_singly(results, failures)
    batch = _pack(payloads, failures)
    if batch.largest > MAX_PAYLOAD:
        return _encode_singly(results, failures)
    return codec, batch, failures


def _pack(payloads: list[Buffer], failures: dict[int, _Failed]) -> Batch:
    """Pack payloads, with the failures in their places."""
    for at, (_, payload) in failures.items():
        payloads[at] = payload
    return Batch.pack(payloads)


_ASYNC = "the function is async, and was not run: serve a plain one that calls asyncio.run"


def _encode_singly(
    results: list[Any], failures: dict[int, _Failed]
) -> tuple[Codec, Batch, dict[int, _Failed]]:
    codec, payloads, failures = Codec.PICKLE, [], dict(failures)
    for at, result in enumerate(results):
        payload: Buffer = b""
        if isinstance(result, GeneratorType) and at not in failures:
            # Of a function that is none itself, such as a lambda: it is run to its end only here.
            failures[at] = _pack_generator(result)
            payloads.append(payload)
            continue
        if isinstance(result, CoroutineType) and at not in failures:
            result.close()  # or Python complains in the log that nobody awaited it
            failures[at] = _failure(TypeError(_ASYNC))
            payloads.append(payload)
            continue
        try:
            # Beside a tuple everything is pickled: a batch has one codec.
            codec, (payload, _) = encode_values([result, ()])
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever pickling raises
            failures.setdefault(at, _failure(error, "its result cannot be sent: "))
        payloads.append(payload)
    return codec, _pack(payloads, failures), failures


def _pack_generator(results: Iterator[Any]) -> _Failed:
    try:
        several = Several(("", result) for result in results)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
        return _failure(error)
    return _pack_several([several], {})[0]


def _kinds(n: int, failures: dict[int, _Failed]) -> bytes:
    if not failures:
        return b""
    kinds = bytearray(n)
    for at, (kind, _) in failures.items():
        kinds[at] = kind
    return bytes(kinds)


def _refusing(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(value: Any) -> Any:
        if type(value) is _Undecodable:
            raise value
        return function(value)

    return call


def _failure(error: BaseException, what: str = "") -> _Failed:
    if isinstance(error, _Undecodable):
        return error.failure
    kind, failure = failure_of(error, what)
    if isinstance(error, OutOfTime):
        return _out_of_time(failure.text, failure.traceback)
    if not failure.traceback.startswith("Traceback") and "positional argument" in failure.text:
        failure.text += " (a function is called with one argument, the payload)"
    return kind, encode_failure(failure)


def _out_of_time(text: str, traceback: str = "") -> _Failed:
    return Kind.DEADLINE_EXCEEDED, encode_failure(Failure("DeadlineExceeded", text, traceback))
