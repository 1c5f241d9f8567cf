"""Servers, pipelines, sinks and hubs as their users know them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from itertools import count, repeat
from typing import Any

import pytest

import palm
from palm.clients import Client
from palm.clients.tap import Tap
from palm.clients.window import FIRST
from palm.errors import ConfigError, FunctionNotFound, PalmError, TaskError
from palm.runtime.records import read_record
from palm.servers import (
    Hub,
    Join,
    Master,
    Message,
    MuxWorker,
    Pipeline,
    Server,
    Sink,
    Worker,
    current_task,
)
from tests.support.cluster import Served, ThreadCluster, until


class First(Server):
    def foo(self, message: bytes) -> bytes:
        return b"first " + message

    def some(self, n: int) -> Iterator[int]:
        yield from range(n)

    def fail(self, message: bytes) -> bytes:
        raise NameError("what is this?")


class Second(Pipeline):
    def bar(self, message: bytes) -> bytes:
        return b"second " + message

    def odd(self, n: int) -> int | None:
        return n if n % 2 else None


def until_behind(first: Served, n: int) -> None:
    """Wait until so many stages are behind a component: a tee gives to those that are there."""
    publisher = first.component._driver._machine._publisher  # type: ignore[attr-defined]
    until(lambda: len(publisher._claims) == n, what=f"{n} stages are behind {first.component}")


def row(cluster: ThreadCluster) -> Client:
    cluster.serve(First("first", pipelined=True))
    cluster.serve(Second("second", previous="first"))
    return cluster.client("first")


# Servers


def test_a_server_runs_its_functions(cluster: ThreadCluster) -> None:
    cluster.serve(First("first"))
    client = cluster.client("first")
    assert client.eval("first.foo", b"hello") == b"first hello"
    assert client.eval("first.echo", {"any": (1, 2)}) == {"any": (1, 2)}


def test_an_error_of_a_function_is_one_for_its_caller(cluster: ThreadCluster) -> None:
    cluster.serve(First("first"))
    client = cluster.client("first")
    with pytest.raises(TaskError, match="what is this"):
        client.eval("first.fail", b"")
    assert client.eval("first.foo", b"") == b"first "


@pytest.mark.parametrize("name", ["start", "set", "__init__", "%scatter", "handle_stream"])
def test_what_is_no_function_cannot_be_called(cluster: ThreadCluster, name: str) -> None:
    cluster.serve(First("first", handle_stream=lambda message: ("", message)))
    client = cluster.client("first")
    with pytest.raises(FunctionNotFound):
        client.eval(f"first.{name}", b"")
    assert client.eval("first.foo", b"") == b"first "


def test_a_server_stops_after_its_messages(cluster: ThreadCluster) -> None:
    served = cluster.serve(Server("first", functions={"f": abs}, messages=3))
    assert sorted(cluster.client("first").job("first.f", [-1, -2, -3])) == [1, 2, 3]
    served.join()
    assert served.error is None


def test_a_limit_for_its_cache_limits_nothing(cluster: ThreadCluster) -> None:
    server = First("first", messages=1)
    thread = threading.Thread(target=server.start, kwargs={"cache_messages": 1})
    thread.start()
    client = cluster.client("first")
    assert [client.set(1, "a"), client.set(2, "b"), client.get("b")] == ["a", "b", 2]
    assert client.eval("first.foo", b"x") == b"first x"
    thread.join(10)
    assert not thread.is_alive()


def test_its_cache_is_that_of_its_clients(cluster: ThreadCluster) -> None:
    class Caching(Server):
        def store(self, value: int) -> str:
            return self.set(value, "key")

        def load(self, key: str) -> Any:
            return self.get(key)

    cluster.serve(Caching("first"))
    client = cluster.client("first")
    client.eval("first.store", 7)
    assert client.get("key") == 7
    client.set(8, "key")
    assert client.eval("first.load", "key") == 8


def test_a_function_knows_its_message(cluster: ThreadCluster) -> None:
    tasks = {"which": lambda value: current_task()}
    cluster.serve(Server("first", functions=tasks))
    job = cluster.client("first").job("first.which", range(5), ordered=True)
    found = list(job)
    assert [task.index for task in found] == [0, 1, 2, 3, 4]
    assert {task.attempt for task in found} == {1}
    assert len({task.id for task in found}) == 5
    with pytest.raises(PalmError, match="no message"):
        palm.current_task()


# Any number of results


def test_a_generator_has_as_many_results_as_it_yields(cluster: ThreadCluster) -> None:
    cluster.master("foo")
    cluster.worker({"some": range_of})
    job = cluster.client("foo").job("foo.some", [3, 0, 2], ordered=True)
    assert list(job) == [0, 1, 2, 0, 1]
    frame = cluster.client("foo").job("foo.some", [3, 0, 2]).to_frame()
    assert frame.index.tolist() == [0, 0, 0, 2, 2]
    assert frame["result"].tolist() == [0, 1, 2, 0, 1]


def test_so_does_what_returns_a_generator(cluster: ThreadCluster) -> None:
    cluster.serve(Server("first", functions={"some": lambda n: (1 // (3 - at) for at in range(n))}))
    job = cluster.client("first").job("first.some", [3, 0, 4, 1], ordered=True, errors="return")
    assert [getattr(each, "type", each) for each in job] == [0, 0, 1, "ZeroDivisionError", 0]


def range_of(n: int) -> Iterator[int]:
    yield from range(n)


def test_a_mux_worker_spreads_what_it_returns(cluster: ThreadCluster) -> None:
    class Spreading(MuxWorker):
        def several(self, message: bytes) -> list[bytes]:
            return [message + b"%d" % at for at in range(3)]

        def single(self, message: bytes) -> bytes:
            return message

        def fail(self, message: bytes) -> Iterable[bytes]:
            raise ValueError("no")

    cluster.master("foo")
    cluster.worker(Spreading("w", master="foo"))
    client = cluster.client("foo")
    found = list(client.job("foo.several", repeat(b"m", 2), messages=6))
    assert sorted(found) == [b"m0", b"m0", b"m1", b"m1", b"m2", b"m2"]
    assert client.eval("foo.single", b"one") == b"one"
    with pytest.raises(TaskError, match="no"):
        client.eval("foo.fail", b"")


def test_a_generator_that_raises_fails_as_a_whole(cluster: ThreadCluster) -> None:
    def broken(n: int) -> Iterator[int]:
        yield n
        raise ValueError("in the middle")

    cluster.serve(Server("first", functions={"broken": broken}))
    job = cluster.client("first").job("first.broken", [1, 2], errors="return")
    assert [type(each) for each in job] == [TaskError, TaskError]


def test_messages_end_a_job_whatever_was_sent(cluster: ThreadCluster) -> None:
    client = row(cluster)
    job = client.job(["first.echo", "second.odd"], range(100), messages=10)
    found = list(job)
    assert len(found) == 10
    assert all(n % 2 for n in found)
    assert job.state == "done"
    job = client.job(["first.some", "second.odd"], repeat(9), messages=50)
    assert len(list(job)) == 50
    assert job.state == "done"


# Pipelines


def test_results_go_through_all_stages(cluster: ThreadCluster) -> None:
    client = row(cluster)
    found = list(client.job(["first.foo", "second.bar"], repeat(b"m", 10), messages=10))
    assert found == [b"second first m"] * 10
    assert client.eval("first.foo second.bar", b"m") == b"second first m"


def test_a_slow_stage_holds_up_the_source(cluster: ThreadCluster) -> None:
    go_on = threading.Event()
    cluster.serve(First("first", pipelined=True))
    cluster.serve(Sink("last", previous=["first"], functions={"wait": lambda _: go_on.wait(60)}))
    taken = count()
    job = cluster.client("first").job(["first.echo", "last.wait"], taken)
    assert not job.wait(0.5)
    under_way = next(taken)
    assert 0 < under_way <= 4 * FIRST
    go_on.set()
    until(lambda: job.progress.done > 10 * FIRST)
    job.cancel()


def test_an_error_at_any_stage_is_one_for_its_caller(cluster: ThreadCluster) -> None:
    client = row(cluster)
    with pytest.raises(TaskError, match="what is this"):
        client.eval(["first.fail", "second.bar"], b"")
    with pytest.raises(TaskError, match="concat"):
        client.eval(["first.echo", "second.bar"], 3)


def test_none_from_a_pipeline_is_no_result(cluster: ThreadCluster) -> None:
    client = row(cluster)
    job = client.job(["first.echo", "second.odd"], range(6), ordered=True)
    assert list(job) == [1, 3, 5]
    assert client.eval(["first.echo", "second.odd"], 2) is None


@pytest.mark.parametrize("functions", ["first.foo", ["first.foo", "second.nothing"]])
def test_a_stage_that_has_no_function_says_so(cluster: ThreadCluster, functions: Any) -> None:
    with pytest.raises(FunctionNotFound, match="second"):
        row(cluster).eval(functions, b"")


def test_a_stage_without_anything_before_it_says_so(palm_home: Any) -> None:
    for component in (Pipeline("p", functions={}), Sink("s", functions={}), Hub("h")):
        with pytest.raises(ConfigError, match="before it"):
            component.start()


def test_who_waits_for_a_stage_is_told(
    cluster: ThreadCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.serve(First("first", pipelined=True))
    job = cluster.client("first").job(["first.foo", "second.bar"], [b"m"])
    until(lambda: not job.wait(0.05) and "subscriber of 'first'" in caplog.text, within=15)
    cluster.serve(Second("second", previous="first"))
    assert list(job) == [b"second first m"]


def address(cluster: ThreadCluster) -> str:
    record = read_record(cluster.folders, "first")
    assert record is not None
    return record.endpoints["ipc"]


def test_a_client_picks_the_stage_whose_results_it_gets(
    cluster: ThreadCluster, caplog: pytest.LogCaptureFixture
) -> None:
    first = cluster.serve(First("first", pipelined=True))
    for name in ("left", "right"):
        mark = name.encode()
        function = {"bar": lambda message, mark=mark: mark + b" " + message}
        cluster.serve(Pipeline(name, previous="first", functions=function))
    until_behind(first, 2)
    right = Client("first", sub_address="right")
    both = cluster.client("first")
    with right:
        assert list(right.job(["first.foo", "bar"], [b"m"])) == [b"right first m"]
    found = list(both.job(["first.foo", "bar"], [b"m"]))
    assert sorted(found) == [b"left first m", b"right first m"]
    with Client("first", sub_address="tcp://127.0.0.1:1", db_address=address(cluster)) as nobody:
        assert list(nobody.job(["first.foo", "bar"], [b"m"])) == []
    assert "no result came from tcp://127.0.0.1:1" in caplog.text


def test_topics_of_handle_stream_lead_to_their_stages(cluster: ThreadCluster) -> None:
    class Streams(First):
        def handle_stream(self, message: Message) -> tuple[str, Message]:
            n = message.payload
            return (message.client if n == 0 else ("even" if n % 2 == 0 else "odd")), message

    cluster.serve(Streams("first"))
    for topic in ("even", "odd"):
        functions = {"name": lambda n, topic=topic: f"{topic} {n}"}
        cluster.serve(Pipeline(topic, previous=f"first/{topic}", functions=functions))
    job = cluster.client("first").job(["first.echo", "name"], range(4), ordered=True)
    assert list(job) == [0, "odd 1", "even 2", "odd 3"]


# Masters and hubs with hooks


def test_scatter_and_gather_of_a_master(cluster: ThreadCluster) -> None:
    class Scattering(Master):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self.counter = 0

        def scatter(self, message: Message) -> Iterator[Message]:
            for _ in range(3):
                yield message

        def gather(self, message: Message) -> Iterator[Message]:
            self.counter += 1
            if self.counter == 30:
                message = self.change_payload(message, b"final")
            yield message

    cluster.serve(Scattering("foo"))
    cluster.worker({"f": bytes.upper})
    found = list(cluster.client("foo").job("foo.f", repeat(b"m", 10), messages=30))
    assert sorted(found) == [b"M"] * 29 + [b"final"]


def test_hooks_see_what_the_client_said(cluster: ThreadCluster) -> None:
    seen: list[Message] = []

    def look(message: Message) -> Iterator[Message]:
        seen.append(message)
        yield message

    cluster.serve(Master("foo", gather=look))
    cluster.worker({"f": bytes.upper})
    client = cluster.client("foo")
    assert client.eval("foo.f", b"m", cache="a key") == b"M"
    (message,) = seen
    assert (message.payload, message.function, message.cache) == (b"M", "foo.f", "a key")
    assert message.client.startswith("client-")
    assert (message.stage, message.attempt) == (0, 1)


def test_a_hook_that_raises_is_the_error_of_its_message(cluster: ThreadCluster) -> None:
    def scatter(message: Message) -> Iterator[Message]:
        if message.payload == b"bad":
            raise ValueError("not this one")
        yield message

    cluster.serve(Master("foo", scatter=scatter))
    cluster.worker({"f": bytes.upper})
    client = cluster.client("foo")
    with pytest.raises(TaskError, match="not this one"):
        client.eval("foo.f", b"bad")
    assert client.eval("foo.f", b"good") == b"GOOD"


def test_a_hub_in_the_middle(cluster: ThreadCluster) -> None:
    cluster.serve(First("first", pipelined=True))
    cluster.serve(Hub("hub", previous="first", pipelined=True))
    cluster.worker(Worker("w", master="hub", functions={"work": bytes.upper}))
    cluster.serve(Sink("last", previous=["hub"], functions={"end": lambda m: m + b"!"}))
    found = list(cluster.client("first").job(["first.foo", "hub.work", "last.end"], [b"m"] * 20))
    assert found == [b"FIRST M!"] * 20


# Joins


def joined(cluster: ThreadCluster, join: Join) -> Client:
    first = cluster.serve(First("first", pipelined=True))
    for side in ("left", "right"):
        functions = {
            "part": lambda n, side=side: None if (side, n) == ("right", 3) else {"id": n, side: n}
        }
        cluster.serve(Pipeline(side, previous="first", to_client=False, functions=functions))
    until_behind(first, 2)
    whole = {"whole": lambda parts: {**parts[0], **parts[1]}}
    cluster.serve(Sink("last", previous=["left", "right"], join=join, functions=whole))
    return cluster.client("first")


CHAIN = ["first.echo", ["left.part", "right.part"], "last.whole"]


def test_a_sink_joins_by_key(cluster: ThreadCluster) -> None:
    found = list(joined(cluster, Join("id")).job(CHAIN, [1, 2, 4]))
    assert sorted(each["id"] for each in found) == [1, 2, 4]
    assert all(list(each) == ["id", "left", "right"] for each in found)


def test_parts_whose_others_do_not_come_fail(cluster: ThreadCluster) -> None:
    client = joined(cluster, Join("id", within=0.3))
    found = list(client.job(CHAIN, [1, 2, 3], ordered=True, errors="return"))
    assert [type(each) for each in found] == [dict, dict, TaskError]
    assert "1 of 2 parts of 3 came within 0.3 s" in str(found[2])


def test_a_key_that_is_not_there_is_the_error_of_its_part(cluster: ThreadCluster) -> None:
    with pytest.raises(TaskError, match="number"):
        list(joined(cluster, Join("number")).job(CHAIN, [1]))


@pytest.mark.parametrize("join", [Join(3), Join("a", parts=0), Join("a", within=-1.0)])  # type: ignore[arg-type]
def test_a_join_that_cannot_be_is_refused(palm_home: Any, join: Join) -> None:
    with pytest.raises(ConfigError, match="Join"):
        Sink("last", previous=["a"], join=join)


# Taps


def test_a_tap_sees_what_passes(cluster: ThreadCluster) -> None:
    client = row(cluster)
    with Tap("first", ["first>second", "first>clients"], connect_timeout=10) as tap:
        until(lambda: tap.take(0.01) or tap._machine.link.up)
        client.eval(["first.foo", "second.bar"], b"m")
        seen = [next(tap), next(tap)]
    assert [(each.source, each.target, each.value) for each in seen] == [
        ("first", "second", b"first m"),
        ("first", "clients", b"second first m"),
    ]
