"""The feed follows a cluster: output once, in order, bounded, and it ends when told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from palm.clusters import ComponentStatus, ProcessStatus, Status
from palm.errors import ConfigError
from palm_jupyter.feed import (
    BATCH_BYTES,
    BATCH_LINES,
    FIRST_BYTES,
    LONGEST_LINE,
    ROUND_CHARACTERS,
    STREAMS,
    Feed,
)
from palm_jupyter.viewmodels import ClusterView, Output
from tests.support.cluster import until


class FakeCluster:
    """A cluster of one process whose output is bytes."""

    name = "lab"

    def __init__(self) -> None:
        self.instance = "w-0.aaaaaa"
        self.written = {"stdout": b"", "stderr": b""}
        self.state = "ready"
        self.callbacks: list[Callable[[Any], None]] = []
        self.broken: Exception | None = None

    def status(self) -> Status:
        if self.broken is not None:
            raise self.broken
        process = ProcessStatus("w-0", self.state, 7, 0, 1.0)
        return Status("lab", 10.0, (ComponentStatus("w", "worker", 1, (process,)),))

    def output(self, process: str, stream: str, offset: int, limit: int) -> tuple[str, int, bytes]:
        data = self.written[stream]
        start = max(0, len(data) + offset) if offset < 0 else offset
        return self.instance, start, data[start : start + limit]

    def subscribe(self, callback: Callable[[Any], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def change(self, state: str) -> None:
        self.state = state
        for callback in self.callbacks:
            callback(None)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def feed(cluster: FakeCluster) -> Feed:
    given: Any = cluster
    return Feed(given, ClusterView("lab"))


def shown(feed: Feed) -> list[str]:
    return [text for _, text in feed.view.snapshot(1000)["output"].get("w-0", [])]


def test_lines_come_once_and_whole(cluster: FakeCluster) -> None:
    followed = feed(cluster)
    cluster.written["stdout"] = b"one\ntw"
    followed.refresh()
    assert shown(followed) == ["one"]
    cluster.written["stdout"] += b"o\n"
    followed.refresh()
    followed.refresh()
    assert shown(followed) == ["one", "two"]


def test_characters_cut_between_two_looks_are_whole(cluster: FakeCluster) -> None:
    followed = feed(cluster)
    text = "naïve\n".encode()
    cluster.written["stdout"] = text[:3]
    followed.refresh()
    cluster.written["stdout"] = text + b"\xff\n"
    followed.refresh()
    assert shown(followed) == ["naïve", "\\xff"]


def test_escape_sequences_are_removed(cluster: FakeCluster) -> None:
    followed = feed(cluster)
    cluster.written["stderr"] = b"\x1b[31mred\x1b[0m \x1b]0;title\x07\x00<b>\n"
    followed.refresh()
    assert shown(followed) == ["red <b>"]


def test_what_was_written_long_before_is_not_read(cluster: FakeCluster) -> None:
    followed = feed(cluster)
    cluster.written["stdout"] = b"old\n" * FIRST_BYTES + b"latest\n"
    followed.refresh()
    lines = shown(followed)
    assert lines[-1] == "latest" and lines[0].endswith("lines skipped ...")


def test_flood_is_cut_and_told(cluster: FakeCluster) -> None:
    followed = feed(cluster)
    followed.refresh()
    cluster.written["stdout"] = b"".join(b"%d\n" % n for n in range(BATCH_LINES + 10))
    followed.refresh()
    lines = shown(followed)
    assert lines[0] == "... 10 lines skipped ..." and lines[-1] == str(BATCH_LINES + 9)


def test_who_writes_faster_than_anybody_reads_is_followed_at_the_end(cluster: FakeCluster) -> None:
    followed = feed(cluster)
    followed.refresh()
    for n in range(3):
        cluster.written["stdout"] += b"%d filler\n" % n * (BATCH_BYTES // 6) + b"end %d\n" % n
        followed.refresh()
        assert shown(followed)[-1] == f"end {n}"
    assert "... lines skipped ..." in shown(followed)


def test_one_update_a_round_and_not_more_than_jupyter_passes_on(cluster: FakeCluster) -> None:
    followed = feed(cluster)
    followed.refresh()
    heard: list[Any] = []
    followed.view.subscribe(heard.append)
    for stream in STREAMS:
        cluster.written[stream] = b"".join(b"%0900d\n" % n for n in range(200))
    followed.refresh()
    (update,) = [each for each in heard if isinstance(each, Output)]
    assert len(update.entries) == 2
    assert sum(len(text) for e in update.entries for _, text in e.shown()) <= ROUND_CHARACTERS
    assert all(e.skipped > 0 and e.lines[-1].endswith("199") for e in update.entries)


def test_endless_line_is_shown_in_parts(cluster: FakeCluster) -> None:
    followed = feed(cluster)
    followed.refresh()
    cluster.written["stdout"] = b"x" * (LONGEST_LINE + 1)
    followed.refresh()
    assert len(shown(followed)) == 1


def test_new_instance_begins_anew(cluster: FakeCluster) -> None:
    followed = feed(cluster)
    cluster.written["stdout"] = b"old line\n"
    followed.refresh()
    cluster.instance = "w-0.bbbbbb"
    cluster.written["stdout"] = b"new\n"
    followed.refresh()
    assert shown(followed) == ["new"]


def test_thread_brings_news_and_ends(cluster: FakeCluster) -> None:
    followed = feed(cluster)
    followed.start()
    cluster.change("failed")
    until(lambda: followed.view.snapshot()["components"][0]["state"] == "failed")
    cluster.written["stdout"] = b"last words\n"
    until(lambda: shown(followed) == ["last words"])
    cluster.written["stdout"] += b"too late?\n"
    followed.close()
    followed.close()
    assert shown(followed) == ["last words", "too late?"]
    assert not followed.view.live and not cluster.callbacks
    assert "palm-panel" not in {thread.name for thread in threading.enumerate()}


def test_cluster_that_cannot_be_watched_freezes_the_view(cluster: FakeCluster) -> None:
    followed = feed(cluster)
    followed.start()
    cluster.broken = ConfigError("the folder is open to other users")
    cluster.change("ready")
    until(lambda: not followed.view.live)
    assert "open to other users" in followed.view.note
    cluster.broken = None
    followed.close()
