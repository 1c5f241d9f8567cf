"""Runs the messages of leases by posting them.

What becomes of a message when the server does not answer:

* It cannot have begun (no connection, or a 503): it is tried again, later each time. If that does
  not help, the lease goes back to the master, without blame and for others to run, and this worker
  steps back until the server answers.
* It may have begun (the connection was lost, no answer in time, a 502 or 504): what may run only
  once has the outcome `WorkerLost`. Else it is tried again, by itself: after ``retries`` further
  losses its outcome is a `TaskError` of the type ``HttpError``.
"""

from __future__ import annotations

import random
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from logging import Logger
from typing import Final

from palm.errors import WireError
from palm.gateways import body as bodies
from palm.gateways.post import Poster, PostFailed
from palm.gateways.service import no_pickle
from palm.protocol.effects import Invoke
from palm.protocol.events import Completed
from palm.runtime.limits import limit_of
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.message import Task
from palm.wire.outcome import Failure, Kind, encode_failure

__all__ = ["FIRST_PAUSE", "Lost", "Manner", "Posts", "jittered"]

#: Seconds before the first further try; each later one comes after twice that, up to the longest.
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0

#: Messages that are remembered because they were lost with the server.
REMEMBERED: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Manner:
    """How to post: further tries of a post that failed, seconds for an answer."""

    retries: int
    timeout: float
    allow_pickle: bool


class Lost:
    """Messages that were with the server when it was lost, and how often by themselves."""

    def __init__(self) -> None:
        self._times: dict[tuple[bytes, int], int] = {}
        self._lock = threading.Lock()

    def knows_any(self, job: bytes, first: int, n: int) -> bool:
        """Whether one of these is among them."""
        times = self._times
        return bool(times) and any((job, at) in times for at in range(first, first + n))

    def add(self, job: bytes, first: int, n: int) -> int:
        """Note that these were; return how often the first one was by itself."""
        with self._lock:
            for at in range(first, first + n):
                self._times[job, at] = self._times.pop((job, at), 0) + (n == 1)
            while len(self._times) > REMEMBERED:
                del self._times[next(iter(self._times))]
            return self._times[job, first]

    def forget(self, job: bytes, first: int, n: int) -> None:
        """Note that these have an outcome."""
        if self._times:
            with self._lock:
                for at in range(first, first + n):
                    self._times.pop((job, at), None)


class Posts:
    """Runs messages by posting them; in place of `palm.runtime.executor.Executor`."""

    def __init__(
        self,
        poster: Poster,
        manner: Manner,
        lost: Lost,
        halted: threading.Event,
        give_back: Callable[[str], None],
        logger: Logger,
    ) -> None:
        self.poster = poster
        self.manner = manner
        self.lost = lost
        self.halted = halted
        self._give_back = give_back
        self.logger = logger
        self._gave_back = False
        #: A lease of which each message is posted by itself.
        self.singly = 0

    def run(self, invoke: Invoke) -> list[Completed]:
        """Post messages from ``invoke.start`` on; return what became of them, maybe of none."""
        task, start = invoke.task, invoke.start
        n = invoke.stop - start
        if n <= 0 or self._gave_back or self.halted.is_set():
            return [_nothing(task)]
        if task.codec == Codec.PICKLE and not self.manner.allow_pickle:
            return [no_pickle(task.lease, n, "this worker")]
        first = task.first + start
        if (
            self.singly == task.lease
            or limit_of(task.timeout)
            or self.lost.knows_any(task.job, first, n)
        ):
            n = 1
        return _Lease(self, task, invoke.batch.cut(start, start + n), first).post()

    def give_back(self, reason: str) -> None:
        """Run nothing more: all goes back to the master."""
        self._gave_back = True
        self._give_back(reason)

    def take_early(self) -> Completed | None:
        """Return nothing: what is done is known when the answer is here."""
        return None

    def take_overdue(self) -> list[Completed]:
        """Return nothing: no function is called in this process."""
        return []


