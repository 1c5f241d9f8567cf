"""A Dask cluster as a pool of nodes: its workers, what runs on them, and asking for more.

Dask is told by what it offers to everybody: a plugin on each worker that is a node, a plugin of
the scheduler which keeps workers in use from being closed by adapting, and tasks that no worker can
take, by which an adaptive cluster sees that more are wanted. The last ends with our connection,
the second a while after it: it may be one that breaks and is soon there again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, Final

from palm._version import __version__
from palm.engines import daskworker
from palm.engines.orders import NodeOrder, NodeReport
from palm.engines.scheduler import Scheduler
from palm.spec.pool import EngineWorker

__all__ = ["DaskPool", "be_prompt", "be_quiet"]

#: Name of the tasks that stand for places, and of the resource which no worker has.
_PLACE: Final = "palm-place"
#: As how long a place is taken: Dask asks for as many threads as there are such tasks.
_TAKEN: Final = "1 day"
#: Seconds in which a scheduler answers a question, however busy it is.
_ANSWER: Final = 10.0
#: In which a scheduler that is there takes a connection.
_CONNECT: Final = "5s"
#: Seconds for a scheduler that does not answer to let us go.
_PARTING: Final = 2.0
#: In which we may connect again before workers in use are closed; a forwarded port breaks at times.
_PATIENCE: Final = 60.0


def be_prompt() -> None:
    """Have this process notice soon that a scheduler is gone; Dask's own 30 s are long."""
    import dask

    dask.config.set({"distributed.comm.timeouts.connect": _CONNECT})


def be_quiet() -> None:
    """Have Dask say nothing of a connection that ends: the provider does, in a line."""
    for name in ("distributed", "distributed.client"):  # Dask gives each a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)


class DaskPool:
    """The workers of one scheduler, for the pool ``name`` of ``cluster``.

    All methods raise `OSError` when the scheduler is gone.
    """

    def __init__(self, scheduler: Scheduler, cluster: str, name: str) -> None:
        self._client = scheduler.connect()
        #: Id of the one that we connected to, once it has said it.
        self._scheduler = ""
        #: Of another cluster's pool of the same name nothing is known here.
        self._plugin = f"palm-{cluster}-{name}"
        self._kept: frozenset[str] | None = None
        self._asked: list[Any] = []

    def workers(self) -> list[EngineWorker]:
        """Return those that there are."""
        # A question to a scheduler that ends just then is never answered.
        identity = self._client.sync(self._client.scheduler.identity, callback_timeout=_ANSWER)
        self._scheduler = self._scheduler or identity["id"]
        if identity["id"] != self._scheduler:
            raise _another()
        return [_worker(address, each) for address, each in identity["workers"].items()]

    def begin(self, address: str, order: NodeOrder) -> str:
        """Have a worker be a node; return why that cannot be, "" if it can."""
        found = self._run(daskworker.begin, [address], order)
        answer = found.get(address, "it is gone")
        if isinstance(answer, BaseException):
            return self._problem(address, answer)
        return str(answer)

    def _problem(self, address: str, error: BaseException) -> str:
        """Say why a worker did not even understand what it was told."""
        there = self._client.run(_asking_version(), workers=[address], on_error="ignore")
        version = there.get(address)
        if version == "":
            return "palm is not in its environment: pip install 'palm-cluster[dask]' there"
        if version is not None and version != __version__:
            return f"palm {version} is there, and {__version__} here: it must be the same"
        return f"{type(error).__name__}: {error}"

    def reports(self, addresses: Iterable[str]) -> dict[str, NodeReport]:
        """Return what workers say of themselves, of those that are nodes."""
        asked = list(addresses)
        found = self._run(daskworker.look, asked) if asked else {}
        return {a: report for a, report in found.items() if isinstance(report, NodeReport)}

    def end(self, addresses: Iterable[str]) -> None:
        """Have workers be nodes no more; returns when their runners have ended."""
        asked = list(addresses)
        if asked:
            self._run(daskworker.end, asked)

    def keep(self, addresses: Collection[str]) -> None:
        """Have adapting close none of these, as long as we are connected, and a while longer."""
        kept = frozenset(addresses)
        if self._kept is None:
            plugin = _keeping(self._client.id, kept, _PATIENCE, {_PLACE: _TAKEN})
            self._client.register_plugin(plugin, name=self._plugin)
        elif kept != self._kept and not self._client.run_on_scheduler(_telling(self._plugin, kept)):
            raise _another()
        self._kept = kept

    def ask(self, places: int) -> None:
        """Have an adaptive cluster see that so many threads are wanted in all."""
        while len(self._asked) > places:
            self._asked.pop().cancel()
        self._asked = [task for task in self._asked if task.status == "pending"]
        for number in range(len(self._asked), places):
            key = f"{_PLACE}-{number}-{self._client.id}"
            task = self._client.submit(int, key=key, resources={_PLACE: 1}, pure=False)
            self._asked.append(task)

    def close(self) -> None:
        """Ask for nothing, keep nothing, and leave the scheduler."""
        self.ask(0)
        if self._kept is not None:
            self._client.unregister_scheduler_plugin(self._plugin)
        self._client.close()

    def drop(self) -> None:
        """Leave a scheduler that does not answer any more."""
        with suppress(OSError):
            self._client.close(timeout=_PARTING)

    def _run(self, function: Callable[..., Any], addresses: list[str], *args: Any) -> Any:
        return self._client.run(function, self._plugin, *args, workers=addresses, on_error="return")


