"""The systems of the table, running: their callers, and the processes that they are made of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.memory import Memory
from benchmarks.processes import ROOT, Caller, Place, descendants
from benchmarks.systems import PalmCluster, RelayCluster, free_ports

__all__ = ["OF_THIS_ENVIRONMENT", "PEERS_SYSTEMS", "WORKERS", "Plan", "System"]

#: Worker processes of each system.
WORKERS = 2

DASK_SCHEDULER = "from distributed.cli.dask_scheduler import main; main()"
DASK_WORKER = "from distributed.cli.dask_worker import main; main()"
CONTROLLER = "from ipyparallel.controller.app import main; main()"
ENGINE = "from ipyparallel.engine.app import main; main()"

#: Names of the processes that run the tasks of Ray begin so; two of its agents' do as well.
RAY_PROCESS, RAY_AGENT = "ray::", "Agent"

Pids = Callable[[], list[int]]


@dataclass
class System:
    """One that runs."""

    caller: Caller
    #: Processes between the caller and the workers, and those that run its tasks.
    middle: Pids
    workers: Pids

    @cached_property
    def sizes(self) -> list[Memory]:
        """The memory of those in the middle, as it grows since this was first asked for."""
        return [Memory(pid) for pid in self.middle()]


@dataclass(frozen=True)
class Plan:
    """How a system is started, how it is asked, and how much of each it is given.

    The numbers of messages are such that a run takes about a second.
    """

    #: Takes a place, the interpreter, and the function that is going to be called.
    factory: Callable[[Place, str, str], System]
    #: Messages of 16 bytes, each on its own; the same for its fast way, 0 if it has none.
    each: int
    fast: int
    fast_options: dict[str, Any] = field(default_factory=lambda: {"fast": True})
    #: Single calls, and messages of 1 MiB.
    calls: int = 2000
    large: int = 100
    #: Its workers run one function only.
    one_function: bool = False
    #: Of the environment in which it is installed.
    python: str = sys.executable

    def start(self, place: Place, function: str = "stamp") -> System:
        """Start it; its first results may be a while off."""
        return self.factory(place, self.python, function)


def start_palm(place: Place, _: str, __: str, *, tcp: bool = False) -> System:
    """A master and two workers."""
    cluster = PalmCluster(place, WORKERS, tcp=tcp)
    caller = Caller(place, "palm", cluster.address)
    return System(
        caller,
        lambda: [cluster.master.pid],
        lambda: [worker.pid for worker in cluster.workers],
    )


def start_pool(place: Place, _: str, __: str, *, kind: str) -> System:
    """A pool of this Python's library, in its caller: there is nothing in between."""
    caller = Caller(place, kind, str(WORKERS), "1")
    return System(caller, list, lambda: [each.pid for each in descendants(caller.process.pid)])


def start_relay(place: Place, _: str, function: str) -> System:
    """The bare relay; of large messages few are under way."""
    cluster = RelayCluster(place, function)
    caller = cluster.caller(window=16 if function == "echo" else 1000)
    workers = [worker.pid for worker in cluster.workers]
    return System(caller, lambda: [cluster.relay.pid], lambda: workers)


def start_dask(place: Place, python: str, _: str) -> System:
    """A scheduler and workers of one thread, without the nannies that start workers again."""
    _prepare(place)
    (port,) = free_ports(1)
    address = f"tcp://127.0.0.1:{port}"
    options = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = place.spawn(DASK_SCHEDULER, *options, "--port", str(port), python=python)
    options += ["--nthreads", "1", "--no-nanny", "--local-directory", str(place.folder)]
    workers = [
        place.spawn(DASK_WORKER, address, *options, python=python).pid for _ in range(WORKERS)
    ]
    caller = Caller(place, "dask", address, python=python)
    return System(caller, lambda: [scheduler.pid], lambda: workers)


def start_ipyparallel(place: Place, python: str, _: str) -> System:
    """A controller, whose schedulers are processes that it starts, and engines."""
    _prepare(place)
    profile = place.folder / "profile_bench"
    folder = f"--profile-dir={profile}"
    controller = place.spawn(CONTROLLER, "--reuse", "--ip=127.0.0.1", folder, python=python)
    file = profile / "security" / "ipcontroller-engine.json"
    client_file = file.with_name("ipcontroller-client.json")
    place.await_(lambda: file.exists() and client_file.exists(), "a controller")
    engines = [
        place.spawn(ENGINE, f"--file={file}", folder, python=python).pid for _ in range(WORKERS)
    ]
    caller = Caller(place, "ipyparallel", str(client_file), python=python)
    return System(caller, partial(_with_descendants, controller.pid), lambda: engines)


def start_ray(place: Place, python: str, _: str) -> System:
    """All of it is started by its caller."""
    _prepare(place)
    # The path of a socket in there must stay within 107 bytes.
    caller = Caller(place, "ray", str(place.folder / "r"), str(WORKERS), python=python)

    def split(*, workers: bool) -> list[int]:
        found = descendants(caller.process.pid)
        return [each.pid for each in found if _runs_tasks(each) == workers]

    return System(caller, partial(split, workers=False), partial(split, workers=True))


def _runs_tasks(process: psutil.Process) -> bool:
    try:
        name = process.name()
    except psutil.NoSuchProcess:
        return False
    return name.startswith(RAY_PROCESS) and not name.endswith(RAY_AGENT)


def _with_descendants(pid: int) -> list[int]:
    return [pid, *(each.pid for each in descendants(pid))]


def _prepare(place: Place) -> None:
    """Have workers find `benchmarks.work`, everything written into the place, and nobody told."""
    home = str(place.folder)
    place.environment |= {
        "PYTHONPATH": str(ROOT),
        "HOME": home,
        "IPYTHONDIR": str(Path(home) / "ipython"),
        "DASK_CONFIG": home,
        "RAY_USAGE_STATS_ENABLED": "0",
    }


#: Those that need nothing but what palm and these benchmarks need.
OF_THIS_ENVIRONMENT = {
    "palm, ipc": Plan(start_palm, 300_000, 0),
    "palm, tcp + CURVE": Plan(partial(start_palm, tcp=True), 300_000, 0),
    "ProcessPoolExecutor": Plan(
        partial(start_pool, kind="executor"), 10_000, 300_000, fast_options={"chunksize": 1000}
    ),
    "Pool.imap": Plan(
        partial(start_pool, kind="imap"), 30_000, 300_000, fast_options={"chunksize": 1000}
    ),
    "raw relay": Plan(start_relay, 50_000, 0, one_function=True),
}

#: Those with an environment of their own, by its name.
PEERS_SYSTEMS = {
    "Dask": Plan(start_dask, 1_000, 20_000, calls=100, large=60),
    "ipyparallel": Plan(start_ipyparallel, 1_000, 100_000, calls=200, large=60),
    "Ray": Plan(start_ray, 2_000, 100_000, calls=500, large=60),
}
