"""The shared values: each operation is carried out exactly once, however often it is sent."""

from __future__ import annotations

import logging
from copy import copy
from typing import Any

import pytest

from palm.errors import CacheFull, ConfigError, PalmError, PayloadTooLarge, TaskError
from palm.protocol import cache
from palm.protocol.cache import REPLIES, Operation, error_of
from palm.protocol.effects import Effect, Log, Reply, Send
from palm.protocol.events import Wanted
from palm.protocol.requests import Requests
from palm.protocol.sessions import RETURN_WITHIN
from palm.protocol.store import Store
from palm.protocol.values import REMEMBER_FOR
from palm.wire import framing
from palm.wire.batch import INLINE_LIMIT, Batch
from palm.wire.codec import Codec
from palm.wire.message import MAX_TEXT, Browse, Bye, Clear, Fetch, Keep, Kept, Swap
from tests.support.machines import MasterBench, Peer


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench()


def value_of(peer: Peer) -> bytes | None:
    """The value in the latest answer."""
    kept, batch = [(m, b) for m, b in peer.inbox if isinstance(m, Kept)][-1]
    assert kept.found == (batch is not None)
    return None if batch is None else bytes(batch.payloads()[0])


def keep(peer: Peer, op: int, key: str, value: bytes) -> None:
    peer.send(Keep(0, op, key, Codec.RAW), Batch.pack([value]))


@pytest.mark.parametrize("value", [b"", b"v", bytes(INLINE_LIMIT), bytes(3 << 20)], ids=len)
def test_value_is_shared_by_clients_and_workers(bench: MasterBench, value: bytes) -> None:
    client, worker = bench.client(), bench.worker()
    keep(client, 1, "k", value)
    worker.send(Fetch(0, 1, "k", delete=False))
    assert value_of(worker) == value


def test_codec_comes_back_with_the_value(bench: MasterBench) -> None:
    client = bench.client()
    client.send(Keep(0, 1, "k", 255), Batch.pack([b"v"]))
    client.send(Fetch(0, 2, "k", delete=False))
    assert client.take(Kept)[-1].codec == 255


def test_missing_key_is_not_found(bench: MasterBench) -> None:
    client = bench.client()
    client.send(Fetch(0, 1, "k", delete=False))
    client.send(Fetch(0, 2, "k", delete=True))
    assert [kept.found for kept in client.take(Kept)] == [False, False]


def test_repeated_set_does_not_undo_what_came_after(bench: MasterBench) -> None:
    client, other = bench.client("a"), bench.client("b")
    keep(client, 1, "k", b"first")
    keep(other, 1, "k", b"second")
    back = client.reconnect()
    keep(back, 1, "k", b"first")
    back.send(Fetch(0, 2, "k", delete=False))
    assert value_of(back) == b"second"


def test_repeated_delete_gets_the_first_answer(bench: MasterBench) -> None:
    client = bench.client()
    keep(client, 1, "k", b"v")
    client.send(Fetch(0, 2, "k", delete=True))
    client.take(Kept)
    back = client.reconnect()
    back.send(Fetch(0, 2, "k", delete=True))
    assert [kept.found for kept in back.take(Kept)] == [True]


def test_values_that_were_read_are_not_held_for_who_read_them(bench: MasterBench) -> None:
    client = bench.client()
    for op in range(1, 100):
        keep(client, 2 * op, "k", bytes(op))
        client.send(Fetch(0, 2 * op + 1, "k", delete=False))
    session = bench.master._clients[client.session]
    assert not any(batch for _, batch in session.replies.values())
    assert len(session.replies) <= REPLIES


# What is done once, though the answer is lost and it is sent again over a new link


def swap(peer: Peer, op: int, expected: bytes | None, value: bytes, ttl: float = 0.0) -> None:
    """Set the value of "k", if it is the expected one (None: if it is not there)."""
    values = [value] if expected is None else [value, expected]
    request = Swap(0, op, "k", Codec.RAW, -1 if expected is None else Codec.RAW, ttl)
    peer.send(request, Batch.pack(values))


@pytest.mark.parametrize("size", [1, INLINE_LIMIT, 3 << 20])
def test_repeated_swap_gets_the_first_answer(bench: MasterBench, size: int) -> None:
    client, other = bench.client("a"), bench.client("b")
    first, second = b"1" * size, b"2" * size
    keep(client, 1, "k", first)
    swap(client, 2, first, second)
    client.inbox.clear()
    keep(other, 1, "k", first)  # as it was before
    back = client.reconnect()
    swap(back, 2, first, second)
    assert [kept.found for kept in back.take(Kept)] == [True]
    assert bench.values["k"] == b"\0" + first
    swap(back, 3, second, b"3")
    assert [kept.found for kept in back.take(Kept)] == [False]


