"""A client: single calls, shared values, its connection and its end."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from palm.clients import Client
from palm.errors import (
    ConfigError,
    ConnectTimeout,
    DeadlineExceeded,
    FunctionNotFound,
    JobError,
    PalmError,
    PayloadTooLarge,
    TaskError,
)
from palm.protocol.effects import Fail
from palm.runtime import shared
from tests.support.cluster import ThreadCluster, interrupted, is_waited_for, until

Serve = Callable[..., Client]


def identity(value: Any) -> Any:
    return value


def palm_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name in ("palm-client", "palm-feeder")]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Closed until the test opens it, or is over."""
    event = threading.Event()
    yield event
    event.set()


def waiting(gate: threading.Event) -> Callable[[Any], Any]:
    def wait(value: Any) -> Any:
        assert gate.wait(20)
        return value

    return wait


# Single calls


def test_eval_returns_the_result(foo: Serve) -> None:
    client = foo(identity)
    for value in (None, 1, b"raw", "text", (1, (2, [3])), {1: {2}}, 2**80, np.float32(1.5)):
        result = client.eval("foo.identity", value)
        assert type(result) is type(value)
        assert result == value


def test_eval_of_several_returns_a_list(foo: Serve) -> None:
    calls: list[int] = []

    def count(value: int) -> int:
        calls.append(value)
        return len(calls)

    client = foo(count)
    assert client.eval("foo.count", 5, messages=3) == [1, 2, 3]
    assert calls == [5, 5, 5]
    assert client.eval("foo.count", 5, messages=1) == 4


def test_eval_of_a_negative_number_of_messages_is_refused(foo: Serve) -> None:
    with pytest.raises(ConfigError, match="messages=-1"):
        foo(identity).eval("foo.identity", 1, messages=-1)


def test_eval_raises_what_the_function_raised(foo: Serve) -> None:
    def wrong(value: Any) -> Any:
        raise LookupError("nothing here")

    with pytest.raises(TaskError, match="LookupError: nothing here") as caught:
        foo(wrong).eval("foo.wrong", 1)
    assert "in wrong" in caught.value.traceback


def test_eval_of_what_cannot_be_pickled_fails(foo: Serve) -> None:
    with pytest.raises(JobError, match="cannot be sent"):
        foo(identity).eval("foo.identity", threading.Lock())


def test_eval_within_a_time_that_is_over_is_cancelled(foo: Serve, gate: threading.Event) -> None:
    client = foo(waiting(gate))
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"within 0\.1 s"):
        client.eval("foo.wait", 1, timeout=0.1)
    assert 0.1 <= time.monotonic() - started < 2
    assert client.jobs[-1].state == "cancelled"
    gate.set()
    assert client.eval("foo.wait", 2, timeout=10) == 2


def test_an_interrupted_eval_is_cancelled(foo: Serve, gate: threading.Event) -> None:
    client = foo(waiting(gate))
    waits = lambda: client.jobs and is_waited_for(client.jobs[-1])  # noqa: E731
    with pytest.raises(KeyboardInterrupt), interrupted(waits):
        client.eval("foo.wait", 1)
    assert client.jobs[-1].state == "cancelled"


def test_eval_finds_that_no_worker_serves_the_function(foo: Serve) -> None:
    with pytest.raises(FunctionNotFound, match="'identity'"):
        foo(identity).eval("foo.identitty", 1)


# Values


@pytest.mark.parametrize("value", [None, b"raw", (1, {2}), {"a": [1.5]}, 2**80])
def test_values_are_kept_as_they_are(foo: Serve, value: Any) -> None:
    client = foo(identity)
    assert client.set(value, "key") == "key"
    assert type(client.get("key", "default")) is type(value)
    assert client.get("key", "default") == value


def test_a_value_without_a_key_gets_one(foo: Serve) -> None:
    client = foo(identity)
    first, second = client.set(1), client.set(2)
    assert first != second
    assert (client.get(first), client.get(second)) == (1, 2)


def test_a_key_that_is_missing_has_the_default(foo: Serve) -> None:
    client = foo(identity)
    assert client.get("missing") is None
    assert client.get("missing", 3) == 3


