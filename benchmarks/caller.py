"""The process that calls a system: one request a line comes on stdin, its figures go to stdout.

``main`` is started with the name of a system and its arguments; it imports nothing but that.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks import work
from benchmarks.peers.callers import Dask, Ipyparallel, Ray

if TYPE_CHECKING:
    from concurrent.futures import Future

    import pandas as pd

__all__ = ["SYSTEMS", "main"]

#: Where answers go; `main` keeps the process's stdout for them.
_answers = sys.stdout

#: As in `logging`, which other systems need not load for that.
WARNING = 30


class System(Protocol):
    """Something that calls functions of `work` elsewhere."""

    def stream(self, function: str, payloads: list[bytes]) -> Iterator[bytes]:
        """Return results as they come; some systems take options."""

    def call(self, function: str, payload: bytes) -> bytes:
        """Return one result."""

    def close(self) -> None:
        """End what it started."""


class Palm:
    """A client of the master ``foo``; ``address`` empty: found by its name, over ipc."""

    def __init__(self, address: str) -> None:
        import logging

        from palm.clients import Client

        # Warnings go to stderr: stdout is for answers.
        logging.getLogger("palm").addHandler(logging.StreamHandler())
        self._client = Client("foo", address or None, logging_level=WARNING)

    def stream(self, function: str, payloads: Iterable[bytes], **options: Any) -> Iterator[bytes]:
        return self._client.job(f"foo.{function}", payloads, **options)

    flow = stream

    def frame(self, function: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the frame of a job whose items are the rows of another."""
        return self._client.job(f"foo.{function}", frame).to_frame()

    def call(self, function: str, payload: bytes) -> bytes:
        result: bytes = self._client.eval(f"foo.{function}", payload, timeout=30.0)
        return result

    def close(self) -> None:
        self._client.close()


class Shards:
    """A client of several masters, by their names; of one, it is a plain client of that."""

    def __init__(self, *names: str) -> None:
        import logging

        from palm.clients import Client

        logging.getLogger("palm").addHandler(logging.StreamHandler())
        self._prefix = f"{names[0]}." if len(names) == 1 else ""
        self._client = Client(names[0] if self._prefix else list(names), logging_level=WARNING)

    def stream(self, function: str, payloads: Iterable[bytes], **options: Any) -> Iterator[bytes]:
        return self._client.job(f"{self._prefix}{function}", payloads, **options)

    def call(self, function: str, payload: bytes) -> bytes:
        (result,) = self.stream(function, [payload])
        return result

    def close(self) -> None:
        self._client.close()


class Executor:
    """`concurrent.futures.ProcessPoolExecutor`."""

    def __init__(self, workers: str, chunksize: str) -> None:
        from concurrent.futures import ProcessPoolExecutor

        self._pool = ProcessPoolExecutor(int(workers))
        self._chunksize = int(chunksize)

    def stream(self, function: str, payloads: list[bytes], chunksize: int = 0) -> Iterator[bytes]:
        chunksize = chunksize or self._chunksize
        return self._pool.map(work.FUNCTIONS[function], payloads, chunksize=chunksize)

    def flow(self, function: str, payloads: Iterator[bytes]) -> Iterator[bytes]:
        """Hand messages over as they come - `map` wants all at once - and return results likewise.

        It goes on waiting for results for as long as it is asked.
        """
        done: SimpleQueue[Future[bytes]] = SimpleQueue()

        def feed() -> None:
            for payload in payloads:
                future = self._pool.submit(work.FUNCTIONS[function], payload)
                future.add_done_callback(done.put)

        threading.Thread(target=feed, daemon=True).start()
        while True:
            yield done.get().result()

    def call(self, function: str, payload: bytes) -> bytes:
        return self._pool.submit(work.FUNCTIONS[function], payload).result()

    def close(self) -> None:
        self._pool.shutdown()


class Imap:
    """`multiprocessing.Pool.imap`."""

    def __init__(self, workers: str, chunksize: str) -> None:
        from multiprocessing import Pool

        self._pool = Pool(int(workers))
        self._chunksize = int(chunksize)

    def stream(self, function: str, payloads: list[bytes], chunksize: int = 0) -> Iterator[bytes]:
        chunksize = chunksize or self._chunksize
        return self._pool.imap(work.FUNCTIONS[function], payloads, chunksize=chunksize)

    def call(self, function: str, payload: bytes) -> bytes:
        return self._pool.apply(work.FUNCTIONS[function], (payload,))

    def close(self) -> None:
        self._pool.terminate()
        self._pool.join()


class Relay:
    """The bare relay; one function for each front address."""

    def __init__(self, front: str, window: str) -> None:
        from benchmarks.relay import RelayClient

        self._client = RelayClient(front, int(window))

    def stream(self, function: str, payloads: list[bytes]) -> Iterator[bytes]:
        return self._client.stream(payloads)

    def call(self, function: str, payload: bytes) -> bytes:
        return self._client.call(payload)

    def close(self) -> None:
        self._client.close()


