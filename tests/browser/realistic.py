"""A cluster as somebody may have one, told to a registry without any process."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from palm.registry_api import schema
from palm.registry_api.client import RegistryClient
from tests.support.registry import Runner, piece, status_of

FIRST = """\
[components.ingest]
role = "master"
module = "palm"
args = ["master", "--name", "${name}"]

[components.clean]
role = "worker"
script = "clean.py"
args = ["--master", "ingest"]
replicas = 2
needs = ["ingest"]
"""
SECOND = (
    FIRST.replace("replicas = 2", "replicas = 4")
    + """
[components.score]
role = "worker"
script = "score.py"
args = ["--master", "ingest"]
replicas = 2
needs = ["ingest"]
env = { MODEL = "v7" }
"""
)
POOL = {"cores": "16", "memory": "62G", "engine": "dask", "pool": "dask", "disk": "fast"}
NODES = {"laptop": (8, {}), "north": (32, {"gpu": "yes"}), "south": (16, POOL)}
LAST_LINES = "Traceback (most recent call last):\nKeyError: 'model'"


@dataclass
class Realistic:
    """A cluster of three nodes, a master and workers, of which one has failed."""

    client: RegistryClient
    name: str
    runners: list[Runner] = field(default_factory=list)
    _written: int = 0
    _beats: int = 0

    def build(self) -> Realistic:
        client = self.client
        client.create_cluster(self.name, linger=None)
        client.set_cluster(self.name, FIRST, folder="/home/ada/genome", note="a beginning")
        client.set_cluster(self.name, SECOND, folder="/home/ada/genome", note="a score, too")
        for node, (cores, labels) in NODES.items():
            join = schema.NodeJoin(
                name=node, address=f"{node}.example.org", cores=cores, labels=labels
            )
            runner = Runner(client, self.name, node)
            runner.session, runner.generation = client.join(self.name, join).session, -1
            self.runners.append(runner)
        for _ in range(3):  # workers are released once their master is ready
            self.beat()
        return self

    def beat(self, *, mended: bool = False) -> None:
        """Let the nodes tell what they run, as it is after some time at work."""
        self._beats += 1
        for number, runner in enumerate(self.runners):
            answer = runner.beat()
            found = [
                self._status(assignment.spec, replica, runner.name, mended)
                for assignment in answer.components
                for replica in assignment.numbers
            ]
            runner.beat(*found, full=True)
            samples = [self._sample(status, number) for status in found if status.pid]
            report = schema.NodeSamples(session=runner.session, samples=samples)
            self.client.send_metrics(self.name, runner.name, report)

    def write(self, *lines: str) -> None:
        """Let the first cleaner write."""
        data = "".join(f"{line}\n" for line in lines).encode()
        clean = piece(self._written, data, "clean-0.1", component="clean", name="clean-0")
        self.client.send_output(self.name, [clean])
        self._written += len(data)

    @staticmethod
    def _status(
        spec: schema.ComponentSpec, replica: int, node: str, mended: bool
    ) -> schema.ReplicaStatus:
        if spec.name == "score" and replica == 1 and not mended:
            return status_of(
                spec, replica, "failed", node=node, exit=1, reason="ended with exit code 1",
                last_lines=LAST_LINES, restarts=5,
            )  # fmt: skip
        pid = 4000 + 100 * len(spec.name) + replica
        return status_of(spec, replica, pid=pid, node=node, started=time.time() - 5000)

    def _sample(self, status: schema.ReplicaStatus, node: int) -> schema.Sample:
        busy = status.replica + 2 * node
        wave = math.sin(self._beats / 2 + busy) + math.sin(self._beats * 1.7 + busy) / 2
        return schema.Sample(
            name=status.name, component=status.component, replica=status.replica,
            node=status.node, pid=status.pid, time=time.time(), cpu=45.0 + 7 * busy + 9 * wave,
            rss=90_000_000 + 11_000_000 * busy + 600_000 * self._beats,
            rate_out=120.0 + busy - 30 * wave, queued=5 + round(3 * wave), running=1,
        )  # fmt: skip
