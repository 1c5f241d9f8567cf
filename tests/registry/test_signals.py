"""A signal for a component is told to its runners, once they have said nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import Assignments, SignalDone, SignalRequest
from palm_registry.service import signalling
from tests.support.nodes import eventually
from tests.support.registry import RegistryThread, Runner, spec, status_of

pytestmark = pytest.mark.both_databases


@pytest.fixture
def running(client: RegistryClient, runner: Runner) -> Runner:
    client.declare("c", spec("x", role="worker", replicas=2))
    answer = runner.beat()
    spec_ = answer.components[0].spec
    runner.beat(*(status_of(spec_, n, pid=100 + n) for n in range(2)), full=True)
    return runner


def told(answer: Assignments) -> list[tuple[str, str, str]]:
    return [(each.name, each.signal, each.instance) for each in answer.signals]


def texts(client: RegistryClient, kind: str) -> list[str]:
    return [event.text for event in client.events("c")[0] if event.kind == kind]


def test_signal_is_told_until_the_runner_says_what_became_of_it(
    client: RegistryClient, running: Runner
) -> None:
    sent = client.signal("c", "x", "hup")
    assert (sent.signal, sent.processes) == ("SIGHUP", ["x-0", "x-1"])
    first = running.beat()
    assert [name for name, *_ in told(first)] == ["x-0", "x-1"]
    assert told(running.beat()) == told(first)
    assert {order.id for order in first.signals} == {sent.id}
    done = [
        SignalDone(id=sent.id, name="x-0"),
        SignalDone(id=sent.id, name="x-1", sent=False, reason="it runs no more"),
    ]
    assert running.beat(signals=done).signals == []
    assert texts(client, "component.signalled") == ["SIGHUP was sent to x-0"]
    assert texts(client, "component.not-signalled") == [
        "SIGHUP was not sent to x-1: it runs no more"
    ]
    running.beat(signals=done)  # the answer was lost
    assert len(texts(client, "component.signalled")) == 1


def test_one_replica_can_be_meant(client: RegistryClient, running: Runner) -> None:
    assert client.signal("c", "x", "SIGUSR1", 1).processes == ["x-1"]
    assert [name for name, *_ in told(running.beat())] == ["x-1"]


def test_request_that_is_repeated_sends_nothing_twice(
    client: RegistryClient, running: Runner
) -> None:
    request = SignalRequest(signal="HUP", id="mine")
    for _ in range(2):
        client._call("POST", "api/clusters/c/components/x/signal", dict, request)
    orders = running.beat().signals
    assert [order.id for order in orders] == ["mine", "mine"]
    running.beat(signals=[SignalDone(id=o.id, name=o.name) for o in orders])
    client._call("POST", "api/clusters/c/components/x/signal", dict, request)
    assert running.beat().signals == []


@pytest.mark.parametrize(
    ("name", "signal", "replica", "status", "said"),
    [
        ("x", "HPU", None, 400, "did you mean HUP?"),
        ("y", "HUP", None, 404, "there is no component 'y'"),
        ("x", "HUP", 7, 409, "no process of 'x-7' runs (there is x-0, x-1)"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    client: RegistryClient, running: Runner, name: str, signal: str, replica: int, status: int,
    said: str,
) -> None:  # fmt: skip
    with pytest.raises(Refused) as caught:
        client.signal("c", name, signal, replica)
    assert caught.value.status == status
    assert said in str(caught.value)


def test_component_of_which_nothing_runs_is_refused(client: RegistryClient, runner: Runner) -> None:
    client.declare("c", spec("x"))
    with pytest.raises(Refused, match="no process of 'x' runs") as caught:
        client.signal("c", "x", "HUP")
    assert caught.value.status == 409


def test_old_signal_is_not_sent_any_more_and_that_is_said(
    client: RegistryClient, running: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signalling, "EXPIRY", 0.0)
    client.signal("c", "x", "HUP", 0)
    assert running.beat().signals == []
    said = ["SIGHUP was not sent to x-0: its runner was away"]
    assert eventually(lambda: texts(client, "component.not-signalled") == said)


def test_signal_survives_a_registry_that_is_started_again(
    palm_home: Path, database_url: str
) -> None:
    running = RegistryThread(palm_home, database=database_url).start()
    with running.client() as client:
        client.create_cluster("c")
        runner = Runner(client, "c").join()
        client.declare("c", spec("x"))
        runner.beat(status_of(runner.beat().components[0].spec, pid=7), full=True)
        sent = client.signal("c", "x", "HUP")
    running.stop()
    running = RegistryThread(palm_home, database=database_url).start()
    try:
        with running.client() as client:
            answer = Runner(client, "c").join().beat()
            assert [(order.id, order.name) for order in answer.signals] == [(sent.id, "x")]
    finally:
        running.stop()
