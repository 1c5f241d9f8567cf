"""An executor that runs the functions of a worker: any `concurrent.futures.Executor`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures import TimeoutError as Late
from logging import Logger
from math import inf
from typing import Any, Final

from palm.errors import ConfigError, PalmError
from palm.runtime.remote import is_there

__all__ = ["MAX_SLOTS", "Engine", "is_loss", "slots_of"]

#: Most batches that one worker has at its executor: each is a link to the master.
MAX_SLOTS: Final = 512

#: Batches at the executor for each of its processes or threads: one runs, one lies ready.
AHEAD: Final = 2

#: A batch takes so many times as long as the way through the executor and back, and no less than
#: so many seconds: a pool costs a millisecond or two of all processes together for each.
BATCH_TRIPS: Final = 30
BATCH_SECONDS: Final = 0.1

#: Tasks that are sent through an executor one after the other: the quickest shows what the way is.
TRIPS: Final = 3

#: Seconds between two looks at how many threads a cluster has.
LOOK_EVERY: Final = 1.0

#: Attempts to make an executor that breaks before it has run anything, and the seconds between
#: them at first; each later pause is twice as long.
ATTEMPTS: Final = 5
FIRST_PAUSE: Final = 0.1

#: Seconds after which it is said that the executor does not answer.
SAY_AFTER: Final = 5.0

#: Seconds that a look at the cluster may last when the worker ends.
WATCHER_WITHIN: Final = 5.0

#: Errors of executors that we do not import: what ran is lost with the process that ran it.
_LOSSES: Final = {
    "KilledWorker",
    "CommClosedError",
    "FutureCancelledError",
    "FuturesCancelledError",
}


def is_loss(error: BaseException) -> bool:
    """Whether an error of an executor says that the process, or the connection to it, is gone.

    Errors of functions come as outcomes: what a future raises is the executor's.
    """
    known = (BrokenExecutor, CancelledError, Late, EOFError, OSError, KeyboardInterrupt)
    return isinstance(error, known) or not _LOSSES.isdisjoint(
        c.__name__ for c in type(error).__mro__
    )


def slots_of(executor: Any) -> int | None:
    """Return how many batches an executor can have at once: some lie ready; None: not known."""
    client = getattr(executor, "_client", None)
    if client is not None and hasattr(client, "nthreads"):  # Dask's
        return AHEAD * int(sum(client.nthreads().values()))
    width = getattr(executor, "_max_workers", None)
    return AHEAD * width if isinstance(width, int) else None


class Engine:
    """An executor, made anew when it is broken.

    Parameters
    ----------
    given
        An executor, or a function without arguments that returns one.
    slots
        Batches that it gets at once; None: as many as keep it busy, by its own account.

    Raises
    ------
    ConfigError
        ``given`` or ``slots`` cannot be used.
    """

    def __init__(self, given: Any, slots: int | None, logger: Logger) -> None:
        if slots is not None and not 1 <= slots <= MAX_SLOTS:
            raise ConfigError(f"slots={slots}", key="slots", hint=f"1 to {MAX_SLOTS}")
        is_executor = callable(getattr(given, "submit", None)) and not isinstance(given, type)
        if not (is_executor or callable(given)):
            hint = "a concurrent.futures.Executor, or a function without arguments that returns one"
            raise ConfigError(f"executor={given!r} is no executor", key="executor", hint=hint)
        self._executor: Any = given if is_executor else None
        self._make = _remaker(given) if is_executor else given
        #: Whoever gave the executor itself closes it, too.
        self._is_ours = not is_executor
        self._slots = slots
        self._logger = logger
        self._halted = threading.Event()
        self._watcher: threading.Thread | None = None
        #: What it has not answered yet of what it was asked to see whether it runs anything.
        self._asked: Future[Any] | None = None
        #: Work that a batch should hold, seconds.
        self.batch_seconds = BATCH_SECONDS

    @property
    def may_run_again(self) -> bool:
        """Whether it runs a task again when its process is lost, without being asked."""
        return hasattr(self._executor, "_client")

    @property
    def varies(self) -> bool:
        """Whether its slots are as many as it has threads, and those come and go."""
        return self._slots is None and self.may_run_again

    @property
    def knows_begun(self) -> bool:
        """Whether only tasks can be cancelled that did not begin."""
        return not self.may_run_again

    @property
    def holds_process(self) -> bool:
        """Whether what goes on in it keeps this process from ending, and `close` cannot end it.

        Python joins the threads of an executor at its end; who gave the executor closes it.
        """
        return self._is_ours and not self.may_run_again and not self._processes()

    def open(self) -> int:
        """Make it ready; return its slots, 0 if it was halted before.

        A cluster without workers is waited for.

        Raises
        ------
        ConfigError
            It does not say how many tasks it runs at once, or palm is not where they run.
        PalmError
            It breaks each time that it is made.
        """
        if not self._ready():
            return 0
        slots = self._slots or slots_of(self._executor)
        if slots is None:
            text = f"{type(self._executor).__name__} does not say how many tasks it runs at once"
            raise ConfigError(text, key="slots", hint="say so: Worker(..., slots=8)")
        return _bounded(slots)

    def watch(self, changed: Callable[[int], object]) -> None:
        """Call ``changed``, in a thread, with the slots of a cluster when they are others.

        Not where a number of slots was given, nor where it cannot change.
        """
        if self.varies:
            self._watcher = threading.Thread(
                target=self._watch, args=(changed,), name="palm-cluster-size", daemon=True
            )
            self._watcher.start()

    def _watch(self, changed: Callable[[int], object]) -> None:
        last: int | None = None
        while not self._halted.wait(LOOK_EVERY):
            try:
                slots = slots_of(self._executor)
            except Exception as error:  # noqa: BLE001 - whatever Dask raises without a scheduler
                self._logger.debug("nobody says how many threads the cluster has: %s", error)
                continue
            if slots is None or slots == last:
                continue
            if not slots:
                self._logger.warning("the cluster has no workers; waiting for one")
            last = slots
            changed(_bounded(slots))

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have something run; raises as executors do that are broken or closed."""
        future: Future[Any] = self._executor.submit(function, *args)
        return future

    def renew(self) -> bool:
        """Make it anew if it is broken; False: it was halted. Raises as `open` does."""
        why = self._broken()
        if not why:
            return not self._halted.is_set()
        if self._make is None:
            text = f"the executor is broken ({why}) and cannot be made again here"
            hint = "give a function that makes it: Worker(executor=lambda: ...)"
            raise ConfigError(text, key="executor", hint=hint)
        self._logger.warning("the executor is broken; making a new one")
        self._discard()
        return self._ready()

    def _broken(self) -> str:
        """Say why it is broken; of one that is not, nothing."""
        if self.may_run_again:  # a cluster mends itself, as long as its scheduler is there
            return "" if self._has_scheduler() else "its scheduler is gone"
        try:
            self._executor.submit(is_there)
        except (BrokenExecutor, RuntimeError) as error:  # the latter where it was closed
            return str(error) or type(error).__name__
        return ""

    def _has_scheduler(self) -> bool:
        """Wait while a client connects anew; return whether it is connected."""
        client = self._executor._client
        while (status := getattr(client, "status", "running")) == "connecting":
            if self._halted.wait(0.1):
                return True
        return bool(status == "running")

    def answers(self, within: float) -> bool:
        """Wait so many seconds for an answer that it owes; return whether it owes none."""
        if self._asked is None or self.may_run_again:  # what a cluster runs is not in our way
            return True
        return bool(wait([self._asked], within).done)

    def halt(self) -> None:
        """End waiting for it; any thread may."""
        self._halted.set()

    def close(self, *, leaves_some: bool = False) -> None:
        """Let go of it; with ``leaves_some`` tasks go on that nobody wants."""
        self.halt()
        if self._asked is not None:
            self._asked.cancel()
        if self._is_ours and self._executor is not None:
            processes = self._processes()
            self._discard()
            for process in processes if leaves_some else ():
                process.terminate()
        if self._watcher is not None:
            self._watcher.join(WATCHER_WITHIN)

    def _processes(self) -> list[Any]:
        """Return the processes of a pool."""
        return list((getattr(self._executor, "_processes", None) or {}).values())

    def _discard(self) -> None:
        executor, self._executor = self._executor, None
        self._is_ours = True
        try:
            executor.shutdown(wait=False)
        except Exception as error:  # noqa: BLE001 - it may be broken in any way
            self._logger.debug("the executor was not shut down: %s", error)

    def _ready(self) -> bool:
        """Make an executor, unless there is one, and see that it runs something."""
        pause = FIRST_PAUSE
        for _ in range(ATTEMPTS):
            if self._executor is None and self._make is not None:
                self._executor = self._make()
            try:
                return self._try()
            except Exception as error:
                if not is_loss(error) or self._make is None:
                    raise self._unusable(error) from error
                self._logger.warning("the executor breaks before it has run anything: %s", error)
            self._discard()
            if self._halted.wait(pause):
                return False
            pause *= 2
        raise PalmError(f"the executor was made {ATTEMPTS} times, and broke each time")

    def _try(self) -> bool:
        """Have it run something, and learn how long that takes; False: it was halted."""
        if self.may_run_again and not slots_of(self._executor):
            self._logger.warning("the cluster has no workers yet; waiting for the first")
        if not self._is_there():
            return False
        self.batch_seconds = max(BATCH_SECONDS, BATCH_TRIPS * self._trip())
        return True

    def _trip(self) -> float:
        """Return the seconds that the way to it and back takes, while nothing else is on it."""
        quickest = inf
        for _ in range(TRIPS):
            begun = time.monotonic()
            if not self._is_there():
                return 0.0
            quickest = min(quickest, time.monotonic() - begun)
        return quickest

    def _is_there(self) -> bool:
        """Have it run next to nothing; False: it was halted before that was done."""
        self._asked = future = self._executor.submit(is_there)
        waited = 0.0
        while not self._halted.is_set():
            try:
                there = bool(future.result(timeout=0.1))
            except Late:
                if future.done():
                    raise
                if _is_forsaken(self._executor):
                    raise BrokenExecutor("its thread has ended") from None
                waited += 0.1
                if SAY_AFTER <= waited < SAY_AFTER + 0.1:
                    self._logger.warning("the executor does not answer yet; waiting for it")
            else:
                self._asked = None
                return there
        return False

    def _unusable(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"the executor cannot run what palm gives it: {type(error).__name__}: {error}",
            key="executor",
            hint="where it runs, install the same palm-cluster, under the same Python",
        )


def _is_forsaken(executor: Any) -> bool:
    """Whether the thread that feeds an executor is gone: futures of mpi4py's never hear of it."""
    thread = getattr(getattr(executor, "_pool", None), "thread", None)
    return isinstance(thread, threading.Thread) and not thread.is_alive()


def _bounded(slots: int) -> int:
    """Return how many slots a worker has of so many: a cluster without workers may get some."""
    return min(max(slots, 1), MAX_SLOTS)


def _remaker(executor: Any) -> Callable[[], Any] | None:
    """Return what makes an executor like the one given; None: nobody knows how."""
    if type(executor) is not ProcessPoolExecutor:
        return None
    pool: Any = executor
    try:
        width, context = pool._max_workers, pool._mp_context
        initializer, initargs = pool._initializer, pool._initargs
    except AttributeError:  # of another version of Python
        return None
    return lambda: ProcessPoolExecutor(width, context, initializer, initargs)
