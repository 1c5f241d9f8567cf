"""A master: its name, its addresses, its values and its restart."""

from __future__ import annotations

import itertools
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palm.clients import Client
from palm.errors import ConfigError, PalmError, TaskError, TransportError
from palm.runtime.folders import Folders
from palm.runtime.records import read_record
from palm.servers import Master, Worker
from tests.support.cluster import Served, ThreadCluster, until

Serve = Callable[..., Client]


def identity(value: Any) -> Any:
    return value


def functions_of(*functions: Callable[[Any], Any]) -> dict[str, Callable[[Any], Any]]:
    return {function.__name__: function for function in functions}


# Its name


def test_a_second_master_of_a_name_is_refused(cluster: ThreadCluster) -> None:
    cluster.master("foo")
    with pytest.raises(ConfigError, match="foo") as caught:
        Master("foo").start()
    text = str(caught.value)
    assert f"{os.getpid()}" in text
    assert re.search(r"since \d{4}-\d\d-\d\d|\d\d:\d\d", text), text
    cluster.worker(functions_of(identity))
    assert cluster.client().eval("foo.identity", 1) == 1


def test_a_name_is_free_again_when_its_master_is_gone(cluster: ThreadCluster) -> None:
    for _ in range(3):
        cluster.master("foo").stop()
    assert read_record(Folders.find(), "foo") is None


def test_with_tcp_addresses_only_it_runs_on_beside_its_namesake(
    cluster: ThreadCluster, caplog: pytest.LogCaptureFixture
) -> None:
    first = cluster.master("foo").component
    second = cluster.master("foo", db_address="tcp://127.0.0.1:0").component
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "it cannot be found by name, only at its addresses" in warning
    cluster.worker({"which": lambda value: 1}, "w1")
    cluster.worker({"which": lambda value: 2}, "w2", second.endpoints["db"])
    assert cluster.client("foo").eval("foo.which", 0) == 1
    assert cluster.client("foo", second.endpoints["db"]).eval("foo.which", 0) == 2
    assert first.endpoints != second.endpoints


def test_a_master_without_a_name_gets_one(cluster: ThreadCluster) -> None:
    one, two = (cluster.master("").component for _ in range(2))
    assert one.name != two.name
    cluster.worker(functions_of(identity), master=one.name)
    assert cluster.client(one.name).eval(f"{one.name}.identity", 1) == 1


@pytest.mark.parametrize("name", ["two words", "a.b", "x" * 65])
def test_a_name_that_cannot_be_is_refused(palm_home: Any, name: str) -> None:
    with pytest.raises(ConfigError):
        Master(name)


# Its addresses

PORTS = ["pull", "pub", "worker_pull", "worker_push", "db"]


def test_without_addresses_it_has_one_in_the_run_folder(cluster: ThreadCluster) -> None:
    master = cluster.master().component
    assert set(master.endpoints) == {*PORTS, "ipc"}
    assert len(set(master.endpoints.values())) == 1
    assert master.endpoints["ipc"].startswith(f"ipc://{Folders.find().run}")


def test_each_address_serves_every_role(cluster: ThreadCluster, tmp_path: Path) -> None:
    given = {f"{port}_address": "tcp://127.0.0.1:0" for port in PORTS[:-1]}
    given["db_address"] = f"ipc://{cluster.folders.run}/own"
    master = cluster.master(**given).component
    addresses = [master.endpoints[port] for port in PORTS]
    assert len(set(addresses)) == 5
    assert all(re.fullmatch(r"tcp://127\.0\.0\.1:[1-9]\d+", a) for a in addresses[:-1])
    for number, (one, other) in enumerate(itertools.pairwise([*addresses, addresses[0]])):
        name = f"f{number}"
        cluster.worker({name: identity}, f"w{number}", one)
        assert cluster.client("foo", other).eval(f"foo.{name}", number) == number


def test_one_address_may_be_given_twice(cluster: ThreadCluster) -> None:
    address = f"ipc://{cluster.folders.run}/own"
    master = cluster.master(pull_address=address, pub_address=address).component
    assert master.endpoints["pull"] == master.endpoints["pub"] == address


