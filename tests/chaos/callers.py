"""How each system is called: messages in, outcomes out, as its documentation says.

Each is what somebody writes who follows the first pages of its documentation: the options are the
defaults, and no error is handled but by taking it for the outcome of its message.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from tests.chaos.work import work

__all__ = ["CALLERS", "Caller", "Outcome"]

#: The position of the message, where the system tells it (-1: it does not), and what came.
Outcome = tuple[int, bytes | BaseException]

#: As in `logging`.
_WARNING = 30


class Caller(Protocol):
    """Calls `work` with messages, elsewhere."""

    #: In which ways it can be asked, see `tests.chaos.histories`.
    modes: Sequence[str]

    def run(self, messages: Sequence[bytes], mode: str) -> Iterator[Outcome]:
        """Yield outcomes as they come."""

    def close(self) -> None:
        """End it, and what it started."""


class Palm:
    """A client of the master ``foo``, which it finds by name."""

    def __init__(self, *modes: str) -> None:
        from palm.clients import Client

        self.modes = modes
        self._client = Client("foo", logging_level=_WARNING)

    def run(self, messages: Sequence[bytes], mode: str) -> Iterator[Outcome]:
        ordered = mode == "ordered"
        options = {"ordered": ordered, "at_most_once": mode == "once"}
        job = self._client.job("foo.work", messages, errors="return", **options)
        for at, outcome in enumerate(job):
            if isinstance(outcome, BaseException):
                yield outcome.index, outcome  # type: ignore[attr-defined]
            else:
                yield at if ordered else -1, outcome

    def close(self) -> None:
        self._client.close()


class Dask:
    """A client of a scheduler."""

    modes = ("any",)

    def __init__(self, address: str) -> None:
        from distributed import Client

        self._client = Client(address)

    def run(self, messages: Sequence[bytes], mode: str) -> Iterator[Outcome]:
        from distributed import as_completed

        futures = self._client.map(work, messages, pure=False)
        index = {future.key: at for at, future in enumerate(futures)}
        for future in as_completed(futures):
            yield index[future.key], _outcome(future.result)

    def close(self) -> None:
        self._client.close(timeout=2)


class Ipyparallel:
    """A load-balanced view of a controller's engines."""

    modes = ("any",)

    def __init__(self, connection_file: str) -> None:
        import ipyparallel

        self._client = ipyparallel.Client(connection_file, timeout=10)

    def run(self, messages: Sequence[bytes], mode: str) -> Iterator[Outcome]:
        view = self._client.load_balanced_view()
        yield from _as_they_come([view.apply_async(work, message) for message in messages])

    def close(self) -> None:
        self._client.close()


class Executor:
    """`concurrent.futures.ProcessPoolExecutor`; a pool that broke is followed by another."""

    modes = ("any",)

    def __init__(self, workers: str) -> None:
        self._workers = int(workers)
        self._pool: Any = None

    def run(self, messages: Sequence[bytes], mode: str) -> Iterator[Outcome]:
        from concurrent.futures import ProcessPoolExecutor
        from concurrent.futures.process import BrokenProcessPool

        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._workers)
        futures, broken = [], None
        try:
            for message in messages:
                futures.append(self._pool.submit(work, message))
        except BrokenProcessPool as error:  # no more can be submitted
            broken = error
        for outcome in _as_they_come(futures):
            if isinstance(outcome[1], BrokenProcessPool):
                broken = outcome[1]
            yield outcome
        if broken is not None:
            yield from ((at, broken) for at in range(len(futures), len(messages)))
            self._pool.shutdown(wait=False)
            self._pool = None

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _as_they_come(futures: Iterable[Any]) -> Iterator[Outcome]:
    """Yield outcomes of `concurrent.futures.Future` objects."""
    done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    count = 0
    for at, future in enumerate(futures):
        future.add_done_callback(lambda future, at=at: done.put((at, future)))
        count += 1
    for _ in range(count):
        at, future = done.get()
        yield at, _outcome(future.result)


def _outcome(result: Callable[[], bytes]) -> bytes | BaseException:
    try:
        return result()
    except Exception as error:  # noqa: BLE001 - it is the outcome
        return error


CALLERS: dict[str, Callable[..., Caller]] = {
    "palm": Palm, "dask": Dask, "ipyparallel": Ipyparallel, "executor": Executor,
}  # fmt: skip