def test_repeated_swap_that_failed_does_not_succeed_later(bench: MasterBench) -> None:
    client = bench.client()
    keep(client, 1, "k", b"v")
    swap(client, 2, None, b"w")
    client.send(Fetch(0, 3, "k", delete=True))
    back = client.reconnect()
    swap(back, 2, None, b"w")
    assert [kept.found for kept in back.take(Kept)] == [False]
    assert bench.values == {}


def test_repeated_clear_deletes_nothing_that_came_after(bench: MasterBench) -> None:
    client, other = bench.client("a"), bench.client("b")
    keep(client, 1, "k/1", b"v")
    keep(client, 2, "k/2", b"v")
    client.send(Clear(0, 3, "k/"))
    keep(other, 1, "k/3", b"v")
    back = client.reconnect()
    back.send(Clear(0, 3, "k/"))
    assert [kept.count for kept in back.take(Kept)] == [2]
    assert list(bench.values) == ["k/3"]


@pytest.mark.parametrize("size", [1, 3 << 20])
def test_repeated_set_does_not_make_a_value_live_longer(bench: MasterBench, size: int) -> None:
    client = bench.client()
    batch = Batch.pack([bytes(size)])
    client.send(Keep(0, 1, "k", Codec.RAW, ttl=10.0), batch)
    bench.pass_time(6.0)
    back = client.reconnect()
    back.send(Keep(0, 1, "k", Codec.RAW, ttl=10.0), batch)
    bench.pass_time(3.9)
    assert "k" in bench.values
    bench.pass_time(0.1)
    assert bench.values == {}, "its memory is given back though nobody asks"
    again = back.reconnect()
    again.send(Keep(0, 1, "k", Codec.RAW, ttl=10.0), batch)
    assert bench.values == {}


@pytest.mark.parametrize(("away", "known"), [(RETURN_WITHIN + 1, True), (REMEMBER_FOR + 1, False)])
def test_worker_that_was_given_up_and_is_back_has_its_answers_for_a_while(
    bench: MasterBench, away: float, known: bool
) -> None:
    worker, client = bench.worker(), bench.client()
    keep(client, 1, "k", b"old")
    swap(worker, 1, b"old", b"new")
    worker.lose()
    bench.pass_time(away)
    keep(client, 2, "k", b"changed")
    back = worker.reconnect()
    swap(back, 1, b"old", b"new")
    assert [kept.found for kept in back.take(Kept)] == [known]


def test_sessions_that_are_gone_are_forgotten(bench: MasterBench) -> None:
    for number in range(20):
        client = bench.client(f"c{number}")
        keep(client, 1, "k", b"v")
        client.send(Bye(0, "done"))
        bench.pass_time(REMEMBER_FOR / 4)
    assert len(bench.master._values._asked) < 7


def test_answers_that_are_remembered_hold_no_values(bench: MasterBench) -> None:
    client = bench.client()
    for op in range(1, 10, 2):
        keep(client, op, "k", bytes(1 << 20))
        swap(client, op + 1, bytes(1 << 20), bytes(1 << 20))
    replies = bench.master._clients[client.session].replies
    assert [batch for _, batch in replies.values()] == [None] * 10


# Ends, quotas and pages as sessions see them


def test_value_that_is_over_is_not_there(bench: MasterBench) -> None:
    client = bench.client()
    client.send(Keep(0, 1, "k", Codec.RAW, ttl=1.0), Batch.pack([b"v"]))
    bench.now = 1.0  # no tick came yet
    client.send(Fetch(0, 2, "k", delete=False))
    client.send(Keep(0, 3, "k", Codec.RAW))
    client.send(Fetch(0, 4, "k", delete=True))
    client.send(Browse(0, 5, ""))
    assert [kept.found for kept in client.take(Kept)] == [False, False, False, False, True]


def test_end_wakes_the_master(bench: MasterBench) -> None:
    before = bench.master.next_deadline
    client = bench.client()
    client.send(Keep(0, 1, "k", Codec.RAW, ttl=7.0), Batch.pack([b"v"]))
    assert bench.master.next_deadline == 7.0
    bench.pass_time(7.0)
    assert bench.values == {}
    assert bench.master.next_deadline == before


def test_error_at_an_end_is_logged_and_stops_nobody(bench: MasterBench) -> None:
    store = bench.master._values.store = Store(Broken(OSError("disk full")))
    store._end("k", 1.0)
    bench.pass_time(1.0)
    (line,) = [e.text for e in bench.effects if isinstance(e, Log) and e.level == logging.ERROR]
    assert "OSError: disk full" in line
    assert bench.master.next_deadline is not None and bench.master.next_deadline > bench.now


