"""How soon a whole cluster has further workers: forked by its runner, and started in the plain way.

A worker is started where a variable of its environment acts before a program runs, such as
PYTHONHASHSEED: that is how both ways are measured in one cluster, in turn.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

from benchmarks.processes import BOUND, BrokenError, Place
from benchmarks.report import Goal, Report
from benchmarks.rounds import interleaved
from benchmarks.systems import PalmHouse

__all__ = ["workers"]

FORKED = "palm, forked"
STARTED = "palm, started"
POOL = "executor, spawn"
#: Workers that are asked for at once.
MANY = 16

# A program as a user writes it.
CLUSTER = """
import json, os, signal, sys, time
import palm
rounds, many, seconds = int(sys.argv[1]), int(sys.argv[2]), {}

def note(figure, system, begun):
    seconds.setdefault(figure, {}).setdefault(system, []).append(time.perf_counter() - begun)

def begun_again(worker, pid):
    status = worker.status()
    return status.ready == 3 and all(each.pid != pid for each in status.processes)

with palm.up() as cluster:
    cluster.start("master", "foo").wait_ready()
    source = "def stamp(payload):\\n    return b'ok ' + payload\\n"
    cell = palm.clusters.CellSource(source, "<cell>")
    environments = {"palm, forked": {}, "palm, started": {"PYTHONHASHSEED": "0"}}
    workers = {
        system: cluster.start(
            "worker", f"w{i}", cell, replicas=2, args=("--master", "foo"), env=env
        ).wait_ready()
        for i, (system, env) in enumerate(environments.items())
    }
    for at in range(-1, rounds):
        for system, worker in workers.items():
            begun = time.perf_counter()
            worker.scale(3).wait_ready()
            if at >= 0:
                note("one", system, begun)
            pid = worker.pids[-1]
            begun = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            while not begun_again(worker, pid):
                time.sleep(0.002)
            if at >= 0:
                note("killed", system, begun)
            worker.scale(2).wait_ready()
            while len(worker.pids) != 2:
                time.sleep(0.01)
    for at in range(2):
        for system, worker in workers.items():
            begun = time.perf_counter()
            worker.scale(2 + many).wait_ready()
            note("many", system, begun)
            worker.scale(2).wait_ready()
            while len(worker.pids) != 2:
                time.sleep(0.01)
    cluster.down(grace=1.0)
print(json.dumps(seconds), flush=True)
"""
# What the runner has of it: no registry, no request.
RUNNER = """
import json, os, sys, time
from pathlib import Path
from benchmarks.memory import cpu_seconds
from palm.runner.forking import ForkServer
from palm.runner.service import ProcessSupervisor
from palm.spec.process import ProcessSpec
rounds, folder, seconds, used = int(sys.argv[1]), Path(sys.argv[2]), {}, {}
target = folder / "stamp.py"
target.write_text("def stamp(payload):\\n    return b'ok ' + payload\\n")

def spec(command, name, *args, **env):
    argv = (sys.executable, "-m", "palm", command, *args, "--name", name)
    return ProcessSpec(name, argv, env=env)

forks = ForkServer()
forks.start()
while not forks.is_ready():
    time.sleep(0.01)
supervisor = ProcessSupervisor(folder / "spool", forks=forks)
supervisor.start(spec("master", "foo"))
supervisor.wait_ready("foo")
for at in range(-1, rounds):
    for system, env in {"palm, forked": {}, "palm, started": {"PYTHONHASHSEED": "0"}}.items():
        begun = time.perf_counter()
        supervisor.start(spec("worker", "w", str(target), "--master", "foo", **env))
        supervisor.wait_ready("w")
        if at >= 0:
            seconds.setdefault(system, []).append(time.perf_counter() - begun)
            used.setdefault(system, []).append(cpu_seconds(supervisor.state("w").pid))
        supervisor.stop("w")
supervisor.close()
forks.close()
print(json.dumps({"seconds": seconds, "used": used}), flush=True)
"""
# A process that has loaded nothing of a user's, as of a new pool.
EXECUTOR = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
import time
if __name__ == "__main__":
    begun = time.perf_counter()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(abs, -1).result()
        print(time.perf_counter() - begun, flush=True)
"""


def workers(report: Report) -> None:
    """further workers of a whole cluster: one, sixteen at once, one in place of a killed one"""
    rounds = 5 if report.quick else 15
    with Place() as place, closing(PalmHouse(place)):
        found = _ask(place, CLUSTER, str(rounds), str(MANY))
    with Place() as place:
        alone = _ask(place, RUNNER, str(rounds), str(place.folder))
    with Place() as place:
        pools = interleaved(rounds, {POOL: lambda: float(_ask(place, EXECUTOR))})
    runs = {**alone["seconds"], **pools}
    report.add("a further worker, at the runner", "s", runs, {FORKED: Goal(0.06)})
    report.add("of it: its processor time", "s", alone["used"])
    report.add("a further worker, by its cluster", "s", found["one"], {FORKED: Goal(0.06)})
    report.add("a worker in place of a killed one", "s", found["killed"])
    report.add(f"{MANY} further workers at once", "s", found["many"])


def _ask(place: Place, source: str, *args: str) -> Any:
    process = place.spawn(source, *args, talk=True)
    answer, _ = process.communicate(timeout=6 * BOUND)
    if process.returncode:
        raise BrokenError(f"no figures of starts\n{place.complaints()}")
    return json.loads(answer)
