"""A durable job through stages: its client goes, its server is killed, and nothing is lost."""

from __future__ import annotations

from palm.clients import Client
from tests.support.cluster import ProcessCluster, until
from tests.support.fixtures import processes

__all__ = ["processes"]

SERVER = """
import time
from palm.servers import Server

def slow(n):
    time.sleep(0.002)
    return n

Server("first", pipelined=True, functions={"slow": slow}).start()
"""
PIPELINE = """
from palm.servers import Pipeline

Pipeline("second", previous="first", functions={"double": lambda n: 2 * n}).start()
"""
N = 1500


def test_its_server_goes_on_with_it(processes: ProcessCluster) -> None:
    server, pipeline = processes.run(SERVER), processes.run(PIPELINE)
    server.wait_for("stage second joined")
    pipeline.wait_for("takes messages from first")
    with Client("first") as client:
        job = client.job(["first.slow", "second.double"], range(N), durable=True)
        until(lambda: job.progress.done >= 50)
    server.process.kill()
    server.process.wait()
    processes.run(SERVER).wait_for("1 jobs in the journal")
    with Client("first") as another:
        resumed = another.resume(job.id, ordered=True)
        assert list(resumed) == [2 * n for n in range(N)]
