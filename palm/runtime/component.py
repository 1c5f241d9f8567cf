"""The life of a component: NEW -> STARTING -> RUNNING -> STOPPING -> STOPPED or FAILED."""

from __future__ import annotations

import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from logging import INFO
from types import FrameType
from typing import Any, ClassVar, Final, Self

from palm._version import __version__
from palm.errors import PalmError
from palm.runtime.folders import Folders
from palm.runtime.lifeline import notify_ready, tie_to_supervisor
from palm.runtime.logs import COMPONENT_FORMAT, new_logger
from palm.runtime.records import (
    ComponentRecord,
    process_start_time,
    publish_record,
    remove_record,
)
from palm.spec.names import check_name

__all__ = ["GRACE", "Component", "Signals", "State"]

#: Seconds that a component has to finish what it does.
GRACE: Final = 5.0

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class State(Enum):
    """Of a component."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Component(ABC):
    """Base of every component: it is opened, serves until it is stopped, and leaves nothing.

    Subclasses implement `_open`, `_serve`, `_request_stop` and `_close`.
    """

    role: ClassVar[str] = ""

    def __init__(self, name: str, log_level: int = INFO) -> None:
        self.name = check_name(name)
        self.state = State.NEW
        self.endpoints: dict[str, str] = {}
        self.instance = os.environ.get("PALM_INSTANCE") or f"{name}.{os.urandom(3).hex()}"
        self.logger = new_logger(name, log_level, COMPONENT_FORMAT)
        self._folders: Folders | None = None
        self._published = False
        self._stop_wanted: float | None = None

    @property
    def folders(self) -> Folders:
        """Where the files of its cluster are."""
        if self._folders is None:
            self._folders = Folders.find()
        return self._folders

    def start(self) -> None:
        """Open, serve until `stop`, SIGTERM or SIGINT, and close; then return."""
        with Signals(self.stop) as signals:
            try:
                self.open()
                signals.wake(self._wakeup_fd())
                tie_to_supervisor(self.stop, GRACE)
                self.serve()
            finally:
                signals.wake(-1)
                self.close()

    def open(self) -> None:
        """Make ready: bound or connecting. On failure nothing is left open.

        Raises
        ------
        ConfigError
            An argument cannot be used.
        TransportError
            An address cannot be bound.
        """
        if self.state is not State.NEW:
            raise PalmError(f"'{self.name}' is {self.state.value}; make a new one")
        self.state = State.STARTING
        try:
            self._open()
        except BaseException:
            self.state = State.FAILED
            self.close()
            raise

    def serve(self) -> None:
        """Serve, in this thread, until stopped."""
        if self.state is State.STARTING:
            self.state = State.RUNNING
        try:
            if self._stop_wanted is not None:  # asked while it was opened
                self._request_stop(self._stop_wanted)
            self._serve()
        except BaseException:
            self.state = State.FAILED
            raise
        self.state = State.STOPPED

    def stop(self, grace: float = GRACE) -> None:
        """Ask it to stop within ``grace`` seconds; any thread may, any number of times."""
        if self.state in (State.STARTING, State.RUNNING):
            self.state = State.STOPPING
        self._stop_wanted = grace
        self._request_stop(grace)

    def close(self) -> None:
        """Let go of all that is open; harmless when nothing is."""
        if self._published:
            self._published = False
            remove_record(self.folders, self.name, self.instance)
        self._close()

    def publish(self, **more: Any) -> None:
        """Tell the others on this host, and the supervisor, that it is ready."""
        pid = os.getpid()
        record = ComponentRecord(
            name=self.name,
            role=self.role,
            instance=self.instance,
            pid=pid,
            start_time=process_start_time(pid) or 0.0,
            endpoints=self.endpoints,
            version=__version__,
            started=datetime.now(UTC).isoformat(timespec="milliseconds"),
            **more,
        )
        publish_record(self.folders, record)
        self._published = True
        notify_ready()

    def _wakeup_fd(self) -> int:
        """Return a descriptor that ends the wait of `_serve` when written to; -1: none."""
        return -1

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _serve(self) -> None: ...

    @abstractmethod
    def _request_stop(self, grace: float) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...


class Signals:
    """While entered in the main thread, SIGTERM and SIGINT call ``stop`` with seconds of grace."""

    def __init__(self, stop: Callable[[float], None]) -> None:
        self._stop = stop
        self._previous: dict[signal.Signals, Any] = {}
        self._seen = 0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def wake(self, fd: int) -> None:
        """Have each signal write to ``fd``: one that comes just before a poll does not end it."""
        if self._previous:
            signal.set_wakeup_fd(fd, warn_on_full_buffer=False)

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._seen += 1
        self._stop(GRACE if self._seen == 1 else 0.0)  # whoever asks twice means it