@pytest.mark.parametrize(
    ("option", "address"),
    [
        ("pull_address", "foo"),
        ("pub_address", "tcp://127.0.0.1"),
        ("db_address", "http://127.0.0.1:1"),
        ("db_address", "ipc://"),
    ],
)
def test_what_is_no_address_to_listen_at_is_refused(
    palm_home: Any, option: str, address: str
) -> None:
    with pytest.raises(ConfigError):
        Master("foo", **{option: address}).start()  # type: ignore[arg-type]
    assert read_record(Folders.find(), "foo") is None


def test_a_port_that_is_taken_is_refused_and_nothing_is_left(cluster: ThreadCluster) -> None:
    taken = cluster.master("foo", db_address="tcp://127.0.0.1:0").component.endpoints["db"]
    with pytest.raises(TransportError, match=re.escape(taken.rpartition(":")[2])):
        Master("bar", db_address=taken).start()
    assert read_record(Folders.find(), "bar") is None
    cluster.master("bar")


def test_a_path_of_a_living_socket_is_refused(cluster: ThreadCluster) -> None:
    address = f"ipc://{cluster.folders.run}/own"
    cluster.master("foo", db_address=address)
    with pytest.raises(PalmError):
        Master("bar", db_address=address).start()


@pytest.mark.parametrize("option", ["scatter", "gather", "handle_stream"])
def test_a_hook_that_cannot_be_called_is_refused(palm_home: Any, option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        Master("foo", **{option: True})  # type: ignore[arg-type]


# Its values


def test_its_cache_holds_values_as_they_are(cluster: ThreadCluster) -> None:
    master = cluster.master().component
    assert isinstance(master, Master)
    client = cluster.client()
    client.set((1, {2}), "theirs")
    master.cache["ours"] = (3, {4})
    assert dict(master.cache) == {"theirs": (1, {2}), "ours": (3, {4})}
    assert client.get("ours") == (3, {4})
    del master.cache["theirs"]
    assert client.get("theirs") is None
    assert len(master.cache) == 1
    assert client.delete("ours") is True
    with pytest.raises(KeyError):
        master.cache["ours"]


def test_two_of_a_process_share_neither_cache_nor_log_handlers(
    cluster: ThreadCluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.Logger, "hasHandlers", lambda self: False)  # as in a plain script
    before = list(logging.getLogger().handlers)
    first, second = Master("foo"), Master("foo")
    first.cache["key"] = 1
    assert "key" not in second.cache
    first.logger.info("once")
    assert capsys.readouterr().out.count("once") == 1
    assert logging.getLogger().handlers == before
    assert not logging.getLogger("foo").handlers


def test_its_cache_may_be_the_callers(cluster: ThreadCluster) -> None:
    stored: dict[str, bytes] = {}
    cluster.master(cache=stored)
    client = cluster.client()
    client.set("value", "key")
    assert list(stored) == ["key"]
    assert isinstance(stored["key"], bytes)


class Refusing(dict[str, bytes]):
    """Keeps nothing whose key begins with "bad"."""

    def __setitem__(self, key: str, value: bytes) -> None:
        if key.startswith("bad"):
            raise OSError(f"no room for {key}")
        super().__setitem__(key, value)


def test_an_error_of_the_callers_cache_is_one_of_that_call(
    cluster: ThreadCluster, caplog: pytest.LogCaptureFixture
) -> None:
    served = cluster.master(cache=Refusing())

    class Keeping(Worker):
        def keep(self, key: str) -> str:
            return self.set(1, key)

    cluster.worker(Keeping("w", master="foo"))
    client = cluster.client()
    with pytest.raises(TaskError, match="OSError: no room for bad-1") as caught:
        client.set(1, "bad-1")
    assert "in __setitem__" in caught.value.traceback
    with pytest.raises(TaskError, match="OSError: no room for bad-2"):
        client.eval("foo.keep", "bad-2")
    assert client.eval("foo.keep", "good") == "good"
    assert client.get("good") == 1
    logged = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert [text.rpartition(": ")[2] for text in logged] == [
        "no room for bad-1",
        "no room for bad-2",
    ]
    assert served.error is None


# Any order, and again

PARTS = ["master", "worker", "client"]


@pytest.mark.parametrize("order", list(itertools.permutations(PARTS)), ids="-".join)
def test_any_order_of_start(cluster: ThreadCluster, order: tuple[str, ...]) -> None:
    def start_worker() -> None:
        cluster.serve(Worker("w", master="foo", functions={"identity": identity}))

    jobs = []
    start: dict[str, Callable[[], Any]] = {
        "master": cluster.master,
        "worker": start_worker,
        "client": lambda: jobs.append(
            cluster.client().job("foo.identity", range(50), ordered=True)
        ),
    }
    for part in order:
        start[part]()
    assert list(jobs[0]) == list(range(50))


def restart(cluster: ThreadCluster, served: Served, **options: Any) -> Served:
    served.stop()
    return cluster.master(served.component.name, **options)


def test_a_job_goes_on_over_a_restart_of_its_master(cluster: ThreadCluster) -> None:
    calls: list[int] = []

    def slow(value: int) -> int:
        calls.append(value)
        time.sleep(0.002)
        return value

    served = cluster.master()
    for name in ("w0", "w1"):
        cluster.worker(functions_of(slow), name)
    job = cluster.client().job("foo.slow", range(600))
    for part in (1, 2, 3):
        until(lambda part=part: job.progress.done > part * 100)
        served = restart(cluster, served)
    frame = job.to_frame()
    assert frame["result"].tolist() == list(range(600))
    assert job.progress[:4] == (600, 0, job.progress.retried, 600)
    assert len(calls) < 900


def test_an_idle_client_and_worker_find_their_master_again(cluster: ThreadCluster) -> None:
    served = cluster.master()
    cluster.worker(functions_of(identity))
    client = cluster.client()
    for number in range(4):
        assert client.eval("foo.identity", number, timeout=10) == number
        served = restart(cluster, served)
    assert list(client.job("foo.identity", range(3000), ordered=True)) == list(range(3000))


def test_at_another_address_it_is_found_by_its_name(cluster: ThreadCluster) -> None:
    served = cluster.master(db_address="tcp://127.0.0.1:0")
    cluster.worker(functions_of(identity))
    client = cluster.client()
    assert client.eval("foo.identity", 1) == 1
    restart(cluster, served, db_address="tcp://127.0.0.1:0")
    assert client.eval("foo.identity", 2, timeout=10) == 2


def test_at_its_fixed_address_it_is_found_again(cluster: ThreadCluster) -> None:
    served = cluster.master(db_address="tcp://127.0.0.1:0")
    address = served.component.endpoints["db"]
    cluster.worker(functions_of(identity), "w", address)
    client = cluster.client("foo", address)
    job = client.job("foo.identity", iter(range(20_000)))
    until(lambda: job.progress.done)
    restart(cluster, served, db_address=address)
    assert sorted(job) == list(range(20_000))


def test_values_may_outlive_a_master(cluster: ThreadCluster) -> None:
    stored: dict[str, bytes] = {}
    served = cluster.master(cache=stored)
    client = cluster.client()
    client.set({1, 2}, "key")
    restart(cluster, served, cache=stored)
    assert client.get("key") == {1, 2}


def test_a_job_that_waits_for_its_master_can_be_cancelled(cluster: ThreadCluster) -> None:
    served = cluster.master()
    cluster.worker(functions_of(identity))
    job = cluster.client().job("foo.identity", itertools.count())
    next(job)
    served.stop()
    job.cancel()
    restarted = cluster.master()
    assert restarted.component.endpoints
    assert job.state == "cancelled"


# Its end


def test_stopping_lets_what_runs_end(cluster: ThreadCluster) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(value: int) -> int:
        begun.set()
        assert go_on.wait(10)
        return value

    served = cluster.master()
    cluster.worker(functions_of(slow))
    job = cluster.client().job("foo.slow", [1])
    assert begun.wait(10)
    served.component.stop(10.0)
    go_on.set()
    served.join()
    done = job.wait(2)
    job.cancel()
    assert done


def test_stopping_without_grace_is_at_once(cluster: ThreadCluster) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(value: int) -> int:
        begun.set()
        go_on.wait(10)
        return value

    served = cluster.master()
    cluster.worker(functions_of(slow))
    job = cluster.client().job("foo.slow", [1])
    assert begun.wait(10)
    started = time.monotonic()
    served.stop(0.0)
    assert time.monotonic() - started < 2
    go_on.set()
    job.cancel()


def test_stopping_again_does_nothing(cluster: ThreadCluster) -> None:
    served = cluster.master()
    for _ in range(3):
        served.stop()
    assert served.error is None


def test_what_was_not_opened_can_be_closed(palm_home: Any) -> None:
    master = Master("foo")
    master.stop()
    master.close()
    master.close()
