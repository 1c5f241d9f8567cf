"""What a runner tells of its processes: F26's counts on their way to the registry."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import msgspec
import pytest

from palm.files import privatefile
from palm.protocol.meter import EdgeCounts, FunctionCounts
from palm.registry_api.schema import MAX_EDGES, Sample
from palm.runner import sampling
from palm.runner.sampling import Running, Sampler
from palm.runtime.folders import Folders
from palm.runtime.metrics import Metrics
from palm.runtime.records import process_identity, process_start_time
from palm.spec.process import ProcessSpec, ProcessState
from tests.support.nodes import FakeRegistry, House, component, eventually


def running(instance: str = "foo.1", **more: object) -> Running:
    values: dict[str, object] = {
        "name": "foo", "role": "worker", "state": "ready", "pid": os.getpid(), "exit": None,
        "restarts": 2, "instance": instance, "started": 1.0, "spool": "",
    }  # fmt: skip
    spec = ProcessSpec("foo", ("true",), component="foo", replica=0)
    return spec, ProcessState(**(values | more))  # type: ignore[arg-type]


def write_counts(
    folders: Folders,
    name: str,
    time: float,
    edges: Sequence[EdgeCounts] = (),
    **functions: FunctionCounts,
) -> None:
    pid = os.getpid()
    counts = Metrics(
        name=name, role="worker", instance="foo.1", pid=pid,
        start_time=process_start_time(pid) or 0.0, identity=process_identity(pid), time=time,
        functions=functions, edges=list(edges),
    )  # fmt: skip
    privatefile.replace(folders.metrics / f"{name}.json", msgspec.json.encode(counts))


@pytest.fixture
def folders(palm_home: object) -> Folders:
    return Folders.find(cluster="default")


def sampler(folders: Folders, *processes: Running, registry: FakeRegistry | None = None) -> Sampler:
    registry = registry or FakeRegistry()
    return Sampler(folders, registry, lambda: processes, lambda: ("here", "1"), every=0.02)


def test_a_process_is_told_with_what_it_uses(folders: Folders) -> None:
    looks = sampler(folders, running())
    looks.look(100.0)
    sum(range(10**6))
    (found,) = looks.look(101.0)
    assert (found.name, found.component, found.instance) == ("foo", "foo", "foo.1")
    assert (found.pid, found.restarts, found.state, found.time) == (os.getpid(), 2, "ready", 101.0)
    assert found.cpu is not None and found.cpu >= 0
    assert found.cpu_seconds and found.rss and found.threads and found.files
    assert found.functions == [] and found.rate_in is None


def test_a_process_that_is_gone_is_told_without_what_it_uses(folders: Folders) -> None:
    (found,) = sampler(folders, running(pid=None, state="backing-off")).look(1.0)
    assert (found.state, found.pid, found.rss) == ("backing-off", None, None)


def test_counts_become_rates(folders: Folders) -> None:
    looks = sampler(folders, running())
    write_counts(folders, "foo", 100.0, f=FunctionCounts(received=10, done=8, queued=2))
    looks.look(100.0)
    latency = [0] * 22
    latency[3] = 20
    after = FunctionCounts(received=32, done=26, failed=2, queued=4, seconds=1.0, latency=latency)
    write_counts(folders, "foo", 102.0, f=after)
    (found,) = looks.look(102.0)
    assert (found.received, found.done, found.failed, found.queued) == (32, 26, 2, 4)
    assert (found.rate_in, found.rate_out) == (11.0, 10.0)
    assert found.mean == pytest.approx(1.0 / 20)
    assert found.p50 is not None and 0 < found.p50 < 0.001
    assert found.latency == latency
    (function,) = found.functions
    assert (function.name, function.part, function.rate_in) == ("f", "", 11.0)


def test_neighbours_are_told_with_their_rates(folders: Folders) -> None:
    looks = sampler(folders, running())
    before = [
        EdgeCounts(source="foo", target="w-0", role="worker", messages=10),
        EdgeCounts(source="clients", target="foo", role="client"),
    ]
    write_counts(folders, "foo", 100.0, before, f=FunctionCounts(received=10))
    looks.look(100.0)
    after = [
        EdgeCounts(source="foo", target="w-0", role="worker", messages=30, open=3),
        EdgeCounts(source="foo", target="w" * 300, role="worker"),
        EdgeCounts(source="foo", target="(nobody for x)", role="nobody", open=7),
        EdgeCounts(source="clients", target="foo", role="client"),
    ]
    write_counts(folders, "foo", 102.0, after, f=FunctionCounts(received=30))
    (found,) = looks.look(102.0)
    first, second = found.edges  # what nobody takes, or sends, is no neighbour
    assert (first.source, first.target, first.role) == ("foo", "w-0", "worker")
    assert (first.rate, first.messages, first.open) == (10.0, 30, 3)
    assert second.target == "w" * 200  # a longer one would have all samples refused


def test_of_many_neighbours_the_busiest_are_told(folders: Folders) -> None:
    edges = [EdgeCounts(source="foo", target=f"w-{n}", messages=n + 1) for n in range(100)]
    write_counts(folders, "foo", 100.0, edges, f=FunctionCounts())
    (found,) = sampler(folders, running()).look(100.0)
    assert [each.messages for each in found.edges] == list(range(100, 100 - MAX_EDGES, -1))


def test_components_of_one_process_are_told_apart(folders: Folders) -> None:
    write_counts(folders, "one", 100.0, f=FunctionCounts(received=1, done=1))
    write_counts(folders, "two", 100.0, f=FunctionCounts(received=5, failed=4))
    (found,) = sampler(folders, running()).look(100.0)
    assert (found.received, found.done, found.failed) == (6, 1, 4)
    assert [(each.part, each.name, each.received) for each in found.functions] == [
        ("one", "f", 1), ("two", "f", 5),
    ]  # fmt: skip


def test_functions_that_are_too_many_are_counted_together(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MAX_FUNCTIONS", 4)
    counts = {f"f{n}": FunctionCounts(received=n, done=n) for n in range(10)}
    write_counts(folders, "foo", 100.0, **counts)
    (found,) = sampler(folders, running()).look(100.0)
    assert [each.name for each in found.functions] == ["f9", "f8", "f7", "(others)"]
    assert sum(each.received for each in found.functions) == found.received == 45


def test_a_registry_that_is_away_costs_a_gap_and_no_more(folders: Folders) -> None:
    registry = FakeRegistry()
    registry.away = True
    telling = sampler(folders, running(), registry=registry)
    telling.start()
    try:
        assert not eventually(lambda: bool(registry.samples), 0.3)
        registry.away = False
        assert eventually(lambda: bool(registry.samples))
        first: list[Sample] = registry.samples
        assert eventually(lambda: registry.samples[0].time > first[0].time)
    finally:
        telling.stop()


def test_nothing_is_said_where_nothing_runs_and_the_end_is_said_once(folders: Folders) -> None:
    registry, processes = FakeRegistry(), [running()]
    telling = Sampler(folders, registry, lambda: processes, lambda: ("here", "1"), every=0.02)
    telling._tell()
    assert [each.name for each in registry.samples] == ["foo"]
    processes.clear()
    telling._tell()
    assert registry.samples == []
    registry.away = True
    telling._tell()  # would raise


def test_a_node_without_a_session_says_nothing(folders: Folders) -> None:
    registry = FakeRegistry()
    Sampler(folders, registry, lambda: [running()], lambda: ("here", ""))._tell()
    assert registry.samples == []


@pytest.mark.slow
def test_a_real_runner_tells_of_a_real_process(house: House) -> None:
    house.runner.start()
    house.client.declare(
        "default", component("foo", "import time; time.sleep(600)", ready="delay:0")
    )
    assert house.ready()
    (replica,) = house.replicas("foo")

    def found() -> list[Sample]:
        return house.client.metrics("default", history=True).samples

    assert eventually(lambda: any(each.cpu is not None for each in found()), 20)
    (sample,) = found()
    assert (sample.pid, sample.instance, sample.node) == (replica.pid, replica.instance, "here")
    assert sample.rss and sample.threads == 1
    house.client.stop("default", "foo")
    assert eventually(lambda: all(each.pid is None for each in found()), 20)
    house.client.remove("default", "foo")
    assert eventually(lambda: found() == [], 20)


def test_times_of_samples_are_those_of_the_looks(folders: Folders) -> None:
    before = time.time()
    registry = FakeRegistry()
    sampler(folders, running(), registry=registry)._tell()
    assert before <= registry.samples[0].time <= time.time()
