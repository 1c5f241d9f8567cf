"""A server, pipelines, a hub and a sink from a cluster file, in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.clients import Client
from palm.runtime.folders import Folders
from tests.support.local import end_clusters
from tests.support.shell import Shell

pytestmark = pytest.mark.slow

FILE = """
[cluster]
name = "linked"

[components.third]
role = "sink"
module = "palm"
args = ["sink", "work.py", "--name", "${name}"]
previous = ["second", "side"]

[components.second]
role = "pipeline"
script = "second.py"
previous = "first"

[components.first]
role = "server"
module = "palm"
args = ["server", "work.py", "--name", "${name}"]

[components.side]
role = "hub"
module = "palm"
args = ["hub", "--name", "${name}"]
previous = "first"

[components.side-worker]
role = "worker"
module = "palm"
args = ["worker", "work.py", "--master", "side", "--name", "${name}"]
replicas = 2
"""
WORK = """
def f(x):
    return x + 1

def g(x):
    return ["hub", x]

def h(x):
    return ["last", *x]
"""
#: A script that says nothing of links: those are in the file.
SECOND = """
from palm.servers import Pipeline

if __name__ == "__main__":
    Pipeline("second", functions={"g": lambda x: ["pipeline", x]}).start()
"""
WAY = ["first.f", ["second.g", "side.g"], "third.h"]


@pytest.fixture
def linked(palm_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.setenv("PALM_CLUSTER", "linked")
    (tmp_path / "cluster.toml").write_text(FILE)
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "second.py").write_text(SECOND)
    yield Shell(tmp_path, "linked")
    end_clusters()


def results(*items: int) -> list[list[object]]:
    with Client("first") as client:
        return sorted(client.job(WAY, items))


def test_links_of_a_file_work_from_up_to_down(linked: Shell) -> None:
    linked.palm("up", "cluster.toml")
    roles = {each["name"]: each["role"] for each in linked.status()["components"]}
    assert roles == {
        "first": "server", "second": "pipeline", "third": "sink", "side": "hub",
        "side-worker": "worker",
    }  # fmt: skip
    assert results(0, 1) == [
        ["last", "hub", 1],
        ["last", "hub", 2],
        ["last", "pipeline", 1],
        ["last", "pipeline", 2],
    ]

    before = linked.pids()
    file = linked.folder / "cluster.toml"
    assert "nothing changed" in linked.palm("up", "cluster.toml")
    # Without anybody behind it, the results of `second` go to the client.
    file.write_text(FILE.replace('["second", "side"]', '"side"'))
    assert "changed second, changed third" in linked.palm("up", "cluster.toml")
    assert results(0) == [
        ["last", "hub", 1],
        ["pipeline", 1],
    ]
    kept = ("first", "side", "side-worker-0", "side-worker-1")
    assert {name: linked.pids()[name] for name in kept} == {name: before[name] for name in kept}

    linked.palm("down")
    assert not list(Folders.find().components.glob("*.json"))


def test_what_cannot_be_linked_changes_nothing(linked: Shell) -> None:
    file = linked.folder / "cluster.toml"
    file.write_text(FILE.replace('previous = "first"', 'previous = "frist"', 1))
    done = linked.run("up", "cluster.toml", code=1)
    assert done.stderr == (
        "palm: cluster.toml:14: components.second.previous: it takes the results of 'frist', which"
        " this cluster does not have (did you mean 'first'?)\n"
    )
    assert linked.palm("status") == "nothing runs in cluster 'linked'\n"
