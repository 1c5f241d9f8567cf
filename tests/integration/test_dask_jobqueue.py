"""Jobs of a batch system as nodes: the programs of the page, where a shell is that system."""

from __future__ import annotations

import importlib.util
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.clients import Client
from tests.integration.test_dask_nodes import LONG, House
from tests.runner.conftest import exists
from tests.support.nodes import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.no_leak_check("threads", "descriptors"),  # of Dask, which keeps some for the next
]

PAGES = Path(__file__).parents[2] / "docs"


def block(page: str, language: str) -> str:
    """The first piece of code of a page that is in a language."""
    found = re.search(rf"```{language}\n(.*?)```", (PAGES / page).read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def changed(text: str, **changes: str) -> str:
    """A piece of code with some of its values changed: all of them must be there."""
    for name, value in changes.items():
        text, count = re.subn(rf'("?{name}"?(?:=|: | = ))("[^"]*"|\d+)', rf"\g<1>{value}", text)
        assert count, name
    return text


@pytest.fixture
def house(palm_home: Path, tmp_path: Path) -> Iterator[House]:
    if importlib.util.find_spec("dask_jobqueue") is None:  # imported it takes hold of SIGINT
        pytest.skip("dask-jobqueue is not installed")
    found = House(tmp_path)
    yield found
    found.close()


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def jobs(house: House, tmp_path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """``jobs.py`` of the page; dask-jobqueue has a class that runs job scripts right here."""
    program = block("dask/jobqueue.md", "python").replace("SLURMCluster", "LocalCluster")
    program = program.replace("from dask_jobqueue import", "from dask_jobqueue.local import")
    path = tmp_path / "jobs.py"
    path.write_text(changed(program, port=str(port), interface='"lo"', maximum="2"))
    process = subprocess.Popen([sys.executable, str(path)], cwd=tmp_path)
    yield process
    if process.poll() is None:
        process.terminate()
    process.wait(30)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_batch_system_has_as_many_jobs_as_replicas_need_places(
    house: House, jobs: subprocess.Popen[bytes], port: int
) -> None:
    assert eventually(lambda: answers(port), LONG)
    scheduler = f"dask://127.0.0.1:{port}"
    added = house.shell.palm("nodes", "add", scheduler, "--name", "slurm").stdout
    assert "no worker yet" in added
    house.shell.write("words.py", block("dask.md", "python"))
    file = changed(block("dask/jobqueue.md", "toml"), replicas='"3..4"')
    house.shell.write("cluster.toml", file)
    house.shell.palm("apply", "cluster.toml")
    # Three replicas take two jobs of two places.
    assert [each.places for each in house.nodes().values()] == [2, 2]
    with Client("foo") as client:
        assert list(client.job("count", ["a b c"] * 40)) == [3] * 40
    replicas = house.replicas("foo-worker").values()
    assert {each.node for each in replicas} == set(house.nodes())

    assert "no more" in house.shell.palm("nodes", "remove", "slurm", "--yes").stdout
    assert not any(each.pid and exists(each.pid) for each in replicas)
    jobs.send_signal(signal.SIGTERM)
    assert jobs.wait(LONG) == 0
