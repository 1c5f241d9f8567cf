"""The ancestor's three scripts, with the package's name changed, from a cluster file."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.runner.local import runner_pid
from tests.support.cluster import until
from tests.support.local import end_clusters
from tests.support.registry import RegistryProcess
from tests.support.seed import BOUND, EXAMPLES, KINDS, PLAIN, PORTS, Seed, copy_scripts
from tests.support.shell import arguments, running

pytestmark = pytest.mark.slow

LAUNCHER = """
[components.launcher]
role = "process"
script = "launcher.py"
args = ["--server", "foo", "--function", "foo", "--db", "${socket:foo.db}"]
needs = ["foo-worker"]
"""
SLOW = """
[components.slow]
role = "worker"
command = ["sleep", "600"]
"""
IDLE = """
[components.idle]
command = ["sleep", "600"]
"""


@pytest.fixture
def home(palm_home: Path) -> Iterator[Path]:
    yield palm_home
    end_clusters()


@pytest.fixture(params=KINDS)
def seed(request: pytest.FixtureRequest, home: Path, tmp_path: Path) -> Seed:
    """The examples with their own cluster file, and the ancestor's scripts with the plain one."""
    seed = Seed(copy_scripts(request.param, tmp_path))
    if request.param == "examples":
        shutil.copy(EXAMPLES / "cluster.toml", tmp_path)
    else:
        seed.file.write_text(PLAIN)
    return seed


@pytest.fixture
def examples(home: Path, tmp_path: Path) -> Seed:
    """The examples alone, where the scripts make no difference."""
    shutil.copy(EXAMPLES / "cluster.toml", tmp_path)
    return Seed(copy_scripts("examples", tmp_path))


def worker_names(seed: Seed) -> set[str]:
    """What the workers call themselves, by their first lines."""
    lines = [seed.logs(f"foo-worker-{number}")[0] for number in range(2)]
    assert all("Got worker push address" in line for line in lines)
    return {line.split(" - ")[1] for line in lines}


def check_results(seed: Seed, lines: list[str]) -> None:
    results = [line for line in lines if line.startswith("b'")]
    assert len(results) == 10
    assert set(results) <= {f"b'{name} processed a message'" for name in worker_names(seed)}


def test_scripts_run_from_a_cluster_file(seed: Seed, home: Path) -> None:
    said = seed.up()
    assert said.startswith("cluster.toml: + foo, + foo-worker\n")
    status = seed.status()
    assert (status["cluster"], status["ready"], status["missing"]) == ("seed", True, [])
    pids = seed.pids()
    assert set(pids) == {"foo", "foo-worker-0", "foo-worker-1"}

    # N means N, by the system's own list of processes; and the addresses are filled in.
    assert running(home, "master.py") == [pids["foo"]]
    assert sorted(running(home, "worker.py")) == sorted(p for n, p in pids.items() if n != "foo")
    master = arguments(pids["foo"])
    addresses = {port: master[master.index(f"--{port}") + 1] for port in PORTS}
    assert len(set(addresses.values())) == 5
    assert all(address.startswith(f"ipc://{home}") for address in addresses.values())
    for name in ("foo-worker-0", "foo-worker-1"):
        worker = arguments(pids[name])
        assert worker[worker.index("--db") + 1] == addresses["db"]

    done = seed.python(
        "launcher.py", "--server", "foo", "--function", "foo", "--db", addresses["db"]
    )
    assert (done.returncode, done.stderr) == (0, "")
    check_results(seed, done.stdout.splitlines())
    assert any(line.endswith("- foo - INFO - ready") for line in seed.logs("foo"))
    both = seed.palm("logs", "foo-worker").splitlines()
    assert sorted(both) == sorted(f"foo-worker-{n} | {line}" for n in range(2)
                                  for line in seed.written(f"foo-worker-{n}"))  # fmt: skip

    assert seed.up().startswith("cluster.toml: nothing changed\n")
    assert seed.pids() == pids

    assert "foo, foo-worker" in seed.palm("down")
    assert running(home) == []
    assert seed.palm("status") == "nothing runs in cluster 'seed'\n"
    assert not list(seed.folders.components.glob("*.json"))
    assert not list(seed.folders.sockets.iterdir())


def end_of_launcher(seed: Seed) -> bool:
    """Start all, as far as it is not there, and wait for the end of the client."""
    seed.up("--timeout", "0", code=4)  # does not wait
    until(lambda: "launcher" in reasons(seed), within=BOUND)
    return reasons(seed)["launcher"] == "ended with exit code 0"


def reasons(seed: Seed) -> dict[str, str]:
    """What there is to say of processes."""
    return {
        process["name"]: process["reason"]
        for component in seed.status()["components"]
        for process in component["processes"]
        if process["reason"]
    }


def test_client_is_a_component_that_waits_for_what_it_needs(seed: Seed) -> None:
    seed.add(LAUNCHER)
    assert end_of_launcher(seed)
    check_results(seed, seed.logs("launcher"))


def test_client_that_ended_well_is_not_missing(examples: Seed) -> None:
    examples.add(LAUNCHER)
    assert end_of_launcher(examples)
    assert examples.missing() == {}
    examples.up("--timeout", "5")