class Here:
    """No system at all: the function is called in place."""

    def stream(self, function: str, payloads: list[bytes]) -> Iterator[bytes]:
        return map(work.FUNCTIONS[function], payloads)

    def call(self, function: str, payload: bytes) -> bytes:
        return work.FUNCTIONS[function](payload)

    def close(self) -> None:
        pass


SYSTEMS: dict[str, Callable[..., System]] = {
    "palm": Palm, "shards": Shards, "executor": Executor, "imap": Imap, "relay": Relay,
    "here": Here, "dask": Dask, "ipyparallel": Ipyparallel, "ray": Ray,
}  # fmt: skip


def rate(
    system: System, function: str, n: int, size: int = work.SMALL, **options: Any
) -> dict[str, Any]:
    """Messages a second, result by result to here; ``options`` are those of the system."""
    sent, results = work.payloads(n, size), []
    begun, processor = time.perf_counter(), time.process_time()
    for result in system.stream(function, sent, **options):
        results.append(result)
    seconds, processor = time.perf_counter() - begun, time.process_time() - processor
    work.check(function, sent, results)
    return {"seconds": seconds, "rate": n / seconds, "processor": processor}


def chunk(system: Palm, function: str, n: int) -> dict[str, Any]:
    """How many messages palm has in a batch of such a job, on average."""
    sent = work.payloads(n)
    job = system.stream(function, sent)
    results = list(job)
    work.check(function, sent, results)
    return {"size": max(1, n // max(1, len(job._kept)))}  # type: ignore[attr-defined]


def large(system: System, n: int, size: int = work.LARGE) -> dict[str, Any]:
    """Megabytes a second there and back, of messages that are not kept."""
    sent = work.payloads(16, size)
    begun = time.perf_counter()
    count = wrong = 0
    for result in system.stream("echo", [sent[i % len(sent)] for i in range(n)]):
        count += 1
        wrong += len(result) != size or bytes(result[-64:]) != sent[0][-64:]
    seconds = time.perf_counter() - begun
    if count != n or wrong:
        raise work.WrongResultsError(f"{count} results of {n}, {wrong} of them wrong")
    return {"seconds": seconds, "rate": n * size / 1e6 / seconds}


def calls(system: System, function: str, n: int) -> dict[str, Any]:
    """Seconds of single calls, one after the other."""
    clock, seconds = time.perf_counter, []
    payload = b"0123456789abcdef"
    expected = work.FUNCTIONS[function](payload)
    for _ in range(n):
        begun = clock()
        result = system.call(function, payload)
        seconds.append(clock() - begun)
        if result != expected:
            raise work.WrongResultsError(f"{result!r} instead of {expected!r}")
    seconds.sort()
    return {"p50": seconds[n // 2], "p99": seconds[n * 99 // 100]}


def watched(system: System, function: str, n: int) -> dict[str, Any]:
    """Like `rate`, with a word at half-way; the longest time without a result."""
    sent, results = work.payloads(n), []
    clock, gap, told = time.perf_counter, 0.0, False
    begun = last = clock()
    for result in system.stream(function, sent):
        now = clock()
        gap, last = max(gap, now - last), now
        results.append(result)
        if not told and len(results) * 2 >= n:
            told = True
            _say({"news": "half"})
    work.check(function, sent, results)
    return {"seconds": last - begun, "gap": gap, "outcomes": len(results)}


def killed(system: System, function: str, n: int, patience: float = 15.0) -> dict[str, Any]:
    """Like `watched`, of a system that may lose messages, break or hang: what came, and its end.

    It hangs when there is no result for ``patience`` seconds.
    """
    sent, results, ends = work.payloads(n), list[bytes](), list[str]()

    def take() -> None:
        try:
            for result in system.stream(function, sent):
                results.append(bytes(result))
                if len(results) * 2 == n:
                    _say({"news": "half"})
            ends.append("finishes")
        except Exception as error:  # noqa: BLE001 - it is the answer
            ends.append(type(error).__name__)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    seen, last = 0, time.monotonic()
    while thread.is_alive() and time.monotonic() < last + patience:
        thread.join(0.2)
        if len(results) > seen:
            seen, last = len(results), time.monotonic()
    right = set(results) & set(sent)
    return {
        "outcomes": len(right),
        "wrong": len(results) - len(right),
        "ended": ends[0] if ends else "hangs",
    }


def paced(system: Palm | Executor, function: str, n: int, size: int, rate: float) -> dict[str, Any]:
    """Seconds from when a message was due to its result, of so many that are due a second.

    What the sender is late by counts, too: a system that holds it up cannot hide that.
    """
    sent, results, seconds = work.payloads(n, size), list[bytes](), list[float]()
    clock = time.perf_counter
    begun = clock()

    def source() -> Iterator[bytes]:
        for at, payload in enumerate(sent):
            early = begun + at / rate - clock()
            if early > 0:
                time.sleep(early)
            yield payload

    for result in islice(system.flow(function, source()), n):
        seconds.append(clock() - begun - int(result[: work.SMALL]) / rate)
        results.append(result)
    work.check(function, sent, results)
    seconds.sort()
    return {"p50": seconds[n // 2], "p99": seconds[n * 99 // 100], "max": seconds[-1]}


def makespan(system: System, microseconds: list[int]) -> dict[str, Any]:
    """Seconds until sleeps of such lengths are over."""
    sent = work.timed_payloads(microseconds)
    begun = time.perf_counter()
    results = list(system.stream("spend", sent))
    seconds = time.perf_counter() - begun
    work.check("spend", sent, results)
    return {"seconds": seconds}


def executions(system: System, workers: int, within: float = 20.0) -> dict[str, Any]:
    """How often `echo` and the naps ran in all workers, which must be as many."""
    counts: dict[bytes, int] = {}
    until = time.monotonic() + within
    while len(counts) < workers:
        if time.monotonic() > until:
            raise TimeoutError(f"{len(counts)} workers of {workers} answered")
        for result in system.stream("runs", work.payloads(4 * workers)):
            pid, runs = bytes(result).split()
            counts[pid] = int(runs)
    return {"executions": sum(counts.values())}


def singles(system: Palm, function: str, n: int, size: int, **options: Any) -> dict[str, Any]:
    """Seconds of jobs of one message, one after the other."""
    clock, seconds = time.perf_counter, []
    for payload in work.payloads(n, size):
        begun = clock()
        results = list(system.stream(function, [payload], **options))
        seconds.append(clock() - begun)
        work.check(function, [payload], results)
    seconds.sort()
    return {"p50": seconds[n // 2], "p99": seconds[n * 99 // 100]}


def accepts(system: Palm, function: str, **options: Any) -> dict[str, Any]:
    """Whether a job may have these options, for client and master."""
    from palm.errors import PalmError

    try:
        results = list(system.stream(function, [b"x"], **options))
        return {"accepts": results == [b"x"], "reason": f"{results!r} is no result"}
    except PalmError as error:
        return {"accepts": False, "reason": str(error)}


def endless(system: Palm, function: str, ahead: int, until: str) -> dict[str, Any]:
    """Send messages until a file is there, ``ahead`` at once; each result goes to the journal."""
    from benchmarks.reliability.journal import Journal

    journal, over = Journal(), Path(until)
    sent: list[bytes] = []
    results: list[bytes] = []

    def source() -> Iterator[bytes]:
        while not over.exists():
            if len(sent) - len(results) >= ahead:
                time.sleep(0.0005)
                continue
            sent.append(b"%016d" % len(sent))
            yield sent[-1]

    # A call is a job of its own; what is sent ahead is one job.
    for job in ([each] for each in source()) if ahead == 1 else [source()]:
        for result in system.stream(function, job):
            results.append(bytes(result))
            journal.note("result", results[-1].decode())
    work.check(function, sent, results)
    return {"outcomes": len(results)}


def frame(system: System, n: int) -> dict[str, Any]:
    """Seconds from a frame of distinct rows to one of results; without a system, of its parts."""
    import pandas as pd

    sent = pd.DataFrame({f"c{at}": range(at, n + at) for at in range(5)})
    sent = sent.assign(**{f"c{at}": sent.c0 / at for at in range(5, 10)})
    expected = sent.assign(total=sent.c0 + sent.c9)
    if isinstance(system, Palm):
        begun = time.perf_counter()
        result = system.frame("total", sent)
        seconds = time.perf_counter() - begun
        result = result[expected.columns]
    else:
        from palm.wire.codec import decode_values, encode_values

        rows = list(map(work.total, sent.to_dict("records")))
        begun = time.perf_counter()
        codec, payloads = encode_values(rows)
        result = pd.DataFrame(decode_values(codec, payloads))
        seconds = time.perf_counter() - begun
    if not result.equals(expected):
        raise work.WrongResultsError("the results are not those of pandas")
    return {"seconds": seconds}


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "rate": rate, "chunk": chunk, "large": large, "calls": calls, "watched": watched,
    "singles": singles, "accepts": accepts, "endless": endless, "frame": frame,
    "killed": killed, "paced": paced, "makespan": makespan, "executions": executions,
}  # fmt: skip


def main() -> None:
    """Serve the requests on stdin until its end."""
    global _answers
    # What a system prints must not come between the answers.
    _answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    name, *args = sys.argv[1:]
    system = SYSTEMS[name](*args)
    try:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                _say(MEASURES[request.pop("measure")](system, **request))
            except Exception as error:  # noqa: BLE001 - it is the answer
                _say({"error": f"{type(error).__name__}: {error}"})
    finally:
        system.close()


def _say(answer: dict[str, Any]) -> None:
    _answers.write(json.dumps(answer) + "\n")
    _answers.flush()
