"""Many nodes of one cluster: what concerns one of them costs the others nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import ComponentStatus
from tests.support.registry import Runner, spec, status_of

pytestmark = pytest.mark.both_databases


def node(client: RegistryClient, name: str) -> Runner:
    return Runner(client, "c", name).join()


def while_waiting(runner: Runner, wait: float, what: Callable[[], object]) -> float:
    """Seconds until a runner that waits is answered, while something happens to its cluster."""
    took: list[float] = []

    def ask() -> None:
        began = time.monotonic()
        runner.beat(wait=wait)
        took.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.1)  # the question has to be there before
    what()
    thread.join()
    return took[0]


def test_runner_that_waits_is_left_alone_by_what_others_have_to_do(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("x", node="here"))
    runner.beat(wait=10.0)

    def others() -> None:
        there = node(client, "there")
        client.declare("c", spec("y", node="there"))
        there.beat(status_of(spec("y"), node="there"))

    assert while_waiting(runner, 1.0, others) > 0.8
    assert [each.spec.name for each in runner.beat().components] == ["x"]
    assert while_waiting(runner, 10.0, lambda: client.scale("c", "x", 2)) < 9.0


def test_runner_is_told_again_what_it_may_not_have_heard(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("x"))
    before = runner.generation
    heard = runner.beat(wait=10.0)
    runner.generation = before  # the answer was lost
    assert runner.beat(wait=10.0) == heard


def test_signal_reaches_a_runner_that_waits(client: RegistryClient, runner: Runner) -> None:
    client.declare("c", spec("x"))
    [assigned] = runner.beat(wait=10.0).components
    runner.beat(status_of(assigned.spec, pid=7))
    assert while_waiting(runner, 10.0, lambda: client.signal("c", "x", "HUP")) < 9.0


def test_reports_that_come_together_are_each_stored_or_refused(client: RegistryClient) -> None:
    nodes = [node(client, f"n{number:02}") for number in range(20)]
    client.declare("c", spec("x", replicas=20))
    replaced = nodes[7]
    node(client, replaced.name)
    together = threading.Barrier(len(nodes))

    def report(runner: Runner) -> str:
        here = runner.beat().components if runner is not replaced else []
        statuses = [status_of(each.spec, number) for each in here for number in each.numbers]
        together.wait()
        try:
            runner.beat(*statuses)
        except Refused as error:
            return error.code
        return "stored"

    with ThreadPoolExecutor(len(nodes)) as threads:
        outcomes = dict(zip((each.name for each in nodes), threads.map(report, nodes), strict=True))
    assert outcomes.pop("n07") == "replaced"
    assert set(outcomes.values()) == {"stored"}
    status: ComponentStatus = client.component("c", "x")
    known = {replica.name for replica in status.replicas if replica.state == "ready"}
    assert known == {spec("x", replicas=20).replica_name(n) for n in range(20) if n != 7}
