"""From a source to batches."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from palm.clients.feeder import BATCH_SIZE, Feeder
from palm.clients.limit import Limit
from palm.clients.source import Source
from palm.protocol.events import Submitted
from palm.wire.batch import MAX_MESSAGES
from palm.wire.codec import decode_values
from palm.wire.outcome import Failure, Kind
from tests.support.cluster import until


class StubJob:
    """A job with room for everything, that notes what it is told."""

    key = b"job-of-8"
    function = "foo.f"
    journaled = over = False
    room = 1 << 30

    terms = route = None

    def __init__(self, told: list[Any], limit: int | None = None) -> None:
        self.told = told
        self.limit = None if limit is None else Limit(limit)
        self.count: int | None = None
        self.error: BaseException | None = None
        self.refusals: dict[int, Failure] = {}
        self.ended = threading.Event()

    def await_room(self, *, wait: bool) -> bool:
        return True

    def wants(self, number: int) -> bool:
        return self.limit is None or number < self.limit.most

    def submitted(self, n: int, size: int) -> None:
        self.told.append((n, size))

    def refused(self, index: int, kind: Kind, failure: Failure) -> None:
        self.refusals[index] = failure

    def exhausted(self, count: int, error: BaseException | None) -> None:
        self.count, self.error = count, error
        self.ended.set()


class Fed:
    """A feeder at work, and what it submitted."""

    def __init__(self, items: Iterable[Any], limit: int | None = None) -> None:
        self.job = StubJob([], limit)
        self.submitted: list[Submitted] = []
        self.feeder = Feeder(self.job, Source(items), self.submitted.append, lambda: None)  # type: ignore[arg-type]

    def run(self) -> Fed:
        self.feeder.run()
        return self

    @property
    def items(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for event in self.submitted:
            values = decode_values(event.codec, event.batch.payloads())
            found.update(enumerate(values, event.first))
        return found

    @property
    def sizes(self) -> list[int]:
        return [event.batch.n for event in self.submitted]


@pytest.mark.parametrize("n", [0, 1, 7, 8, 5000])
def test_every_item_is_submitted_once_and_the_last_says_so(n: int) -> None:
    fed = Fed(range(n)).run()
    assert fed.items == dict(enumerate(range(n)))
    assert [event.last for event in fed.submitted].index(True) == len(fed.submitted) - 1
    assert sum(size for size, _ in fed.job.told) == n
    assert (fed.job.count, fed.job.error) == (n, None)


def test_batches_grow_but_not_for_ever() -> None:
    sizes = Fed(range(10_000)).run().sizes
    assert sizes[0] <= 8
    assert max(sizes) <= MAX_MESSAGES


def test_large_items_go_in_small_batches() -> None:
    fed = Fed([bytes(20_000)] * 50).run()
    assert max(event.batch.size for event in fed.submitted) <= BATCH_SIZE
    assert len(fed.items) == 50


def test_no_more_is_taken_than_is_wanted() -> None:
    source = iter(range(100))
    fed = Fed(source, 10).run()
    assert len(fed.items) == 10
    assert next(source) == 10


def test_what_was_taken_before_the_source_failed_is_submitted() -> None:
    def source() -> Iterator[int]:
        yield from range(100)
        raise OSError("the disk")

    fed = Fed(source()).run()
    assert len(fed.items) == 100
    assert fed.job.count == 100
    assert isinstance(fed.job.error, OSError)


def test_items_that_cannot_be_sent_are_refused_by_their_number() -> None:
    items: list[Any] = list(range(40))
    items[3] = items[30] = threading.Lock()
    fed = Fed(items).run()
    assert set(fed.items) | set(fed.job.refusals) == set(range(40))
    assert set(fed.job.refusals) == {3, 30}
    assert fed.job.count == 40


def test_the_end_waits_for_what_another_thread_is_sending() -> None:
    taken, go_on = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield 1
        assert taken.wait(10)

    fed = Fed(source())
    take = fed.feeder._take

    def slow_take(room: int) -> list[Any]:
        items = take(room)
        if items:
            taken.set()
            assert go_on.wait(10)
        return items

    fed.feeder._take = slow_take  # type: ignore[method-assign]
    fed.feeder.start()
    until(lambda: fed.feeder.has_pending or taken.is_set())
    other = threading.Thread(target=lambda: [fed.feeder.flush_stale() for _ in range(2)])
    other.start()
    ended_early = fed.job.ended.wait(0.2)
    go_on.set()
    other.join()
    fed.feeder.join(10)
    assert not ended_early
    assert fed.items == {0: 1}
    assert fed.job.count == 1
    assert fed.submitted[-1].last


def test_source_that_computes_lets_others_send_what_was_packed() -> None:
    packed, sent = threading.Event(), threading.Event()
    send = threading.Thread(target=lambda: (packed.wait(20), sent.set()))
    send.start()

    def source() -> Iterator[int]:
        until = time.monotonic() + 10
        while not sent.is_set() and time.monotonic() < until:
            yield 1

    fed = Fed(())
    fed.feeder = Feeder(fed.job, source(), lambda event: packed.set(), lambda: None)  # type: ignore[arg-type]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)  # nobody is interrupted: what runs has to let others run
    try:
        fed.feeder.run()
    finally:
        sys.setswitchinterval(interval)
    was_sent = sent.is_set()
    packed.set()
    send.join()
    assert was_sent