class _Lease:
    """One post, until something has become of its messages."""

    def __init__(self, posts: Posts, task: Task, batch: Batch, first: int) -> None:
        self._posts = posts
        self._manner = posts.manner
        self._task = task
        self._batch = batch
        self._n = batch.n
        self._first = first
        limit = limit_of(task.timeout)
        self._limited = 0 < limit <= self._manner.timeout
        self._timeout = limit if self._limited else self._manner.timeout
        self._began = 0.0

    def post(self) -> list[Completed]:
        """Post, again if need be."""
        pause = FIRST_PAUSE
        for left in range(self._manner.retries, -1, -1):
            try:
                return self._post()
            except PostFailed as failed:
                done = self._after(failed, left)
                if done is not None:
                    return [done]
                self._posts.halted.wait(max(jittered(pause), min(failed.after, LONGEST_PAUSE)))
                pause = min(2 * pause, LONGEST_PAUSE)
            if self._posts.halted.is_set():
                break
        return [_nothing(self._task)]

    def _post(self) -> list[Completed]:
        task, n = self._task, self._n
        sent = Task(
            0, 1, b"", b"", self._first, n, task.attempt, task.function, task.codec
        )  # fmt: skip
        body = bodies.pack([(sent, self._batch)])
        self._began = time.time()
        clock = time.monotonic()
        answer = self._posts.poster.post(task.function, body, bodies.CONTENT, self._timeout)
        each = (time.monotonic() - clock) / n
        try:
            results = bodies.unpack_results(answer, sent)
        except WireError as error:
            raise PostFailed(f"an answer that cannot be read: {error}", began=True) from error
        self._posts.lost.forget(task.job, self._first, n)
        done: list[Completed] = []
        began = self._began
        for result, batch in results:
            done.append(self._completed(result.n, result.codec, batch, began, each, result.kinds))
            began += each * result.n
        done[-1].over = True
        return done

    def _completed(
        self, n: int, codec: int, batch: Batch, began: float, each: float, kinds: bytes
    ) -> Completed:
        if codec == Codec.PICKLE and not self._manner.allow_pickle and (not kinds or 0 in kinds):
            done = no_pickle(self._task.lease, n, "this worker")
            done.over = False
            return done
        # Measured here: the master plans with it, and an answer may say anything.
        durations = (array("f", (each,)) * n).tobytes()
        return Completed(self._task.lease, n, codec, batch, began, durations, kinds, over=False)

    def _after(self, failed: PostFailed, left: int) -> Completed | None:
        """Return what a failure means for the messages; None: try again."""
        posts, task = self._posts, self._task
        if posts.halted.is_set() and not failed.began:
            return _nothing(task)
        if failed.denied:
            return self._step_back(str(failed))
        if failed.late and failed.began and self._limited:
            text = f"it took longer than its {self._timeout:g} s"
            return self._failure(Kind.DEADLINE_EXCEEDED, "DeadlineExceeded", text)
        if failed.status == 404 and failed.kind == "FunctionNotFound":
            return self._failure(Kind.FUNCTION_NOT_FOUND, failed.kind, str(failed))
        if failed.status == 413:
            return self._one_by_one() or self._failure(
                Kind.PAYLOAD_TOO_LARGE, "PayloadTooLarge", str(failed)
            )
        if not failed.began and not left:
            # Nothing but a large message is refused while it is sent, again and again.
            refused = (
                self._one_by_one() or self._http_error(str(failed)) if failed.sending else None
            )
            return refused or self._step_back(str(failed))
        if not failed.began:
            return None
        if task.at_most_once and (failed.again or posts.halted.is_set()):
            text = f"the server was lost, and it may have begun ({failed})"
            return self._failure(Kind.WORKER_LOST, "WorkerLost", text)
        if not failed.again and not posts.halted.is_set():
            once = task.at_most_once
            return (None if once else self._one_by_one()) or self._http_error(str(failed))
        return self._after_loss(failed)

    def _after_loss(self, failed: PostFailed) -> Completed | None:
        """Tell the message with which the server goes down from those beside it."""
        times = self._posts.lost.add(self._task.job, self._first, self._n)
        if self._n > 1 or self._posts.halted.is_set():
            return self._one_by_one() or _nothing(self._task)
        if times <= self._manner.retries:
            return None
        return self._http_error(f"{failed}, {times} times")

    def _one_by_one(self) -> Completed | None:
        """Have the messages of this lease posted by themselves, if this is not one of those."""
        if self._n == 1:
            return None
        self._posts.singly = self._task.lease
        return _nothing(self._task)

    def _step_back(self, reason: str) -> Completed:
        self._posts.give_back(reason)
        return _nothing(self._task)

    def _http_error(self, text: str) -> Completed:
        self._posts.logger.warning("%s: %s", self._task.function, text)
        return self._failure(Kind.TASK_ERROR, "HttpError", text)

    def _failure(self, kind: Kind, name: str, text: str) -> Completed:
        n = self._n
        self._posts.lost.forget(self._task.job, self._first, n)
        batch = Batch.pack([encode_failure(Failure(name, text))] * n)
        each = max(time.time() - self._began, 0.0) / n
        durations = (array("f", (each,)) * n).tobytes()
        return Completed(
            self._task.lease, n, Codec.MSGPACK, batch, self._began, durations, bytes([kind]) * n
        )


def _nothing(task: Task) -> Completed:
    """Return that nothing has become of any message: what is not given back is run again."""
    return Completed(task.lease, 0, Codec.RAW, Batch.pack([]), time.time(), b"", b"")


def jittered(seconds: float) -> float:
    """Return about so many: those who failed together should not try again together."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - nobody gains by guessing it
