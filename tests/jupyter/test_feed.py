"""The feed follows a cluster through its registry: output once, in order, bounded, to the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.clusters import Cluster, attach
from palm.clusters.output import LONGEST_LINE
from palm.registry_api.client import RegistryClient
from palm_jupyter.feed import BATCH_LINES, PERIOD, ROUND_CHARACTERS, Feed
from palm_jupyter.viewmodels import ClusterView, Output, Update
from tests.support.cluster import until
from tests.support.registry import RegistryThread, Runner, piece, spec


class Written:
    """A component that is said to run, and what it is said to write."""

    def __init__(self, client: RegistryClient) -> None:
        client.create_cluster("default")
        self.client = client
        self.runner = Runner(client, "default").join()
        client.declare("default", spec("foo", role="master"))
        self.runner.run_all()
        self.offsets: dict[tuple[str, str], int] = {}

    def write(self, data: bytes, stream: str = "stdout", instance: str = "foo.1") -> None:
        offset = self.offsets.get((instance, stream), 0)
        self.client.send_output("default", [piece(offset, data, instance, stream=stream)])
        self.offsets[instance, stream] = offset + len(data)


@pytest.fixture
def registry(palm_home: Path) -> Iterator[RegistryThread]:
    registry = RegistryThread(palm_home).start()
    yield registry
    registry.stop()


@pytest.fixture
def foo(registry: RegistryThread) -> Iterator[Written]:
    with registry.client() as client:
        yield Written(client)


@pytest.fixture
def cluster(foo: Written) -> Iterator[Cluster]:
    cluster = attach()
    assert cluster is not None
    with cluster:
        yield cluster


@pytest.fixture
def feed(cluster: Cluster) -> Iterator[Feed]:
    feed = Feed(cluster, ClusterView("default"))
    feed.start()
    yield feed
    feed.close()


def shown(feed: Feed) -> list[str]:
    return [text for _, text in feed.view.snapshot(100_000)["output"].get("foo", [])]


def shows(feed: Feed, *lines: str) -> bool:
    return until(lambda: shown(feed) == list(lines), what=f"{lines}") is True


def test_lines_come_once_and_whole(foo: Written, feed: Feed) -> None:
    foo.write(b"one\ntw")
    shows(feed, "one")
    foo.write(b"o\n")
    foo.client.send_output("default", [piece(0, b"one\n")])  # sent again after a lost answer
    foo.write(b"three\n")
    shows(feed, "one", "two", "three")


def test_characters_cut_between_two_pieces_are_whole(foo: Written, feed: Feed) -> None:
    text = "naïve\n".encode()
    foo.write(text[:3])
    foo.write(text[3:] + b"\xff\n")
    shows(feed, "naïve", "\\xff")


def test_what_is_lost_is_told_where_it_was(foo: Written, feed: Feed) -> None:
    foo.write(b"one\ntw")
    gap = piece(6, b"", lost=3_000_000, reason="quota")
    foo.client.send_output("default", [gap, piece(3_000_006, b"on\n")])
    told = (
        "[palm: 3.0 MB of output were dropped here: more than the quota of its spool waited for"
        " the registry]"
    )
    shows(feed, "one", "tw", told, "on")


def test_escape_sequences_are_removed(foo: Written, feed: Feed) -> None:
    foo.write(b"\x1b[31mred\x1b[0m \x1b]0;title\x07\x00<b>\n", "stderr")
    shows(feed, "red <b>")


def test_what_was_written_before_is_replayed(foo: Written, cluster: Cluster) -> None:
    foo.write(b"".join(b"%d\n" % n for n in range(100)))
    foo.write(b"and errors\n", "stderr")
    feed = Feed(cluster, ClusterView("default"))
    feed.start()
    try:
        until(lambda: len(shown(feed)) == 101)
        assert [line for line in shown(feed) if line != "and errors"] == list(map(str, range(100)))
    finally:
        feed.close()


def test_another_life_shows_its_own_output_only(foo: Written, feed: Feed) -> None:
    foo.write(b"old\n")
    shows(feed, "old")
    foo.write(b"new\n", instance="foo.2")
    foo.write(b"more\n", instance="foo.2")
    shows(feed, "new", "more")


def test_output_of_what_is_no_longer_there_is_not_shown(foo: Written, feed: Feed) -> None:
    gone = piece(0, b"gone\n", "bar.1", component="bar", name="bar")
    foo.client.send_output("default", [gone])
    foo.write(b"here\n")
    shows(feed, "here")
    assert list(feed.view.snapshot()["output"]) == ["foo"]


def test_flood_is_cut_and_told(foo: Written, feed: Feed) -> None:
    foo.write(b"".join(b"%d\n" % n for n in range(BATCH_LINES + 10)))
    until(lambda: shown(feed)[-1:] == [str(BATCH_LINES + 9)])
    assert shown(feed)[0] == "... 10 lines skipped ..."


def test_all_processes_together_stay_within_what_jupyter_passes_on(
    foo: Written, feed: Feed
) -> None:
    entries: list[int] = []

    def note(update: Update) -> None:
        if isinstance(update, Output):
            entries.append(sum(len(text) for e in update.entries for _, text in e.shown()))

    feed.view.subscribe(note)
    for stream in ("stdout", "stderr"):
        foo.write((b"x" * 1000 + b"\n") * BATCH_LINES, stream)
    foo.write(b"end\n")
    until(lambda: "end" in shown(feed))
    assert max(entries) <= ROUND_CHARACTERS + 100


def test_updates_come_a_few_times_a_second_however_much_is_written(
    foo: Written, feed: Feed
) -> None:
    times: list[float] = []
    feed.view.subscribe(
        lambda update: times.append(time.monotonic()) if isinstance(update, Output) else None
    )
    began = time.monotonic()
    for number in range(100):
        foo.write(b"%d\n" % number)
    until(lambda: shown(feed)[-1:] == ["99"])
    assert len(shown(feed)) == 100
    assert len(times) <= (time.monotonic() - began) / PERIOD + 2


def test_line_without_an_end_is_shown_once_it_is_long(foo: Written, feed: Feed) -> None:
    foo.write(b"x" * (LONGEST_LINE + 1))
    until(lambda: len(shown(feed)) == 1)
    assert shown(feed)[0].startswith("xxx")


def test_registry_that_was_away_costs_nothing(
    registry: RegistryThread, foo: Written, feed: Feed
) -> None:
    foo.write(b"before\n")
    shows(feed, "before")
    registry.stop()
    registry.start()
    foo.write(b"after\n")
    shows(feed, "before", "after")


def test_state_of_components_comes_by_itself(foo: Written, feed: Feed) -> None:
    foo.client.declare("default", spec("bar", role="worker", replicas=2))
    until(lambda: [c["name"] for c in feed.view.snapshot()["components"]] == ["bar", "foo"])
    foo.runner.run_all()
    until(lambda: feed.view.snapshot()["components"][0]["ready"] == 2)


def test_closing_freezes_the_view(foo: Written, cluster: Cluster) -> None:
    feed = Feed(cluster, ClusterView("default"))
    feed.start()
    feed.close()
    feed.close()
    assert feed.view.live is False and feed.view.note == ""
    assert [c["name"] for c in feed.view.snapshot()["components"]] == ["foo"]


def test_cluster_that_was_deleted_freezes_the_view(foo: Written, feed: Feed) -> None:
    foo.client.leave("default", foo.runner.name)
    foo.client.delete_cluster("default")
    until(lambda: not feed.view.live)
    assert "cannot be watched any more" in feed.view.note
