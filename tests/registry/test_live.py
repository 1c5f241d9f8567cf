"""The live feed: no gap and no double, over any break: F28, F32."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from palm.errors import RegistryError
from palm.registry_api.client import RegistryClient
from palm.registry_api.live import LiveFeed
from palm.registry_api.schema import Frame
from palm_registry.cursor import Cursor
from tests.support.registry import RegistryProcess, RegistryThread, Runner, piece, spec

pytestmark = pytest.mark.both_databases


def frames_until(feed: LiveFeed, done: Any, within: float = 15.0) -> list[Frame]:
    """Read on until `done` says so of all frames that came."""
    found: list[Frame] = []
    end = time.monotonic() + within
    while not done(found):
        assert time.monotonic() < end, [frame.topic for frame in found]
        if (frame := feed.next_frame(0.1)) is not None:
            found.append(frame)
    return found


def output_of(frames: list[Frame]) -> bytes:
    return b"".join(r.raw for f in frames if f.topic == "output" for r in f.data)


def numbers_of(frames: list[Frame]) -> list[int]:
    return [frame.data.seq for frame in frames if frame.topic == "events"]


def test_what_is_lost_comes_as_a_record_live_and_from_the_database(client: RegistryClient) -> None:
    """F30: whoever follows is told, be it from memory or later."""

    def told(frames: list[Frame]) -> list[tuple[int, int, str]]:
        records = [r for f in frames if f.topic == "output" for r in f.data]
        return [(r.offset, r.lost, r.text or "") for r in records]

    def is_complete(frames: list[Frame]) -> bool:
        return len(told(frames)) == 3

    with client.live("c", ["status", "output"]) as feed:
        frames_until(feed, lambda found: found)  # from here on it follows
        client.send_output("c", [piece(0, b"one\n"), piece(4, b"", lost=1000, reason="disk")])
        client.send_output("c", [piece(1004, b"two\n")])
        live = told(frames_until(feed, is_complete))
    with client.live("c", ["output"], "start") as feed:
        later = told(frames_until(feed, is_complete))
    lost = "[palm: 1,000 bytes of output were dropped here: the disk of its node was full]\n"
    assert live == later == [(0, 0, "one\n"), (4, 1000, lost), (1004, 0, "two\n")]


def test_status_events_and_output_come_as_they_happen(
    client: RegistryClient, runner: Runner
) -> None:
    with client.live("c") as feed:
        first = frames_until(feed, lambda found: found)
        assert [frame.topic for frame in first] == ["status"]
        assert first[0].data.ready
        client.declare("c", spec("a"))
        runner.run_all()
        began = time.monotonic()
        client.send_output("c", [piece(0, b"hello\n")])
        found = frames_until(feed, lambda found: output_of(found) == b"hello\n")
        assert time.monotonic() - began < 1.0
        frames = found + frames_until(feed, lambda more: _ready(found + more))
    kinds = [frame.data.kind for frame in frames if frame.topic == "events"]
    assert kinds == ["component.declared", "component.ready"]
    assert [r.component for f in frames if f.topic == "output" for r in f.data] == ["foo"]


def _ready(frames: list[Frame]) -> bool:
    statuses = [frame.data for frame in frames if frame.topic == "status"]
    return bool(statuses) and statuses[-1].ready and bool(statuses[-1].components)


def test_one_may_begin_at_the_start_or_now_or_where_one_was(client: RegistryClient) -> None:
    client.send_output("c", [piece(0, b"one ")])
    with client.live("c", ["output"], "start") as feed:
        found = frames_until(feed, output_of)
        cursor = found[-1].cursor
    assert output_of(found) == b"one "
    with client.live("c", ["output"]) as feed:
        time.sleep(0.3)
        client.send_output("c", [piece(4, b"two ")])
        assert output_of(frames_until(feed, output_of)) == b"two "
    with client.live("c", ["output"], cursor) as feed:
        assert output_of(frames_until(feed, output_of)) == b"two "


def test_status_has_the_cursor_from_which_its_feed_goes_on(client: RegistryClient) -> None:
    client.declare("c", spec("a"))
    client.send_output("c", [piece(0, b"one ")])
    cursor = client.cluster_status("c").cursor
    client.declare("c", spec("b"))
    client.send_output("c", [piece(4, b"two ")])
    with client.live("c", ["events", "output"], cursor) as feed:
        frames = frames_until(feed, lambda found: output_of(found) and numbers_of(found))
    assert output_of(frames) == b"two "
    assert [f.data.component for f in frames if f.topic == "events"] == ["b"]


def test_only_what_is_wanted_comes(client: RegistryClient) -> None:
    client.send_output("c", [piece(0, b"a", "a.1", component="a", name="a"), piece(0, b"b")])
    client.send_output("c", [piece(0, b"c", "c.1", component="c", name="c")])
    with client.live("c", ["output"], "start", components=["a", "c"]) as feed:
        frames = frames_until(feed, lambda found: len(output_of(found)) == 2)
    assert output_of(frames) == b"ac"


def test_breaks_at_any_frame_lose_nothing_and_repeat_nothing(client: RegistryClient) -> None:
    chance = random.Random(5)
    data = chance.randbytes(600_000)
    stop = threading.Event()

    def write() -> None:
        offset = 0
        while offset < len(data):
            size = chance.randrange(1, 20_000)
            offset = client.send_output("c", [piece(offset, data[offset : offset + size])])[
                0
            ].durable_offset
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    found: list[Frame] = []
    cursor = "start"
    while len(output_of(found)) < len(data):
        with client.live("c", ["output", "events"], cursor) as feed:
            for _ in range(chance.randrange(1, 4)):
                if (frame := feed.next_frame(1.0)) is not None:
                    found.append(frame)
                    cursor = frame.cursor
    writer.join()
    assert output_of(found) == data
    assert numbers_of(found) == sorted(set(numbers_of(found)))


def test_a_reader_that_is_far_behind_is_told_what_it_missed(client: RegistryClient) -> None:
    for number in range(20):
        client.send_output("c", [piece(number * 10_000, b"%04d" % number + b"x" * 9_996)])
    with client.live("c", ["output"], "start", backlog=25_000) as feed:
        frames = frames_until(feed, lambda found: len(output_of(found)) >= 20_000)
    assert [frame.topic for frame in frames] == ["skipped", "output"]
    skipped = frames[0].data
    assert (skipped.topic, skipped.count, skipped.size) == ("output", 18, 180_000)
    assert output_of(frames)[:4] == b"0018"


def test_events_of_long_ago_are_skipped_and_this_is_told(
    client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palm_registry.feed.EVENT_BACKLOG", 2)
    for number in range(5):
        client.declare("c", spec(f"a{number}"))
    with client.live("c", ["events"], "start") as feed:
        frames = frames_until(feed, lambda found: len(found) == 3)
    assert [frame.topic for frame in frames] == ["skipped", "events", "events"]
    # The cluster's own beginning is an event too.
    assert (frames[0].data.topic, frames[0].data.count) == ("events", 4)
    assert [f.data.component for f in frames[1:]] == ["a3", "a4"]


def test_a_reader_that_stops_reading_takes_no_memory_and_goes_on_later(
    client: RegistryClient, registry: RegistryThread
) -> None:
    with client.live("c", ["output"], "start", backlog=300_000) as feed:
        sent = 0
        while sent < 20 * 1024 * 1024:
            sent = client.send_output("c", [piece(sent, b"y" * 2**20)])[0].durable_offset
        frames = frames_until(feed, lambda found: found and _last_offset(found) == sent)
    sizes = [frame.data.size for frame in frames if frame.topic == "skipped"]
    assert len(output_of(frames)) + sum(sizes) == sent


def test_a_gapless_reader_gets_all_however_slow_it_is(client: RegistryClient) -> None:
    """F28: more than memory holds for it, and all at once."""
    size, each = 24 * 1024 * 1024, 2**18
    data = random.Random(3).randbytes(each)
    with (
        client.live("c", ["status", "output"], backlog=1, gapless=True) as slow,
        client.live("c", ["status", "output"], backlog=1, gapless=True) as fast,
    ):
        for feed in (slow, fast):
            frames_until(feed, lambda found: found)  # from here on it follows
        found: list[Frame] = []
        for offset in range(0, size, each):
            client.send_output("c", [piece(offset, data)])
            while (frame := fast.next_frame(0)) is not None:
                found.append(frame)
        for feed, frames in ((fast, found), (slow, [])):
            left = size - len(output_of(frames))
            frames += frames_until(feed, lambda f, n=left: len(output_of(f)) >= n, 60)  # type: ignore[misc]
            # The status changes if the node falls silent meanwhile.
            assert {frame.topic for frame in frames} - {"status"} == {"output"}
            assert output_of(frames) == data * (size // each)


def test_one_flood_does_not_delay_who_follows_another(client: RegistryClient) -> None:
    """F28: who follows a quiet component is not behind by what another writes."""
    stop = threading.Event()

    def flood() -> None:
        offset = 0
        while not stop.is_set():
            new = piece(offset, b"y" * 2**18, "flood.1", component="flood", name="flood")
            offset = client.send_output("c", [new])[0].durable_offset

    thread = threading.Thread(target=flood)
    with client.live("c", ["status", "output"], components=["quiet"], gapless=True) as feed:
        frames_until(feed, lambda found: found)  # from here on it follows
        thread.start()
        try:
            delays = []
            for number in range(20):
                began = time.monotonic()
                new = piece(number, b"x", "quiet.1", component="quiet", name="quiet")
                client.send_output("c", [new])
                frames_until(feed, output_of)
                delays.append(time.monotonic() - began)
        finally:
            stop.set()
            thread.join()
    assert sorted(delays)[len(delays) // 2] < 2.0


def test_a_reader_skips_what_is_beyond_its_backlog_though_it_is_in_memory(
    client: RegistryClient,
) -> None:
    """F28: a panel that stood still for a moment is to show what is new, not what was."""
    with (
        client.live("c", ["status", "output"], gapless=True) as other,
        client.live("c", ["status", "output"], backlog=200_000) as feed,
    ):
        for each in (other, feed):
            frames_until(each, lambda found: found)  # from here on they follow
        data = b"y" * 2**20
        pieces = [piece(n * 2**18, data[: 2**18], "big.1") for n in range(32)]
        client.send_output("c", pieces)  # all at once, and far less than is kept in memory
        frames = frames_until(feed, lambda found: found and _last_offset(found) == 2**23)
        assert frames[0].topic == "skipped"
        assert len(output_of(frames)) + frames[0].data.size == 2**23
        assert len(output_of(frames)) < 2**20
        left = frames_until(other, lambda found: len(output_of(found)) == 2**23)
        assert {frame.topic for frame in left} == {"output"}


def _last_offset(frames: list[Frame]) -> int:
    ends = [r.offset + len(r.raw) for f in frames if f.topic == "output" for r in f.data]
    return max(ends, default=0)


def test_a_cursor_of_another_database_begins_at_the_start_and_says_so(
    client: RegistryClient,
) -> None:
    client.send_output("c", [piece(0, b"all")])
    foreign = str(Cursor(5, 10**6, "0123abcd"))
    for since in (foreign, "nonsense"):
        with client.live("c", ["output"], since) as feed:
            frames = frames_until(feed, output_of)
        assert [frame.topic for frame in frames] == ["skipped", "output"]


def test_a_feed_of_nothing_is_refused(client: RegistryClient) -> None:
    with client.live("nothing") as feed, pytest.raises(RegistryError, match="404"):
        feed.next_frame(10)
    with client.live("c", ["gossip"]) as feed, pytest.raises(RegistryError, match="400"):
        feed.next_frame(10)


def test_the_feed_of_a_cluster_that_is_deleted_ends(client: RegistryClient) -> None:
    with client.live("c") as feed:
        frames_until(feed, lambda found: found)
        client.delete_cluster("c")
        with pytest.raises(RegistryError, match="no cluster"):
            frames_until(feed, lambda found: False)


def test_who_waits_for_a_frame_is_told_when_the_feed_is_closed(client: RegistryClient) -> None:
    feed = client.live("c", ["events"])
    seen: list[Frame] = []
    thread = threading.Thread(target=lambda: seen.extend(feed))
    thread.start()
    feed.close()
    thread.join(5)
    assert not thread.is_alive()
    assert feed.next_frame() is None
    assert feed.next_frame(1.0) is None
    feed.close()


def test_the_feed_goes_on_after_the_registry_was_away(
    client: RegistryClient, registry: RegistryThread
) -> None:
    client.send_output("c", [piece(0, b"one ")])
    with client.live("c", since="start") as feed:
        first = frames_until(feed, output_of)
        registry.stop()
        registry.start()
        client.send_output("c", [piece(4, b"two ")])
        rest = frames_until(feed, lambda found: output_of(found))
    assert output_of(first + rest) == b"one two "
    assert numbers_of(first + rest) == sorted(set(numbers_of(first + rest)))


@pytest.mark.slow
def test_the_feed_goes_on_over_kills_of_the_registry(
    palm_home: Path, process: RegistryProcess
) -> None:
    process.start()
    chance = random.Random(9)
    data = chance.randbytes(300_000)
    with process.client(retry=20.0) as client:
        client.create_cluster("c")

        def write() -> None:
            offset = 0
            while offset < len(data):
                size = chance.randrange(1, 3_000)
                new = piece(offset, data[offset : offset + size])
                offset = client.send_output("c", [new])[0].durable_offset

        writer = threading.Thread(target=write)
        with client.live("c", ["output", "events"], "start") as feed:
            writer.start()
            found: list[Frame] = []
            for share in (0.25, 0.5, 1.0):
                known = len(output_of(found))
                wanted = int(share * len(data)) - known
                found += frames_until(feed, lambda more, w=wanted: len(output_of(more)) >= w, 30.0)  # type: ignore[misc]
                if share < 1.0:
                    process.kill()
                    process.start()
        writer.join()
        assert output_of(found) == data
        assert numbers_of(found) == sorted(set(numbers_of(found)))
        page = client.output("c", lines=0)
        assert page.records == []


def test_interrupt_that_comes_just_before_the_wait_ends_it(
    client: RegistryClient, runner: Runner
) -> None:
    """A signal that another thread took wakes this one as little as one that came too early."""

    def interrupt() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    with client.live("c", ["output"]) as feed:
        timer = threading.Timer(0.2, interrupt)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            feed.next_frame()
        timer.join()