def test_script_that_is_missing_is_named_and_holds_up_nobody_else(examples: Seed) -> None:
    examples.change("worker.py", "wroker.py")
    done = examples.run("up", "cluster.toml", code=1)
    assert " of foo-worker: failed: it ended with exit code 2" in done.stdout
    assert "can't open file" in done.stderr
    status = examples.status()
    assert not status["ready"]
    assert {each["component"] for each in status["missing"]} == {"foo-worker"}
    assert "exit code 2 before it was ready" in examples.missing()["foo-worker"]
    assert "missing: " in examples.palm("status")
    assert "can't open file" in examples.palm("logs", "foo-worker-0")
    assert "wroker.py" in examples.palm("logs", "foo-worker-0")
    pids = examples.pids()
    assert "foo" in pids

    examples.change("wroker.py", "worker.py")
    assert examples.up().startswith("cluster.toml: changed foo-worker\n")
    assert examples.pids()["foo"] == pids["foo"]


def test_script_that_was_put_there_is_tried_again(examples: Seed) -> None:
    examples.change("replicas = 2", 'replicas = 2\nrestart = "never"')  # gives up at once
    script = examples.folder / "worker.py"
    script.rename(script.with_suffix(".away"))
    examples.up(code=1)
    pids = examples.pids()
    script.with_suffix(".away").rename(script)
    examples.up()
    assert examples.pids().items() > pids.items()


def test_status_says_that_there_is_no_node(examples: Seed, home: Path) -> None:
    registry = RegistryProcess(home).start()
    try:
        with registry.client() as client:
            client.create_cluster("seed")
            client.set_cluster("seed", examples.file.read_text(), "cluster.toml",
                               str(examples.folder))  # fmt: skip
        status = examples.status()
        assert not status["ready"]
        assert {each["component"]: (each["count"], each["why"]) for each in status["missing"]} == {
            "foo": (1, "no node has joined"),
            "foo-worker": (2, "no node has joined"),
        }
        text = examples.palm("status")
        assert "missing: 1 of foo: no node has joined" in text
        assert "missing: 2 of foo-worker: no node has joined" in text
    finally:
        registry.stop()


def test_status_says_that_a_node_is_lost_and_up_brings_it_back(examples: Seed) -> None:
    examples.up()
    pids = examples.pids()
    os.kill(runner_pid(examples.folders) or 0, signal.SIGTERM)
    until(lambda: runner_pid(examples.folders) is None, within=BOUND)
    until(lambda: set(examples.missing()) == {"foo", "foo-worker"}, within=BOUND)
    assert all("which is lost" in why for why in examples.missing().values())
    assert examples.up().startswith("cluster.toml: nothing changed\n")
    assert examples.pids() == pids


def test_changed_file_changes_only_what_differs(examples: Seed) -> None:
    examples.add(IDLE)
    examples.up()
    before = examples.pids()
    assert set(before) == {"foo", "foo-worker-0", "foo-worker-1", "idle"}

    examples.change("replicas = 2", "replicas = 3")
    assert examples.up().startswith("cluster.toml: changed foo-worker\n")
    scaled = examples.pids()
    assert scaled.pop("foo-worker-2") not in before.values()
    assert scaled == before

    examples.change("replicas = 3", 'replicas = 2\nenv = { COLOUR = "blue" }')
    assert examples.up().startswith("cluster.toml: changed foo-worker\n")
    replaced = examples.pids()
    assert set(replaced) == set(before)
    assert [name for name, pid in replaced.items() if pid == before[name]] == ["foo", "idle"]

    text = examples.file.read_text()
    examples.file.write_text(text[: text.index("[components.idle]")])
    assert examples.up().startswith("cluster.toml: \N{MINUS SIGN} idle\n")
    until(lambda: "idle" not in examples.pids(), within=BOUND)
    del replaced["idle"]
    assert examples.pids() == replaced
    assert not any(each["name"] == "idle" for each in examples.status()["components"])


def test_exit_codes_say_how_it_went(examples: Seed) -> None:
    assert "unexpected argument" in examples.run("up", "a.toml", "b.toml", code=2).stderr
    assert "no such option" in examples.run("up", "--tiemout", "1", code=2).stderr
    assert "not a time" in examples.run("up", "--timeout", "soon", code=2).stderr
    assert "nowhere.toml" in examples.run("up", "nowhere.toml", code=1).stderr

    good = examples.file.read_text()
    examples.change("replicas = 2", "replcas = 2")
    line = good[: good.index("replicas = 2")].count("\n") + 1
    said = examples.run("up", "cluster.toml", code=1).stderr
    assert f"cluster.toml:{line}:" in said
    assert "did you mean 'replicas'?" in said
    assert examples.palm("status") == "nothing runs in cluster 'seed'\n"

    examples.file.write_text(good + SLOW)
    done = examples.run("up", "cluster.toml", "--timeout", "3", code=4)
    assert "1 of slow: starting" in done.stdout
    assert "missing: 1 of slow: starting" in done.stdout
    found = json.loads(
        examples.run("up", "cluster.toml", "--timeout", "0", "--json", code=4).stdout
    )
    assert [each["component"] for each in found["missing"]] == ["slow"]
    examples.file.write_text(good)
    examples.up()
