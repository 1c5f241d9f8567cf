"""Observers see what passes, hold up nothing, and know what they missed."""

from __future__ import annotations

from palm.protocol.taps import MAX_ROOM, MOST, MOST_BYTES
from palm.wire.message import Bye, Seen, Watch
from palm.wire.outcome import Kind
from tests.support.machines import MasterBench, Peer, payloads


def observer(bench: MasterBench, room: int = MAX_ROOM, edges: tuple[str, ...] = ()) -> Peer:
    peer = bench.peer("observer", "tap")
    peer.send(Watch(0, room, list(edges)))
    return peer


def seen(peer: Peer) -> list[tuple[str, str, int, int]]:
    return [(m.source, m.target, m.first, m.n) for m in peer.take(Seen)]


def test_it_sees_messages_come_and_go() -> None:
    bench = MasterBench()
    tap = observer(bench)
    worker, client = bench.worker(), bench.client()
    client.submit(b"job", payloads(1))
    worker.work()
    assert seen(tap) == [
        ("clients", "foo", 0, 1),
        ("foo", "workers", 0, 1),
        ("workers", "foo", 0, 1),
        ("foo", "clients", 0, 1),
    ]


def test_it_sees_what_it_asked_for() -> None:
    bench = MasterBench()
    tap = observer(bench, edges=("foo>clients",))
    worker, client = bench.worker(), bench.client()
    client.submit(b"job", payloads(20))
    worker.work()
    found = tap.take(Seen)
    assert {(m.source, m.target) for m in found} == {("foo", "clients")}
    assert sum(m.n for m in found) == 20
    assert {kind for m in found for kind in m.kinds} == {Kind.RESULT}


def test_what_there_is_no_room_for_is_skipped_and_told() -> None:
    bench = MasterBench()
    tap = observer(bench, room=1, edges=("clients>foo",))
    client = bench.client()
    for at in range(5):
        client.submit(b"job", payloads(10), first=10 * at, last=False)
    assert [(m.first, m.n, m.skipped) for m in tap.take(Seen)] == [(0, 10, 0)]
    tap.send(Watch(0, 8, ["clients>foo"]))
    assert [(m.n, m.skipped) for m in tap.take(Seen)] == [(0, 40)]
    client.submit(b"job", payloads(1), first=50)
    assert [(m.first, m.n, m.skipped) for m in tap.take(Seen)] == [(50, 1, 0)]


def test_of_large_batches_it_sees_the_beginning() -> None:
    bench = MasterBench()
    tap = observer(bench, edges=("clients>foo",))
    client = bench.client()
    client.submit(b"many", payloads(MOST + 10))
    client.submit(b"large", [bytes(MOST_BYTES // 2)] * 4)
    client.submit(b"huge", [bytes(MOST_BYTES + 1)])
    client.submit(b"last", payloads(1))
    found = [(m.job, m.n, m.skipped) for m in tap.take(Seen)]
    assert found == [(b"many", MOST, 0), (b"large", 2, 10), (b"last", 1, 3)]


def test_room_is_bounded_whatever_an_observer_says() -> None:
    bench = MasterBench()
    tap = observer(bench, room=1 << 40)
    client = bench.client()
    for at in range(MAX_ROOM + 10):
        client.submit(b"job", payloads(1), first=at, last=False)
    assert len(tap.take(Seen)) == MAX_ROOM


def test_one_that_leaves_or_is_lost_is_sent_nothing_more() -> None:
    bench = MasterBench()
    leaves, lost, client = observer(bench), bench.peer("observer", "other"), bench.client()
    lost.send(Watch(0, 10))
    leaves.send(Bye(0, "enough"))
    lost.lose()
    client.submit(b"job", payloads(1))
    assert not leaves.take(Seen)
    assert not lost.take(Seen)
    assert not bench.master._taps.observers
