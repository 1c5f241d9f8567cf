"""A client of several masters."""

from __future__ import annotations

import time
from typing import Any

import pytest

from palm.clients import Client
from palm.errors import ConfigError, ConnectTimeout, TaskError
from palm.servers import Master
from tests.support.cluster import ThreadCluster, until

MASTERS = ["foo-1", "foo-2"]


def double(value: int) -> int:
    return 2 * value


def pick(value: int) -> int:
    if value % 10 == 3:
        raise ValueError(f"{value} is refused")
    return value


def dawdle(value: int) -> int:
    time.sleep(0.002)
    return value


def serve(cluster: ThreadCluster, *masters: str, **functions: Any) -> None:
    for name in masters:
        cluster.master(name)
        cluster.worker({"double": double, "pick": pick, **functions}, f"{name}-worker", name)


@pytest.fixture
def client(cluster: ThreadCluster) -> Client:
    serve(cluster, *MASTERS)
    client = cluster.client(MASTERS)  # type: ignore[arg-type]
    client.wait_for_workers(2)
    return client


def test_a_job_is_shared_and_each_item_has_one_outcome_in_its_place(client: Client) -> None:
    job = client.job("double", range(50_000), ordered=True)
    assert list(job) == [2 * n for n in range(50_000)]
    assert len(job.shares) == 2 and all(share.done > 1000 for share in job.shares.values())


def test_failures_and_frames_name_the_items_of_the_whole_job(client: Client) -> None:
    job = client.job("pick", range(200), errors="return").collect()
    assert list(job.failures["input"]) == list(range(3, 200, 10))
    frame = job.to_frame()
    assert list(frame.index) == list(range(200))
    assert set(frame["worker"]) == {"foo-1-worker", "foo-2-worker"}
    assert frame["error"][13] == "ValueError: 13 is refused"
    (error,) = client.job("pick", [33], errors="return")
    assert isinstance(error, TaskError) and error.index == 0


def test_the_quicker_master_gets_more(cluster: ThreadCluster) -> None:
    serve(cluster, "foo-1", f=double)
    serve(cluster, "foo-2", f=dawdle)
    job = cluster.client(MASTERS).job("f", range(5000))  # type: ignore[arg-type]
    job.collect()
    assert job.progress.done == 5000
    assert job.shares["foo-1-worker"].done > 4 * job.shares["foo-2-worker"].done
    assert job.elapsed < 4.0, "the slow one held the job up"


def test_a_source_without_an_end_is_left_when_there_is_enough(client: Client) -> None:
    def numbers() -> Any:
        n = 0
        while True:
            yield n
            n += 1

    assert len(list(client.job("double", numbers(), messages=500))) == 500
    assert sorted(client.job("double", iter(range(100)))) == list(range(0, 200, 2))


def test_a_cancelled_job_ends_at_all_masters(cluster: ThreadCluster) -> None:
    serve(cluster, *MASTERS, f=dawdle)
    client = cluster.client(MASTERS)  # type: ignore[arg-type]
    job = client.job("f", range(100_000))
    next(job)
    job.cancel()
    assert client.eval("double", 4, timeout=5.0) == 8
    assert job.state == "cancelled"


def test_a_master_that_comes_back_has_its_share_run(cluster: ThreadCluster) -> None:
    serve(cluster, "foo-1", f=dawdle)
    second = cluster.master("foo-2")
    cluster.worker({"f": dawdle}, "foo-2-worker", "foo-2")
    client = cluster.client(MASTERS)  # type: ignore[arg-type]
    job = client.job("f", range(3000), ordered=True)
    until(lambda: len(job.shares) == 2)
    second.stop(grace=0.0)
    cluster.serve(Master("foo-2"))
    assert list(job) == list(range(3000))


def test_a_master_that_never_comes_ends_the_job_as_it_ends_one_of_its_own(
    cluster: ThreadCluster,
) -> None:
    serve(cluster, "foo-1")
    client = cluster.client(MASTERS, connect_timeout=0.5)  # type: ignore[arg-type]
    with pytest.raises(ConnectTimeout, match="foo-2"):
        list(client.job("double", range(1000)))


def test_the_deadline_of_a_job_ends_it_at_all_masters(cluster: ThreadCluster) -> None:
    serve(cluster, *MASTERS, f=dawdle)
    client = cluster.client(MASTERS)  # type: ignore[arg-type]
    outcomes = list(client.job("f", range(5000), deadline=0.5, errors="return"))
    assert len(outcomes) == 5000
    assert sum(isinstance(outcome, Exception) for outcome in outcomes) > 1000


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda client: client.job("double", [1], durable=True), "durable"),
        (lambda client: client.job("double", [1], key=lambda item: item), "key"),
        (lambda client: client.job("foo-1.double", [1]), "bare name"),
        (lambda client: client.set(1), "each master"),
        (lambda client: client.durable_jobs(), "durable"),
    ],
)
def test_what_one_master_promises_is_refused_of_several(
    cluster: ThreadCluster, use: Any, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        use(cluster.client(MASTERS))  # type: ignore[arg-type]


@pytest.mark.parametrize("masters", [[], ["foo", "foo"], ["foo", "no name"]])
def test_masters_that_cannot_be_are_refused(palm_home: object, masters: list[str]) -> None:
    with pytest.raises(ConfigError):
        Client(masters)
