"""The processes that each system is made of."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from tests.chaos.processes import Place, Slot

__all__ = ["CLIENTS", "MODULES", "SYSTEMS", "WORKERS"]

WORKERS: Final = 4
CLIENTS: Final = 2

#: What must be installed for each.
MODULES: Final = {
    "palm": "palm",
    "dask": "distributed",
    "ipyparallel": "ipyparallel",
    "executor": "concurrent.futures",
}

_PALM_MASTER = "from palm.servers import Master; Master('foo').start()"
_PALM_WORKER = """
import sys
from palm.servers import Worker
from tests.chaos.work import work
Worker(sys.argv[1], master="foo", functions={"work": work}).start()
"""


def palm(place: Place) -> list[Slot]:
    """A master and workers, over ipc.

    A client of its own has the jobs of at most once: while a master is killed every few seconds
    they do not end, since each of them waits 10 s for what workers have done before it.
    """
    return [
        Slot("master", "master", lambda _: ["-c", _PALM_MASTER], place),
        *_workers(place, lambda name: lambda n: ["-c", _PALM_WORKER, f"{name}-{n}"]),
        *_clients(place, "palm", "any", "ordered"),
        _client(place, CLIENTS, "palm", "once"),
    ]


def dask(place: Place) -> list[Slot]:
    """A scheduler and workers of one thread; who ends is started again by us, not by a nanny."""
    port = _free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = "distributed.cli.dask_scheduler"
    worker = "distributed.cli.dask_worker"
    master = ["-m", scheduler, "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
    options += ["--local-directory", str(place.folder / "dask")]
    return [
        Slot("master", "master", lambda _: master, place),
        *_workers(place, lambda _: lambda _: ["-m", worker, address, *options]),
        *_clients(place, "dask", address),
    ]


def ipyparallel(place: Place) -> list[Slot]:
    """A controller, whose schedulers are processes that it starts, and engines."""
    profile = place.folder / "ipython" / "profile_chaos"
    security = profile / "security"
    master = ["-m", "ipyparallel.controller", "--reuse", "--ip=127.0.0.1"]
    master += [f"--profile-dir={profile}"]
    engine_file = security / "ipcontroller-engine.json"
    engine = ["-m", "ipyparallel.engine", f"--file={engine_file}", f"--profile-dir={profile}"]
    return [
        Slot("master", "master", lambda _: master, place, group=True),
        *_workers(place, lambda _: lambda _: engine),
        *_clients(place, "ipyparallel", str(security / "ipcontroller-client.json")),
    ]


def executor(place: Place) -> list[Slot]:
    """Clients, each of which has workers of its own; there is nothing in between."""
    return _clients(place, "executor", str(WORKERS // CLIENTS))


def _workers(place: Place, command: Callable[[str], Callable[[int], list[str]]]) -> list[Slot]:
    names = [f"worker-{number}" for number in range(WORKERS)]
    return [Slot("worker", name, command(name), place) for name in names]


def _clients(place: Place, *system: str) -> list[Slot]:
    return [_client(place, number, *system) for number in range(CLIENTS)]


def _client(place: Place, number: int, *system: str) -> Slot:
    def command(n: int) -> list[str]:
        return ["-m", "tests.chaos.client", str(n * (CLIENTS + 1) + number), *system]

    return Slot("client", f"client-{number}", command, place)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


SYSTEMS: Final[dict[str, Callable[[Place], list[Slot]]]] = {
    "palm": palm, "dask": dask, "ipyparallel": ipyparallel, "executor": executor,
}  # fmt: skip
