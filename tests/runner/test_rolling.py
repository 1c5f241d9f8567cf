"""A rolling replacement over real processes: no message is lost, and few are missing at a time."""

from __future__ import annotations

import threading
import time

from palm.clients import Client
from palm.registry_api.schema import ComponentSpec
from tests.support.nodes import House, component, eventually

MASTER = "from palm.servers import Master\nMaster('foo').start()\n"
WORKER = """
import os, time
from palm.servers import Worker
def double(x):
    return 2 * x
Worker(os.environ["PALM_COMPONENT"], master="foo", functions={"double": double}).start()
"""
#: Replicas, and messages of the job.
COUNT, MESSAGES = 4, 40_000


def workers(version: str, source: str = WORKER, **more: object) -> ComponentSpec:
    return component("w", f"VERSION = {version!r}\n{source}", role="worker", replicas=COUNT, **more)


class Watch:
    """Notes, again and again, how many replicas are ready."""

    def __init__(self, house: House) -> None:
        self.least = COUNT
        self.looks = 0
        self._house = house
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._over.wait(0.01):
            ready = sum(r.state == "ready" for r in self._house.replicas("w"))
            self.least = min(self.least, ready)
            self.looks += 1


def begin(house: House) -> None:
    house.runner.start()
    house.client.declare("default", component("foo", MASTER, role="master"))
    house.client.declare("default", workers("1"))
    assert house.ready()


def test_workers_of_a_running_job_are_replaced_without_losing_a_message(house: House) -> None:
    begin(house)
    before = {replica.name: replica.pid for replica in house.replicas("w")}
    with Client("foo") as client, Watch(house) as watch:
        job = client.job("foo.double", range(MESSAGES), ordered=True, errors="return")
        found = [next(job) for _ in range(100)]
        house.client.declare("default", workers("2"))
        generation = house.client.component("default", "w").generation

        def replaced() -> int:
            return sum(
                r.generation == generation and r.state == "ready" for r in house.replicas("w")
            )

        partial = False
        for result in job:
            found.append(result)
            if len(found) % 1000 == 0:
                partial = partial or 0 < replaced() < COUNT
                time.sleep(0.05)  # so that the job is not over before the rollout is
        assert house.ready()
    assert found == [2 * x for x in range(MESSAGES)]
    assert partial
    assert replaced() == COUNT
    assert watch.looks > 20
    assert watch.least >= COUNT - 1
    after = {replica.name: replica.pid for replica in house.replicas("w")}
    assert all(after[name] != before[name] for name in before)


def test_broken_version_halts_and_those_before_it_serve_on(house: House) -> None:
    begin(house)
    before = {replica.name: replica.pid for replica in house.replicas("w")}
    house.client.declare("default", workers("2", "raise SystemExit('no such model')\n"))
    assert eventually(lambda: "rollout halted" in house.client.component("default", "w").reason)
    status = house.client.component("default", "w")
    assert "new version of w-0 ended with exit code 1 before it was ready" in status.reason
    assert status.reason.endswith("; 3 of 4 still run the version before")
    kept = {r.name: r.pid for r in status.replicas if r.state == "ready"}
    assert kept == {name: pid for name, pid in before.items() if name != "w-0"}
    with Client("foo") as client:
        assert list(client.job("foo.double", range(1000), ordered=True)) == [*range(0, 2000, 2)]
    # A runner that dies now leaves it as it is, and so does the next one.
    house.runner.kill()
    house.runner.start()
    assert eventually(lambda: "rollout halted" in house.client.component("default", "w").reason)
    assert {r.name: r.pid for r in house.replicas("w") if r.state == "ready"} == kept
    house.client.declare("default", workers("3"))
    assert house.ready()
    assert not {r.pid for r in house.replicas("w")} & set(before.values())
