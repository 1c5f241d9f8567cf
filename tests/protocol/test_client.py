"""The client's rules."""

from __future__ import annotations

import pytest

from palm.errors import AuthenticationError, ConnectTimeout, ProtocolError
from palm.protocol.acks import ACK_AFTER, ACK_SIZE, ACK_WITHIN
from palm.protocol.client import ClientMachine
from palm.protocol.effects import Deliver, Effect, Expired, Fail, Note, Reply, Send, Stopped
from palm.protocol.events import (
    Cancelled,
    Connected,
    Disconnected,
    LookedUp,
    Opened,
    Received,
    Refused,
    StopRequested,
    Submitted,
    Tick,
    Wanted,
)
from palm.protocol.link import MAX_FAULTS, Identity
from palm.wire import framing
from palm.wire.batch import Batch
from palm.wire.message import (
    VERSION,
    Ack,
    Bye,
    Close,
    Fault,
    Fetch,
    Keep,
    Kept,
    Message,
    Notice,
    Outcome,
    Submit,
    Terms,
    Welcome,
    decode,
    encode,
)
from palm.wire.outcome import Kind
from tests.support.machines import payloads

JOB = b"job-one."


class Bench:
    """A client machine whose messages are looked at."""

    def __init__(self) -> None:
        self.now = 0.0
        self.machine = ClientMachine(Identity("client", "c", b"s" * 16, "foo", []), 60.0)
        self.effects = self.machine.start(self.now)
        self.serial = 0

    def handle(self, event: object) -> list[Effect]:
        new = self.machine.handle(event, self.now)  # type: ignore[arg-type]
        self.effects += new
        return new

    def connect(self, link: int = 1, epoch: bytes = b"e", birth: int = 0) -> None:
        self.handle(Connected())
        self.receive(Welcome(link, VERSION, epoch, "foo", {}, [], birth))

    def receive(self, message: Message, batch: Batch | None = None) -> list[Effect]:
        return self.handle(Received(b"", message, batch))

    def submit(
        self, n: int, first: int = 0, *, last: bool = True, job: bytes = JOB,
        terms: Terms | None = None,
    ) -> list[Effect]:  # fmt: skip
        batch = Batch.pack(payloads(n))
        return self.handle(Submitted(job, first, batch, "foo.f", 0, last, terms))

    def outcome(self, first: int, n: int, link: int = 1, kinds: bytes = b"") -> list[Effect]:
        self.serial += 1
        outcome = Outcome(link, self.serial, JOB, first, n, 1, 0, "w", 0.0, bytes(4 * n), kinds)
        return self.receive(outcome, Batch.pack(payloads(n)))

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.machine.next_deadline) is not None and due <= until:
            self.now = max(self.now, due)
            self.handle(Tick())
        self.now = until

    def sent(self, kind: type) -> list:
        return [e.message for e in self.effects if isinstance(e, Send) and type(e.message) is kind]

    def all(self, kind: type) -> list:
        return [effect for effect in self.effects if isinstance(effect, kind)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_was_submitted_before_the_link_is_sent_over_it(bench: Bench) -> None:
    bench.submit(3)
    assert not bench.sent(Submit)
    bench.connect()
    assert sum(submit.n for submit in bench.sent(Submit)) == 3


def test_outcomes_of_a_new_master_are_acknowledged_by_its_own_numbers(bench: Bench) -> None:
    bench.connect()
    bench.submit(9)
    for first in range(6):
        bench.outcome(first, 1)
    bench.pass_time(ACK_WITHIN)
    bench.handle(Disconnected())
    bench.connect(link=2, epoch=b"other")
    bench.serial = 0
    bench.outcome(6, 1, link=2)
    bench.pass_time(ACK_WITHIN)
    assert [(ack.link, ack.serial) for ack in bench.sent(Ack)] == [(1, 6), (2, 1)]


def test_outcomes_of_a_lost_link_are_not_acknowledged_over_the_next(bench: Bench) -> None:
    bench.connect()
    bench.submit(9)
    bench.outcome(0, 1)
    bench.handle(Disconnected())
    bench.pass_time(ACK_WITHIN)
    bench.connect(link=2, epoch=b"other")
    bench.pass_time(ACK_WITHIN)
    assert not bench.sent(Ack)


def test_small_outcomes_are_acknowledged_together_soon(bench: Bench) -> None:
    bench.connect()
    bench.submit(9)
    bench.outcome(0, 1)
    bench.pass_time(ACK_WITHIN / 2)
    bench.outcome(1, 1)
    assert not bench.sent(Ack)
    bench.pass_time(ACK_WITHIN / 2)
    assert [ack.serial for ack in bench.sent(Ack)] == [2]
    bench.pass_time(10.0)
    bench.outcome(2, 1)
    bench.pass_time(ACK_WITHIN)
    assert [ack.serial for ack in bench.sent(Ack)] == [2, 3]


def test_many_outcomes_are_acknowledged_at_once(bench: Bench) -> None:
    bench.connect()
    bench.submit(2 * ACK_AFTER)
    for first in range(2 * ACK_AFTER - 1):
        bench.outcome(first, 1)
    assert [ack.serial for ack in bench.sent(Ack)] == [ACK_AFTER]


def test_a_large_outcome_is_acknowledged_at_once(bench: Bench) -> None:
    bench.connect()
    bench.submit(1)
    outcome = Outcome(1, 1, JOB, 0, 1, 1, 0, "w", 0.0, bytes(4), b"")
    bench.receive(outcome, Batch.pack([bytes(ACK_SIZE)]))
    assert [ack.serial for ack in bench.sent(Ack)] == [1]


def test_time_since_the_first_master_was_lost_is_told_to_each_later_one(bench: Bench) -> None:
    told = []
    for link in (1, 2, 3):
        bench.connect(link, epoch=b"%d" % link, birth=link)
        if link == 1:
            bench.submit(1, terms=Terms(at_most_once=True))
        submit = next(submit for submit in bench.sent(Submit) if submit.n)
        told.append((submit.may_have_begun, submit.waited))
        bench.handle(Disconnected())
        bench.now += 3.0
    assert told == [(False, 0.0), (True, 0.0), (True, 3.0)]


def test_what_has_no_outcome_is_sent_again_over_a_new_link(bench: Bench) -> None:
    bench.connect()
    bench.submit(4, last=False)
    bench.submit(4, 4)
    bench.outcome(0, 4)
    bench.handle(Disconnected())
    bench.effects.clear()
    bench.connect(link=2, epoch=b"other")
    assert [(s.first, s.n) for s in bench.sent(Submit) if s.n] == [(4, 4)]
    assert bench.sent(Submit)[-1].last


def test_an_outcome_is_delivered_once(bench: Bench) -> None:
    bench.connect()
    bench.submit(4, last=False)
    bench.outcome(0, 3)
    bench.outcome(1, 3)
    delivered = [(d.outcome.first, d.outcome.n) for d in bench.all(Deliver)]
    assert delivered == [(0, 3), (3, 1)]
    bench.pass_time(ACK_WITHIN)
    assert [ack.serial for ack in bench.sent(Ack)] == [2]


def test_the_inputs_of_failures_are_delivered_with_them(bench: Bench) -> None:
    bench.connect()
    bench.submit(4)
    bench.outcome(1, 2, kinds=bytes([0, 1]))
    ((first, _codec, batch),) = bench.all(Deliver)[0].inputs
    assert (first, batch.payloads()) == (1, [b"1", b"2"])


def test_nothing_is_kept_when_all_is_answered(bench: Bench) -> None:
    bench.connect()
    bench.submit(2)
    bench.outcome(0, 2)
    assert bench.machine._jobs == {}


def test_a_cancelled_job_is_closed_and_its_outcomes_are_dropped(bench: Bench) -> None:
    bench.connect()
    bench.submit(2)
    bench.handle(Cancelled(JOB))
    assert len(bench.sent(Close)) == 1
    bench.outcome(0, 1)
    assert not bench.all(Deliver)


def test_who_waits_is_told_after_two_seconds_what_runs(bench: Bench) -> None:
    bench.submit(1)
    bench.handle(LookedUp(False, ("bar", "baz")))
    bench.pass_time(1.9)
    assert not bench.all(Note)
    bench.pass_time(0.2)
    (note,) = bench.all(Note)
    assert note.text == "'foo' does not run (running: bar, baz); waiting"


def test_who_waits_too_long_gets_an_error_that_says_what_runs(bench: Bench) -> None:
    bench.submit(1)
    bench.handle(LookedUp(False, ("bar",)))
    bench.pass_time(61.0)
    (fail,) = bench.all(Fail)
    assert isinstance(fail.error, ConnectTimeout)
    assert (fail.error.name, fail.error.known) == ("foo", ("bar",))


def test_each_thing_that_waited_too_long_fails_by_itself(bench: Bench) -> None:
    bench.submit(1, job=b"one")
    bench.submit(1, job=b"other")
    bench.handle(Wanted(Fetch(0, 0, "k", delete=False), print))
    bench.pass_time(61.0)
    assert sorted(fail.job or b"" for fail in bench.all(Fail)) == [b"one", b"other"]
    (reply,) = bench.all(Reply)
    assert reply.call is print
    assert isinstance(reply.error, ConnectTimeout)


def test_a_client_with_nothing_to_do_waits_for_ever(bench: Bench) -> None:
    bench.pass_time(1000.0)
    assert not bench.all(Fail)
    bench.submit(1)
    bench.connect()
    assert bench.sent(Submit)


def test_a_refused_key_fails_what_waits_and_what_comes(bench: Bench) -> None:
    bench.submit(1)
    bench.handle(Refused("tcp://x refuses our client key"))
    bench.submit(1)
    assert [type(fail.error) for fail in bench.all(Fail)] == [AuthenticationError] * 2


def test_what_the_master_refuses_again_and_again_fails(bench: Bench) -> None:
    bench.connect()
    bench.submit(1)
    bench.handle(Wanted(Fetch(0, 0, "k", delete=False), print))
    for _ in range(MAX_FAULTS):
        bench.receive(Fault(0, "broken", "a header of 300000 bytes"))
    bench.submit(1, job=b"next")
    failed, replies = bench.all(Fail), bench.all(Reply)
    assert [fail.job for fail in failed] == [JOB, b"next"]
    for each in (*failed, *replies):
        assert isinstance(each.error, ProtocolError)
        assert "a header of 300000 bytes" in str(each.error)
    assert len(replies) == 1


@pytest.mark.parametrize("function", ["f" * 10**6, "\udc80" * 10**6, "\U0001f600" * 10**6])
def test_function_of_any_length_is_asked_for_in_a_message_that_can_be_read(
    bench: Bench, function: str
) -> None:
    bench.connect()
    bench.handle(Submitted(JOB, 0, Batch.pack(payloads(1)), function, 0, True))
    (submit,) = bench.sent(Submit)
    assert decode(encode(submit)) == submit


def test_notices_of_the_master_reach_the_job(bench: Bench) -> None:
    bench.connect()
    bench.submit(1)
    bench.receive(Notice(1, JOB, "waiting for a worker"))
    assert [(note.job, note.text) for note in bench.all(Note)] == [(JOB, "waiting for a worker")]


def test_cache_operations_are_repeated_and_answered_once(bench: Bench) -> None:
    bench.connect()
    answers: list[tuple] = []

    def reply(*answer: object) -> None:
        answers.append(answer)

    bench.handle(Wanted(Keep(0, 0, "k", 0), reply, Batch.pack([b"v"])))
    bench.handle(Wanted(Fetch(0, 0, "k", delete=False), reply))
    bench.handle(Disconnected())
    bench.connect(link=2)
    assert [keep.op for keep in bench.sent(Keep)] == [1, 1]
    assert [fetch.op for fetch in bench.sent(Fetch)] == [2, 2]
    for _ in range(2):
        bench.receive(Kept(2, 2, "k", True, 0), Batch.pack([b"v"]))
    assert len(bench.all(Reply)) == 1


def test_it_says_goodbye(bench: Bench) -> None:
    bench.connect()
    bench.handle(StopRequested(0.0))
    assert bench.sent(Bye)
    assert isinstance(bench.effects[-1], Stopped)


def test_batches_that_come_after_the_cancel_are_not_sent(bench: Bench) -> None:
    bench.connect()
    bench.submit(2, last=False)
    bench.handle(Cancelled(JOB))
    bench.effects.clear()
    bench.submit(2, 2, last=True)  # it was on its way from the thread that packs
    assert not bench.sent(Submit)
    assert bench.machine._jobs == {}
    bench.connect(link=2)
    assert not bench.sent(Submit)


def test_batches_that_come_after_giving_up_are_not_sent(bench: Bench) -> None:
    bench.submit(2, last=False)
    bench.pass_time(61.0)
    assert len(bench.all(Fail)) == 1
    bench.submit(2, 2, last=True)
    bench.pass_time(100.0)
    assert len(bench.all(Fail)) == 1
    bench.connect()
    assert not bench.sent(Submit)


def test_a_job_that_was_cancelled_before_it_began_stays_so(bench: Bench) -> None:
    bench.connect()
    bench.handle(Cancelled(JOB))
    bench.submit(2, last=False)
    assert not bench.sent(Submit)


def test_after_a_refusal_there_is_no_more_patience_to_lose(bench: Bench) -> None:
    bench.submit(1)
    bench.handle(Refused("no"))
    bench.effects.clear()
    bench.pass_time(100.0)
    assert bench.effects == []


def test_what_ended_is_forgotten_after_a_while(bench: Bench) -> None:
    bench.connect()
    for number in range(5000):
        job = b"%d" % number
        bench.handle(Submitted(job, 0, Batch.pack(payloads(1)), "foo.f", 0, False))
        bench.handle(Cancelled(job))
    assert bench.machine._jobs == {} and len(bench.machine._ended) <= 1024


@pytest.mark.parametrize(
    "function", ["f\udc80", "f" * 1_000_000, 5, None], ids=["surrogate", "long", "number", "none"]
)
def test_name_that_no_message_can_carry_is_sent_as_one_that_nobody_serves(
    bench: Bench, function: str
) -> None:
    bench.connect()
    batch = Batch.pack(payloads(1))
    bench.handle(Submitted(JOB, 0, batch, function, 0, True))
    bench.connect(link=2)
    for submit in bench.sent(Submit):
        assert framing.unpack(framing.pack(submit, batch if submit.n else Batch.pack([])))
        assert submit.function != function


def test_outcome_of_a_job_that_is_not_known_closes_it(bench: Bench) -> None:
    bench.connect()
    bench.outcome(0, 1)
    assert [close.job for close in bench.sent(Close)] == [JOB]
    assert not bench.all(Deliver)


def test_end_of_a_job_is_said_again_when_its_last_batch_had_its_outcomes(bench: Bench) -> None:
    bench.connect()
    bench.submit(2, last=False)
    bench.submit(1, 2, last=True)
    bench.outcome(2, 1)
    bench.effects.clear()
    bench.connect(link=2)
    submits = bench.sent(Submit)
    assert [(submit.first, submit.n) for submit in submits[:-1]] == [(0, 2)]
    assert (submits[-1].n, submits[-1].last) == (0, True)


# What a job wants


ONCE = Terms(at_most_once=True)
LIMITED = Terms(deadline=2.0, remaining=2.0)


def test_what_another_life_of_the_session_was_given_may_have_begun(bench: Bench) -> None:
    bench.submit(1, last=False, terms=ONCE)
    bench.connect(birth=7)
    bench.submit(1, 1, last=False, terms=ONCE)
    bench.handle(Disconnected())
    bench.connect(link=2, birth=7)
    assert not any(submit.may_have_begun for submit in bench.sent(Submit)), "the same session"
    bench.handle(Disconnected())
    bench.submit(1, 2, last=False, terms=ONCE)
    bench.effects.clear()
    bench.connect(link=3, epoch=b"other", birth=9)
    begun = {submit.first: submit.may_have_begun for submit in bench.sent(Submit)}
    assert begun == {0: True, 1: True, 2: False}
    bench.handle(Disconnected())
    bench.effects.clear()
    bench.connect(link=4, epoch=b"other", birth=9)
    begun = {submit.first: submit.may_have_begun for submit in bench.sent(Submit)}
    assert begun == {0: True, 1: True, 2: False}


def test_time_that_is_left_is_sent_along(bench: Bench) -> None:
    bench.connect()
    bench.handle(Opened(JOB, "foo.f", LIMITED))
    bench.now = 0.5
    bench.submit(1, last=False, terms=LIMITED)
    bench.now = 1.5
    bench.submit(1, 1, terms=LIMITED)
    assert [submit.terms.remaining for submit in bench.sent(Submit)] == [1.5, 0.5]


def test_at_the_deadline_all_that_is_open_has_its_outcome(bench: Bench) -> None:
    bench.connect()
    bench.handle(Opened(JOB, "foo.f", LIMITED))
    bench.submit(4, last=False, terms=LIMITED)
    bench.outcome(1, 1)
    bench.pass_time(2.0)
    delivered = [(d.outcome.first, d.outcome.n, d.outcome.kinds) for d in bench.all(Deliver)]
    late = bytes([Kind.DEADLINE_EXCEEDED])
    assert delivered == [(1, 1, b""), (0, 1, late), (2, 2, late * 2)]
    assert [close.job for close in bench.sent(Close)] == [JOB] and bench.all(Expired)
    bench.outcome(0, 4)
    assert len(bench.all(Deliver)) == 3, "too late"
    bench.effects.clear()
    bench.submit(2, 4, terms=LIMITED)
    (deliver,) = bench.all(Deliver)
    assert deliver.outcome.kinds == late * 2 and not bench.sent(Submit)
    assert deliver.inputs[0][:2] == (4, 0)
    assert not bench.machine._jobs


def test_deadline_holds_without_a_master(bench: Bench) -> None:
    bench.handle(Opened(JOB, "foo.f", LIMITED))
    bench.submit(2, terms=LIMITED)
    bench.pass_time(2.0)
    assert sum(deliver.outcome.n for deliver in bench.all(Deliver)) == 2
    bench.pass_time(100.0)
    assert not bench.all(Fail)


def test_job_that_is_done_or_cancelled_forgets_its_deadline(bench: Bench) -> None:
    bench.connect()
    for job in (JOB, b"other"):
        bench.handle(Opened(job, "foo.f", LIMITED))
        bench.submit(1, job=job, terms=LIMITED)
    bench.outcome(0, 1)
    bench.handle(Cancelled(b"other"))
    bench.pass_time(10.0)
    assert not bench.all(Expired) and bench.machine.next_deadline is None
