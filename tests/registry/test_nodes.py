"""Nodes: reports, answers in time, silence."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import Heartbeat
from palm_registry.watch import Nodes
from tests.support.registry import RegistryThread, Runner, spec, status_of

pytestmark = pytest.mark.both_databases


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palm_registry.watch.LOST_AFTER", 0.3)


def wait_for(check: Any, what: str) -> None:
    end = time.monotonic() + 10
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def kinds(client: RegistryClient) -> list[str]:
    return [event.kind for event in client.events("c")[0]]


def test_a_runner_that_waits_hears_of_a_change_at_once(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("warm"))
    runner.beat()
    took = []
    for number in range(5):
        asked = threading.Event()
        answered: list[float] = []

        def ask(asked: threading.Event = asked, answered: list[float] = answered) -> None:
            asked.set()
            runner.beat(wait=10.0)
            answered.append(time.monotonic())

        thread = threading.Thread(target=ask)
        thread.start()
        asked.wait()
        time.sleep(0.1)  # the question has to be there before the change
        assert not answered
        client.declare("c", spec(f"a{number}"))
        done = time.monotonic()
        thread.join()
        took.append(answered[0] - done)
    assert min(took) < 0.02
    assert len(runner.beat().components) == 6


def test_without_a_change_the_answer_comes_when_its_time_is_over(runner: Runner) -> None:
    runner.beat()
    began = time.monotonic()
    answer = runner.beat(wait=0.3)
    assert 0.25 < time.monotonic() - began < 2.0
    assert answer.generation == runner.generation


def test_a_report_is_stored_before_it_is_answered(
    client: RegistryClient, registry: RegistryThread, runner: Runner
) -> None:
    client.declare("c", spec("a"))
    answer = runner.beat()
    status = status_of(
        answer.components[0].spec, pid=7, functions=["f"], endpoints={"db": "tcp://x:1"}
    )
    runner.beat(status)
    registry.stop()
    registry.start()
    replica = client.component("c", "a").replicas[0]
    assert (replica.pid, replica.functions, replica.endpoints) == (7, ["f"], {"db": "tcp://x:1"})
    assert replica.node == "here"
    assert client.cluster_status("c").ready
    assert runner.beat().components == answer.components  # the session is good after a restart


def test_a_full_report_is_all_there_is(client: RegistryClient, runner: Runner) -> None:
    client.declare("c", spec("w", role="worker", replicas=2))
    answer = runner.run_all()
    first = runner.statuses(answer)[0]
    runner.beat(first, full=True)
    assert [r.name for r in client.component("c", "w").replicas] == ["w-0"]
    assert client.cluster_status("c").missing[0].why == "was never started"


def test_what_happens_to_a_process_is_an_event(client: RegistryClient, runner: Runner) -> None:
    client.declare("c", spec("a"))
    declared = runner.beat().components[0].spec
    runner.beat(status_of(declared, state="starting"))
    runner.beat(status_of(declared, state="ready", pid=5))
    runner.beat(status_of(declared, state="ready", pid=5))
    runner.beat(status_of(declared, state="failed", exit=-9, reason="was killed by SIGKILL"))
    events = [e for e in client.events("c")[0] if e.replica == 0]
    assert [e.kind for e in events] == ["component.starting", "component.ready", "component.exited"]
    assert events[-1].text == "a was killed by SIGKILL"
    assert (events[-1].data["exit"], events[-1].node) == (-9, "here")
    assert [e.seq for e in events] == sorted({e.seq for e in events})


def test_only_the_latest_runner_is_the_node(client: RegistryClient, runner: Runner) -> None:
    client.declare("c", spec("a"))
    first = runner.run_all()
    other = Runner(client, "c").join()
    with pytest.raises(Refused) as caught:
        runner.beat()
    assert (caught.value.status, caught.value.code) == (409, "replaced")
    assert other.beat().components == first.components
    with pytest.raises(Refused):
        client.heartbeat("c", "here", Heartbeat(session=""))


def test_a_runner_that_waits_is_told_when_another_takes_its_place(
    client: RegistryClient, runner: Runner
) -> None:
    runner.beat()
    caught: list[str] = []

    def ask() -> None:
        try:
            runner.beat(wait=10.0)
        except Refused as error:
            caught.append(error.code)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.1)
    Runner(client, "c").join()
    thread.join(5)
    assert caught == ["replaced"]


def test_a_node_that_left_is_gone_and_one_nobody_knows_joins_again(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("a"))
    runner.run_all()
    client.leave("c", "here")
    assert client.nodes("c") == []
    assert client.cluster_status("c").missing[0].why == "no node has joined"
    with pytest.raises(Refused) as caught:
        runner.beat()
    assert caught.value.status == 410
    with pytest.raises(Refused) as caught:
        client.heartbeat("c", "elsewhere", Heartbeat(session="x"))
    assert caught.value.status == 404
    assert runner.join().run_all().components
    assert client.cluster_status("c").ready


@pytest.mark.usefixtures("impatient")
def test_a_silent_node_is_lost_and_found_again(client: RegistryClient, runner: Runner) -> None:
    client.declare("c", spec("a"))
    runner.run_all()
    wait_for(lambda: not client.cluster_status("c").ready, "the node was not lost")
    status = client.cluster_status("c")
    assert status.missing[0].why == "unknown: it is on node here, which is lost"
    assert not status.nodes[0].alive
    event = client.events("c")[0][-1]
    assert (event.kind, event.node, event.data) == ("node.lost", "here", {"replicas": ["a"]})
    runner.beat()
    assert client.cluster_status("c").ready
    assert kinds(client)[-1] == "node.back"


@pytest.mark.usefixtures("impatient")
def test_a_node_that_waits_for_an_answer_is_there(client: RegistryClient, runner: Runner) -> None:
    runner.beat()
    runner.beat(wait=1.0)
    assert "node.lost" not in kinds(client)
    assert client.nodes("c")[0].alive


@pytest.mark.usefixtures("impatient")
def test_a_runner_that_dies_while_it_waits_is_missed(
    client: RegistryClient, registry: RegistryThread, runner: Runner
) -> None:
    generation = runner.beat().generation
    body = f'{{"session":"{runner.session}","known_generation":{generation},"wait":60}}'
    host, port = registry.url.removeprefix("http://").strip("/").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(
            f"POST /api/clusters/c/nodes/here/heartbeat HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: Bearer {registry.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        time.sleep(0.6)
        assert "node.lost" not in kinds(client)
    wait_for(lambda: "node.lost" in kinds(client), "its end was not noticed")


@pytest.mark.usefixtures("impatient")
def test_a_lost_node_keeps_its_replicas_until_it_is_forgotten(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("a"))
    runner.run_all()
    wait_for(lambda: "node.lost" in kinds(client), "the node was not lost")
    other = Runner(client, "c", "other").join()
    assert other.beat().components == []  # it may well run there still
    client.cluster_reset("c")
    assert [a.numbers for a in other.beat().components] == [[0]]
    with pytest.raises(Refused) as caught:
        runner.beat()
    assert caught.value.status == 410


def test_two_nodes_share_the_replicas(client: RegistryClient, runner: Runner) -> None:
    other = Runner(client, "c", "other").join()
    client.declare("c", spec("w", role="worker", replicas=4))
    mine, theirs = runner.beat().components[0].numbers, other.beat().components[0].numbers
    assert sorted(mine + theirs) == [0, 1, 2, 3]
    assert len(mine) == 2


def test_ending_does_not_wait_for_those_who_wait(
    client: RegistryClient, registry: RegistryThread, runner: Runner
) -> None:
    generation = runner.beat().generation
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(runner.beat(wait=30.0)))
    thread.start()
    time.sleep(0.1)
    began = time.monotonic()
    registry.stop()
    thread.join(5)
    assert time.monotonic() - began < 3
    assert answers[0].generation == generation


def test_an_earlier_runners_question_that_ends_late_does_not_count() -> None:
    nodes = Nodes()
    nodes.begin("c", "n", now=0.0)
    nodes.expect("c", "n", now=1.0)
    nodes.begin("c", "n", now=2.0)
    nodes.end("c", "n", now=3.0)
    assert nodes.silent(now=100.0) == []
    nodes.end("c", "n", now=100.0)
    assert nodes.silent(now=104.0) == []
    assert nodes.silent(now=106.0) == [("c", "n")]
    nodes.lose("c", "n", now=106.0)
    assert nodes.silent(now=200.0) == []
    nodes.begin("c", "n", now=300.0)
    assert nodes.back("c", "n")
    assert not nodes.back("c", "n")
