"""The worker: runs the functions that it serves for a master."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from logging import INFO
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from palm.errors import ConfigError, PalmError
from palm.naming import asking
from palm.protocol.effects import Invoke, Log, Note, Ready, Reconnect, Reply, Stopped
from palm.protocol.events import StopRequested
from palm.protocol.link import Identity
from palm.protocol.worker import WorkerMachine
from palm.runtime.cache import Cache
from palm.runtime.component import Component
from palm.runtime.connecting import Dialer
from palm.runtime.driver import Driver
from palm.runtime.executor import Executor
from palm.runtime.functions import FunctionTable
from palm.runtime.guard import Guard, Runs
from palm.runtime.lifeline import is_supervised, notify_ready
from palm.runtime.limits import TimeLimit
from palm.runtime.memory import resident_size
from palm.runtime.metrics import Reporter
from palm.runtime.records import live_records, read_record
from palm.runtime.shared import SharedValues
from palm.runtime.workerloop import WorkerLoop
from palm.spec.endpoint import Endpoint, parse_address
from palm.spec.exits import START_AGAIN
from palm.transport.keys import ensure_keys
from palm.transport.zmq import ZmqConnector

if TYPE_CHECKING:
    from palm.servers.outsourced import Outsourced

__all__ = ["MuxWorker", "Worker"]


class _Interrupted(BaseException):
    """Ends `Worker.initialize` when the worker is to stop."""


class Worker(Component):
    """Runs functions for a master: the public methods of its subclass, or ``functions``.

    Each takes one argument, the payload, and returns the result. A function may be run more than
    once for one message: when a worker dies, others do its work again.

    Parameters
    ----------
    name
        Its own name; without one it gets one that nobody else has.
    db_address, push_address, pull_address
        An address of the master, or its name; one is enough, the first given counts.
    messages
        Stop after so many messages (None: never).
    master
        The name or an address of the master. Without it and without an address: the variable
        ``PALM_MASTER``, a master of the worker's own name, or the only master of the cluster.
    functions
        What to serve, by name.
    initialize
        Called once, before it serves; a subclass may define the method instead.
    executor
        What runs the functions in place of this process: a `concurrent.futures.Executor`, or a
        function that returns one. It needs ``functions``; `initialize`, ``messages``,
        ``max_tasks`` and ``max_rss`` are of this process, and refused.
    slots
        Batches that the executor has at once; None: as many as keep it busy, by its own account,
        and more or fewer when a Dask cluster grows or shrinks.
    max_tasks, max_rss
        After so many messages, or with more memory (bytes) than that, it takes nothing more,
        gives back what it has not begun and ends, for a supervisor to start it again.
    """

    role: ClassVar[str] = "worker"

    def __init__(
        self,
        name: str = "",
        db_address: str = "",
        push_address: str | None = None,
        pull_address: str | None = None,
        log_level: int = INFO,
        messages: int | None = None,
        *,
        master: str | None = None,
        functions: Mapping[str, Callable[[Any], Any]] | None = None,
        executor: Any = None,
        slots: int | None = None,
        initialize: Callable[[], object] | None = None,
        max_tasks: int | None = None,
        max_rss: int | None = None,
    ) -> None:
        self.uuid = str(uuid4())
        super().__init__(name or self.uuid, log_level)
        numbers = {"messages": messages, "max_tasks": max_tasks, "max_rss": max_rss}
        for key, number in numbers.items():
            if number is not None and number < 1:
                raise ConfigError(f"{key}={number}", hint="a positive number, or None")
        self._target = master or db_address or pull_address or push_address or ""
        self._messages = messages
        self._max_tasks = max_tasks
        self._max_rss = max_rss
        self._initializer = initialize
        self._initializing = False
        #: What `initialize` raised.
        self.initialize_error: Exception | None = None
        own = FunctionTable.of(self, _base(type(self)))
        self._table: FunctionTable | None = own if functions is None else FunctionTable(functions)
        self._outsourced: Outsourced | None = None
        if executor is not None:
            self._outsourced = self._outsource(functions, executor, slots)
        elif slots is not None:
            raise ConfigError("slots without an executor", hint="give executor=, too")
        self._connector: ZmqConnector | None = None
        self._dialer: Dialer | None = None
        self._guard: Guard | None = None
        self._loop: WorkerLoop | None = None
        self._reporter: Reporter | None = None
        self._values: SharedValues | None = None
        self._error: PalmError | None = None
        self._exits = False
        self._retired = False

    @property
    def functions(self) -> list[str]:
        """The names of what it serves."""
        return self._table.names() if self._table is not None else []

    def initialize(self) -> None:
        """Override to make ready what the functions need; called once, before it serves.

        It may take long. What it raises ends the worker.
        """
        if self._initializer is not None:
            self._initializer()

    def start(self) -> None:
        """Open, serve until `stop`, SIGTERM or SIGINT, and close; then return.

        Where a supervisor is to start it again, after ``max_tasks`` or ``max_rss``, this raises
        `SystemExit` with a code that tells it so.
        """
        super().start()
        in_main = threading.current_thread() is threading.main_thread()
        if self._retired and is_supervised() and in_main:
            raise SystemExit(START_AGAIN)

    def set(self, value: Any, key: str | None = None) -> str:
        """Keep a value at the master; return its key, a new one if none is given."""
        return self._shared().set(value, key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value that is kept at the master, or ``default``."""
        return self._shared().get(key, default)

    def delete(self, key: str) -> bool:
        """Delete a value at the master; return whether it was there."""
        return self._shared().delete(key)

    @property
    def cache(self) -> Cache:
        """The values that are kept at the master, as a mapping."""
        return Cache(self._shared())

    def _shared(self) -> SharedValues:
        if self._values is None:
            raise PalmError(f"worker '{self.name}' does not run")
        return self._values

    def _open(self) -> None:
        if not self.functions:
            raise ConfigError(
                f"worker '{self.name}' has nothing to serve",
                hint="define public methods in a subclass of Worker, or give functions={...}",
            )
        if self._outsourced is not None:
            self._outsourced.open(self._target or self._default_master())
            return
        if not self._prepare():
            return
        target = parse_address(self._target or self._default_master())
        server = "" if isinstance(target, Endpoint) else target
        key = ensure_keys(self.folders.keys).worker
        self._connector = connector = ZmqConnector(key)
        self._dialer = dialer = Dialer(
            self.folders, target, connector, asking(self.folders, "worker")
        )
        identity = Identity("worker", self.name, os.urandom(16), server, self.functions)
        machine = WorkerMachine(identity, self._messages, self._max_tasks)
        driver = Driver(
            machine,
            connector,
            {
                Invoke: lambda effect: loop.invoke(effect),
                Ready: self._ready,
                Reconnect: lambda effect: loop.post(dialer.look()),
                Reply: SharedValues.perform,
                Log: self._log,
                Note: self._note,
                Stopped: lambda effect: self._stopped(effect, machine.retired),
            },
        )
        self._reporter = Reporter(
            self.folders, self.name, self.role, self.instance, machine.counts, self.logger
        )
        self._guard = guard = Guard(
            self._table_of(),
            driver,
            connector.wake,
            self._max_rss,
            self.logger,
            self.close,
            self._make_executor,
            lambda last: self._report(driver.events, last),
            dialer.follow,
        )
        self._loop = loop = guard.loop
        self._values = SharedValues(guard.wait_for)
        driver.perform(machine.start(driver.clock()))

    def _prepare(self) -> bool:
        """Call `initialize`; return whether to go on."""
        try:
            try:
                self._initializing = True
                self.initialize()
            finally:
                self._initializing = False
        except _Interrupted:
            return False
        except Exception as error:
            self.initialize_error = error
            raise
        if self._max_rss is not None and resident_size() >= self._max_rss:
            raise ConfigError(
                f"worker '{self.name}' has {resident_size():,} bytes of memory before its first"
                " message",
                key="max_rss",
                hint=f"more than {self._max_rss:,}",
            )
        return True

    def _outsource(
        self, functions: Mapping[str, Callable[[Any], Any]] | None, executor: Any, slots: int | None
    ) -> Outsourced:
        """Return what has an executor run the functions."""
        from palm.servers.outsourced import Outsourced, check_options  # for few, and slow to load

        own = {"messages": self._messages, "max_tasks": self._max_tasks, "max_rss": self._max_rss}
        starts = type(self).initialize is not Worker.initialize or self._initializer is not None
        check_options(functions, {**own, "initialize": starts or None})
        return Outsourced(
            self, functions or {}, executor, slots, spread=isinstance(self, MuxWorker)
        )

    def _make_executor(self, functions: FunctionTable, limit: TimeLimit) -> Runs:
        """Return what runs the functions: they need not be in this process."""
        return Executor(functions, limit)

    def _table_of(self) -> FunctionTable:
        return self._table if self._table is not None else FunctionTable({})

    def _default_master(self) -> str:
        from_environment = os.environ.get("PALM_MASTER")
        if from_environment:
            return from_environment
        masters = [r.name for r in live_records(self.folders) if r.role in ("master", "hub")]
        if self.name in masters:
            return self.name
        if len(masters) == 1:
            return masters[0]
        running = ", ".join(masters) or "none"
        raise ConfigError(
            f"worker '{self.name}' does not know its master",
            key="master",
            hint=f"give master=NAME or an address; masters that run: {running}",
        )

    def _serve(self) -> None:
        if self._outsourced is not None:
            self._outsourced.serve()
            return
        self._exits = threading.current_thread() is threading.main_thread()
        if self._loop is not None:
            self._loop.serve()
        if self._error is not None:
            raise self._error
        if self._retired:
            what = "to be started again" if is_supervised() else "and nobody starts it again"
            self.logger.info("retired, %s", what)

    def _wakeup_fd(self) -> int:
        if self._outsourced is not None:
            return self._outsourced.wakeup_fd
        return self._connector.wakeup_fd if self._connector is not None else -1

    def _request_stop(self, grace: float) -> None:
        if self._initializing and threading.current_thread() is threading.main_thread():
            self._initializing = False
            raise _Interrupted
        if self._outsourced is not None:
            self._outsourced.stop(grace)
        if self._loop is not None:
            self._loop.post(StopRequested(grace))

    def _report(self, events: int, last: bool) -> None:
        """Tell others what was counted, unless another worker has its name."""
        if self._reporter is None or not self._published:
            return
        if last:
            self._reporter.flush(events)
        else:
            self._reporter.look(events)

    def _close(self) -> None:
        if self._outsourced is not None:
            self._outsourced.close()
        if self._loop is not None:
            self._loop.finish()  # it may never have served
        if self._reporter is not None:
            self._reporter.close()
            self._reporter = None
        if self._dialer is not None:
            self._dialer.close()
            self._dialer = None
        if self._connector is not None:
            self._connector.close()
            self._connector = None

    def _ready(self, effect: Ready) -> None:
        """Let others see for whom it works, unless another worker has its name."""
        # A server has addresses for others, too: a socket of its own machine is none for us.
        address = self._dialer.address if self._dialer is not None else ""
        self.logger.info("Got worker push address: %s", address)
        self.logger.info("Got worker pull address: %s", address)
        other = read_record(self.folders, self.name)
        if other is None or other.instance == self.instance:
            self.publish(functions=self.functions, master=effect.name)
        else:
            self.logger.warning(
                "a %s of this name runs already (pid %d): this worker cannot be listed",
                other.role,
                other.pid,
            )
            notify_ready()

    def _log(self, effect: Log) -> None:
        self.logger.log(effect.level, effect.text)

    def _note(self, effect: Note) -> None:
        self.logger.warning(effect.text)

    def _stopped(self, effect: Stopped, retired: bool) -> None:
        self._error, self._retired = effect.error, retired
        ending = self._guard is not None and self._guard.ending
        if self._loop is not None and self._loop.finish() and self._exits and not ending:
            self._exit_hard()

    def _exit_hard(self, what: str = "a function") -> None:
        """End the process: ``what`` did not end in time, and nothing else ends it."""
        self.logger.error("%s did not end in time; leaving it behind", what)
        self.close()
        os._exit(1)


class MuxWorker(Worker):
    """A worker whose functions have any number of results: each item of what they return.

    Any worker may have generators among its functions, whose results are what they yield; here a
    function may also return a list, or any other iterable. Text, bytes and mappings are one
    result, None is none.
    """

    def _table_of(self) -> FunctionTable:
        return super()._table_of().spread()


def _base(kind: type) -> type:
    """Return the class of ours below which the functions of a worker are defined."""
    return MuxWorker if issubclass(kind, MuxWorker) else Worker