def test_deleting_says_whether_it_was_there(foo: Serve) -> None:
    client = foo(identity)
    client.set(1, "key")
    assert client.delete("key") is True
    assert client.delete("key") is False
    assert client.get("key") is None


def test_a_session_keeps_its_values_apart(cluster: ThreadCluster) -> None:
    cluster.master()
    one, two, none = (cluster.client(session=session) for session in ("one", "two", None))
    assert one.set(1, "key") == "key"
    two.set(2, "key")
    assert (one.get("key"), two.get("key"), none.get("key")) == (1, 2, None)
    assert none.get("one/key") == 1
    assert one.delete("key")
    assert two.get("key") == 2
    own = two.set(5)
    assert two.get(own) == 5
    assert one.get(own) is None


def test_a_value_that_cannot_be_pickled_is_refused(foo: Serve) -> None:
    client = foo(identity)
    with pytest.raises(TypeError, match="lock"):
        client.set(threading.Lock(), "key")
    assert client.get("key") is None


def test_a_value_that_no_message_can_carry_is_refused(
    foo: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = foo(identity)
    monkeypatch.setattr(shared, "MAX_PAYLOAD", 100)
    with pytest.raises(PayloadTooLarge, match="101 bytes") as caught:
        client.set(bytes(101), "key")
    assert caught.value.limit == 100
    client.set(bytes(100), "key")
    assert client.get("key") == bytes(100)


def test_a_large_value_is_kept(foo: Serve) -> None:
    client = foo(identity)
    value = np.arange(1_000_000)
    client.set(value, "array")
    assert np.array_equal(client.get("array"), value)


def test_values_reach_workers_and_the_master(cluster: ThreadCluster) -> None:
    served = cluster.master()
    worker = cluster.worker({"identity": identity}, "w").component
    client = cluster.client()
    client.set((1, 2), "key")
    assert served.component.cache["key"] == (1, 2)  # type: ignore[attr-defined]
    assert worker.get("key") == (1, 2)  # type: ignore[attr-defined]


# Its connection


def test_a_client_without_a_master_is_made_at_once(cluster: ThreadCluster) -> None:
    started = time.monotonic()
    cluster.client("nobody")
    assert time.monotonic() - started < 0.5


def test_a_job_begins_when_its_master_does(cluster: ThreadCluster) -> None:
    job = cluster.client().job("foo.identity", range(100), ordered=True)
    assert job.state == "running"
    cluster.master()
    cluster.worker({"identity": identity})
    assert list(job) == list(range(100))


def test_nobody_of_the_name_is_said_after_a_while_and_then_fails(
    cluster: ThreadCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.master("foo")
    cluster.worker({"identity": identity}, "w")
    client = cluster.client("fooo", connect_timeout=2.5)
    started = time.monotonic()
    job = client.job("fooo.identity", [1])

    def said() -> bool:
        return "'fooo' does not run (running: foo); waiting" in caplog.text

    checker = threading.Thread(target=lambda: until(said, within=5))
    checker.start()
    with pytest.raises(ConnectTimeout, match=r"'fooo' does not run \(running: foo\)") as caught:
        job.to_frame()
    checker.join()
    assert said()
    assert 2.5 <= time.monotonic() - started < 4.5
    assert (caught.value.name, caught.value.known) == ("fooo", ("foo",))
    assert job.state == "failed"
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1


def test_the_notice_comes_after_two_seconds(
    cluster: ThreadCluster, caplog: pytest.LogCaptureFixture
) -> None:
    client = cluster.client("fooo")
    started = time.monotonic()
    times: list[float] = []

    class Clock(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            times.append(time.monotonic() - started)

    clock = Clock(logging.WARNING)
    logging.getLogger("palm").addHandler(clock)
    try:
        assert not client.job("fooo.f", [1]).wait(2.4)
    finally:
        logging.getLogger("palm").removeHandler(clock)
    assert len(times) == 1
    assert 1.9 <= times[0] <= 2.4
    assert "(running: nothing)" in caplog.text


def test_values_wait_for_the_master_no_longer_than_the_timeout(cluster: ThreadCluster) -> None:
    client = cluster.client("nobody", connect_timeout=0.2)
    for call in (lambda: client.set(1), lambda: client.get("k"), lambda: client.delete("k")):
        with pytest.raises(ConnectTimeout):
            call()


def test_a_value_goes_on_waiting_when_a_job_fails(cluster: ThreadCluster) -> None:
    client = cluster.client()
    job, failed = client.job("foo.identity", [1]), PalmError("this job only")
    with ThreadPoolExecutor(1) as pool:
        value = pool.submit(client.get, "key", "default")
        until(lambda: client._values._open)
        client._running.fail(Fail(job.key, failed))
        cluster.master()
        assert value.result(20) == "default"
    with pytest.raises(PalmError, match="this job only"):
        list(job)


def test_values_asked_for_when_nobody_answers_any_more_fail(cluster: ThreadCluster) -> None:
    cluster.master()
    client = cluster.client()
    assert client.get("key") is None
    client._running.fail(Fail(None, PalmError("the thread ended")))
    for call in (lambda: client.set(1), lambda: client.get("k"), lambda: client.delete("k")):
        with pytest.raises(PalmError, match="the thread ended"):
            call()


def test_a_job_after_a_timeout_may_succeed(cluster: ThreadCluster) -> None:
    client = cluster.client(connect_timeout=0.2)
    with pytest.raises(ConnectTimeout):
        client.eval("foo.identity", 1)
    cluster.master()
    cluster.worker({"identity": identity})
    assert client.eval("foo.identity", 2) == 2


def test_an_address_decides_whatever_the_name(
    cluster: ThreadCluster, caplog: pytest.LogCaptureFixture
) -> None:
    master = cluster.master("foo", pull_address="tcp://127.0.0.1:0").component
    cluster.worker({"identity": identity})
    client = cluster.client("test", master.endpoints["pull"])
    assert client.eval("test.identity", 1) == 1
    assert client.eval("foo.identity", 2) == 2
    assert client.eval("identity", 3) == 3
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == [
        "the master at this address is called 'foo', not 'test'; the address decides"
    ]


def test_a_function_of_another_master_is_not_found(foo: Serve) -> None:
    with pytest.raises(FunctionNotFound, match=r"bar\.identity"):
        foo(identity).eval("bar.identity", 1)


@pytest.mark.parametrize("name", ["", "two words", "a/b", "x" * 65, "foo.bar"])
def test_a_name_that_cannot_be_is_refused(palm_home: Any, name: str) -> None:
    with pytest.raises(ConfigError):
        Client(name)
    assert palm_threads() == []


@pytest.mark.parametrize("address", ["http://x", "tcp://nowhere", "tcp://*:1x"])
def test_an_address_that_cannot_be_is_refused(palm_home: Any, address: str) -> None:
    with pytest.raises(ConfigError):
        Client("foo", address)


def test_keeping_jobs_at_an_interrupt_is_not_there_yet(palm_home: Any) -> None:
    with pytest.raises(ConfigError, match="on_interrupt"):
        Client("foo", on_interrupt="keep")


# What it knows


def test_the_last_jobs_are_remembered(foo: Serve) -> None:
    client = foo(identity)
    assert client.jobs == []
    jobs = [client.job("foo.identity", [n]) for n in range(20)]
    assert client.jobs == jobs[-16:]
    client.jobs.clear()
    assert len(client.jobs) == 16
    for job in jobs:
        job.collect()


def test_a_client_says_of_whom_it_is(foo: Serve) -> None:
    client = foo(identity)
    assert repr(client) == "<Client of 'foo'>"
    assert client.server_name == "foo"
    assert len(client.uuid) == 36


# Its end


def test_leaving_its_block_closes_it(foo: Serve) -> None:
    with foo(identity) as client:
        assert client.eval("foo.identity", 1) == 1
        assert palm_threads() == ["palm-client"]
    assert palm_threads() == []
    client.close()
    with pytest.raises(PalmError, match="closed"):
        client.job("foo.identity", [1])
    with pytest.raises(PalmError, match="closed"):
        client.eval("foo.identity", 1)
    for call in (lambda: client.set(1), lambda: client.get("k"), lambda: client.delete("k")):
        with pytest.raises(PalmError, match="closed"):
            call()


def test_cleaning_is_closing(foo: Serve) -> None:
    client = foo(identity)
    client.clean()
    with pytest.raises(PalmError, match="closed"):
        client.eval("foo.identity", 1)


def test_closing_cancels_what_runs(foo: Serve, gate: threading.Event) -> None:
    client = foo(waiting(gate))
    running = client.job("foo.wait", iter(int, 1))
    done = client.job("foo.wait", [])
    done.collect()
    client.close()
    assert running.state == "cancelled"
    assert done.state == "done"
    assert list(running) == []
    assert palm_threads() == []


def test_closing_ends_a_wait_for_results(foo: Serve, gate: threading.Event) -> None:
    client = foo(waiting(gate))
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(client.job("foo.wait", [1]).collect)
        client.close()
        assert waits.result(5).state == "cancelled"


def test_closing_ends_a_single_call(foo: Serve, gate: threading.Event) -> None:
    client = foo(waiting(gate))
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(client.eval, "foo.wait", 1)
        until(lambda: client.jobs)
        client.close()
        with pytest.raises(PalmError):
            waits.result(5)


def test_closing_ends_a_wait_for_a_value(cluster: ThreadCluster) -> None:
    client = cluster.client("nobody")
    outcome: list[BaseException] = []

    def ask() -> None:
        try:
            client.get("key")
        except PalmError as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    until(lambda: client._values._open)
    client.close()
    thread.join(1)
    ended = not thread.is_alive()
    client._values.close(PalmError("the test is over"))
    thread.join()
    assert ended
    assert outcome


def test_a_client_that_nobody_holds_is_closed(cluster: ThreadCluster) -> None:
    cluster.master()
    cluster.worker({"identity": identity})
    client = Client("foo")
    client.eval("foo.identity", 1)
    list(client.job("foo.identity", range(10)))
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
    until(lambda: palm_threads() == [])


def test_a_temporary_client_lives_as_long_as_its_job(cluster: ThreadCluster) -> None:
    cluster.master()
    cluster.worker({"identity": identity})
    result = Client("foo").job("foo.identity", range(10_000)).to_frame()
    assert result["result"].tolist() == list(range(10_000))
    assert sorted(Client("foo").job("foo.identity", iter(range(3000)))) == list(range(3000))
    gc.collect()
    until(lambda: palm_threads() == [])


def test_a_client_that_is_dropped_while_a_job_runs_ends_with_it(
    cluster: ThreadCluster, gate: threading.Event
) -> None:
    cluster.master()
    cluster.worker({"wait": waiting(gate)})
    job = Client("foo").job("foo.wait", range(100))
    del job
    gc.collect()
    gate.set()

    def gone() -> bool:
        gc.collect()
        return palm_threads() == []

    until(gone)


def test_a_job_that_nobody_holds_goes_on_to_its_end(cluster: ThreadCluster) -> None:
    done: list[int] = []
    cluster.master()
    cluster.worker({"note": done.append})
    Client("foo").job("foo.note", range(3000))
    until(lambda: (gc.collect(), len(done))[1] == 3000)
    until(lambda: (gc.collect(), palm_threads())[1] == [])
    assert sorted(done) == list(range(3000))


def test_many_clients_come_and_go(cluster: ThreadCluster) -> None:
    cluster.master()
    cluster.worker({"identity": identity})
    for number in range(20):
        with Client("foo") as client:
            assert client.eval("foo.identity", number) == number
    assert palm_threads() == []


def test_under_ipython_a_client_says_nothing(
    foo: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=object))
    caplog.set_level(logging.INFO)
    client = foo(identity)
    assert client.eval("foo.identity", 1) == 1
    assert [r for r in caplog.records if r.name == "palm.client"] == []
    assert "".join(capsys.readouterr()) == ""
