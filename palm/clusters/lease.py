"""Keeping a cluster alive, from a thread: its lease, its registry and its runner."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Sequence

from palm.errors import PalmError, RegistryError
from palm.registry_api.client import Refused, RegistryClient
from palm.runner.background import Background
from palm.runner.local import runner_pid, start_runner
from palm.runner.registry import ensure_registry, read_registry, revive_registry
from palm.runtime.folders import Folders

__all__ = ["LeaseKeeper"]

#: Seconds that a lease lasts, and between two renewals of it.
TTL = 30.0
RENEWAL = 10.0
#: Seconds between two looks at the registry and the runner.
PERIOD = 1.0
#: Seconds until a runner that ended at once is started again.
PAUSE = 5.0
#: Seconds after which a runner did not end at once.
WORKED = 2.0
#: Seconds that the last word to the registry may take: the process is about to end.
PARTING = 2.0


class LeaseKeeper:
    """Holds a lease on a cluster until `release`, or the end of this process.

    Parameters
    ----------
    holder
        Who holds it, for people to read.
    hold
        Whether to hold it at all; else a runner is started where one is needed, and that is all.
    local
        Whether the registry, and a runner for this machine, are ours to start again.
    runners
        One that was started already, if any.
    """

    def __init__(
        self,
        client: RegistryClient,
        folders: Folders,
        holder: str,
        *,
        hold: bool,
        local: bool,
        runners: Sequence[Background] = (),
    ) -> None:
        self._client = client
        self._folders = folders
        self.holder = holder
        self._hold = hold
        #: See ``local``.
        self.local = local
        self._over = threading.Event()
        self._runner = runners[-1] if runners else None
        self._tried = -PAUSE
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = 0
        #: Whether somebody has ended the cluster.
        self.ended = False

    def begin(self) -> None:
        """Take the lease, have a runner started, and keep both from now on.

        To be called again when the cluster has ended, and is to go on.
        """
        if self._hold:
            self._client.lease(self._folders.cluster, self.holder, TTL)
        self.ended = False
        self.ensure_runner()
        if self._hold and self._thread is None:
            self._pid = os.getpid()
            self._thread = threading.Thread(target=self._serve, name="palm-lease", daemon=True)
            self._thread.start()
            atexit.register(self.release)

    def release(self) -> None:
        """Give the lease back: the cluster ends after its linger, unless others hold it."""
        if self._thread is None or self._over.is_set() or self._pid != os.getpid():
            return  # a forked child holds nothing
        atexit.unregister(self.release)
        self._over.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(PARTING)
        if self.is_over:
            return
        try:
            self._client.release(self._folders.cluster, self.holder)
        except RegistryError:
            return  # without renewal it ends by itself

    @property
    def is_over(self) -> bool:
        """Whether the cluster has ended, as far as can be told without asking."""
        return self.ended or (self.local and read_registry(self._folders) is None)

    def ensure_registry(self) -> None:
        """Start the registry, unless it is there: it ends with the last cluster."""
        if self.local:
            ensure_registry(self._folders).close()

    def ensure_runner(self) -> None:
        """Start the runner of this machine, unless it is there."""
        if not self.local:
            return
        with self._lock:
            if runner_pid(self._folders) is not None:
                self._runner = None
            elif self._is_due():
                self._tried = time.monotonic()
                self._runner = start_runner(self._folders)

    def _is_due(self) -> bool:
        runner = self._runner
        if runner is not None and runner.is_running:
            return False
        # One that worked for a while was killed; one that ended at once will do so again.
        worked = runner is not None and runner.ended() - self._tried >= WORKED
        return worked or time.monotonic() - self._tried >= PAUSE

    @property
    def problem(self) -> str:
        """Why there is no runner, as far as it has said so; "" if nothing is wrong."""
        runner = self._runner
        if runner is None or runner.is_running or runner_pid(self._folders) is not None:
            return ""
        return f"the runner ended:\n{runner.log_tail()}"

    # In the thread

    def _serve(self) -> None:
        renewed = time.monotonic()
        while not self._over.wait(PERIOD):
            if self.ended:
                continue
            try:
                if self.local and not self._is_cared_for():
                    continue
                if time.monotonic() - renewed >= RENEWAL:
                    self._renew()
                    renewed = time.monotonic()
            except (PalmError, OSError):
                continue  # the next look may find it better; calls that matter say what is wrong

    def _is_cared_for(self) -> bool:
        """See to registry and runner; say whether the cluster is to go on."""
        record = read_registry(self._folders)
        if record is None:  # it ended on purpose
            self.ended = True
        elif not record.is_running:
            revive_registry(self._folders)
        if not self.ended and runner_pid(self._folders) is None:
            self.ended = self._client.view_cluster(self._folders.cluster).state != "alive"
            if not self.ended:
                self.ensure_runner()
        return not self.ended

    def _renew(self) -> None:
        try:
            self._client.lease(self._folders.cluster, self.holder, TTL, revive=False)
        except Refused as error:
            self.ended = error.code in ("cluster-ended", "no-such-cluster")
            if not self.ended:
                raise
