"""What a small message costs beside its function, in counts that no machine changes."""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from itertools import count
from types import FrameType

import pytest

from palm.clients.feeder import Feeder
from palm.clients.job import Job
from palm.clients.outcomes import Chunk
from palm.clients.source import Source
from palm.protocol.effects import Invoke
from palm.protocol.events import Submitted
from palm.runtime import executor
from palm.runtime.executor import Executor
from palm.runtime.functions import FunctionTable
from palm.wire import framing
from palm.wire.batch import MAX_MESSAGES, Batch
from palm.wire.codec import Codec
from palm.wire.message import Outcome, Submit, Task

#: As many as make one batch.
PAYLOADS = [b"%016d" % at for at in range(MAX_MESSAGES)]
BATCH = Batch.pack(PAYLOADS)


def calls(function: Callable[[], object]) -> Counter[str]:
    """Return how often a hundred messages call functions of Python ("call") and of C ("c_call")."""
    counts: Counter[str] = Counter()

    def note(frame: FrameType, what: str, argument: object) -> None:
        counts[what] += 1

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return Counter({what: n // (MAX_MESSAGES // 100) for what, n in counts.items()})


def test_feeding_a_list_calls_nothing_for_each_message() -> None:
    sent: list[Submitted] = []
    source = Source(PAYLOADS)
    options = {"errors": "raise", "ordered": False, "total": source.size, "index": None}
    job = Job(b"j" * 8, "foo.f", cancel=None, make_room=None, logger=None, terms=None, **options)  # type: ignore[arg-type]
    job.submitted(0, 0)
    job._window.answer(MAX_MESSAGES, 0)  # as after a start: there is room for a batch
    job._window.submit(MAX_MESSAGES, 0)
    job._window.consume(MAX_MESSAGES, 0)
    feeder = Feeder(job, source, sent.append, lambda: None)
    feeder._target = MAX_MESSAGES
    found = calls(feeder.run)
    assert sum(event.batch.n for event in sent) == MAX_MESSAGES
    assert found["call"] + found["c_call"] < 10, found


def test_running_calls_the_function_and_hardly_more(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(executor.time, "perf_counter", lambda: 1e-7 * next(ticks))
    machine = Executor(FunctionTable({"f": lambda value: value}))
    task = Task(1, 1, b"s" * 16, b"j" * 8, 0, BATCH.n, 1, "f", Codec.RAW)
    found = calls(lambda: machine.run(Invoke(task, BATCH, 0, BATCH.n)))
    # The function, and what it returned put away.
    assert found["call"] <= 110
    assert found["c_call"] <= 120


def test_taking_results_calls_nothing_for_each_message() -> None:
    outcome = Outcome(1, 1, b"j" * 8, 0, BATCH.n, 1, Codec.RAW, "w", 0.0, bytes(4 * BATCH.n), b"")
    found = calls(lambda: Chunk("foo.f", outcome, BATCH).segments())
    assert found["call"] + found["c_call"] < 10, found


def test_batch_of_small_messages_is_three_frames() -> None:
    submit = Submit(1, b"j" * 8, 0, BATCH.n, "foo.f", Codec.RAW, False)
    header, lengths, body = framing.pack(submit, BATCH)
    assert len(header) < 64
    assert (len(lengths), len(body)) == (4 * BATCH.n, 16 * BATCH.n)
    message, received = framing.unpack([header, lengths, body])
    assert message == submit
    assert received is not None and received.body is body  # nothing was copied


def allocated(function: Callable[[], object]) -> float:
    """Return how many bytes a message takes at most, beyond what was there before."""
    function()  # what is made once is there by now
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / MAX_MESSAGES
    finally:
        tracemalloc.stop()


def test_message_on_its_way_takes_little_more_than_its_bytes() -> None:
    submit = Submit(1, b"j" * 8, 0, BATCH.n, "foo.f", Codec.RAW, False)
    _, *frames = framing.pack(submit, BATCH)
    payload, slot, view = sys.getsizeof(PAYLOADS[0]), 8, 80
    # The bytes together, their sizes, and the views that joining them takes for a moment.
    assert allocated(lambda: Batch.pack(PAYLOADS)) <= 16 + 4 + view + 1
    # Their sizes, twice more to find that they are equal.
    assert allocated(lambda: Batch.unpack(BATCH.n, frames)) <= 3 * 4 + 1
    # The objects, and a tuple and a list of them.
    assert allocated(BATCH.payloads) <= payload + 2 * slot + 1
