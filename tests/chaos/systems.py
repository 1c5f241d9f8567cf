"""The processes that each system is made of."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, Self

from tests.chaos.cluster import ClusterSystem
from tests.chaos.processes import Place, Slot
from tests.chaos.tormentor import Children, Victims

__all__ = ["CLIENTS", "MODULES", "SYSTEMS", "WORKERS", "System"]

WORKERS: Final = 4
CLIENTS: Final = 2

#: What must be installed for each.
MODULES: Final = {
    "palm": "palm",
    "cluster": "palm_registry",
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


class System(AbstractContextManager["System"], Protocol):
    """What is tormented; entered, those of its processes are there that have no slots."""

    #: By how much slower than others it is hit.
    pace: float
    #: Who can be hit.
    roles: frozenset[str]
    #: Places that are ours to fill.
    slots: list[Slot]
    #: Who can be hit and has no slot.
    victims: Victims | None
    #: What is not as promised, beside what the checker of the history finds; and what it measured.
    complaints: list[str]
    figures: dict[str, Any]

    def look(self) -> None:
        """See how all are; called all the time."""

    def end(self) -> None:
        """End all processes, when the clients are through."""


class Slots(System):
    """A system of which all processes have slots, but perhaps workers that clients start."""

    pace = 1.0

    def __init__(self, slots: list[Slot]) -> None:
        self.slots = slots
        self.roles = frozenset({slot.role for slot in slots} | {"worker"})
        clients = [slot for slot in slots if slot.role == "client"]
        has_workers = any(slot.role == "worker" for slot in slots)
        self.victims = None if has_workers else Children(clients)
        self.complaints: list[str] = []
        self.figures: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def look(self) -> None: ...

    def end(self) -> None:
        """End them as a supervisor does, workers before masters."""
        for role in ("client", "worker", "master"):
            chosen = [slot for slot in self.slots if slot.role == role]
            for slot in chosen:
                slot.send(signal.SIGTERM)
            for slot in chosen:
                if not slot.wait(10.0):
                    slot.send(signal.SIGKILL)
                    slot.wait(10.0)


def palm(place: Place) -> list[Slot]:
    """A master and workers, over ipc.

    A client of its own has the jobs of at most once: while a master is killed every few seconds
    they do not end, since each of them waits 10 s for what workers have done before it.
    """
    return [
        Slot("master", "master", lambda _: ["-c", _PALM_MASTER], place),
        *_workers(place, lambda name: lambda n: ["-c", _PALM_WORKER, f"{name}-{n}"]),
        *_palm_clients(place),
    ]


def _palm_clients(place: Place) -> list[Slot]:
    return [*_clients(place, "palm", "any", "ordered"), _client(place, CLIENTS, "palm", "once")]


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


SYSTEMS: Final[dict[str, Callable[[Place], System]]] = {
    "palm": lambda place: Slots(palm(place)),
    "cluster": lambda place: ClusterSystem(place, WORKERS, _palm_clients),
    "dask": lambda place: Slots(dask(place)),
    "ipyparallel": lambda place: Slots(ipyparallel(place)),
    "executor": lambda place: Slots(executor(place)),
}
