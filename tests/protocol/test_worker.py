"""The worker's rules."""

from __future__ import annotations

from math import inf

import pytest

from palm.errors import AuthenticationError, ProtocolError
from palm.protocol.effects import Effect, Invoke, Ready, Reconnect, Send, Stopped
from palm.protocol.events import (
    Completed,
    Connected,
    Disconnected,
    Received,
    Refused,
    StopRequested,
    Tick,
)
from palm.protocol.link import HELLO_DEADLINE, MAX_FAULTS, Identity
from palm.protocol.worker import Lost, Retire, WorkerMachine
from palm.wire.batch import Batch
from palm.wire.message import (
    VERSION,
    Bye,
    Fault,
    Hello,
    Message,
    Recall,
    Reset,
    Result,
    Returned,
    Revoke,
    Task,
    Welcome,
)
from tests.support.machines import payloads


class Bench:
    """A worker machine whose messages are looked at."""

    def __init__(self, messages: int | None = None, tasks: int | None = None) -> None:
        self.now = 0.0
        identity = Identity("worker", "w", b"s" * 16, "foo", ["f"])
        self.machine = WorkerMachine(identity, messages, tasks)
        self.effects = self.machine.start(self.now)

    def handle(self, event: object) -> list[Effect]:
        new = self.machine.handle(event, self.now)  # type: ignore[arg-type]
        self.effects += new
        return new

    def receive(self, message: Message, batch: Batch | None = None) -> list[Effect]:
        return self.handle(Received(b"", message, batch))

    def connect(self, link: int = 1, keep: tuple[int, ...] = (), epoch: bytes = b"e") -> None:
        self.handle(Connected())
        self.receive(Welcome(link, VERSION, epoch, "foo", {}, list(keep)))

    def task(self, lease: int, n: int = 1, link: int = 1) -> None:
        task = Task(link, lease, b"c" * 16, b"job", 10 * lease, n, 1, "f", 0)
        self.receive(task, Batch.pack(payloads(n)))

    def complete(self, n: int = 1) -> None:
        invoke = self.invoked()
        batch = Batch.pack(payloads(n))
        self.handle(Completed(invoke.task.lease, n, 0, batch, 0.0, bytes(4 * n), b""))

    def invoked(self) -> Invoke:
        return [effect for effect in self.effects if isinstance(effect, Invoke)][-1]

    def sent(self, kind: type) -> list:
        return [e.message for e in self.effects if isinstance(e, Send) and type(e.message) is kind]


def test_worker_that_is_refused_again_and_again_ends_with_an_error() -> None:
    bench = Bench()
    bench.connect()
    for _ in range(MAX_FAULTS + 1):
        bench.receive(Fault(0, "broken", "no header"))
    (stopped,) = [effect for effect in bench.effects if isinstance(effect, Stopped)]
    assert isinstance(stopped.error, ProtocolError)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_looks_for_its_master_until_it_is_there(bench: Bench) -> None:
    for _ in range(100):
        bench.now += 0.1
        bench.handle(Tick())
    assert sum(isinstance(effect, Reconnect) for effect in bench.effects) > 20


def test_it_greets_when_the_connection_stands(bench: Bench) -> None:
    bench.connect()
    (hello,) = bench.sent(Hello)
    assert (hello.role, hello.name, hello.functions, hello.holds) == ("worker", "w", ["f"], [])
    assert any(isinstance(effect, Ready) for effect in bench.effects)


def test_it_greets_again_when_nobody_answers(bench: Bench) -> None:
    bench.handle(Connected())
    bench.now += HELLO_DEADLINE + 0.1
    bench.handle(Tick())
    assert len(bench.sent(Hello)) == 2


def test_the_latest_welcome_counts(bench: Bench) -> None:
    bench.connect(link=1)
    bench.receive(Welcome(2, VERSION, b"e", "foo", {}, []))
    bench.task(1, link=2)
    assert bench.invoked().task.lease == 1


def test_a_reset_of_its_link_makes_it_greet_again_and_one_of_another_does_not(
    bench: Bench,
) -> None:
    bench.connect(link=5)
    bench.receive(Reset(4))
    assert len(bench.sent(Hello)) == 1
    bench.receive(Reset(5))
    assert len(bench.sent(Hello)) == 2


def test_leases_are_run_in_order_one_at_a_time(bench: Bench) -> None:
    bench.connect()
    bench.task(1), bench.task(2)
    assert bench.invoked().task.lease == 1
    bench.complete()
    assert bench.invoked().task.lease == 2
    assert [result.first for result in bench.sent(Result)] == [10]


def test_a_lease_that_is_answered_in_part_goes_on(bench: Bench) -> None:
    bench.connect()
    bench.task(1, n=5)
    bench.complete(2)
    assert bench.invoked().start == 2
    bench.complete(3)
    assert [(r.first, r.n) for r in bench.sent(Result)] == [(10, 2), (12, 3)]


