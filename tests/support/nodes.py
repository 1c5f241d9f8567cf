"""Nodes for tests: one in a thread with a registry that is none, and one with all that belongs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from palm.registry_api.client import Refused, RegistryClient, Unreachable
from palm.registry_api.schema import (
    Assignment,
    Assignments,
    ComponentSpec,
    ErrorDetail,
    Heartbeat,
    NodeJoin,
    NodeJoined,
    NodeSamples,
    OutputAck,
    OutputPiece,
    ReplicaStatus,
    Sample,
)
from palm.runner.node import Node
from palm.runner.registry import find_registry, read_registry
from palm.runtime.folders import Folders
from tests.support.registry import RegistryProcess

ROOT = str(Path(__file__).parents[2])
SOON = 20.0


def eventually(condition: Callable[[], bool], timeout: float = SOON) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def component(name: str, source: str, **more: object) -> ComponentSpec:
    """A component that runs a piece of Python."""
    values: dict[str, object] = {
        "command": [sys.executable, "-c", source],
        "env": {"PYTHONPATH": ROOT},
        "generation": 1,
    }
    return ComponentSpec(name=name, **(values | more))  # type: ignore[arg-type]


class FakeRegistry:
    """A registry of one cluster and one node, without a network."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.generation = 1
        self.wanted: list[Assignment] = []
        self.ending = self.away = False
        self.refusal: Refused | None = None
        self.sessions = 0
        self.replicas: dict[str, ReplicaStatus] = {}
        self.history: list[tuple[str, str]] = []
        self.output: dict[tuple[str, str], bytes] = {}
        self.left: list[str] = []
        self.samples: list[Sample] = []

    # What the node calls

    def join(self, key: str, node: NodeJoin) -> NodeJoined:
        self._look()
        with self.changed:
            self.sessions += 1
            return NodeJoined(id=node.name, session=str(self.sessions))

    def heartbeat(self, key: str, node: str, beat: Heartbeat) -> Assignments:
        self._look()
        with self.changed:
            if beat.session != str(self.sessions):
                raise refused(409, "replaced")
            if beat.full:
                self.replicas.clear()
            for status in beat.statuses:
                self.replicas[status.name] = status
                self.history.append((status.name, status.state))
            self.changed.notify_all()
            self.changed.wait_for(
                lambda: self.generation != beat.known_generation or self.away, beat.wait
            )
        self._look()
        return Assignments(generation=self.generation, components=self.wanted, stop=self.ending)

    def leave(self, key: str, node: str) -> None:
        self._look()
        self.left.append(node)

    def send_metrics(self, key: str, node: str, report: NodeSamples) -> None:
        self._look()
        self.samples = report.samples

    def send_output(self, key: str, pieces: Sequence[OutputPiece]) -> list[OutputAck]:
        self._look()
        acks = []
        for piece in pieces:
            stored = self.output.get((piece.instance, piece.stream), b"")
            if piece.offset <= len(stored):
                stored += piece.data[len(stored) - piece.offset :]
            self.output[piece.instance, piece.stream] = stored
            acks.append(
                OutputAck(instance=piece.instance, stream=piece.stream, durable_offset=len(stored))
            )
        return acks

    def _look(self) -> None:
        if self.away:
            raise Unreachable("away")
        if self.refusal is not None:
            raise self.refusal

    # What tests call

    def want(
        self, *components: tuple[ComponentSpec, int | list[int]], ending: bool = False
    ) -> None:
        with self.changed:
            self.generation += 1
            self.ending = ending
            self.wanted = [
                Assignment(spec=spec, numbers=[*range(n)] if isinstance(n, int) else n)
                for spec, n in components
            ]
            self.changed.notify_all()

    def go_away(self, away: bool) -> None:
        with self.changed:
            self.away = away
            self.changed.notify_all()

    def states(self) -> dict[str, str]:
        return {name: status.state for name, status in self.replicas.items()}

    def pids(self) -> dict[str, int | None]:
        return {name: status.pid for name, status in self.replicas.items()}

    def are(self, **states: str) -> bool:
        return eventually(lambda: self.states() == {k.replace("_", "-"): v
                                                    for k, v in states.items()})  # fmt: skip


