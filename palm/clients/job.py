"""A job: messages of one function on their way, and their outcomes."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from palm.clients.kept import Kept, raise_first
from palm.clients.limit import Limit
from palm.clients.outcomes import Chunk, Failed
from palm.clients.progress import Progress, Share, Tally
from palm.clients.window import JournaledWindow, Window
from palm.errors import ConfigError, JobError, PalmError
from palm.wire.batch import Batch
from palm.wire.message import Outcome, Route, Terms
from palm.wire.outcome import Failure, Kind, encode_failure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ERRORS", "Job", "Progress", "Share", "check_errors"]

#: What `errors=` may be.
ERRORS: Final = ("raise", "return", "coerce")

#: Seconds for which a job must be paused before it says so in the log.
PAUSE_NOTICE: Final = 2.0


class Job:
    """Results of a function over items, as they come; made by `palm.Client.job`.

    Iterate it, `collect` it, or turn it into a DataFrame (`to_frame`). Outcomes that nobody takes
    wait up to a window (65,536 messages, 16 MiB), then the job pauses. A job goes on though nobody
    holds it; `cancel` ends it.

    Attributes
    ----------
    id
        Unlike that of any other job.
    function
        Whom it calls, ``server.name``.
    """

    def __init__(
        self,
        key: bytes,
        function: str,
        *,
        errors: str = "raise",
        ordered: bool = False,
        total: int | None = None,
        index: Any = None,
        terms: Terms | None = None,
        route: Route | None = None,
        limit: int | None = None,
        cancel: Callable[[bytes, bool], None],
        make_room: Callable[[bytes, int], None],
        logger: logging.Logger,
    ) -> None:
        check_errors(errors)
        self.key = key
        self.function = function
        self.terms = terms
        self.route = route
        #: After how many results and failures it ends, if not with its items.
        self.limit = None if limit is None else Limit(limit)
        #: Results of the stage that was asked for, and of others.
        self._from_stage = 0
        self._from_others = 0
        self._errors = errors
        self._ordered = ordered
        self._total = total
        #: The number of its messages was known when it began.
        self.is_sized = total is not None
        self._index = index
        #: It is in the master's journal, and outlives its client.
        self.journaled = terms is not None and terms.journaled
        self._tell_cancel = cancel
        self._tell_room = make_room
        #: Outcomes before this one came from the journal; that it has room for more than those
        #: before the other one is known there.
        self._position = self._told_position = 0
        #: It is known there that no more will come.
        self._closed = False
        self._logger = logger
        lock = threading.Lock()
        self._changed = threading.Condition(lock)
        self._drained = threading.Condition(lock)
        self._window = JournaledWindow() if self.journaled else Window()
        self._chunks: deque[Chunk] = deque()
        self._early: dict[int, Chunk] = {}
        self._next = 0
        self._kept = Kept()
        self._notes: deque[str] = deque()
        self._ready: Iterator[Any] = iter(())
        #: Up to when `next_within` waits.
        self._until: float | None = None
        self._segments: deque[list[Any] | Failed] = deque()
        self._count: int | None = None
        self._error: BaseException | None = None
        self._cancelled = False
        self._told_pause = False
        self._tally = Tally()
        self._started = time.monotonic()
        self._ended: float | None = None
        self._callbacks: deque[Callable[[Job], object]] = deque()

    # What is known of it

    @property
    def id(self) -> str:
        """Unlike that of any other job."""
        return self.key.hex()

    @property
    def accepted(self) -> int:
        """How many of its first messages are in the master's journal; 0 if it is not durable."""
        with self._changed:
            return self._window.accepted if isinstance(self._window, JournaledWindow) else 0

    @property
    def state(self) -> str:
        """``running``, ``paused``, ``done``, ``cancelled`` or ``failed``."""
        with self._changed:
            if self._cancelled:
                return "cancelled"
            if self._error is not None and not self._open:
                return "failed"
            if self._complete:
                return "done"
            return "paused" if self._paused else "running"

    @property
    def progress(self) -> Progress:
        """How far it is."""
        with self._changed:
            return self._tally.progress(self._window.answered, self._total, self.elapsed)

    @property
    def shares(self) -> dict[str, Share]:
        """What each worker has done of it, by the worker's name."""
        with self._changed:
            return self._tally.shares()

    @property
    def elapsed(self) -> float:
        """Seconds since its start, or that it took."""
        end = self._ended
        return (end if end is not None else time.monotonic()) - self._started

    @property
    def error(self) -> BaseException | None:
        """Why it failed as a whole, if it did."""
        return self._error

    def __bool__(self) -> bool:
        return True  # also when its length is not known

    def __len__(self) -> int:
        if self._total is None:
            raise TypeError("the number of messages of this job is not known")
        return self._total

    def __repr__(self) -> str:
        progress = self.progress
        total = "" if progress.total is None else f"/{progress.total:,}"
        failed = f", {progress.failed:,} failed" if progress.failed else ""
        return (
            f"<Job {self.function}: {self.state}, {progress.done:,}{total} done{failed}, "
            f"{progress.rate:,.0f}/s>"
        )

    # For its caller

    def __iter__(self) -> Iterator[Any]:
        # Runs of results are iterated in C. The iterator of a run is shared with `__next__`.
        return chain.from_iterable(self._runs())

    def __next__(self) -> Any:
        while True:
            for value in self._ready:
                return value
            if not self._advance():
                raise StopIteration

    def next_within(self, seconds: float | None) -> Any:
        """Return the next result, as `next` does.

        Raises
        ------
        TimeoutError
            There is none within ``seconds`` (None: wait for it).
        """
        self._until = None if seconds is None else time.monotonic() + seconds
        try:
            return next(self)
        finally:
            self._until = None

    def cancel(self) -> None:
        """Want nothing more: what waits is dropped, what runs may end; harmless when done.

        The journal forgets a durable job, also when it is done.
        """
        with self._changed:
            failed = self._error is not None and not self._open
            if self._cancelled or failed or (self._complete and not self.journaled):
                return
            self._cancelled = not self._complete
            self._end()
        self._tell_cancel(self.key, self.journaled)
        self._tell_end()

    def add_done_callback(self, callback: Callable[[Job], object]) -> None:
        """Have ``callback(job)`` called once, when no outcome will come any more.

        That is in the thread in which the job ended - as a rule the client's own, which it must
        not hold up - or at once if it has ended before.
        """
        self._callbacks.append(callback)
        self._tell_end()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the job, keeping all outcomes; return whether it is done.

        It is not when ``timeout`` (seconds) is over, or when the job was cancelled or failed. An
        interrupt cancels the job, unless it is durable.
        """
        until = None if timeout is None else time.monotonic() + timeout
        try:
            with self._changed:
                self._collect()
                while self._open:
                    left = None if until is None else until - time.monotonic()
                    if left is not None and left <= 0:
                        break
                    self._wait(left)
                self._tell_notes()
                return self._complete and not self.over
        except KeyboardInterrupt as interrupt:
            self._interrupted(interrupt)
            raise

    def collect(self) -> Job:
        """Wait until every message has its outcome, keep all of them, and return the job."""
        self.wait()
        return self

    def to_frame(self, errors: str | None = None, partial: bool = False) -> pd.DataFrame:
        """Return a DataFrame with a row for each message, in the order and index of the input.

        Dict results are spread over their keys, namedtuples over their fields, tuples over
        ``0, 1, ...``; anything else is in ``result``. Then follow ``worker``, ``started`` (UTC),
        ``duration`` (seconds; of calls that take microseconds, the mean of a few dozen),
        ``attempts`` and ``error``.

        Parameters
        ----------
        errors
            ``raise``: wait for the end, then raise the first error; ``return``, ``coerce``: the
            row of a failed message has its error. Default: as the job was made.
        partial
            Only messages that have an outcome now, without waiting.

        Raises
        ------
        JobError
            Outcomes were iterated and, being more than 32 MiB, not kept.
        """
        from palm.clients import frame  # pandas: not for those who don't ask for a frame

        errors = self._errors if errors is None else errors
        check_errors(errors)
        if not partial:
            self.wait()
        chunks, missing = self._all_chunks(partial=partial)
        result = frame.results(self, chunks, missing, self._index)
        if self.limit is not None:
            result = result.iloc[: self.limit.most]
        if errors == "raise" and not partial:
            # Only now: reading a result may have failed as well.
            raise_first(chunks, self._window.answered)
        return result

    @property
    def failures(self) -> pd.DataFrame:
        """Failed messages so far: ``input, type, error, traceback, worker, attempts``."""
        from palm.clients import frame  # pandas: not for those who don't ask for a frame

        with self._changed:
            chunks = self._kept.failed()
        return frame.failures(chunks, self._index)

    # For its client: the feeder's thread and the socket's thread call these

    @property
    def over(self) -> bool:
        """Whether nothing more of it is wanted."""
        return self._cancelled or self._error is not None

    @property
    def has_ended(self) -> bool:
        """Whether no outcome will come any more."""
        return self._ended is not None

    def wants(self, number: int) -> bool:
        """Return whether item ``number`` (from 0) is needed; wait until that is known."""
        with self._changed:
            while self._may_feed and self.limit is not None:
                if self.journaled:  # what comes of it is not waited for
                    return number < self.limit.most
                if self.limit.is_reached:
                    return False
                if self.limit.needs(number, self._window.answered):
                    return True
                self._drained.wait(PAUSE_NOTICE)
            return self._may_feed

    def await_room(self, *, wait: bool) -> bool:
        """Return whether more may be submitted; wait until it may, or the job is over."""
        with self._changed:
            if self._window.has_room or not wait:
                return self._window.has_room and not self.over
            while self._may_feed and not self._window.is_low:
                self._drained.wait(PAUSE_NOTICE)
                self._tell_pause()
            return self._may_feed

    @property
    def _may_feed(self) -> bool:
        return not self.over and not self._complete  # it is complete when its time is over

    @property
    def room(self) -> int:
        """How many messages may be submitted now."""
        with self._changed:
            return self._window.room

    def submitted(self, n: int, size: int) -> None:
        """Note that messages were submitted."""
        with self._changed:
            self._window.submit(n, size)

    def refused(self, index: int, kind: Kind, failure: Failure) -> None:
        """Note that a message cannot be sent: it has its outcome here."""
        batch = Batch.pack([encode_failure(failure)])
        outcome = Outcome(0, 0, self.key, index, 1, 0, 0, "", time.time(), bytes(4), bytes([kind]))
        self.submitted(1, 0)
        self.deliver(Chunk(self.function, outcome, batch))

    def exhausted(self, count: int, error: BaseException | None) -> None:
        """Note that the source ended after ``count`` items, or with an error."""
        with self._changed:
            if self._ended is None:
                self._count = self._total = count
            elif self._error is not None:  # it has failed, and waits for none of them
                self._total = count
            if error is not None and self._error is None:
                self._error = error
            if not self._open:
                self._end()
            self._changed.notify_all()
        self._tell_end()

    def deliver(self, chunk: Chunk) -> None:
        """Take outcomes."""
        with self._changed:
            if self._cancelled:
                return
            self._position = chunk.outcome.position + 1
            self._window.answer(chunk.n, chunk.size)
            self._tally.count(chunk)
            self._kept.add(chunk)
            if self.limit is not None:
                self.limit.found(chunk)
            if self.route is not None and self.route.only:
                self._from_stage += chunk.count
                self._from_others += chunk.left_out
            if self._ordered:
                self._early[chunk.first] = chunk
                while (chunk_ := self._early.pop(self._next, None)) is not None:
                    self._put(chunk_)
                    self._next += chunk_.n
            else:
                self._put(chunk)
            ends = self._has_enough
            if ends:
                self._count = self._total = self._window.answered
            if not self._open:
                self._end()
            self._changed.notify_all()
            self._tell_drained()
            self._make_room()
        if ends:  # nobody wants what is under way
            self._tell_cancel(self.key, False)
        self._tell_end()

    def _put(self, chunk: Chunk) -> None:
        """Let the caller have outcomes."""
        self._chunks.append(chunk)
        if self.limit is not None:
            self.limit.in_turn(chunk)
            self._drained.notify_all()

    @property
    def _has_enough(self) -> bool:
        """Whether it ends now, though more of its messages could have outcomes."""
        if self.limit is None or not self.limit.is_reached or self._complete:
            return False
        return not self.journaled

    def accept(self, upto: int, *, closed: bool = False) -> None:
        """Note that messages before ``upto`` are in the journal, and that no more will come."""
        with self._changed:
            self._closed = closed
            if isinstance(self._window, JournaledWindow):
                self._window.accept(upto)
            self._changed.notify_all()
            self._tell_drained()

    def inherit(self, n: int) -> None:
        """Note that an earlier client sent the first ``n`` messages."""
        self.submitted(n, 0)
        self.accept(n)

    def wait_accepted(self, *, whole: bool) -> None:
        """Wait until all that was submitted is in the journal, or the job is over.

        With ``whole`` its source has ended by then.
        """
        with self._changed:
            while not self.over and not self._complete:
                if self._closed or not (whole or self._window.in_flight):
                    return
                self._wait(None)

    def fail(self, error: PalmError) -> None:
        """Note that no message will have an outcome any more."""
        with self._changed:
            if self._open and not self._cancelled:
                self._error = error
                self._count = self._window.answered
                self._end()
        self._tell_end()

    def _tell_end(self) -> None:
        """Call whoever waits for the end, without the lock; several threads may try to."""
        while self._callbacks and self.has_ended:
            try:
                callback = self._callbacks.popleft()
            except IndexError:  # another thread was quicker
                return
            callback(self)

    def note(self, text: str) -> None:
        """Have something said to whoever waits for the job."""
        with self._changed:
            self._notes.append(text)
            self._changed.notify_all()

    # Under the lock

    @property
    def _complete(self) -> bool:
        return self._count is not None and self._window.answered >= self._count

    @property
    def _open(self) -> bool:
        """Whether an outcome may come yet."""
        return not self._cancelled and not self._complete

    @property
    def _paused(self) -> bool:
        window = self._window
        return window.answered > window.consumed and not window.in_flight and not window.has_room

    def _end(self) -> None:
        if self._from_others and not self._from_stage and self._ended is None:
            stage = self.route.only if self.route is not None else ""
            self._notes.append(f"no result came from {stage}; other stages had results")
        self._ended = time.monotonic() if self._ended is None else self._ended
        self._changed.notify_all()
        self._drained.notify_all()

    def _tell_drained(self) -> None:
        if self._window.is_low:
            self._drained.notify()

    def _collect(self) -> None:
        self._window.collecting = True
        self._drained.notify_all()
        self._make_room()

    def _make_room(self) -> None:
        """Have more outcomes sent from the journal, if there is room for them."""
        if self._position > self._told_position and self._window.is_roomy:
            self._told_position = self._position
            self._tell_room(self.key, self._position)

    def _interrupted(self, interrupt: KeyboardInterrupt) -> None:
        """Do as whoever waits for a job expects of an interrupt."""
        if self.journaled:
            self._logger.warning(
                "%s: job %s goes on at its master; job.cancel() ends it", self.function, self.id
            )
        elif self._open:
            self.cancel()
            interrupt.add_note(
                f"Job {self.function} was cancelled. What was done: job.to_frame(partial=True); the"
                " latest job of a client is client.jobs[-1]."
            )

    def _wait(self, timeout: float | None) -> None:
        """Wait for a change; say what there is to say in this thread, which the user looks at."""
        self._tell_notes()
        self._changed.wait(timeout)

    def _wait_for_result(self) -> None:
        left = None if self._until is None else self._until - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError(f"no result of {self.function} in time")
        self._wait(left)

    def _tell_notes(self) -> None:
        while self._notes:
            self._logger.warning("%s: %s", self.function, self._notes.popleft())

    def _tell_pause(self) -> None:
        waiting = self._window.answered - self._window.consumed
        if self._paused and not self._told_pause:
            self._told_pause = True
            self._logger.info(
                "%s: paused, %s results wait to be taken; iterate the job, or collect() it",
                self.function,
                f"{waiting:,}",
            )

    # Iteration

    def _runs(self) -> Iterator[Iterator[Any]]:
        yield self._ready  # what a loop that was left has not taken
        while self._advance():
            yield self._ready

    def _advance(self) -> bool:
        """Make the next run of results ready; False: there is none. Raises what failed."""
        while not self._segments:
            chunk = self._take()
            if chunk is None:
                if self._error is not None:
                    raise self._error
                return False
            self._segments.extend(chunk.segments())
        segment = self._segments.popleft()
        if self.limit is not None:
            limited = self.limit.take(segment)
            if limited is None:
                return False
            segment = limited
        if isinstance(segment, list):
            self._ready = iter(segment)
        elif self._errors == "raise":
            raise segment
        else:
            self._ready = iter((segment if self._errors == "return" else None,))
        return True

    def _take(self) -> Chunk | None:
        try:
            with self._changed:
                while not self._chunks and self._open:
                    self._wait_for_result()
                if not self._chunks:
                    self._tell_notes()
                    return None
                chunk = self._chunks.popleft()
                self._window.consume(chunk.n, chunk.size)
                waiting = chain(self._chunks, self._early.values())
                self._kept.consume(chunk, waiting, all_wanted=self._window.collecting)
                self._tell_drained()
                self._make_room()
                return chunk
        except KeyboardInterrupt as interrupt:
            self._interrupted(interrupt)
            raise

    # Frames

    def _all_chunks(self, *, partial: bool) -> tuple[list[Chunk], int]:
        """Return outcomes in the order of the input, and how many messages have none."""
        with self._changed:
            if forgotten := self._kept.forgotten:
                raise JobError(
                    f"{forgotten:,} outcomes of job {self.id} were iterated and not kept; "
                    "call to_frame() instead of iterating, or collect() first"
                )
            if self._error is not None and not partial:
                raise self._error
            chunks = self._kept.in_order()
            missing = 0 if partial else self._window.submitted - self._window.answered
        return chunks, missing


def check_errors(errors: str) -> None:
    """Refuse what ``errors=`` cannot be."""
    if errors not in ERRORS:
        raise ConfigError(f"errors={errors!r}", hint=f"one of {', '.join(map(repr, ERRORS))}")
