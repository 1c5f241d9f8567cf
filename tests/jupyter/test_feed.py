"""The feed follows a cluster through its registry: frames once, in order, bounded, to the end."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palm.clusters import Cluster, attach
from palm.errors import ConfigError, PalmError
from palm.registry_api import schema
from palm.registry_api.client import RegistryClient
from palm_jupyter.feed import BACKLOG, LAST_LINES, PERIOD, ROUND_BYTES, Feed
from palm_jupyter.viewmodels import ClusterView, Frames, Update
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


def raw(record: dict[str, Any]) -> bytes:
    found = record.get("bytes")
    return base64.b64decode(found) if found is not None else record["text"].encode()


class Seen:
    """A feed, and the frames that its view was told of."""

    def __init__(self, cluster: Cluster) -> None:
        self.feed = Feed(cluster, ClusterView("default"))
        self.frames: list[Any] = []
        self.times: list[float] = []
        self.sizes: list[int] = []
        self.away: list[float] = []
        self.feed.view.subscribe(self._note)

    def _note(self, update: Update) -> None:
        if isinstance(update, Frames):
            self.frames += update.frames
            self.times.append(time.monotonic())
            self.sizes.append(len(msgspec.json.encode(update.frames)))
            self.away.append(update.away)

    def of(self, topic: str) -> list[Any]:
        return [frame["data"] for frame in list(self.frames) if frame["topic"] == topic]

    def follow(self, component: str = "foo", name: str = "", since: str = "start") -> None:
        self.feed.select({"component": component, "name": name, "since": since})

    def written(self) -> bytes:
        return b"".join(raw(record) for data in self.of("output") for record in data)

    def shows(self, data: bytes) -> bool:
        return until(lambda: self.written() == data, what=f"{data!r}") is True


@pytest.fixture
def seen(cluster: Cluster) -> Iterator[Seen]:
    seen = Seen(cluster)
    seen.feed.start()
    yield seen
    seen.feed.close()


def test_output_of_what_is_chosen_comes_once_and_in_order(foo: Written, seen: Seen) -> None:
    foo.write(b"one\ntw")
    seen.follow()
    seen.shows(b"one\ntw")
    foo.write(b"o\n")
    foo.client.send_output("default", [piece(0, b"one\n")])  # sent again after a lost answer
    foo.write(b"three\xff\n")
    seen.shows(b"one\ntwo\nthree\xff\n")


def test_output_that_nobody_looks_at_does_not_travel(foo: Written, seen: Seen) -> None:
    other = piece(0, b"other\n", "bar.1", component="bar", name="bar")
    foo.client.send_output("default", [other])
    foo.write(b"unseen\n")
    seen.follow("bar")
    seen.shows(b"other\n")
    seen.feed.select(None)
    foo.write(b"here\n")
    seen.follow()
    seen.shows(b"other\nunseen\nhere\n")


def test_one_process_of_several_is_followed(foo: Written, seen: Seen) -> None:
    for number in range(2):
        data = b"from %d\n" % number
        name = f"w-{number}"
        more = {"component": "w", "name": name, "replica": number}
        foo.client.send_output("default", [piece(0, data, f"{name}.1", **more)])
    seen.follow("w", "w-1")
    seen.shows(b"from 1\n")


def test_output_goes_on_from_where_a_page_ended(foo: Written, seen: Seen) -> None:
    foo.write(b"before\n")
    page = seen.feed.perform({"do": "output", "component": "foo"})
    assert [record["text"] for record in page["records"]] == ["before\n"]
    foo.write(b"after\n")
    seen.follow(since=page["cursor"])
    seen.shows(b"after\n")


def test_flood_costs_no_more_than_a_panel_can_take_and_what_it_cost_is_told(
    foo: Written, seen: Seen
) -> None:
    seen.follow()
    foo.write(b"begin\n")
    seen.shows(b"begin\n")
    chunk = b"x" * 99 + b"\n"
    began = time.monotonic() - PERIOD * len(seen.sizes)
    for _ in range(8):
        foo.write(chunk * (BACKLOG // 200))
    foo.write(b"end\n")
    until(lambda: seen.written().endswith(b"end\n"))
    assert max(seen.sizes) <= ROUND_BYTES
    skipped = sum(data["size"] for data in seen.of("skipped"))
    assert len(seen.sizes) <= (time.monotonic() - began) / PERIOD + 3
    assert skipped + len(seen.written()) == 10 + 8 * len(chunk) * (BACKLOG // 200)


def test_flood_of_what_is_long_as_sent_is_bounded_too(foo: Written, seen: Seen) -> None:
    seen.follow()
    data = b"\x1b" * 10_000 + b"\n" + b"\xff" * 20_000 + b"\n"  # six bytes each, and base64
    for _ in range(3):
        foo.write(data)
    until(lambda: len(seen.written()) == 3 * len(data))
    assert seen.written() == 3 * data
    assert max(seen.sizes) <= ROUND_BYTES


def test_updates_come_a_few_times_a_second_however_much_is_written(
    foo: Written, seen: Seen
) -> None:
    seen.follow()
    began = time.monotonic()
    for number in range(100):
        foo.write(b"%d\n" % number)
    until(lambda: seen.written().endswith(b"99\n"))
    assert len(seen.times) <= (time.monotonic() - began) / PERIOD + 3


def test_registry_that_is_away_is_told_of_and_costs_nothing(
    registry: RegistryThread, foo: Written, seen: Seen
) -> None:
    seen.follow()
    foo.write(b"before\n")
    seen.shows(b"before\n")
    began = time.time()
    registry.stop()
    until(lambda: seen.away[-1])
    assert began <= seen.away[-1] <= time.time() and seen.feed.view.live
    assert seen.feed.view.snapshot(0)["away"] == seen.away[-1]
    registry.start()
    foo.write(b"after\n")
    seen.shows(b"before\nafter\n")
    assert seen.away[-1] == 0


def test_state_of_components_comes_by_itself(foo: Written, seen: Seen) -> None:
    foo.client.declare("default", spec("bar", role="worker", replicas=2))
    view = seen.feed.view
    until(lambda: [c["name"] for c in view.snapshot()["components"]] == ["bar", "foo"])
    foo.runner.run_all()
    until(lambda: view.snapshot()["components"][0]["ready"] == 2)
    until(lambda: seen.of("status")[-1]["components"][0]["actual"] == 2)


def test_samples_and_events_come_as_they_are_said(foo: Written, seen: Seen) -> None:
    edge = schema.EdgeSample(source="foo", target="w-0", role="worker", rate=2.5, messages=9)
    sample = schema.Sample(name="foo", component="foo", instance="foo.1", cpu=7.0, edges=[edge])
    report = schema.NodeSamples(session=foo.runner.session, samples=[sample])
    foo.client.send_metrics("default", foo.runner.name, report)
    until(lambda: seen.of("metrics") and seen.of("metrics")[-1]["samples"])
    (told,) = seen.of("metrics")[-1]["samples"]
    assert (told["cpu"], told["edges"][0]["rate"]) == (7.0, 2.5)
    assert "latency" not in told
    until(lambda: "node.joined" in [event["kind"] for event in seen.of("events")])
    history = seen.feed.perform({"do": "history"})
    assert [point["cpu"] for point in history["series"][0]["points"]] == [7.0]


def test_new_panel_gets_what_there_is(foo: Written, seen: Seen) -> None:
    until(lambda: seen.of("events"))
    topics = [frame["topic"] for frame in seen.feed.view.frames()]
    assert topics[0] == "status" and "events" in topics
    assert "output" not in topics


def test_last_lines_of_each_process_are_kept_for_a_saved_notebook(foo: Written, seen: Seen) -> None:
    foo.write(b"".join(b"%d\n" % n for n in range(100)))
    foo.write(b"\x1b[31mred\x1b[0m\n", "stderr")
    seen.feed.refresh()
    kept = seen.feed.view.snapshot()["output"]["foo"]
    assert len(kept) == LAST_LINES
    assert kept[-1] == ["stderr", "red"] and kept[-2] == ["stdout", "99"]


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ({}, "asked for what there is not"),
        ({"do": "down"}, "asked for what there is not"),
        ({"do": "scale", "component": "foo", "replicas": "9"}, "asked for what there is not"),
        ({"do": "scale", "component": "foo", "replicas": 0}, "1 to 1,000"),
        ({"do": "scale", "component": "foo", "replicas": 10**6}, "1 to 1,000"),
        ({"do": "stop", "component": "fo"}, "did you mean 'foo'"),
        ({"do": "restart", "component": "fo"}, "did you mean 'foo'"),
    ],
)
def test_action_that_makes_no_sense_says_so(seen: Seen, action: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        seen.feed.perform(action)


def test_action_without_a_registry_is_an_error_in_words(
    registry: RegistryThread, cluster: Cluster
) -> None:
    feed = Feed(cluster, ClusterView("default"))
    registry.stop()
    with pytest.raises(PalmError, match="does not answer"):
        feed.perform({"do": "history"})


def test_closing_freezes_the_view(foo: Written, cluster: Cluster) -> None:
    feed = Feed(cluster, ClusterView("default"))
    feed.start()
    feed.close()
    feed.close()
    assert feed.view.live is False and feed.view.note == ""
    assert [c["name"] for c in feed.view.snapshot()["components"]] == ["foo"]


def test_cluster_that_was_deleted_freezes_the_view(foo: Written, seen: Seen) -> None:
    foo.client.leave("default", foo.runner.name)
    foo.client.delete_cluster("default")
    until(lambda: not seen.feed.view.live)
    assert "cannot be watched any more" in seen.feed.view.note
