"""A client as a `concurrent.futures.Executor`: code that knows executors runs on palm."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from palm import executors
from palm.clients.terms import terms_of
from palm.errors import Cancelled, ConfigError, FunctionNotFound, PalmError
from palm.executors import Raised
from palm.spec.names import nearest

if TYPE_CHECKING:
    from palm.clients.client import Client
    from palm.clients.job import Job

__all__ = ["ClientExecutor", "make"]

#: Who calls callables, unless another function is named.
CALL: Final = "call"


#: Seconds after which the thread that settles futures ends when there are none.
IDLE: Final = 1.0

#: What may be said of each call.
OPTIONS: Final = ("timeout", "deadline", "retries", "retry_on", "priority", "at_most_once")


def make(client: Client, function: str | None, options: dict[str, Any]) -> ClientExecutor:
    """Return an executor; raises `ConfigError` for options that cannot be."""
    for name in options:
        if name not in OPTIONS:
            meant = nearest(name, OPTIONS)
            hint = f"did you mean {meant}?" if meant else f"one of {', '.join(OPTIONS)}"
            raise ConfigError(f"an executor has no option {name!r}", key=name, hint=hint)
    terms_of(**options)
    return ClientExecutor(client, function, options)


class _Call(Future[Any]):
    """The future of one call; its `cancel` reaches the call as long as it did not begin.

    One that runs goes on, and its result is dropped.
    """

    def __init__(self, *, calls: bool) -> None:
        super().__init__()
        #: It is of a callable: `Raised` is what that raised.
        self.calls = calls
        self.job: Job | None = None
        self._settling = threading.Lock()

    def cancel(self) -> bool:
        with self._settling:
            if self.cancelled():
                return True
            if not super().cancel():
                return False
            self.set_running_or_notify_cancel()
        if self.job is not None:
            self.job.cancel()
        return True

    def begin_to_settle(self) -> bool:
        """Return whether it is still wanted; nobody can cancel it from then on."""
        with self._settling:
            return not self.cancelled() and self.set_running_or_notify_cancel()


class ClientExecutor(Executor):
    """Calls functions of workers; made by `palm.Client.executor`.

    A callable goes to a worker of ``palm.executors``, and is called there with its arguments; what
    it raises is raised here, with its type. A text is the name of a function of workers, which
    takes one argument; what that raises is a `TaskError`, as in any job.
    """

    def __init__(self, client: Client, function: str | None, options: dict[str, Any]) -> None:
        self._client = client
        self._function = function or CALL
        self._options = options
        self._lock = threading.Lock()
        self._open: set[_Call | None] = set()
        self._ended: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have one call made; return its future.

        Raises
        ------
        ConfigError
            A function of workers is named, and has not exactly one argument.
        RuntimeError
            The executor was shut down.
        """
        if isinstance(fn, str):
            if len(args) != 1 or kwargs:
                hint = "the payload; several values go as one tuple or dict"
                raise ConfigError(f"'{fn}' takes one argument", hint=hint)
            return self._call(fn, args[0], calls=False)
        return self._call(self._function, (fn, args, kwargs), calls=True)

    def map(
        self,
        fn: Callable[..., Any] | str,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """Return the results of calls with each of the items, in their order.

        Parameters
        ----------
        timeout
            Seconds from now after which waiting for a result raises `TimeoutError`.
        chunksize
            Calls of a callable that go together. Those of a named function are one job, which
            finds out by itself.
        """
        if chunksize < 1:
            raise ConfigError(f"chunksize={chunksize}", hint="a positive number")
        if isinstance(fn, str):
            if len(iterables) != 1:
                raise ConfigError(f"'{fn}' takes one argument", hint="one iterable, maybe a zip")
            self._check_open()
            job = self._client.job(fn, iterables[0], ordered=True, **self._options)
            return _results(job, timeout)
        chunks = _chunks(zip(*iterables, strict=False), chunksize)
        each = partial(executors._call_each, fn)
        return _flat(super().map(each, chunks, timeout=timeout))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; with ``wait`` return when all calls have ended.

        The client stays open.
        """
        with self._lock:
            self._closed = True
            calls = [call for call in self._open if call is not None]
        if cancel_futures:
            for call in calls:
                call.cancel()
        self._ended.put(None)  # it may have to end, and nothing more may come
        thread = self._thread
        if wait and thread is not None and thread is not threading.current_thread():
            thread.join()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _call(self, function: str, payload: Any, *, calls: bool) -> Future[Any]:
        call = _Call(calls=calls)
        with self._lock:
            self._check_open()
            self._open.add(call)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._settle_all, name="palm-results", daemon=True
                )
                self._thread.start()
        try:
            call.job = self._client.job(function, [payload], **self._options)
        except BaseException:
            with self._lock:
                self._open.discard(call)
            raise
        call.job.add_done_callback(lambda job: self._ended.put(call))
        return call

    # In the thread that settles futures: callbacks of the user's may take their time there

    def _settle_all(self) -> None:
        while True:
            try:
                call = self._ended.get(timeout=IDLE)
            except Empty:
                call = None
            if call is not None:
                self._settle(call)
            with self._lock:
                self._open.discard(call)
                if not self._open and (self._closed or call is None):
                    self._thread = None
                    return
            del call

    def _settle(self, call: _Call) -> None:
        job = call.job
        if job is None or not call.begin_to_settle():
            return
        try:
            value = next(job, None)
            if job.state == "cancelled":
                raise Cancelled("the client was closed", function=job.function)
            if call.calls and isinstance(value, Raised):
                raise value.restore()
        except BaseException as error:  # noqa: BLE001 - it is the future's
            call.set_exception(self._shown(error) if call.calls else error)
        else:
            call.set_result(value)

    def _shown(self, error: BaseException) -> BaseException:
        """Say what to do when nobody takes callables."""
        if isinstance(error, FunctionNotFound):
            masters = self._client.server_name.split("+")
            commands = [f"palm worker palm.executors --master {name}" for name in masters]
            text = f"no worker of '{self._client.server_name}' takes callables; start one: "
            return PalmError(text + ", ".join(commands))
        return error


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    taken = iter(items)
    while chunk := list(islice(taken, size)):
        yield chunk


def _flat(chunks: Iterator[list[Any]]) -> Iterator[Any]:
    for chunk in chunks:
        yield from chunk


def _results(job: Job, timeout: float | None) -> Iterator[Any]:
    """Return the results of a job, which is cancelled when nobody wants the rest."""
    until = None if timeout is None else time.monotonic() + timeout

    def results() -> Iterator[Any]:
        try:
            while True:
                left = None if until is None else until - time.monotonic()
                try:
                    yield job.next_within(left)
                except StopIteration:
                    return
        finally:
            job.cancel()

    return results()
