"""Metrics: from runners to people, to the live feed and to Prometheus. Row 70 of the features."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import FunctionSample, NodeSamples, Sample
from palm_registry import exposition
from palm_registry.exposition import ClusterPicture, Picture
from palm_registry.tally import Histogram, Tally
from tests.support import exposition as grammar
from tests.support.registry import Browser, RegistryThread, Runner, piece, spec

SOON = 10.0


def sample(name: str = "foo", **more: Any) -> Sample:
    return Sample(**{"name": name, "component": name, "instance": f"{name}.1", **more})


def tell(runner: Runner, *samples: Sample, session: str | None = None) -> None:
    report = NodeSamples(
        session=runner.session if session is None else session,
        bounds=[0.1, 1.0],
        samples=list(samples),
    )
    runner.client.send_metrics(runner.cluster, runner.name, report)


def scrape(registry: RegistryThread, browser: Browser) -> dict[str, grammar.Family]:
    answer = browser.ask("GET", "/metrics", headers={"Authorization": f"Bearer {registry.token}"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return grammar.read(answer.body.decode())


# ---- in, and out as JSON


def test_what_a_runner_says_is_what_people_read(runner: Runner) -> None:
    said = sample(
        pid=7, cpu=12.5, rss=2**30, queued=3, functions=[FunctionSample(name="f", done=2)]
    )
    before = time.time()
    tell(runner, said)
    found = runner.client.metrics("c")
    assert found.cluster == "c" and before <= found.time <= time.time()
    said.node = "here"
    assert found.samples == [said]
    assert found.bounds == [0.1, 1.0]
    assert found.series == []


def test_history_is_given_to_who_asks_for_it(runner: Runner) -> None:
    tell(runner, sample(queued=3))
    (series,) = runner.client.metrics("c", history=True).series
    assert (series.name, series.node) == ("foo", "here")
    assert [point.queued for point in series.points] == [3]


def test_samples_of_a_node_that_has_left_are_gone_at_once(runner: Runner) -> None:
    tell(runner, sample())
    runner.client.leave("c", "here")
    assert runner.client.metrics("c", history=True).samples == []


def test_samples_survive_nothing_and_write_nothing(
    runner: Runner, registry: RegistryThread
) -> None:
    tell(runner, sample())
    registry.stop()
    registry.start()
    with registry.client() as client:
        assert client.metrics("c").samples == []


def test_only_the_runner_of_a_node_tells_its_samples(runner: Runner) -> None:
    for session, status, code in (("", 409, "replaced"), ("x", 409, "replaced")):
        with pytest.raises(Refused) as caught:
            tell(runner, sample(), session=session)
        assert (caught.value.status, caught.value.code) == (status, code)
    runner.client.leave("c", "here")
    with pytest.raises(Refused) as caught:
        tell(runner, sample())
    assert caught.value.status == 410
    with pytest.raises(Refused) as caught:
        runner.client.send_metrics("c", "nobody", NodeSamples())
    assert caught.value.status == 404
    with pytest.raises(Refused) as caught:
        runner.client.metrics("unknown")
    assert caught.value.status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        [sample("a b")],
        [sample(component="ä")],
        [sample(), sample()],
        [sample("a", component="x"), sample("b", component="x")],
        [sample(functions=[FunctionSample(name="f"), FunctionSample(name="f")])],
        [sample(functions=[FunctionSample(name="f" * 201)])],
        [sample(functions=[FunctionSample(name=str(n)) for n in range(66)])],
        [sample(cpu=float("nan"))],
        [sample(rss=-1)],
        [sample(f"n{n}") for n in range(1025)],
    ],
)
def test_samples_that_make_no_sense_are_refused(runner: Runner, wrong: list[Sample]) -> None:
    with pytest.raises(Refused) as caught:
        tell(runner, *wrong)
    assert caught.value.status == 400
    assert runner.client.metrics("c").samples == []


# ---- live


def test_samples_come_live_the_newest_and_at_most_one_a_second(runner: Runner) -> None:
    with closing(runner.client.live("c", ("metrics",))) as feed:
        first = feed.next_frame(SOON)
        assert first is not None and first.data.samples == []
        begun, stop = time.monotonic(), time.monotonic() + 2.5
        number = 0
        while time.monotonic() < stop:
            number += 1
            tell(runner, sample(queued=number))
        seen = []
        while not seen or seen[-1] != number:
            frame = feed.next_frame(SOON)
            assert frame is not None and frame.topic == "metrics"
            seen.append(frame.data.samples[0].queued)
        assert seen == sorted(set(seen))
        assert len(seen) <= time.monotonic() - begun + 1
        assert number > 2 * len(seen)


def test_samples_move_no_cursor(runner: Runner) -> None:
    runner.client.send_output("c", [piece(0, b"one\n")])
    with closing(runner.client.live("c", ("metrics", "output"), since="start")) as feed:
        frames = [feed.next_frame(SOON), feed.next_frame(SOON)]
        cursors = {frame.topic: frame.cursor for frame in frames if frame is not None}
        tell(runner, sample())
        later = feed.next_frame(SOON)
        assert later is not None and later.topic == "metrics"
        assert later.cursor == cursors["output"]


def test_who_does_not_ask_for_samples_gets_none(runner: Runner) -> None:
    with closing(runner.client.live("c")) as feed:
        tell(runner, sample())
        runner.client.declare("c", spec("foo"))
        topics = set()
        while "events" not in topics:
            frame = feed.next_frame(SOON)
            assert frame is not None
            topics.add(frame.topic)
        assert "metrics" not in topics


# ---- Prometheus


def test_the_registry_tells_of_itself(
    runner: Runner, registry: RegistryThread, browser: Browser
) -> None:
    runner.client.send_output("c", [piece(0, b"hello\n"), piece(6, b"you\n")])
    browser.ask("GET", "/api/clusters")  # without a token
    with closing(runner.client.live("c")) as feed:
        assert feed.next_frame(SOON) is not None
        found = scrape(registry, browser)
    requests = found["palm_registry_http_requests_total"]
    output = "/api/clusters/{key}/output"
    assert requests.value(route=output, method="POST", status="200") == 1
    assert requests.value(route="/api/clusters", method="GET", status="401") == 1
    answers = found["palm_registry_http_request_duration_seconds"].series
    count = (
        "palm_registry_http_request_duration_seconds_count",
        frozenset({("route", output), ("method", "POST")}),
    )
    assert answers[count] == 1
    assert found["palm_registry_live_connections"].value() == 1
    assert found["palm_registry_output_bytes_total"].value() == 10
    assert found["palm_registry_output_pieces_total"].value() == 2
    assert found["palm_registry_database_writes_waiting"].value() == 0
    assert found["palm_registry_database_writes_total"].value() >= 3
    assert found["palm_registry_clusters"].value(state="alive") == 1
    assert found["palm_registry_nodes"].value(cluster="c", state="alive") == 1
    assert found["palm_registry_nodes"].value(cluster="c", state="lost") == 0
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"):
        assert found[name].value() > 0
    assert found["palm_registry_database_commit_seconds"].kind == "histogram"
    commits = found["palm_registry_database_commit_seconds"].series
    assert commits["palm_registry_database_commit_seconds_count", frozenset()] > 0
    end = time.monotonic() + SOON
    lag = ("palm_registry_event_loop_lag_seconds_count", frozenset[tuple[str, str]]())
    while not scrape(registry, browser)["palm_registry_event_loop_lag_seconds"].series[lag]:
        assert time.monotonic() < end


def test_a_live_connection_that_is_gone_is_not_counted(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    feed = client.live("c")
    assert feed.next_frame(SOON) is not None
    feed.close()
    end = time.monotonic() + SOON
    while scrape(registry, browser)["palm_registry_live_connections"].value():
        assert time.monotonic() < end


def test_components_have_series_until_they_are_gone(
    runner: Runner, registry: RegistryThread, browser: Browser
) -> None:
    function = FunctionSample(name='a "b"\\\n', received=5, done=3, failed=1, queued=1, seconds=0.5)
    tell(
        runner, sample(cpu_seconds=1.5, rss=1000, files=9, functions=[function], latency=[3, 1, 0])
    )
    found = scrape(registry, browser)
    labels = {"cluster": "c", "component": "foo", "replica": "0", "node": "here"}
    assert found["palm_component_state"].value(**labels) == 1
    assert found["palm_component_cpu_seconds_total"].value(**labels) == 1.5
    assert found["palm_component_resident_memory_bytes"].value(**labels) == 1000
    assert "palm_component_threads" in found and not found["palm_component_threads"].series
    failed = found["palm_component_messages_failed_total"]
    assert failed.value(**labels, function='a "b"\\\n') == 1
    assert found["palm_component_messages_queued"].value(**labels) == 1
    assert found["palm_component_function_seconds_total"].value(**labels) == 0.5
    buckets = found["palm_component_latency_seconds"]
    assert buckets.value(**labels, le="0.1") == 3
    assert buckets.value(**labels, le="+Inf") == 4

    tell(runner)
    assert scrape(registry, browser)["palm_component_state"].series == {}
    tell(runner, sample())
    runner.client.leave("c", "here")
    found = scrape(registry, browser)
    assert found["palm_component_state"].series == {}
    assert found["palm_registry_nodes"].value(cluster="c", state="alive") == 0


def test_a_method_that_somebody_invents_makes_one_series_only(
    registry: RegistryThread, browser: Browser
) -> None:
    for method in ("BREW", "STEEP", "POUR"):
        browser.ask(method, "/api/clusters")
    requests = scrape(registry, browser)["palm_registry_http_requests_total"]
    assert requests.value(method="OTHER") == 3


def test_addresses_that_do_not_exist_make_one_series_only(
    registry: RegistryThread, browser: Browser
) -> None:
    for path in ("/a", "/b", "/api/clusters/x/y/z"):
        browser.ask("GET", path)
    requests = scrape(registry, browser)["palm_registry_http_requests_total"]
    assert requests.value(route="(nothing)", status="401") == 3


def test_a_scrape_leaves_the_registry_answering(
    runner: Runner, registry: RegistryThread, browser: Browser
) -> None:
    functions = [FunctionSample(name=f"function-{n}", received=n) for n in range(65)]
    tell(runner, *(sample(f"foo-{n}", functions=functions) for n in range(100)))
    over = threading.Event()
    answered: list[float] = []

    def ask() -> None:
        with registry.client() as client:
            while not over.is_set():
                begun = time.monotonic()
                client.health()
                answered.append(time.monotonic() - begun)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        found = scrape(registry, browser)
    finally:
        over.set()
        asking.join()
    assert len(found["palm_component_messages_received_total"].series) == 100 * 65
    assert answered and max(answered) < 5


# ---- the text by itself

anything = st.text(max_size=20)
counts = st.integers(0, 2**63 - 1)
functions = st.lists(
    st.builds(FunctionSample, name=anything, part=anything, received=counts, failed=counts),
    max_size=4,
    unique_by=lambda each: (each.part, each.name),
)
measures = st.none() | st.floats(0, 1e18)
samples = st.builds(
    Sample,
    name=st.just("foo"),
    component=anything,
    node=anything,
    replica=st.integers(0, 2**31 - 1),
    cpu_seconds=measures,
    time=st.floats(0, 1e18),
    latency=st.lists(st.integers(0, 2**40), min_size=3, max_size=3),
    functions=functions,
)
clusters = st.lists(
    st.builds(
        ClusterPicture,
        key=anything,
        state=st.just("alive"),
        bounds=st.just([0.1, 1.0]),
        samples=st.lists(
            samples, max_size=3, unique_by=lambda each: (each.component, each.replica, each.node)
        ),
    ),
    max_size=3,
    unique_by=lambda each: each.key,
)


@settings(deadline=None)
@given(clusters, anything)
def test_whatever_names_there_are_the_text_is_right_and_says_them(
    found: list[ClusterPicture], version: str
) -> None:
    text = exposition.render(Picture(version, Tally(), clusters=found)).decode()
    families = grammar.read(text)
    received = families["palm_component_messages_received_total"]
    expected = {
        frozenset(
            {
                ("cluster", cluster.key), ("component", each.component), ("node", each.node),
                ("replica", str(each.replica)), ("part", function.part),
                ("function", function.name),
            }
        )
        for cluster in found for each in cluster.samples for function in each.functions
        if not function.name.startswith("%")
    }  # fmt: skip
    assert {labels for _, labels in received.series} == expected
    assert families["palm_registry_build_info"].value(version=version) == 1


def test_the_text_is_what_the_reader_of_prometheus_itself_reads() -> None:
    tally = Tally()
    tally.answered("/api/clusters", "GET", 200, 0.003)
    cluster = ClusterPicture("c", "alive", 1, 0, [0.1], [sample(latency=[1, 2], cpu_seconds=2.5)])
    text = exposition.render(Picture("1.0", tally, clusters=[cluster])).decode()
    families = {each.name: each for each in text_string_to_metric_families(text)}
    assert families["palm_component_cpu_seconds"].samples[0].value == 2.5
    assert families["palm_registry_http_requests"].type == "counter"
    assert families["palm_component_latency_seconds"].type == "histogram"


def test_too_many_series_are_left_out_and_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "MAX_SERIES", 1000)
    functions = [FunctionSample(name=str(number)) for number in range(20)]
    found = [sample(f"foo-{number}", functions=functions) for number in range(30)]
    text = exposition.render(
        Picture("1", Tally(), clusters=[ClusterPicture("c", "alive", samples=found)])
    )
    families = grammar.read(text.decode())
    left_out = families["palm_registry_samples_left_out"].value()
    shown = families["palm_component_state"].series
    assert 0 < len(shown) < 30
    assert left_out == 30 - len(shown)
    lines = [
        key
        for name, each in families.items()
        if name.startswith("palm_component_")
        for key in each.series
    ]
    assert len(lines) <= 1000


def test_a_bound_belongs_to_the_range_below_it() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.0, 0.1, 0.5, 1.0, 1.1):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == pytest.approx(2.7)