def test_full_cache_is_an_error_that_says_what_to_do() -> None:
    bench = MasterBench(store=Store({}, quota=100))
    client = bench.client()
    keep(client, 1, "k", bytes(200))
    ((kept, batch),) = [(m, b) for m, b in client.inbox if isinstance(m, Kept)]
    error = error_of(kept, batch)
    assert isinstance(error, CacheFull)
    assert error.limit == 100
    assert "quota of 100 bytes" in str(error) and "ttl" in str(error)
    assert not [e for e in bench.effects if isinstance(e, Log) and e.level == logging.ERROR]
    client.submit(b"job-one.", [b"1"])
    bench.worker().work()
    assert len(client.outcomes()) == 1


def test_largest_of_pages_has_a_small_header(bench: MasterBench) -> None:
    for number in range(1000):
        bench.values[f"{number:04}" + "\U0001f600" * (MAX_TEXT - 4)] = b"v"
    client = bench.client()
    client.send(Browse(0, 1, ""))
    ((kept, batch),) = [(m, b) for m, b in client.inbox if isinstance(m, Kept)]
    frames = framing.pack(kept, batch)
    assert len(frames[0]) < 100
    assert batch is not None and batch.size < 5 << 20
    assert kept.count == 1000


# A mapping of the user's may do anything


