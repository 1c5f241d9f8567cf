"""What a master does when a worker lost what it had others run."""

from __future__ import annotations

from palm.wire.message import Bye
from palm.wire.outcome import Kind
from tests.support.machines import MasterBench, payloads


def test_messages_of_a_lost_batch_are_run_alone_and_said_to_be() -> None:
    bench = MasterBench()
    worker, client = bench.worker("w"), bench.client()
    client.submit(b"before", payloads(4))
    worker.work(0.0001)  # the master knows now how long they take
    client.submit(b"job", payloads(8))
    ((task, _), *_) = worker.tasks()
    assert task.n > 1 and not task.alone
    worker.send(Bye(worker.link, "its batch was lost", [task.lease], lost=True))
    another = bench.worker("another")
    (alone, _) = another.tasks()[0]
    assert alone.n == 1 and alone.alone and alone.attempt == 2


def test_a_message_that_is_lost_three_times_alone_is_poison() -> None:
    bench = MasterBench()
    client = bench.client()
    client.submit(b"job", payloads(1))
    for attempt in range(4):
        worker = bench.worker(f"w{attempt}")
        ((task, _),) = worker.tasks()
        worker.send(Bye(worker.link, "lost", [task.lease], lost=True))
    assert client.outcomes()[0][0] == Kind.POISON_TASK
