"""The one place that knows where processes run: here, as children of this process.

Later the registry and its runner take this place; everything above it stays.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from palm.errors import PalmError
from palm.runner.service import ProcessSupervisor
from palm.runner.spool import Spool, Stream
from palm.runtime.folders import Folders
from palm.spec.process import ProcessSpec, ProcessState

__all__ = ["LocalHost"]

_OVER = ("stopped", "failed")


class LocalHost:
    """Runs a cluster's processes; they end with this process, however it ends."""

    def __init__(self, folders: Folders) -> None:
        self._supervisor = ProcessSupervisor(folders.spool, folders.cluster)

    def start(self, spec: ProcessSpec) -> None:
        """Start a process, unless it runs."""
        state = self.states().get(spec.name)
        if state is None or state.state in _OVER:
            self._supervisor.start(spec)

    def stop(self, names: Sequence[str], grace: float) -> None:
        """End processes, all at the same time; returns when they are gone."""
        known = self.states()
        names = [name for name in names if name in known]
        errors: list[PalmError] = []

        def stop(name: str) -> None:
            try:
                self._supervisor.stop(name, grace)
            except PalmError as error:
                errors.append(error)

        others = [threading.Thread(target=stop, args=(name,), daemon=True) for name in names[1:]]
        for thread in others:
            thread.start()
        for name in names[:1]:
            stop(name)
        for thread in others:
            thread.join()
        if errors:
            raise errors[0]

    def wait_ready(self, names: Iterable[str], timeout: float) -> None:
        """Wait until all are ready, or raise `StartFailed` for the first that is not."""
        deadline = time.monotonic() + timeout
        for name in names:
            self._supervisor.wait_ready(name, max(0.0, deadline - time.monotonic()))

    def states(self) -> dict[str, ProcessState]:
        """What was started here, by name."""
        return {state.name: state for state in self._supervisor.states()}

    def spool(self, name: str) -> Spool:
        """The output of a process that was started here."""
        return self._supervisor.spool(name)

    def tail(self, name: str, stream: Stream, n: int, grep: str | None = None) -> list[str]:
        """The last ``n`` lines of a stream in which ``grep`` is found, safe to show."""
        if name not in self.states():
            return []
        return self.spool(name).tail(stream, n, grep=grep).splitlines()

    def subscribe(self, callback: Callable[[ProcessState], None]) -> Callable[[], None]:
        """Call back, from another thread, with each new state; returns how to end that."""
        return self._supervisor.subscribe(callback)

    def close(self, grace: float) -> None:
        """End everything. Idempotent."""
        self._supervisor.close(grace)