def refused(status: int, code: str) -> Refused:
    return Refused(status, ErrorDetail(code=code, text=code))


class RunningNode:
    """A node in a thread of the test."""

    def __init__(self, registry: FakeRegistry) -> None:
        self.node = Node(Folders.find(), registry, "here", wait=0.1)
        self.thread = threading.Thread(target=self.node.run)
        self.thread.start()

    def join(self) -> None:
        self.thread.join(SOON)
        assert not self.thread.is_alive()

    def stop(self) -> None:
        self.node.stop()
        self.join()


class Runner:
    """The command ``palm runner``, again and again."""

    def __init__(self, home: Path, name: str = "here") -> None:
        self.home = home
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        with (self.home / "runner.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "palm", "runner", "--name", self.name, *arguments],
                stderr=log,
                env=os.environ | {"PYTHONPATH": os.pathsep.join([ROOT, f"{ROOT}/registry"])},
                start_new_session=True,
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        assert self.process is not None
        self.process.terminate()

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(SOON)


class House:
    """A registry, a runner, and a client of the one for the other."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.registry = RegistryProcess(home, *arguments).start()
        self.client: RegistryClient = self.registry.client(retry=5.0)
        self.client.create_cluster("default")
        self.runner = Runner(home)

    def follow_registry(self) -> None:
        """Go on with the registry that the runner has started in the place of a dead one."""
        folders = Folders.find()

        def is_back() -> bool:
            record = read_registry(folders)
            return record is not None and record.is_running

        assert eventually(is_back)
        self.client.close()
        client = find_registry(folders, retry=5.0)
        assert client is not None
        self.client = client

    def ready(self, timeout: float = SOON) -> bool:
        return eventually(lambda: self.client.cluster_status("default").ready, timeout)

    def replicas(self, name: str) -> list[ReplicaStatus]:
        return self.client.component("default", name).replicas

    def stdout(self, name: str) -> bytes:
        """All that is stored of a process's output."""
        found, cursor, more = b"", "", True
        while more:
            page = self.client.output("default", name=name, stream="stdout", cursor=cursor)
            found += b"".join(record.raw for record in page.records)
            cursor, more = page.cursor, page.more
        return found

    def close(self) -> None:
        self.client.end_cluster("default")
        if self.runner.process is not None:
            if self.runner.process.poll() is not None:
                self.runner.start()
            assert self.runner.wait() == 0
        self.client.close()
        self._end_registry()

    def _end_registry(self) -> None:
        """End the registry, be it ours or one that the runner has started."""
        assert self.registry.process is not None
        if self.registry.process.poll() is None:
            self.registry.stop()
        record = read_registry(Folders.find())
        if record is not None and record.is_running:
            os.kill(record.pid, signal.SIGTERM)
            assert eventually(lambda: not record.is_running)


@contextmanager
def two_nodes(
    home: Path, code: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RegistryClient]:
    """A cluster of a file on two nodes, of which each has a run folder, as two machines have.

    They share their keys. The test is on the second; all has ended well afterwards.
    """
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT}/registry")
    registry = RegistryProcess(home).start()
    monkeypatch.setenv("PALM_REGISTRY", registry.record["url"])
    monkeypatch.setenv("PALM_TOKEN_FILE", registry.record["token_file"])
    runners = [Runner(home, name) for name in ("n1", "n2")]
    with registry.client() as client:
        client.create_cluster("default")
        try:
            for runner in runners:
                run = home / f"r{runner.name}"
                run.mkdir(mode=0o700)
                with monkeypatch.context() as there:
                    there.setenv("PALM_RUN_DIR", str(run))
                    runner.start("--address", "127.0.0.1")
            client.set_cluster("default", file, folder=str(code))
            assert eventually(lambda: client.cluster_status("default").ready, 2 * SOON)
            monkeypatch.setenv("PALM_RUN_DIR", str(home / "rn2"))
            yield client
        finally:
            client.end_cluster("default")
            codes = [runner.wait() for runner in runners if runner.process is not None]
    assert codes == [0, 0]
    registry.stop()
