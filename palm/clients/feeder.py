"""Takes a job's items from their source, packs them, and hands them over as there is room.

Source and packing belong to a thread of their own, so that a slow source holds up nobody. What
lies packed for too little is sent all the same by the client's socket thread (`flush_stale`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from palm.clients.source import Source
from palm.errors import PayloadTooLarge
from palm.protocol.events import Submitted
from palm.wire.batch import MAX_MESSAGES, MAX_PAYLOAD, Batch, Buffer
from palm.wire.codec import Codec, encode_values
from palm.wire.outcome import Failure, Kind, describe, encode_failure

if TYPE_CHECKING:
    from palm.clients.job import Job
    from palm.clients.keys import Keys

__all__ = ["Feeder"]

#: Bytes in one batch, unless one message is larger.
BATCH_SIZE: Final = 256 * 1024

#: Messages in the first batch, unless they are slow to come; it doubles from there.
FIRST_BATCH: Final = 8

#: Seconds after which a batch is sent though it is not full.
FLUSH_AFTER: Final = 0.001


#: Follows the last item of a source.
_NOTHING: Final = object()


class Feeder:
    """Feeds one job.

    Parameters
    ----------
    post
        Takes a `Submitted` to the client's machine.
    wake
        Lets the client's socket thread call `flush_stale`.
    keys
        Finds the keys of items, if the job has any.
    start
        Number of the first item: those before it were sent by an earlier client.
    """

    def __init__(
        self,
        job: Job,
        items: Iterable[Any],
        post: Callable[[Submitted], None],
        wake: Callable[[], None],
        keys: Keys | None = None,
        start: int = 0,
    ) -> None:
        self._job = job
        self._items = items
        self._post = post
        self._wake = wake
        self._keys = keys
        #: The partitions of what is being sent, and the number of its first message.
        self._partitions = b""
        self._partitions_from = 0
        self._pending: deque[Any] = deque()
        self._lock = threading.Lock()
        self._next = start
        self._target = FIRST_BATCH
        self._flushes = 0
        self._seen = -1
        self._exhausted = False
        self._told_end = False
        self._expired = False
        self._is_at_hand = isinstance(items, Source) and items.is_at_hand
        size = items.size if isinstance(items, Source) else 0
        #: The job may end before its items do.
        self._is_limited = job.limit is not None and (size is None or job.limit.most < size)
        self._needs_room = False
        self._thread: threading.Thread | None = None

    @property
    def has_pending(self) -> bool:
        """Whether items wait for more of them to be sent."""
        return bool(self._pending) and not self._needs_room

    def start(self) -> None:
        """Begin to take items."""
        self._thread = threading.Thread(target=self.run, name="palm-feeder", daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Take all items in this thread."""
        try:
            self._feed()
        except BaseException as error:  # noqa: BLE001 - the source is the user's, its error the job's
            self._end(error)
        else:
            self._end(None)

    def run_at_once(self) -> None:
        """Take the only item, which is at hand, in this thread: there is always room for one."""
        items = list(self._items if self._job.wants(0) else ())
        self._exhausted = True
        with self._lock:
            if items:
                self._submit(items)
        self._end(None)

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread; a source that blocks is left behind."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def expire(self) -> None:
        """Note that the time of the job is over (the socket thread calls it).

        A source whose length is known is taken to its end, as each item has an outcome; of any
        other nothing more is taken, as it may never end.
        """
        if self._job.is_sized:
            return
        with self._lock:
            if self._exhausted:
                return
            self._expired = self._exhausted = True
            self._pending.clear()
            self._send(0, [], self._next)
            self._job.exhausted(self._next, None)

    def leave(self) -> None:
        """Take nothing more, as the client goes and the job stays; another may go on with it."""
        with self._lock:
            self._expired = self._exhausted = True
            self._pending.clear()

    def flush_stale(self) -> None:
        """Send what waits since before the last call (the socket thread calls it)."""
        if self.has_pending and self._flushes == self._seen:
            self._flush(wait=False)
        self._seen = self._flushes

    def _feed(self) -> None:
        """Take items until the source ends or the job does."""
        items: Iterable[Any] = self._items
        if self._is_limited:
            items = self._wanted(iter(items))
        elif self._is_at_hand:
            self._feed_at_hand(iter(items))
            return
        pending, append, clock = self._pending, self._pending.append, time.monotonic
        due = clock() + FLUSH_AFTER
        for item in items:
            append(item)
            if len(pending) >= self._target or clock() >= due:
                if not self._flush(wait=True):
                    return
                time.sleep(0)  # a source that computes would hold up sending for 5 ms at a time
                due = clock() + FLUSH_AFTER
            elif len(pending) == 1:
                self._wake()

    def _wanted(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield as many items as the job needs to have as many results as it may have."""
        number = self._next
        while self._job.wants(number):
            item = next(items, _NOTHING)
            if item is _NOTHING:
                return
            yield item
            number += 1

    def _feed_at_hand(self, items: Iterator[Any]) -> None:
        """Take items that cannot be slow to come, a batch at once."""
        ahead = next(items, _NOTHING)
        while ahead is not _NOTHING and self._has_room(wait=True):
            with self._lock:
                if self._expired:
                    return
                most = max(1, min(self._target, self._job.room))
                batch = [ahead, *islice(items, most - 1)]
                ahead = next(items, _NOTHING)
                self._exhausted = ahead is _NOTHING
                self._submit(batch)

    def _end(self, error: BaseException | None) -> None:
        """Send what is left, say that it was all, and why."""
        with self._lock:
            self._exhausted = True
            if self._expired:
                return
        while self._pending and self._flush(wait=True):
            pass
        with self._lock:  # what the socket's thread has in hand is sent by then
            if not self._told_end and not self._job.over:
                self._send(0, [], self._next)
            self._job.exhausted(self._next, error)

    def _flush(self, *, wait: bool) -> bool:
        """Send a batch; False: the job is over. Without room nothing happens unless ``wait``."""
        if not self._has_room(wait=wait):
            return not self._job.over
        with self._lock:
            if self._expired:
                return False
            items = self._take(self._job.room)
            if items:
                self._flushes += 1
                self._submit(items)
        return True

    def _has_room(self, *, wait: bool) -> bool:
        if not wait:
            return self._job.await_room(wait=False)
        self._needs_room = True  # it will be more than a little: nothing is sent before
        try:
            return self._job.await_room(wait=True)
        finally:
            self._needs_room = False

    def _take(self, room: int) -> list[Any]:
        pending = self._pending
        return [pending.popleft() for _ in range(max(0, min(len(pending), self._target, room)))]

    def _submit(self, items: list[Any]) -> None:
        first = self._next
        self._next += len(items)
        try:
            self._find_partitions(first, items)
            codec, payloads = encode_values(items)
        except BaseException:  # noqa: BLE001 - whatever pickling raises: find out whose
            self._submit_singly(items, first)
            return
        sizes = list(map(len, payloads))
        total = sum(sizes)
        if total > BATCH_SIZE:
            self._target = max(1, min(self._target, BATCH_SIZE * len(items) // total))
            self._submit_split(codec, payloads, first)
        else:
            if self._target < MAX_MESSAGES:
                self._target *= 2
            self._send(codec, payloads, first)

    def _find_partitions(self, first: int, items: list[Any]) -> None:
        if self._keys is not None:
            self._partitions = self._keys.partitions(first, items)
            self._partitions_from = first

    def _submit_split(self, codec: int, payloads: list[Buffer], first: int) -> None:
        """Send payloads that are too large for one batch."""
        run: list[Buffer] = []
        size = 0
        for payload in payloads:
            if run and size + len(payload) > BATCH_SIZE:
                self._send(codec, run, first)
                first += len(run)
                run, size = [], 0
            if len(payload) > MAX_PAYLOAD:
                self._refuse(first, _too_large(len(payload)))
                first += 1
            else:
                run.append(payload)
                size += len(payload)
        if run:
            self._send(codec, run, first)

    def _submit_singly(self, items: list[Any], first: int) -> None:
        """Send items one by one; those that cannot be sent have their outcome here."""
        for at, item in enumerate(items, first):
            try:
                self._find_partitions(at, [item])
                codec, payloads = encode_values([item])
            except BaseException as error:  # noqa: BLE001 - it is the outcome of that message
                self._refuse(at, error)
            else:
                self._submit_split(codec, payloads, at)

    def _send(self, codec: int, payloads: list[Buffer], first: int, kinds: bytes = b"") -> None:
        batch = Batch.pack(payloads)
        self._told_end = last = self._exhausted and first + batch.n == self._next
        self._job.submitted(batch.n, batch.size)
        job = self._job
        partitions = b""
        if self._keys is not None and batch.n and not kinds:
            at = first - self._partitions_from
            partitions = self._partitions[at : at + batch.n]
        self._post(
            Submitted(
                job.key,
                first,
                batch,
                job.function,
                codec,
                last,
                job.terms,
                partitions,
                kinds,
                job.route,
            )
        )

    def _refuse(self, index: int, error: BaseException) -> None:
        """Give a message that cannot be sent its outcome; that of a journaled job goes there."""
        kind, failure = refusal_of(error)
        if self._job.journaled:
            self._send(Codec.MSGPACK, [encode_failure(failure)], index, bytes([kind]))
        else:
            self._job.refused(index, kind, failure)


def refusal_of(error: BaseException) -> tuple[Kind, Failure]:
    """Return the outcome of a message that cannot be sent."""
    kind, limit = Kind.TASK_ERROR, 0
    if isinstance(error, PayloadTooLarge):
        kind, limit = Kind.PAYLOAD_TOO_LARGE, error.limit
    text = f"it cannot be sent: {describe(error)}"
    return kind, Failure(type(error).__name__, text, "", limit)


def _too_large(size: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"{size:,} bytes are more than the limit of {MAX_PAYLOAD:,}", limit=MAX_PAYLOAD
    )
