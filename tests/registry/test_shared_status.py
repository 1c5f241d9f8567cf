"""Those who follow a cluster share one computation of its status for each change."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from palm.registry_api.client import RegistryClient
from palm.registry_api.schema import ClusterStatus
from palm.spec.component import ComponentSpec
from palm_registry.service.shared import SharedStatus
from palm_registry.signals import Signals
from palm_registry.status import Facts, cluster_status
from palm_registry.store.clusters import ComponentRow
from tests.registry.test_status import row
from tests.support.registry import Runner, spec, status_of


class Computed:
    """Counts computations, each of which takes until it is let go."""

    def __init__(self) -> None:
        self.count = 0
        self.go = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, key: str) -> ClusterStatus:
        self.count += 1
        number = self.count
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        return ClusterStatus(cluster=key, ready=True, generation=number)


def test_all_who_ask_get_one_computation_until_something_changes() -> None:
    async def work() -> None:
        signals, computed = Signals(), Computed()
        shared = SharedStatus(signals, computed)
        many = [asyncio.ensure_future(shared("c")) for _ in range(50)]
        await asyncio.sleep(0)
        many[0].cancel()
        computed.go.set()
        found = await asyncio.gather(*many[1:])
        assert {status.generation for status in found} == {1}
        assert (await shared("c")).generation == 1
        signals.notify("c", "status")
        assert (await shared("c")).generation == 2
        signals.notify("other", "status")
        signals.notify("c", "output")
        assert (await shared("c")).generation == 2

    asyncio.run(work())


def test_a_change_during_a_computation_leads_to_another() -> None:
    async def work() -> None:
        signals, computed = Signals(), Computed()
        shared = SharedStatus(signals, computed)
        first = asyncio.ensure_future(shared("c"))
        await asyncio.sleep(0)
        signals.notify("c", "status")
        second = asyncio.ensure_future(shared("c"))
        await asyncio.sleep(0)
        computed.go.set()
        assert ((await first).generation, (await second).generation) == (1, 2)

    asyncio.run(work())


def test_a_failure_is_told_and_not_kept() -> None:
    async def work() -> None:
        computed = Computed()
        shared = SharedStatus(Signals(), computed)
        computed.go.set()
        computed.failure = ValueError("the disk")
        with pytest.raises(ValueError, match="the disk"):
            await shared("c")
        computed.failure = None
        assert (await shared("c")).generation == 2

    asyncio.run(work())


def test_one_call_and_the_live_stream_say_the_same(client: RegistryClient, runner: Runner) -> None:
    client.declare("c", spec("w", role="worker", replicas=3))
    answer = runner.beat()
    declared = answer.components[0].spec
    runner.beat(
        status_of(declared, 0, "ready", pid=7),
        status_of(declared, 1, "failed", exit=3, reason="ended with exit code 3",
                  last_lines="no such model\n"),
    )  # fmt: skip

    def bare(status: ClusterStatus) -> dict[str, Any]:
        for node in status.nodes:
            node.seen = 0.0
        status.cursor, status.time = "", 0.0
        return {field: getattr(status, field) for field in status.__struct_fields__}

    with client.live("c", ("status",)) as one, client.live("c", ("status",)) as other:
        frames = [next(iter(one)).data, next(iter(other)).data]
    called = bare(client.cluster_status("c"))
    assert [bare(frame) for frame in frames] == [called, called]
    failed = called["components"][0].replicas[1]
    assert (failed.exit, failed.last_lines) == (3, "no such model\n")


def test_the_status_of_ten_thousand_processes_takes_a_moment() -> None:
    """It was computed by looking at all processes for each component: minutes, not a moment."""
    rows: dict[str, ComponentRow] = {}
    for number in range(1000):
        rows[f"w{number}"] = row(f"w{number}", role="worker", replicas=10)
    specs: list[ComponentSpec] = [each.spec for each in rows.values()]
    replicas = [status_of(each, number, node="here") for each in specs for number in range(10)]
    facts = Facts(components=rows, replicas={r.name: r for r in replicas})
    began = time.process_time()
    found = cluster_status("c", facts, generation=1, cursor="", now=0.0)
    assert time.process_time() - began < 2.0
    assert sum(len(component.replicas) for component in found.components) == 10_000