def test_nothing_new_is_begun_while_the_master_is_away(bench: Bench) -> None:
    bench.connect()
    bench.task(1), bench.task(2)
    bench.handle(Disconnected())
    bench.complete()
    assert bench.invoked().task.lease == 1
    assert not bench.sent(Result)


def test_results_of_the_time_without_a_link_are_sent_after_it(bench: Bench) -> None:
    bench.connect()
    bench.task(1)
    bench.handle(Disconnected())
    bench.complete()
    bench.connect(link=2, keep=(1,))
    assert [(r.link, r.lease) for r in bench.sent(Result)] == [(2, 1)]


def test_a_result_that_no_lease_counts_for_is_sent_without_one(bench: Bench) -> None:
    bench.connect()
    bench.task(1)
    bench.handle(Disconnected())
    bench.complete()
    bench.connect(link=2, epoch=b"other")
    assert [result.lease for result in bench.sent(Result)] == [0]


def test_what_runs_over_a_restart_of_its_master_is_answered_without_its_lease(
    bench: Bench,
) -> None:
    bench.connect()
    bench.task(1)
    bench.handle(Disconnected())
    bench.connect(link=2, epoch=b"other")  # which numbers its own leases from 1 on
    bench.complete()
    assert [result.lease for result in bench.sent(Result)] == [0]


def test_it_says_what_it_holds_and_drops_what_does_not_count(bench: Bench) -> None:
    bench.connect()
    bench.task(1, n=3), bench.task(2), bench.task(3)
    bench.handle(Disconnected())
    bench.handle(Connected())
    assert bench.sent(Hello)[-1].holds == [1, 2, 3]
    bench.receive(Welcome(2, VERSION, b"e", "foo", {}, [3]))
    assert bench.invoked().stop == 0  # the one that runs is not to go on
    bench.complete(1)
    assert bench.invoked().task.lease == 3


def test_recalled_leases_go_back_unless_begun(bench: Bench) -> None:
    bench.connect()
    bench.task(1), bench.task(2), bench.task(3)
    bench.receive(Recall(1, [1, 3]))
    assert [r.leases for r in bench.sent(Returned)] == [[3]]


def test_a_revoked_lease_stops_after_the_message_that_runs(bench: Bench) -> None:
    bench.connect()
    bench.task(1, n=5), bench.task(2)
    bench.receive(Revoke(1, [1, 2]))
    assert bench.invoked().stop == 0
    assert [r.leases for r in bench.sent(Returned)] == [[2]]
    bench.complete(1)
    assert [r.leases for r in bench.sent(Returned)] == [[2], [1]]


def test_it_stops_after_its_number_of_messages() -> None:
    bench = Bench(messages=3)
    bench.connect()
    bench.task(1, n=5)
    assert bench.invoked().stop == 3
    bench.complete(3)
    assert bench.sent(Bye)
    assert isinstance(bench.effects[-1], Stopped)


@pytest.mark.parametrize(
    ("messages", "tasks", "stop", "retired"),
    [
        (None, 3, 3, True),
        (4, 3, 3, True),
        (3, 4, 3, False),
        (3, 3, 3, False),
        (None, None, 5, False),
    ],
)
def test_it_retires_after_its_number_of_tasks(
    messages: int | None, tasks: int | None, stop: int, retired: bool
) -> None:
    bench = Bench(messages, tasks)
    bench.connect()
    bench.task(1, n=5), bench.task(2)
    assert bench.invoked().stop == stop
    bench.complete(stop)
    assert bench.machine.retired is retired
    if stop == 3:
        (bye,) = bench.sent(Bye)
        assert bye.reason == ("it ran as many messages as it may" if retired else "it was stopped")
        assert bye.begun == []
        assert isinstance(bench.effects[-1], Stopped)


def test_it_retires_when_told_to_and_gives_back_what_it_has(bench: Bench) -> None:
    bench.connect()
    bench.task(1, n=5), bench.task(2)
    bench.handle(Retire(inf, "it is large"))
    assert bench.machine.next_deadline is None, "it may take its time"
    bench.complete(2)
    assert [(r.first, r.n) for r in bench.sent(Result)] == [(10, 2)]
    assert [(bye.reason, bye.begun) for bye in bench.sent(Bye)] == [("it is large", [])]
    assert bench.machine.retired


def test_one_that_was_asked_to_stop_does_not_retire(bench: Bench) -> None:
    bench.connect()
    bench.task(1)
    bench.handle(StopRequested(5.0))
    bench.handle(Retire(inf, "it is large"))
    bench.complete(1)
    assert not bench.machine.retired
    assert bench.sent(Bye)[0].reason == "it was stopped"


