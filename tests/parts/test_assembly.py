"""Components that are put together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from palm.clients import Client
from palm.errors import ConfigError, TaskError
from palm.parts import WORKERS, Assembly
from palm.servers import Message, Pipeline, Server
from tests.support.cluster import ThreadCluster, until


def check(message: Message) -> Message | None:
    return message.with_payload(message.payload + b"c") if message.payload else None


def twice(message: Message) -> Iterator[Message | bytes]:
    yield message
    yield message.payload + b"2"


def test_messages_go_through_its_steps(cluster: ThreadCluster) -> None:
    cluster.serve(Assembly("own", [check, WORKERS, twice]))
    cluster.worker({"f": bytes.upper}, master="own")
    job = cluster.client("own").job("own.f", [b"a", b"", b"b"], ordered=True)
    assert list(job) == [b"AC", b"AC2", b"BC", b"BC2"]


def test_without_workers_any_function_is_its_own(cluster: ThreadCluster) -> None:
    cluster.serve(Assembly("own", [check]))
    assert cluster.client("own").eval("own.whatever", b"a") == b"ac"


def test_an_error_in_a_step_is_that_of_its_message(cluster: ThreadCluster) -> None:
    cluster.serve(Assembly("own", [check, lambda message: message.payload.missing]))
    with pytest.raises(TaskError, match="missing"):
        cluster.client("own").eval("f", b"a")
    assert cluster.client("own").eval("f", b"") is None


def test_it_stands_between_others(cluster: ThreadCluster) -> None:
    cluster.serve(Server("first", pipelined=True, functions={"f": bytes.upper}))
    route = lambda message: ("out", message)  # noqa: E731 - as a user writes it
    cluster.serve(Assembly("own", [check], previous="first", route=route))
    cluster.serve(Pipeline("last", previous="own/out", functions={"g": lambda m: m + b"!"}))
    client = cluster.client("first")
    assert list(client.job(["first.f", "own.any", "last.g"], [b"a"] * 3)) == [b"Ac!"] * 3


def test_it_listens_at_its_ports(cluster: ThreadCluster) -> None:
    served = cluster.serve(Assembly("own", [check], ports={"in": "tcp://127.0.0.1:0"}))
    address = served.component.endpoints["in"]
    assert cluster.client("own", address).eval("f", b"a") == b"ac"


def test_an_inlet_brings_messages_in(cluster: ThreadCluster) -> None:
    found: list[Any] = []

    def inlet(client: Client, stopping: threading.Event) -> None:
        found.extend(client.job("f", [b"x", b"y"], ordered=True))
        stopping.wait()
        found.append("told to stop")

    served = cluster.serve(Assembly("own", [check], inlets=[inlet]))
    until(lambda: found == [b"xc", b"yc"])
    served.stop()
    assert found[-1] == "told to stop"


@pytest.mark.parametrize("steps", [[check], [WORKERS]])
def test_an_inlet_that_fails_ends_it(cluster: ThreadCluster, steps: list[Any]) -> None:
    def inlet(client: Client, stopping: threading.Event) -> None:
        raise OSError("no such device")

    served = cluster.serve(Assembly("own", steps, inlets=[inlet]))
    served.join()
    assert isinstance(served.error, OSError)


@pytest.mark.parametrize("steps", [["nobody"], [WORKERS, WORKERS], [3]])
def test_steps_that_cannot_be_are_refused(palm_home: Any, steps: list[Any]) -> None:
    with pytest.raises(ConfigError, match="step"):
        Assembly("own", steps)
