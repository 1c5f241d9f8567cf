"""A stage is killed with -9 in mid-stream and started again: each message has one outcome."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from palm.clients import Client
from palm.runtime.folders import Folders
from palm.runtime.records import read_record
from tests.support.cluster import until

BOUND = 90.0  # seconds; far beyond what any of this takes
MESSAGES = 4000

COMPONENTS = """
import sys
import time

from palm.servers import Hub, Pipeline, Server, Sink, Worker


def step(number):
    time.sleep(0.0002)
    return number + 1


def finish(number):
    time.sleep(0.0002)
    return "done", number


what, *ports = sys.argv[1:]
at = [f"tcp://127.0.0.1:{port}" for port in ports] or [None] * 9
served = {"step": step, "finish": finish}
if what == "first":
    made = Server("first", at[0], at[1], at[2], pipelined=True, functions=served)
elif what == "second":
    made = Pipeline("second", at[3], at[2], at[4], "first", to_client=False, functions=served)
elif what == "hub":
    made = Hub("hub", at[2], at[4], at[5], at[6], at[3], "first", pipelined=True)
elif what == "third":
    before = sys.stdin.read()
    made = Sink("third", at[7], at[4] and [at[4]], at[8], [before], functions=served)
else:
    made = Worker(what, at[3] or "", master=None if at[3] else "hub", functions=served)
made.start()
"""


class Stages:
    """Processes of one chain, by name; `kill` starts what it killed again at once."""

    def __init__(self, script: Path, names: list[str], ports: list[int]) -> None:
        script.write_text(COMPONENTS)
        self._argv = [sys.executable, str(script)]
        self._ports = [str(port) for port in ports]
        self._before = names[1]
        self._output = script.with_suffix(".out")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._old: list[subprocess.Popen[bytes]] = []
        for name in names:
            self._start(name)
        for name in names:
            until(lambda name=name: read_record(Folders.find(), name), within=BOUND, what=name)

    def _start(self, name: str) -> None:
        with self._output.open("ab") as output:
            process = self._processes[name] = subprocess.Popen(
                [*self._argv, name, *self._ports],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        assert process.stdin is not None
        process.stdin.write(self._before.encode())
        process.stdin.close()

    @property
    def output(self) -> str:
        return self._output.read_text()

    def kill(self, name: str) -> None:
        """Kill one with -9, and start it again."""
        killed = self._processes[name]
        killed.kill()
        killed.wait(BOUND)
        self._start(name)

    def close(self) -> None:
        """End all; they end well."""
        for process in self._processes.values():
            process.terminate()
        codes = {name: process.wait(BOUND) for name, process in self._processes.items()}
        assert set(codes.values()) == {0}, (codes, self.output)


ROW = ["first", "second", "third"]
HUB = ["first", "hub", "third", "left", "right"]
FUNCTIONS = {"second": "second.step", "hub": "hub.step"}


def free_ports(n: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def check(stages: Stages, client: Client, second: str, kills: dict[int, str]) -> None:
    """Run a job, killing so many results after its start; each message has its own result."""
    seen: Counter[int] = Counter()
    job = client.job(["first.step", FUNCTIONS[second], "third.finish"], range(MESSAGES))
    for word, number in job:
        assert word == "done"
        seen[number - 2] += 1
        victim = kills.get(seen.total())
        if victim:
            assert job.progress.done < MESSAGES, "it is over before the kill"
            stages.kill(victim)
    assert seen == Counter(range(MESSAGES))
    assert (job.progress.done, job.progress.failed) == (MESSAGES, 0)
    assert "Traceback" not in stages.output


@pytest.mark.slow
@pytest.mark.parametrize("way", ["name", "tcp"])
@pytest.mark.parametrize("victim", ROW)
def test_row_survives_the_kill_of_a_stage(
    victim: str, way: str, stack: ExitStack, tmp_path: Path
) -> None:
    ports = free_ports(9) if way == "tcp" else []
    stages = Stages(tmp_path / "stages.py", ROW, ports)
    stack.callback(stages.close)
    client = stack.enter_context(Client("first", *[f"tcp://127.0.0.1:{p}" for p in ports[:1]]))
    check(stages, client, "second", {1000: victim})


@pytest.mark.slow
@pytest.mark.parametrize("way", ["name", "tcp"])
@pytest.mark.parametrize("victim", [*HUB[:3], "left"])
def test_hub_in_a_row_survives_the_kill_of_a_part(
    victim: str, way: str, stack: ExitStack, tmp_path: Path
) -> None:
    ports = free_ports(9) if way == "tcp" else []
    stages = Stages(tmp_path / "stages.py", HUB, ports)
    stack.callback(stages.close)
    client = stack.enter_context(Client("first", *[f"tcp://127.0.0.1:{p}" for p in ports[:1]]))
    check(stages, client, "hub", {1000: victim})


@pytest.mark.slow
@pytest.mark.parametrize("names", [ROW, HUB], ids=["row", "hub"])
def test_all_parts_are_killed_one_after_the_other(
    names: list[str], stack: ExitStack, tmp_path: Path
) -> None:
    stages = Stages(tmp_path / "stages.py", names, [])
    stack.callback(stages.close)
    client = stack.enter_context(Client("first"))
    kills = {500 * (at + 1): name for at, name in enumerate(names)}
    check(stages, client, names[1], kills)


@pytest.mark.slow
def test_durable_job_knows_its_stages_after_the_death_of_all(
    stack: ExitStack, tmp_path: Path
) -> None:
    stages = Stages(tmp_path / "stages.py", ROW, [])
    stack.callback(stages.close)
    with Client("first") as client:
        functions = ["first.step", "second.step", "third.finish"]
        job = client.job(functions, range(MESSAGES), durable=True)
        next(job)
    for name in ROW:
        stages.kill(name)
    client = stack.enter_context(Client("first"))
    resumed = client.resume(job.id)
    assert resumed.progress.done < MESSAGES, "it is over before the kill"
    assert Counter(resumed) == Counter(("done", number + 2) for number in range(MESSAGES))