@pytest.mark.parametrize("how", ["stopped", "retired"])
def test_what_is_done_goes_out_before_it_leaves(how: str) -> None:
    bench = Bench(tasks=1 if how == "retired" else None)
    bench.connect()
    bench.task(1)
    bench.handle(Disconnected())
    if how == "stopped":
        bench.handle(StopRequested(5.0))
    bench.complete(1)
    assert not any(isinstance(effect, Stopped) for effect in bench.effects)
    bench.connect(link=2, keep=(1,))
    sent = [type(e.message) for e in bench.effects if isinstance(e, Send)]
    assert sent[-3:] == [Result, Returned, Bye]  # of the lease nothing is left to return
    assert isinstance(bench.effects[-1], Stopped)


def test_it_leaves_with_what_is_done_when_its_grace_is_over(bench: Bench) -> None:
    bench.connect()
    bench.task(1)
    bench.handle(Disconnected())
    bench.complete(1)
    bench.handle(StopRequested(5.0))
    bench.now += 5.1
    assert any(isinstance(effect, Stopped) for effect in bench.handle(Tick()))


def test_one_left_behind_is_said_to_be_begun(bench: Bench) -> None:
    bench.connect()
    bench.task(1), bench.task(2)
    bench.handle(StopRequested(1.0))
    bench.now += 1.1
    bench.handle(Tick())
    assert [bye.begun for bye in bench.sent(Bye)] == [[1]]


def test_asked_to_stop_it_finishes_the_message_that_runs(bench: Bench) -> None:
    bench.connect()
    bench.task(1, n=5)
    assert not bench.handle(StopRequested(5.0))
    bench.complete(1)
    assert [r.n for r in bench.sent(Result)] == [1]
    assert [type(e.message) for e in bench.effects if isinstance(e, Send)][-1] is Bye
    assert isinstance(bench.effects[-1], Stopped)


def test_a_call_that_does_not_end_is_left_behind_after_the_grace(bench: Bench) -> None:
    bench.connect()
    bench.task(1)
    bench.handle(StopRequested(1.0))
    bench.now += 1.1
    assert any(isinstance(effect, Stopped) for effect in bench.handle(Tick()))


def test_a_master_that_leaves_is_looked_for_again(bench: Bench) -> None:
    bench.connect()
    bench.receive(Bye(1, "it stops"))
    bench.handle(Tick())
    assert isinstance(bench.effects[-1], Reconnect)


def test_a_refused_key_ends_it_with_the_reason(bench: Bench) -> None:
    bench.handle(Refused("tcp://x refuses our worker key"))
    stopped = bench.effects[-1]
    assert isinstance(stopped, Stopped)
    assert isinstance(stopped.error, AuthenticationError)


def test_what_is_done_early_is_answered_while_the_run_goes_on(bench: Bench) -> None:
    bench.connect()
    bench.task(1, n=5)
    early = Batch.pack(payloads(2))
    bench.handle(Completed(1, 2, 0, early, 0.0, bytes(8), b"", over=False))
    assert sum(isinstance(effect, Invoke) for effect in bench.effects) == 1
    bench.complete(3)
    assert [(r.first, r.n) for r in bench.sent(Result)] == [(10, 2), (12, 3)]


# What it counts


def test_a_worker_counts_what_it_runs_and_holds(bench: Bench) -> None:
    bench.connect()
    bench.task(1, n=3)
    bench.task(2, n=4)
    counts = bench.machine.counts().functions["f"]
    assert (counts.received, counts.queued, counts.running) == (7, 4, 3)
    bench.now += 0.5
    bench.complete(3)
    bench.now += 0.25
    batch = Batch.pack(payloads(2))
    bench.handle(Completed(2, 2, 0, batch, 0.0, bytes(8), bytes([0, 1]), over=False))
    counts = bench.machine.counts().functions["f"]
    assert (counts.received, counts.done, counts.failed) == (7, 4, 1)
    assert (counts.queued, counts.running) == (0, 2)
    assert counts.seconds == pytest.approx(0.75)
    assert sum(counts.latency) == 5


def test_what_a_worker_gives_back_it_has_not_received(bench: Bench) -> None:
    bench.connect()
    bench.task(1, n=3)
    bench.task(2, n=4)
    bench.receive(Recall(1, [2]))
    counts = bench.machine.counts().functions["f"]
    assert (counts.received, counts.queued, counts.running) == (3, 0, 3)


def test_worker_that_lost_its_batch_leaves_as_one_that_died_of_it() -> None:
    bench = Bench()
    bench.connect()
    bench.task(1, n=3)
    bench.task(2)
    bench.handle(Lost(0.0, "a process of the executor is gone"))
    (bye,) = bench.sent(Bye)
    assert bye.lost and bye.begun == [1] and "is gone" in bye.reason
    assert isinstance(bench.effects[-1], Stopped)


def test_worker_that_ran_nothing_has_lost_nothing() -> None:
    bench = Bench()
    bench.connect()
    bench.handle(Lost(0.0, "gone"))
    (bye,) = bench.sent(Bye)
    assert not bye.lost and bye.begun == []