class Broken(dict[str, bytes]):
    """Raises an error of one kind whatever is asked of it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def fail(self, *_: object) -> Any:
        raise copy(self.error)  # each has its own traceback

    get = pop = __iter__ = __contains__ = __setitem__ = __getitem__ = fail  # type: ignore[assignment]


REQUESTS = [
    (Swap(0, 1, "k", Codec.RAW, Codec.RAW), Batch.pack([b"v", b"w"])),
    (Clear(0, 1, ""), None),
    (Keep(0, 1, "k", Codec.RAW), Batch.pack([b"v"])),
    (Keep(0, 1, "k", Codec.RAW), None),
    (Fetch(0, 1, "k", delete=False), None),
    (Fetch(0, 1, "k", delete=True), None),
]


@pytest.mark.parametrize("error", [OSError("disk\nfull"), KeyError("k"), SystemExit(3)], ids=repr)
@pytest.mark.parametrize(
    "request_", REQUESTS, ids=["swap", "clear", "set", "set nothing", "get", "delete"]
)
def test_error_of_the_mapping_is_that_of_the_one_call(
    bench: MasterBench, error: BaseException, request_: tuple[Keep | Fetch, Batch | None]
) -> None:
    bench.master._values.store = Store(Broken(error))
    client = bench.client()
    client.send(*request_)
    ((kept, batch),) = [(m, b) for m, b in client.inbox if isinstance(m, Kept)]
    found = error_of(kept, batch)
    assert isinstance(found, TaskError)
    assert (found.type, found.text) == (type(error).__name__, str(error))
    assert "in fail" in found.traceback and "palm/protocol" not in found.traceback
    (line,) = [e for e in bench.effects if isinstance(e, Log) and e.level == logging.ERROR]
    assert type(error).__name__ in line.text and "\n" not in line.text
    client.submit(b"job-one.", [b"1"])
    bench.worker().work()
    assert len(client.outcomes()) == 1


def test_interrupt_is_not_the_mappings(bench: MasterBench) -> None:
    bench.master._values.store = Store(Broken(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        bench.client().send(Fetch(0, 1, "k", delete=False))


def test_repeated_operation_gets_the_error_it_got_first(bench: MasterBench) -> None:
    bench.master._values.store = Store(Broken(OSError("disk full")))
    client = bench.client()
    keep(client, 1, "k", b"v")
    bench.master._values.store = Store(bench.values)
    back = client.reconnect()
    keep(back, 1, "k", b"v")
    assert [bool(kept.kinds) for kept in (*client.take(Kept), *back.take(Kept))] == [True, True]
    assert bench.values == {}


@pytest.mark.parametrize("held", ["text", 5, ["a"], object()], ids=lambda held: type(held).__name__)
def test_mapping_that_holds_no_bytes_is_an_error_of_who_reads_it(
    bench: MasterBench, held: Any
) -> None:
    bench.values["k"] = held
    client = bench.client()
    client.send(Fetch(0, 1, "k", delete=False))
    ((kept, batch),) = [(m, b) for m, b in client.inbox if isinstance(m, Kept)]
    assert "not bytes" in str(error_of(kept, batch))


@pytest.mark.parametrize("held", [bytearray(b"\0v"), memoryview(b"\0v")], ids=type)
def test_mapping_may_hold_bytes_of_any_kind(bench: MasterBench, held: Any) -> None:
    bench.values["k"] = held
    client = bench.client()
    client.send(Fetch(0, 1, "k", delete=False))
    assert value_of(client) == b"v"


def test_value_that_no_message_can_carry_is_an_error_of_who_reads_it(
    bench: MasterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_PAYLOAD", 10)
    bench.values["k"] = bytes(12)
    client = bench.client()
    client.send(Fetch(0, 1, "k", delete=False))
    ((kept, batch),) = [(m, b) for m, b in client.inbox if isinstance(m, Kept)]
    error = error_of(kept, batch)
    assert isinstance(error, PayloadTooLarge)
    assert error.limit == 10


@pytest.mark.parametrize("kinds", [b"\1", b"\xff", b"\0"])
@pytest.mark.parametrize("batch", [None, Batch.pack([b"no failure"])], ids=["nothing", "junk"])
def test_failure_that_cannot_be_read_is_an_error_all_the_same(
    kinds: bytes, batch: Batch | None
) -> None:
    assert isinstance(error_of(Kept(1, 1, "k", False, 0, kinds), batch), PalmError)


# The side of those who ask


class Asker:
    """Requests of one session, and a master that answers or loses them."""

    def __init__(self, bench: MasterBench) -> None:
        self.effects: list[Effect] = []
        self.requests = Requests(self.effects)
        self.peer = bench.client()
        self.answers: list[bool] = []

    def ask(self, request: Operation, batch: Batch | None = None) -> None:
        def note(found: bool, *_: object) -> None:
            self.answers.append(found)

        self.requests.add(Wanted(request, note, batch), self.peer.link)

    def send(self) -> int:
        """Let what was sent reach the master; return how much it was."""
        sends = [effect for effect in self.effects if isinstance(effect, Send)]
        self.effects.clear()
        for send in sends:
            self.peer.send(send.message, send.batch)
        return len(sends)

    def receive(self) -> None:
        """Let the answers come."""
        for message, batch in self.peer.inbox:
            if isinstance(message, Kept):
                self.requests.answered(message, batch)
        self.peer.inbox.clear()
        for effect in [effect for effect in self.effects if isinstance(effect, Reply)]:
            self.effects.remove(effect)
            effect.call(effect.found, effect.key, effect.codec, effect.batch, effect.error)

    def reconnect(self) -> None:
        self.peer = self.peer.reconnect()
        self.effects.clear()
        self.requests.resend(self.peer.link)


def test_many_operations_at_once_are_each_carried_out_once(bench: MasterBench) -> None:
    asker = Asker(bench)
    asker.peer.functions = []
    n = 3 * REPLIES
    for number in range(n):
        asker.ask(Keep(0, 0, str(number), 0), Batch.pack([b"v"]))
        asker.ask(Fetch(0, 0, str(number), delete=True))
    while asker.requests:
        sent = asker.send()
        assert sent <= REPLIES, "the master cannot remember so many answers"
        asker.reconnect()  # the answers are lost: all is sent again
        asker.send()
        asker.receive()
    assert asker.answers == [False, True] * n


def test_answers_that_come_twice_are_taken_once(bench: MasterBench) -> None:
    asker = Asker(bench)
    asker.ask(Fetch(0, 0, "k", delete=False))
    asker.send()
    asker.peer.inbox *= 2
    asker.receive()
    assert asker.answers == [False]
    assert not asker.requests


def test_what_was_answered_is_not_sent_again(bench: MasterBench) -> None:
    asker = Asker(bench)
    for key in "abc":
        asker.ask(Fetch(0, 0, key, delete=False))
    asker.requests.answered(Kept(asker.peer.link, 2, "b", False, 0), None)
    asker.reconnect()
    assert [e.message.key for e in asker.effects if isinstance(e, Send)] == ["a", "c"]


def test_nothing_is_sent_without_a_link_and_nothing_is_kept_when_given_up() -> None:
    effects: list[Effect] = []
    requests, error = Requests(effects), PalmError("nobody answers")
    requests.add(Wanted(Fetch(0, 0, "k", delete=False), print), 0)
    assert requests and not effects
    requests.fail(error)
    requests.resend(1)
    assert not requests
    assert effects == [Reply(print, False, "k", 0, None, error)]


@pytest.mark.parametrize(
    "key", ["\udc80", "k" * (MAX_TEXT + 1), 5, None, b"k"], ids=lambda key: repr(key)[:8]
)
def test_key_that_no_message_can_carry_is_refused_where_it_is_used(key: Any) -> None:
    with pytest.raises(ConfigError, match="key"):
        Wanted(Fetch(0, 0, key, delete=False), print)


def test_longest_key_that_is_allowed_can_be_sent(bench: MasterBench) -> None:
    asker = Asker(bench)
    asker.ask(Fetch(0, 0, "\U0001f600" * MAX_TEXT, delete=False))
    (sent,) = [e for e in asker.effects if isinstance(e, Send)]
    assert framing.unpack(framing.pack(sent.message, sent.batch))
