"""A node that only says that it runs many components, and what they use, many times a second."""

from __future__ import annotations

import threading
import time

from palm.registry_api import schema
from palm.registry_api.client import RegistryClient

__all__ = ["Crowd"]


class Crowd:
    """Components that are said to run, and to use something else ``rate`` times a second."""

    def __init__(self, client: RegistryClient, cluster: str, count: int) -> None:
        self._client, self._cluster = client, cluster
        self.rate = 0.0
        self._over = threading.Event()
        self._names = [f"w-{number}" for number in range(count)]
        joined = client.join(cluster, schema.NodeJoin(name="crowd", cores=count))
        self._session = joined.session
        for name in self._names:
            client.declare(
                cluster, schema.ComponentSpec(name=name, command=["true"], role="process")
            )
        self._run_all()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Say no more."""
        self._over.set()
        self._thread.join()

    def _run_all(self) -> None:
        generation = -1
        statuses: list[schema.ReplicaStatus] = []
        while True:
            beat = schema.Heartbeat(
                session=self._session, known_generation=generation, statuses=statuses,
                full=bool(statuses),
            )  # fmt: skip
            answer = self._client.heartbeat(self._cluster, "crowd", beat)
            if answer.generation == generation:
                return
            generation = answer.generation
            statuses = [self._ready(assigned.spec) for assigned in answer.components]

    def _ready(self, spec: schema.ComponentSpec) -> schema.ReplicaStatus:
        return schema.ReplicaStatus(
            name=spec.name, component=spec.name, instance=f"{spec.name}.1", state="ready", pid=4711,
            generation=spec.generation, started=time.time(), functions=["measure"],
        )  # fmt: skip

    def _serve(self) -> None:
        count = beaten = 0
        while not self._over.wait(1 / self.rate if self.rate else 0.1):
            count += 1
            if self.rate:
                self._report(count)
            if time.monotonic() - beaten >= 1:
                beaten = int(time.monotonic())
                beat = schema.Heartbeat(session=self._session, known_generation=-1)
                self._client.heartbeat(self._cluster, "crowd", beat)

    def _report(self, count: int) -> None:
        samples = [
            schema.Sample(
                name=name, component=name, instance=f"{name}.1", time=time.time(), pid=4711,
                cpu=(count + i) % 100, rss=30_000_000 + 4096 * count, rate_out=count % 50,
                queued=count % 7, running=1,
            )
            for i, name in enumerate(self._names)
        ]  # fmt: skip
        report = schema.NodeSamples(session=self._session, samples=samples)
        self._client.send_metrics(self._cluster, "crowd", report)
