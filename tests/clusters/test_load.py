"""Rates and quantiles of what components counted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.clusters import ComponentStatus, Load, Observer, ProcessStatus, Status
from palm.clusters.load import quantile
from palm.protocol.meter import BUCKETS, EdgeCounts, FunctionCounts, bounds
from palm.runtime.folders import Folders
from palm.runtime.metrics import Metrics
from palm.runtime.records import process_start_time


@dataclass
class Desk:
    """An observer and its clock, and a component that tells what it is told to."""

    folders: Folders
    now: float = 1000.0
    observer: Observer = field(init=False)

    def __post_init__(self) -> None:
        self.observer = Observer(self.folders, lambda: self.now)

    def tell(self, n: int, name: str = "foo", failed: int = 0, every: float = 1.0) -> None:
        """Write that ``n`` messages came and are done, which took 10 ms each."""
        function = FunctionCounts(received=n, done=n - failed, failed=failed, seconds=0.01 * n)
        function.waited(0.02, n)
        metrics = Metrics(
            name=name,
            role="master",
            instance=f"{name}.1",
            pid=os.getpid(),
            start_time=process_start_time(os.getpid()) or 0.0,
            time=self.now,
            every=every,
            functions={"f": function},
            edges=[
                EdgeCounts("clients", name, "client", messages=n, size=1000 * n, done=n),
                EdgeCounts(name, "w", "worker", messages=n, size=1000 * n, done=n, seconds=n / 100),
            ],
        )
        path = self.folders.metrics / f"{name}.json"
        path.write_bytes(msgspec.json.encode(metrics))
        path.chmod(0o600)

    def look(self, *names: str) -> Load:
        components = tuple(
            ComponentStatus(
                name,
                "master",
                "ready",
                processes=(ProcessStatus(name, "ready", os.getpid(), instance=f"{name}.1"),),
            )
            for name in names or ("foo",)
        )
        return self.observer.look(Status("default", self.now, components))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    environ = {"PALM_RUN_DIR": str(tmp_path / "run"), "PALM_STATE_DIR": str(tmp_path / "state")}
    return Desk(Folders.find(environ))


def test_rates_are_differences_by_the_times_of_snapshots(desk: Desk) -> None:
    desk.tell(100)
    [first] = desk.look().components
    assert (first.rate_in, first.rate_out, first.received) == (None, None, 100)
    desk.now += 2
    desk.tell(300)
    desk.now += 0.4  # when somebody looks does not matter
    [foo] = desk.look().components
    assert (foo.rate_in, foo.rate_out) == (100, 100)
    assert foo.mean == pytest.approx(0.01)
    lower, upper = next(each for each in bounds() if each[0] <= 0.02 < each[1])
    assert lower <= foo.p50 <= foo.p99 <= upper  # type: ignore[operator]
    clients, worker = foo.edges
    assert (clients.rate, clients.throughput, clients.mean) == (100, 100_000, None)
    assert worker.mean == pytest.approx(0.01)
    assert foo.functions[0].rate_out == 100
    assert foo.rss is not None and foo.rss > 0


def test_who_tells_nothing_new_has_a_rate_for_a_while_and_is_idle_then(desk: Desk) -> None:
    desk.tell(100)
    desk.look()
    desk.now += 1
    desk.tell(200)
    assert desk.look().components[0].rate_in == 100
    desk.now += 0.5  # nobody tells more than once a second
    assert desk.look().components[0].rate_in == 100
    desk.now += 5
    [idle] = desk.look().components
    assert (idle.rate_in, idle.rate_out) == (0, 0)
    assert idle.mean == pytest.approx(0.01)  # as of all so far


def test_who_tells_rarely_is_not_idle_meanwhile(desk: Desk) -> None:
    desk.tell(100, every=4.0)
    desk.look()
    desk.now += 4
    desk.tell(500, every=4.0)
    assert desk.look().components[0].rate_in == 100
    desk.now += 4
    assert desk.look().components[0].rate_in == 100
    desk.now += 1
    assert desk.look().components[0].rate_in == 0


def test_what_begins_after_a_long_calm_has_its_whole_rate(desk: Desk) -> None:
    desk.tell(100)
    desk.look()
    desk.now += 3600
    desk.look()
    desk.now += 1
    desk.tell(400)
    desk.now += 0.1
    [foo] = desk.look().components
    assert foo.rate_in is not None and 100 <= foo.rate_in <= 300


def test_a_component_that_is_new_has_rates_at_once(desk: Desk) -> None:
    assert desk.look().components[0].rate_in is None
    desk.now += 1
    desk.tell(50)
    [foo] = desk.look().components
    assert foo.rate_in is not None and foo.rate_in > 0


def test_who_was_started_anew_has_no_negative_rates(desk: Desk) -> None:
    desk.tell(1000)
    desk.look()
    desk.now += 1
    desk.tell(10)
    [foo] = desk.look().components
    assert (foo.rate_in, foo.edges[0].rate) == (0, 10)


def test_several_components_of_one_process_have_a_row_each(desk: Desk) -> None:
    desk.tell(1)
    desk.tell(2, "bar")
    path = desk.folders.metrics / "bar.json"
    path.write_bytes(path.read_bytes().replace(b"bar.1", b"foo.1"))
    assert sorted(each.name for each in desk.look("foo").components) == ["bar", "foo"]


def test_edges_have_the_names_of_processes(desk: Desk) -> None:
    desk.tell(1)
    desk.tell(2, "w")  # as the master knows it
    path = desk.folders.metrics / "w.json"
    path.write_bytes(path.read_bytes().replace(b"w.1", b"foo-worker-0.1"))
    foo, worker = desk.look("foo", "foo-worker-0").components
    assert [(each.source, each.target) for each in foo.edges] == [
        ("clients", "foo"),
        ("foo", "foo-worker-0"),
    ]
    assert (worker.name, worker.functions[0].component) == ("foo-worker-0", "foo-worker-0")


def test_what_tells_nothing_is_listed_all_the_same(desk: Desk) -> None:
    desk.look("quiet")
    desk.now += 2
    [quiet] = desk.look("quiet").components
    assert (quiet.name, quiet.state, quiet.rate_in, quiet.received) == ("quiet", "ready", 0, 0)
    assert quiet.cpu is not None


def test_frames_have_a_row_for_each_component_function_or_edge(desk: Desk) -> None:
    desk.tell(100)
    desk.look()
    desk.now += 1
    desk.tell(200, failed=3)
    load = desk.look("foo", "quiet")
    frame = load.to_frame()
    assert list(frame.index) == ["foo", "quiet"]
    assert frame.loc["foo", "rate_in"] == 100
    assert frame.loc["foo", "failed"] == 3
    assert str(frame["pid"].dtype) == "Int64"
    assert frame["p99"].isna().tolist() == [False, True]
    assert load.to_frame("functions").loc[("foo", "f"), "done"] == 197
    assert load.to_frame("edges").loc[("foo", "w"), "messages"] == 200
    assert list(Load("c", 0.0).to_frame("edges").index.names) == ["source", "target"]


@given(st.lists(st.integers(0, 50), min_size=BUCKETS, max_size=BUCKETS), st.floats(0.01, 1))
def test_a_quantile_lies_in_its_bucket(latency: list[int], q: float) -> None:
    found = quantile(latency, q)
    if not any(latency):
        assert found is None
        return
    assert found is not None
    values = [lower for (lower, _), n in zip(bounds(), latency, strict=True) for _ in range(n)]
    exact = values[min(int(q * len(values)), len(values) - 1)]
    assert found >= 0
    upper = 2 * exact if exact else 1e-4
    before = values[max(int(q * len(values) - 1e-9) - 1, 0)]
    assert before <= found <= max(upper, 1e-4)
