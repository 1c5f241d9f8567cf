"""A worker whose functions an executor runs: what it is made of."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Final

from palm.errors import ConfigError, PalmError
from palm.protocol.effects import Invoke, Log, Note, Ready, Reconnect, Reply, Stopped
from palm.protocol.events import LookedUp
from palm.protocol.link import Identity
from palm.protocol.meter import Counts, ended, merged
from palm.protocol.worker import WorkerMachine
from palm.runtime.connecting import Dialer
from palm.runtime.driver import Driver
from palm.runtime.engine import MAX_SLOTS, Engine
from palm.runtime.metrics import Reporter
from palm.runtime.remote import pack_functions
from palm.runtime.shared import SharedValues
from palm.runtime.slots import Slot, SlotLoop
from palm.spec.endpoint import Endpoint, parse_address
from palm.spec.names import check_name
from palm.transport.fan import Fan
from palm.transport.keys import ensure_keys
from palm.transport.zmq import ZmqConnector

if TYPE_CHECKING:
    from palm.servers.worker import Worker

__all__ = ["Outsourced", "check_options"]

#: What a worker of its own process has, and what serves in its place.
_INSTEAD: Final = {
    "messages": "stop the worker instead",
    "max_tasks": "give it to the executor: ProcessPoolExecutor(max_tasks_per_child=...)",
    "max_rss": "limit the executor's processes where they are started",
    "initialize": "give it to the executor: ProcessPoolExecutor(initializer=...)",
}


def check_options(functions: object, options: Mapping[str, object]) -> None:
    """Refuse what concerns the process of a worker: its functions run in others.

    Raises
    ------
    ConfigError
        There are no functions that could travel, or one of the options is not None.
    """
    if functions is None:
        raise ConfigError(
            "an executor cannot run the methods of a Worker, which stays in this process",
            key="executor",
            hint="give functions={...}; of a module or file: leave the class out",
        )
    for key, value in options.items():
        if value is not None:
            raise ConfigError(f"{key} together with an executor", key=key, hint=_INSTEAD[key])


class Outsourced:
    """The slots of a worker, and its executor.

    Parameters
    ----------
    spread
        Each item of what a function returns is a result of its own.
    """

    def __init__(
        self,
        worker: Worker,
        functions: Mapping[str, Callable[[Any], Any]],
        executor: Any,
        slots: int | None,
        *,
        spread: bool,
    ) -> None:
        self._worker = worker
        self._functions = dict(functions)
        self._spread = spread
        self._engine = Engine(executor, slots, worker.logger)
        #: What all slots say of themselves: they are lost together.
        self._process = os.urandom(16)
        self._fan: Fan | None = None
        self._loop: SlotLoop | None = None
        self._reporter: Reporter | None = None
        self._past: list[Counts] = []
        self._grace: float | None = None
        self._is_welcome = False
        self._left = False

    @property
    def wakeup_fd(self) -> int:
        """A descriptor that ends the wait of `serve` when it is written to."""
        return self._fan.wakeup_fd if self._fan is not None else -1

    def open(self, target: str) -> None:
        """Pack the functions; the executor is made ready when it serves.

        Raises
        ------
        ConfigError
            The functions cannot travel to where they are to run.
        """
        try:
            key, packed = pack_functions(self._functions, spread=self._spread)
        except Exception as error:
            raise ConfigError(
                f"the functions cannot be sent to an executor: {type(error).__name__}: {error}",
                hint="they may use no lock, socket or open file of this process",
            ) from error
        worker = self._worker
        self._target = parse_address(target)
        self._key = ensure_keys(worker.folders.keys).worker
        self._fan = fan = Fan()
        self._loop = SlotLoop(
            self._engine, fan, key, packed, self._make, worker.logger, self._report
        )
        self._reporter = Reporter(
            worker.folders, worker.name, worker.role, worker.instance, self._counts, worker.logger
        )

    def serve(self) -> None:
        """Serve in this thread until stopped."""
        if self._loop is None:
            return
        with _OwnSignals():
            slots = self._engine.open()
            if slots and self._grace is None:
                check_name(self._name_of((MAX_SLOTS if self._engine.varies else slots) - 1))
                self._worker.logger.info("%d batches at once", slots)
                self._engine.watch(self._resize)
                self._loop.serve(slots)
        what = "a function"
        if not self._answers():
            self._left, what = True, "the executor"
        in_main = threading.current_thread() is threading.main_thread()
        if self._left and in_main and self._engine.holds_process:
            self._worker._exit_hard(what)

    def _answers(self) -> bool:
        """Wait, within the grace, until the executor has answered what it was asked at first."""
        begun = time.monotonic()
        while not self._engine.answers(within=0.05):
            if time.monotonic() - begun >= (self._grace or 0.0):
                return False
        return True

    def _resize(self, slots: int) -> None:
        if self._loop is not None and slots != self._loop.wanted:
            self._worker.logger.info("the cluster changed: %d batches at once", slots)
            self._loop.resize(slots)

    def stop(self, grace: float) -> None:
        """Stop within ``grace`` seconds; any thread may."""
        self._grace = grace
        self._engine.halt()
        if self._loop is not None:
            self._loop.stop(grace)

    def close(self) -> None:
        """Let go of all of it."""
        if self._loop is not None:
            for slot in self._loop.slots():
                slot.connector.close()
            self._loop = None
        if self._reporter is not None:
            self._reporter.close()
            self._reporter = None
        if self._fan is not None:
            self._fan.close()
            self._fan = None
        self._engine.close(leaves_some=self._left)

    def _name_of(self, number: int) -> str:
        return f"{self._worker.name}-{number}" if number else self._worker.name

    def _make(self, number: int) -> Slot:
        worker, target, fan, loop = self._worker, self._target, self._fan, self._loop
        if fan is None or loop is None:
            raise PalmError(f"worker '{worker.name}' does not run")
        connector = ZmqConnector(self._key, fan.context)
        slot, name = Slot(number, connector), self._name_of(number)
        dialer = Dialer(worker.folders, target, connector)
        server = "" if isinstance(target, Endpoint) else target
        slot.machine = WorkerMachine(
            Identity(
                "worker",
                name,
                os.urandom(16),
                server,
                list(self._functions),
                lease_seconds=self._engine.batch_seconds,
                process=self._process,
            )
        )
        slot.driver = Driver(
            slot.machine,
            connector,
            {
                Invoke: lambda effect: loop.invoke(slot, effect),
                Ready: self._ready,
                Reconnect: lambda effect: loop.post(slot, LookedUp(*dialer.dial())),
                Reply: SharedValues.perform,
                Log: lambda effect: self._log(number, effect),
                Note: lambda effect: worker.logger.warning(effect.text),
                Stopped: lambda effect: self._stopped(slot, effect),
            },
        )
        return slot

    def _ready(self, effect: Ready) -> None:
        if not self._is_welcome:
            self._is_welcome = True
            self._worker._ready(effect)

    def _log(self, number: int, effect: Log) -> None:
        if not number:  # the others would say the same
            self._worker.logger.log(effect.level, effect.text)

    def _stopped(self, slot: Slot, effect: Stopped) -> None:
        slot.over, slot.error = True, effect.error
        self._past = [merged([*self._past, ended(slot.machine.counts())])]
        running = slot.future is not None and not slot.future.done()
        self._left = self._left or (running and self._grace is not None and self._grace < inf)

    def _counts(self) -> Counts:
        slots = self._loop.slots() if self._loop is not None else []
        return merged([*self._past, *(slot.machine.counts() for slot in slots if not slot.over)])

    def _report(self, events: int) -> float:
        return self._reporter.look(events) if self._reporter is not None else inf


class _OwnSignals:
    """While entered, processes that are forked from here end by a signal as any other does.

    They have our handlers, which would have them go on.
    """

    _entered: ClassVar[set[int]] = set()
    _registered: ClassVar[bool] = False

    def __enter__(self) -> None:
        if not _OwnSignals._registered:
            _OwnSignals._registered = True
            os.register_at_fork(after_in_child=_OwnSignals._restore)
        _OwnSignals._entered.add(threading.get_ident())

    def __exit__(self, *exc: object) -> None:
        _OwnSignals._entered.discard(threading.get_ident())

    @classmethod
    def _restore(cls) -> None:
        if threading.get_ident() in cls._entered:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the worker, and it these
