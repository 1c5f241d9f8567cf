"""A component that scales itself, with real processes: load comes, and goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.clients import Client
from palm.registry_api.client import Refused
from palm.registry_api.schema import ComponentStatus
from tests.runner.conftest import ROOT
from tests.support.nodes import SOON, House, eventually

FILE = """
[components.foo]
role = "master"
module = "palm"
args = ["master", "--name", "foo"]
[components.w]
role = "worker"
module = "palm"
args = ["worker", "functions.py", "--master", "foo", "--name", "${name}"]
replicas = "1..2"
needs = ["foo"]
"""
FUNCTIONS = """
import time

def work(x):
    time.sleep(0.05)
    return 2 * x

def little(x):
    time.sleep(0.005)
    return 2 * x
"""


@pytest.fixture
def house(palm_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT}/registry")
    house = House(palm_home, "--shrink-after", "2")
    house.runner.start()
    yield house
    house.close()


@pytest.mark.slow
def test_workers_come_with_the_load_and_go_with_it(house: House, tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    house.client.set_cluster("default", FILE, folder=str(tmp_path))
    assert house.ready()

    def worker() -> ComponentStatus:
        return house.client.component("default", "w")

    assert (worker().desired, worker().replicas[0].name) == (1, "w-0")
    with Client("foo") as client:
        job = client.job("foo.work", range(160))
        assert eventually(lambda: worker().actual == 2), worker()
        grown = worker()
        assert grown.scaling is not None
        assert (grown.scaling.least, grown.scaling.most, grown.scaling.wants) == (1, 2, 2)
        assert grown.scaling.text.startswith("2 of 1..2: ")
        assert grown.scaling.text in grown.conditions
        # The file again, as it is, leaves the number alone; and nobody leaves the range.
        assert not house.client.set_cluster("default", FILE, folder=str(tmp_path)).diff
        with pytest.raises(Refused, match="w scales itself, from 1 to 2"):
            house.client.scale("default", "w", 3)
        assert sorted(job) == [2 * x for x in range(160)]
        # Calls of `work`, one after another, keep more than a worker busy where all is slow.
        results, asked, began = [], 0, time.monotonic()
        while worker().desired == 2 or worker().actual != 1 or len(worker().replicas) != 1:
            results.append(client.eval("foo.little", asked, timeout=20))
            asked += 1
            assert time.monotonic() - began < SOON, worker()
        assert results == [2 * x for x in range(asked)]  # no message lost on the way
    texts = [e.text for e in house.client.events("default")[0] if e.kind == "component.scaled"]
    assert len(texts) == 2, texts
    assert texts[0].startswith("w goes from 1 to 2 of 1..2: ")
    assert texts[1].startswith("w goes from 2 to 1 of 1..2: ")