def _worker(address: str, identity: dict[str, Any]) -> EngineWorker:
    return EngineWorker(
        address=address,
        name=str(identity.get("name", address)),
        host=str(identity.get("host", "")),
        threads=int(identity.get("nthreads") or 1),
        memory=int(identity.get("memory_limit") or 0),
        resources=dict(identity.get("resources") or {}),
    )


def _asking_version() -> Callable[[], str]:
    """Return what says which palm a worker has, "" if none; it travels as a whole."""

    def ask() -> str:
        try:
            from palm._version import __version__
        except ImportError:
            return ""
        return __version__

    return ask


def _keeping(user: str, kept: frozenset[str], patience: float, durations: dict[str, str]) -> Any:
    """Return a plugin of the scheduler.

    Its class is made in here so that it travels as a whole: the scheduler may have no palm.
    """
    from time import monotonic

    from distributed import SchedulerPlugin

    class KeepWorkers(SchedulerPlugin):
        """Keeps workers that are nodes in use, and knows how long a place is taken."""

        def __init__(self) -> None:
            self.kept = kept
            self._until = 0.0

        async def start(self, scheduler: Any) -> None:
            """Tell how long tasks that stand for places take."""
            import dask

            known = dask.config.get("distributed.scheduler.default-task-durations")
            found = {**known, **durations}
            dask.config.set({"distributed.scheduler.default-task-durations": found})

        def remove_client(self, scheduler: Any, client: str) -> None:
            """Keep them no longer than this once the one who uses them is gone."""
            if client == user:
                self._until = monotonic() + patience

        def valid_workers_downscaling(self, scheduler: Any, workers: list[Any]) -> list[Any]:
            """Return those that may be closed."""
            if user not in scheduler.clients and monotonic() >= self._until:
                return workers
            return [worker for worker in workers if worker.address not in self.kept]

    return KeepWorkers()


def _telling(plugin: str, kept: frozenset[str]) -> Callable[..., bool]:
    """Return what tells that plugin which workers to keep, and whether it is there.

    It travels as a whole, too.
    """

    def tell(dask_scheduler: Any) -> bool:
        if plugin not in dask_scheduler.plugins:
            return False
        dask_scheduler.plugins[plugin].kept = kept
        return True

    return tell


def _another() -> OSError:
    """Return what says that Dask's client has found a scheduler that knows nothing of us."""
    return ConnectionResetError("another scheduler is at its address")
