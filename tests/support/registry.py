"""Registries for tests: one in a thread of this process, one in a process of its own."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from palm.errors import PalmError
from palm.registry_api import schema
from palm.registry_api.client import RegistryClient
from palm_registry.app import Registry
from palm_registry.settings import Settings

ROOT = Path(__file__).parents[2]


class RegistryThread:
    """A registry in this process; `start` and `stop` may be repeated."""

    def __init__(self, home: Path, **options: Any) -> None:
        self.settings = Settings(run=home / "run", state=home / "state", **options)
        self.registry: Registry | None = None
        self.url = ""

    def start(self) -> RegistryThread:
        listening = threading.Event()
        self.failure: PalmError | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(listening)))
        self._thread.start()
        assert listening.wait(30)
        if self.failure is not None:
            self._thread.join()
            raise self.failure
        return self

    async def _run(self, listening: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self.registry = Registry(self.settings)
        try:
            await self.registry.start()
        except PalmError as error:
            self.failure = error
            return
        finally:
            self.url = self.registry.url
            listening.set()
        # The next one listens at the same address, as one does that was given a port.
        self.settings = replace(self.settings, port=int(self.url.split(":")[2].strip("/")))
        await self.registry.idle.wait()
        await self.registry.stop()

    def stop(self) -> None:
        assert self.registry is not None
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self.registry.idle.set)
            self._thread.join(30)
        assert not self._thread.is_alive()

    @property
    def token(self) -> str:
        return (self.settings.state / "tokens" / "owner").read_text().strip()

    def client(self, **options: Any) -> RegistryClient:
        return RegistryClient(self.url, self.token, **options)


@contextmanager
def lent_registry(**options: Any) -> Iterator[RegistryThread]:
    """A registry in a folder of its own, for all tests of a module; both are gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="palm-"))
    running = RegistryThread(home, **options).start()
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(home)


class RegistryProcess:
    """A registry in a process of its own, as users have it."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        self.arguments = arguments
        self.port = 0
        self.pythonpath = os.pathsep.join([str(ROOT), str(ROOT / "registry")])
        #: What it gets in place of what we have.
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "run" / "registry.json").read_text())
        return found

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": self.pythonpath,
            "PALM_RUN_DIR": str(self.home / "run"),
            "PALM_STATE_DIR": str(self.home / "state"),
            **self.environment,
        }
        command = [sys.executable, "-m", "palm_registry", *self.arguments, *arguments]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)

    def start(self) -> RegistryProcess:
        self.process = self.spawn("--port", str(self.port))
        end = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, self.end()
            assert time.monotonic() < end
            try:
                if self.record["pid"] == self.process.pid:
                    break
            except FileNotFoundError:
                pass
            time.sleep(0.01)
        self.port = int(self.record["url"].split(":")[2].strip("/"))
        return self

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.end()
        return self.process.returncode

    def end(self) -> str:
        """Wait for its end, and return what it said."""
        assert self.process is not None
        _, stderr = self.process.communicate(timeout=30)
        return stderr.decode()

    def client(self, **options: Any) -> RegistryClient:
        record = self.record
        token = Path(record["token_file"]).read_text().strip()
        options.setdefault("ca_file", record.get("certfile", ""))
        return RegistryClient(record["url"], token, **options)


@dataclass
class Answer:
    """What an HTTP request got."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def code(self) -> str:
        error: dict[str, str] = json.loads(self.body)["error"]
        assert error["text"]
        return error["code"]


@dataclass
class Browser:
    """Requests as somebody sends them who is not our client; ``headers`` go with each."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    ca_file: str = ""

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = self._connection()
        sent = {**self.headers, **(headers or {})}
        data = body
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        scheme, _, rest = self.url.partition("://")
        host, port = rest.strip("/").rsplit(":", 1)
        if scheme == "http":
            return http.client.HTTPConnection(host, int(port), timeout=10)
        context = ssl.create_default_context(cafile=self.ca_file)
        return http.client.HTTPSConnection(host, int(port), timeout=10, context=context)


@dataclass
class Runner:
    """A runner that is only told what it did."""

    client: RegistryClient
    cluster: str
    name: str = "here"

    def join(self) -> Runner:
        joined = self.client.join(self.cluster, schema.NodeJoin(name=self.name, cores=2))
        self.session, self.generation = joined.session, -1
        return self

    def beat(self, *statuses: schema.ReplicaStatus, **options: Any) -> schema.Assignments:
        beat = schema.Heartbeat(
            session=self.session,
            known_generation=self.generation,
            statuses=list(statuses),
            **options,
        )
        answer = self.client.heartbeat(self.cluster, self.name, beat)
        self.generation = answer.generation
        return answer

    def run_all(self, state: schema.ReplicaState = "ready") -> schema.Assignments:
        """Bring everything that is assigned into a state, as often as more is assigned."""
        answer = self.beat()
        while True:
            before = answer.generation
            answer = self.beat(*self.statuses(answer, state), full=True)
            if answer.generation == before:
                return answer

    @staticmethod
    def statuses(
        answer: schema.Assignments, state: schema.ReplicaState = "ready"
    ) -> list[schema.ReplicaStatus]:
        return [
            status_of(assignment.spec, number, state)
            for assignment in answer.components
            for number in assignment.numbers
        ]


def status_of(
    spec: schema.ComponentSpec, number: int = 0, state: schema.ReplicaState = "ready", **more: Any
) -> schema.ReplicaStatus:
    return schema.ReplicaStatus(
        name=spec.replica_name(number),
        component=spec.name,
        replica=number,
        instance=f"{spec.replica_name(number)}.{spec.generation}",
        generation=spec.generation,
        state=state,
        **more,
    )


def piece(offset: int, data: bytes, instance: str = "foo.1", **more: Any) -> schema.OutputPiece:
    values = {"stream": "stdout", "component": "foo", "name": "foo", **more}
    return schema.OutputPiece(instance=instance, offset=offset, data=data, **values)


def spec(name: str, **more: Any) -> schema.ComponentSpec:
    return schema.ComponentSpec(name=name, **{"command": ["sleep", "9"], **more})
