"""A worker: what it serves, for whom, and what it survives."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from palm.clients import Client
from palm.errors import ConfigError, FunctionNotFound, PalmError, ProtocolError, TaskError
from palm.runtime.records import read_record
from palm.servers import Worker
from palm.wire.outcome import MAX_TEXT
from tests.support.cluster import Served, ThreadCluster, until

Serve = Callable[..., Client]


def identity(value: Any) -> Any:
    return value


class Mine(Worker):
    factor = 2

    def double(self, value: int) -> int:
        return self.factor * value

    def _private(self, value: Any) -> Any:
        return "private"

    def stop(self, grace: float = 5.0) -> None:
        super().stop(grace)


# What it serves


def test_public_methods_are_served(cluster: ThreadCluster) -> None:
    cluster.master()
    worker = cluster.worker(Mine("w", master="foo")).component
    assert worker.functions == ["double"]  # type: ignore[attr-defined]
    assert cluster.client().eval("foo.double", 21) == 42


def test_functions_are_served_by_their_names(cluster: ThreadCluster) -> None:
    cluster.master()
    functions = {"negate": lambda value: -value, "length": len}
    worker = cluster.worker(functions, "w").component
    assert worker.functions == ["negate", "length"]  # type: ignore[attr-defined]
    client = cluster.client()
    assert client.eval("foo.negate", 3) == -3
    assert client.eval("foo.length", "abc") == 3


NOT_SERVED = ["_private", "__init__", "__class__", "start", "stop", "set", "get", "functions"]
NOT_SERVED += ["factor", "logger", "double.__globals__", "Double", ""]


def test_nothing_else_can_be_called(cluster: ThreadCluster) -> None:
    cluster.master()
    served = cluster.worker(Mine("w", master="foo"))
    client = cluster.client()
    jobs = {name: client.job(f"foo.{name}", [1], errors="return") for name in NOT_SERVED}
    for name, job in jobs.items():
        (error,) = job
        assert isinstance(error, FunctionNotFound), name
    assert client.eval("foo.double", 1) == 2
    assert served.error is None


def test_a_function_that_nobody_serves_names_the_nearest(cluster: ThreadCluster) -> None:
    cluster.master()
    cluster.worker(Mine("w", master="foo"))
    with pytest.raises(FunctionNotFound, match="double"):
        cluster.client().eval("foo.duoble", 1)


def test_groups_serve_different_functions(cluster: ThreadCluster) -> None:
    cluster.master()
    where: dict[str, set[str]] = {"a": set(), "b": set()}

    def note(name: str) -> Callable[[int], str]:
        def function(value: int) -> str:
            where[name].add(threading.current_thread().name)
            return name

        return function

    for name in ("a", "b"):
        for replica in range(2):
            cluster.worker({name: note(name), "both": identity}, f"{name}-{replica}")
    client = cluster.client()
    jobs = {name: client.job(f"foo.{name}", range(500)) for name in ("a", "b")}
    both = client.job("foo.both", range(500))
    for name, job in jobs.items():
        assert set(job) == {name}
        assert where[name] <= {f"test-{name}-0", f"test-{name}-1"}
    assert sorted(both) == list(range(500))


def test_a_worker_that_serves_a_function_later_gets_its_messages(cluster: ThreadCluster) -> None:
    cluster.master()
    cluster.worker({"other": identity}, "w0")
    job = cluster.client().job("foo.identity", range(10), ordered=True)
    cluster.worker({"identity": identity}, "w1")
    assert list(job) == list(range(10))


def test_a_worker_without_functions_is_refused(cluster: ThreadCluster) -> None:
    cluster.master()
    for worker in (Worker("w", master="foo"), Worker("w", master="foo", functions={})):
        with pytest.raises(ConfigError, match="nothing to serve"):
            worker.start()


@pytest.mark.parametrize("functions", [{"_f": print}, {"a b": print}, {"f": 3}])
def test_what_cannot_be_served_is_refused(palm_home: Any, functions: Any) -> None:
    with pytest.raises(ConfigError):
        Worker("w", master="foo", functions=functions)


@pytest.mark.parametrize(
    "options", [{"messages": 0}, {"messages": -1}, {"executor": 3}, {"slots": 2}]
)
def test_other_options_that_cannot_be_are_refused(palm_home: Any, options: Any) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Worker("w", master="foo", functions={"f": print}, **options)


def test_a_worker_without_a_name_gets_one(cluster: ThreadCluster) -> None:
    cluster.master()
    names = {
        cluster.worker(Worker(master="foo", functions={"identity": identity})).component.name
        for _ in range(2)
    }
    assert len(names) == 2
    assert cluster.client().job("foo.identity", [1]).to_frame()["worker"][0] in names


def test_workers_may_share_a_name(cluster: ThreadCluster) -> None:
    cluster.master()
    for _ in range(2):
        cluster.worker({"identity": identity}, "w")
    assert len(cluster.client().job("foo.identity", range(1000)).to_frame()) == 1000


# What it survives


class BrokenTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Local(Exception):  # noqa: N818 - an error as a result
    """Cannot be made again from its arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("lost")
        self.sum = first + second


def recurse(value: int) -> int:
    return recur(value)


def recur(value: int) -> int:
    return recurse(value)


def raise_(error: BaseException) -> Any:
    raise error


CASES: dict[str, tuple[Callable[..., Any], str, str]] = {
    "no argument": (lambda: 1, "TypeError", "takes 0 positional arguments but 1 was given"),
    "two arguments": (lambda a, b: 1, "TypeError", "missing 1 required positional argument"),
    "exit": (lambda v: sys.exit("gone"), "SystemExit", "gone"),
    "generator exit": (lambda v: raise_(GeneratorExit()), "GeneratorExit", ""),
    "stop iteration": (lambda v: raise_(StopIteration(3)), "StopIteration", "3"),
    "unpicklable": (lambda v: threading.Lock(), "TypeError", "its result cannot be sent"),
    "frame": (lambda v: sys._getframe(), "TypeError", "cannot pickle 'frame' object"),
    "recursion": (recurse, "RecursionError", "maximum recursion depth"),
    "no text": (lambda v: raise_(BrokenTextError()), "BrokenTextError", "cannot be shown"),
    "long text": (lambda v: raise_(ValueError("x" * 10_000_000)), "ValueError", "left out"),
    "surrogate": (lambda v: raise_(ValueError("\udcff")), "ValueError", "\\udcff"),
    "group": (
        lambda v: raise_(ExceptionGroup("many", [ValueError("one"), KeyError("two")])),
        "ExceptionGroup",
        "many (2 sub-exceptions)",
    ),
    "unreadable": (lambda v: Local(1, 2), "TypeError", "its result cannot be read here"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_worker_survives(foo: Serve, case: str) -> None:
    call, kind, text = CASES[case]

    def function(value: int) -> Any:
        return call(value) if value == 1 else value

    if case in ("no argument", "two arguments"):
        function = call
    function.__name__ = "function"
    client = foo(function, identity)
    with pytest.raises(TaskError) as caught:
        client.eval("foo.function", 1)
    error = caught.value
    assert error.type == kind
    assert text in error.text
    assert max(len(error.text), len(error.traceback)) <= MAX_TEXT + 100
    assert str(error)
    assert (error.worker, error.attempts) == ("w", 1)
    assert client.eval("foo.identity", 2) == 2
    if function is not call:
        results = list(client.job("foo.function", [0, 1, 2], ordered=True, errors="return"))
        assert results[::2] == [0, 2]
        assert isinstance(results[1], TaskError)


def test_an_error_that_is_returned_is_a_result(foo: Serve) -> None:
    def error(value: int) -> Exception:
        return ValueError(value)

    client = foo(error)
    result = client.eval("foo.error", 3)
    assert type(result) is ValueError
    assert result.args == (3,)
    frame = client.job("foo.error", [3]).to_frame()
    assert frame["error"].isna().all()


def test_a_function_that_changes_its_payload_changes_nothing_else(foo: Serve) -> None:
    def grow(value: list[int]) -> list[int]:
        value.append(1)
        return value

    given: list[int] = []
    assert list(foo(grow).job("foo.grow", [given] * 3)) == [[1]] * 3
    assert given == []


# Values


def test_a_function_uses_shared_values(cluster: ThreadCluster) -> None:
    class Sharing(Worker):
        def remember(self, value: Any) -> Any:
            return self.set(value)

        def recall(self, key: str) -> Any:
            return self.get(key, "nothing")

        def forget(self, key: str) -> bool:
            return self.delete(key)

        def count(self, value: int) -> int:
            self.set((self.get("count") or 0) + value, "count")
            return int(self.get("count"))

    cluster.master()
    cluster.worker(Sharing("w", master="foo"))
    client = cluster.client()
    key = client.eval("foo.remember", (1, {2}))
    assert client.get(key) == (1, {2})
    assert client.eval("foo.recall", key) == (1, {2})
    assert client.eval("foo.forget", key) is True
    assert client.eval("foo.forget", key) is False
    assert client.eval("foo.recall", key) == "nothing"
    assert list(client.job("foo.count", [1] * 50, ordered=True)) == list(range(1, 51))


def test_a_worker_that_does_not_run_has_no_values(palm_home: Any) -> None:
    worker = Worker("w", master="foo", functions={"f": print})
    for call in (lambda: worker.set(1), lambda: worker.get("k"), lambda: worker.delete("k")):
        with pytest.raises(PalmError, match="does not run"):
            call()


def test_a_function_that_waits_for_a_value_ends_with_its_worker(cluster: ThreadCluster) -> None:
    master = cluster.master()
    begun, go_on = threading.Event(), threading.Event()
    errors: list[PalmError] = []

    class Waiting(Worker):
        def wait(self, value: Any) -> None:
            begun.set()
            assert go_on.wait(20)
            try:
                self.get("key")
            except PalmError as error:
                errors.append(error)

    served = cluster.worker(Waiting("w", master="foo"))
    cluster.client().job("foo.wait", [1])
    assert begun.wait(20)
    master.stop(grace=0.0)
    go_on.set()
    until(lambda: served.component._values._open)  # type: ignore[attr-defined]
    served.stop(grace=0.1)
    assert ["stopped before its master answered" in str(error) for error in errors] == [True]


def test_functions_that_no_greeting_can_carry_are_an_error(cluster: ThreadCluster) -> None:
    cluster.master()
    functions = {"f" * length: identity for length in range(9_000, 9_040)}
    # Not through the cluster, which looks whether it is open: it may have failed by then.
    served = Served(Worker("w", master="foo", functions=functions))
    served.join(20)
    assert isinstance(served.error, ProtocolError)
    assert "greeting" in str(served.error)


# For whom


def open_worker(**options: Any) -> Worker:
    return Worker(options.pop("name", "w"), functions={"f": identity}, **options)


@pytest.mark.parametrize("option", ["master", "db_address"])
def test_its_master_is_given_by_name(cluster: ThreadCluster, option: str) -> None:
    cluster.master("foo")
    cluster.master("bar")
    cluster.worker(open_worker(**{option: "bar"}))
    assert cluster.client("bar").eval("bar.f", 1) == 1


@pytest.mark.parametrize("option", ["master", "db_address", "push_address", "pull_address"])
def test_its_master_is_given_by_address(cluster: ThreadCluster, option: str) -> None:
    cluster.master("bar")
    foo = cluster.master("foo", db_address="tcp://127.0.0.1:0").component
    cluster.worker(open_worker(**{option: foo.endpoints["db"]}))
    assert cluster.client("foo").eval("foo.f", 1) == 1


def test_its_master_is_that_of_the_environment(
    cluster: ThreadCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("foo", "bar", "w"):
        cluster.master(name)
    monkeypatch.setenv("PALM_MASTER", "bar")
    cluster.worker(open_worker(name="w-0"))
    assert cluster.client("bar").eval("bar.f", 1) == 1


def test_an_option_beats_the_environment(
    cluster: ThreadCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.master("foo")
    monkeypatch.setenv("PALM_MASTER", "bar")
    cluster.worker(open_worker(master="foo"))
    assert cluster.client("foo").eval("foo.f", 1) == 1


def test_its_master_is_that_of_its_own_name(cluster: ThreadCluster) -> None:
    cluster.master("foo")
    cluster.master("bar")
    client = cluster.client("bar")
    cluster.serve(open_worker(name="bar"))
    assert client.eval("bar.f", 1, timeout=10) == 1


def test_a_worker_of_its_masters_name_does_not_hide_it(
    cluster: ThreadCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.master("bar")
    worker = open_worker(name="bar", master="bar")
    cluster.serve(worker)
    until(lambda: "cannot be listed" in caplog.text)
    with cluster.client("bar", connect_timeout=1.0) as client:
        assert client.eval("bar.f", 1, timeout=2) == 1


def test_its_master_is_the_only_one(cluster: ThreadCluster) -> None:
    cluster.master("foo")
    cluster.worker(open_worker())
    assert cluster.client("foo").eval("foo.f", 1) == 1


def test_without_a_master_it_says_which_run(cluster: ThreadCluster) -> None:
    with pytest.raises(ConfigError, match="masters that run: none"):
        open_worker().start()
    for name in ("foo", "bar"):
        cluster.master(name)
    with pytest.raises(ConfigError, match="masters that run: bar, foo") as caught:
        open_worker().start()
    assert caught.value.key == "master"


# Its end


def test_it_stops_after_so_many_messages(cluster: ThreadCluster) -> None:
    cluster.master()
    limited = cluster.worker({"identity": identity}, "limited", messages=10)
    job = cluster.client().job("foo.identity", range(100))
    limited.join()
    until(lambda: job.progress.done == 10)
    cluster.worker({"identity": identity}, "other")
    frame = job.to_frame()
    assert frame["worker"].value_counts().to_dict() == {"other": 90, "limited": 10}


def test_it_ends_what_it_does_before_it_stops(cluster: ThreadCluster) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(value: int) -> int:
        begun.set()
        assert go_on.wait(10)
        return value

    cluster.master()
    served = cluster.worker({"slow": slow}, "w0")
    job = cluster.client().job("foo.slow", range(4))
    assert begun.wait(10)
    served.component.stop(10.0)
    go_on.set()
    served.join()
    assert 1 <= job.progress.done <= 3
    cluster.worker({"slow": identity}, "w1")
    frame = job.to_frame()
    assert frame["result"].tolist() == list(range(4))
    assert set(frame["attempts"]) == {1}
    assert frame["worker"].iloc[0] == "w0"


def test_it_starts_once_only(cluster: ThreadCluster) -> None:
    cluster.master()
    served = cluster.worker({"identity": identity}, "w")
    served.stop()
    with pytest.raises(PalmError, match="make a new one"):
        served.component.start()


def test_its_coming_and_going_is_in_the_log_of_its_master(
    cluster: ThreadCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cluster.master()
    cluster.worker({"f": identity, "g": identity}, "w").stop()
    until(lambda: "worker w left" in caplog.text)
    assert "worker w joined, serves f, g" in caplog.text


def test_quick_results_do_not_wait_for_a_slow_message_of_their_lease(
    cluster: ThreadCluster,
) -> None:
    go_on = threading.Event()

    def sometimes_slow(value: int) -> int:
        if value == 200:
            assert go_on.wait(20)
        return value

    cluster.master()
    cluster.worker({"sometimes_slow": sometimes_slow})
    job = cluster.client().job("foo.sometimes_slow", range(1000))
    try:
        assert sorted(next(job) for _ in range(200)) == list(range(200))
    finally:
        go_on.set()
    assert sorted(job) == list(range(200, 1000))


def test_worker_says_the_address_that_it_uses_of_those_that_its_master_has(
    cluster: ThreadCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cluster.master(pull_address="tcp://127.0.0.1:0")
    record = read_record(cluster.folders, "foo")
    assert record is not None
    by_tcp, by_ipc = record.endpoints["pull"], record.endpoints["ipc"]
    cluster.worker({"identity": identity}, "near")
    cluster.worker({"identity": identity}, "far", master=by_tcp)
    for name, address in (("near", by_ipc), ("far", by_tcp)):
        said = [each.getMessage() for each in caplog.records if each.name == name]
        assert said == [f"Got worker {way} address: {address}" for way in ("push", "pull")]
