"""Being a node of a cluster: asking the registry what to run, and telling it what has changed.

Two threads: one waits for assignments (a request that the registry answers when there is
something new), one reports, so that a change is told at once while the other waits. Both go on
where they were when the registry has been away.
"""

from __future__ import annotations

import logging
import random
import threading
from typing import Protocol

from palm.errors import RegistryError
from palm.registry_api.client import Refused
from palm.registry_api.schema import Assignments, Heartbeat, NodeJoin, ReplicaStatus, SignalDone
from palm.runner.registry import Registry

__all__ = ["WAIT", "WAIT_AFAR", "Membership", "Orders"]

#: Seconds that the registry may hold back an answer.
WAIT = 10.0
#: The same for one on another machine: while it holds back an answer, it does not see that this
#: machine has lost its power, since nobody closes the connection.
WAIT_AFAR = 2.0
#: Seconds until a registry that is away is asked again: the first time, and at most.
RETRY_FIRST = 0.1
RETRY_LIMIT = 1.0

_log = logging.getLogger("palm.runner")


class Orders(Protocol):
    """Who is told what the registry wants. Called in threads of the membership."""

    def assigned(self, assignments: Assignments, fresh: bool) -> None:
        """Run these, and nothing else.

        ``fresh``: we have just joined, and `Membership.report_all` is to follow.
        """

    def dismissed(self, reason: str, stop: bool) -> None:
        """We are no node any more; ``stop`` says whether what runs is to end."""


class Membership:
    """One node's place in a cluster."""

    def __init__(
        self,
        registry: Registry,
        cluster: str,
        node: NodeJoin,
        orders: Orders,
        wait: float = WAIT,
        *,
        own_token: bool = False,
    ) -> None:
        self._registry = registry
        self._cluster = cluster
        self._node = node
        self._orders = orders
        self._wait = wait
        #: Whether our token is for this node alone: without it, we are none.
        self._own_token = own_token
        self._id = node.name
        self._known = -1
        self._session = ""
        self._changed = threading.Condition()
        self._reports: dict[str, ReplicaStatus] = {}
        self._full: list[ReplicaStatus] | None = None
        self._done: list[SignalDone] = []
        #: Whether the registry knows all that there was when we joined.
        self._complete = False
        self._sending = False
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._poll, name="palm-poll", daemon=True),
            threading.Thread(target=self._report, name="palm-report", daemon=True),
        ]

    @property
    def place(self) -> tuple[str, str]:
        """The id of the node, and the session that it has; "" while it has none."""
        with self._changed:
            return self._id, self._session

    def start(self) -> None:
        """Join, and begin to ask and to report."""
        for thread in self._threads:
            thread.start()

    def report(self, status: ReplicaStatus) -> None:
        """Tell the registry of a change as soon as possible."""
        with self._changed:
            self._reports[status.name] = status
            self._changed.notify_all()

    def report_signals(self, done: list[SignalDone]) -> None:
        """Tell the registry what became of signals."""
        with self._changed:
            self._done += done
            self._changed.notify_all()

    def report_all(self, statuses: list[ReplicaStatus]) -> None:
        """Tell the registry all there is; what is not among them, it forgets."""
        with self._changed:
            self._full = statuses
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until all was reported; say whether it was."""
        with self._changed:
            return self._changed.wait_for(self._is_told, timeout)

    def leave(self) -> None:
        """Be a node no more."""
        try:
            self._registry.leave(self._cluster, self._id)
        except RegistryError as error:  # it will notice by our silence
            _log.info("left without a word: %s", error)

    def stop(self, timeout: float | None = 0.0) -> None:
        """Ask and report no more; wait for the threads, one of which may hang in a request."""
        self._over.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(timeout)

    # Asking

    def _poll(self) -> None:
        away = _Delay()
        while not self._over.is_set():
            try:
                fresh = not self._session
                if fresh:
                    self._join()
                wait = 0.0 if fresh else self._wait
                beat = Heartbeat(session=self._session, known_generation=self._known, wait=wait)
                answer = self._registry.heartbeat(self._cluster, self._id, beat)
            except Refused as error:
                if not self._follow(error):
                    away.say(f"the registry refuses: {error}")
                self._over.wait(away.next())
            except RegistryError as error:
                away.say(f"the registry is away: {error}")
                self._over.wait(away.next())
            else:
                away.end("the registry is back")
                self._take(answer, fresh)

    def _join(self) -> None:
        joined = self._registry.join(self._cluster, self._node)
        _log.info("joined cluster %s as node %s", self._cluster, joined.id)
        with self._changed:
            self._id, self._session = joined.id, joined.session
            self._known, self._complete = -1, False

    def _take(self, answer: Assignments, fresh: bool) -> None:
        if fresh or answer.generation != self._known:
            self._known = answer.generation
            if not self._over.is_set():
                self._orders.assigned(answer, fresh)

    def _follow(self, error: Refused) -> bool:
        """Do what a refusal means for us; False if it means nothing but that."""
        if error.status == 404 and error.code == "no-such-node":
            self._session = ""
        elif error.status in (404, 410) or (error.status == 401 and self._own_token):
            self._dismiss(str(error), stop=True)
        elif error.status == 409 and error.code == "replaced":
            self._dismiss(str(error), stop=False)
        else:
            return False
        return True

    def _dismiss(self, reason: str, *, stop: bool) -> None:
        self._over.set()
        with self._changed:
            self._changed.notify_all()
        self._orders.dismissed(reason, stop)

    # Reporting

    def _report(self) -> None:
        away = _Delay()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over.is_set() or self._can_report())
                if self._over.is_set():
                    return
                beat = self._next_report()
            try:
                self._registry.heartbeat(self._cluster, self._id, beat)
            except Refused as error:
                # It is the other thread's to see who we are; and what makes no sense to the
                # registry now, never will.
                self._sent(beat, again=error.status != 400)
                away.say(f"a report was refused: {error}")
                self._over.wait(away.next())
            except RegistryError:
                self._sent(beat, again=True)
                self._over.wait(away.next())
            else:
                away.end("")
                self._sent(beat, again=False)

    def _can_report(self) -> bool:
        if not self._session:
            return False
        if self._full is not None:
            return True
        return self._complete and bool(self._reports or self._done)

    def _next_report(self) -> Heartbeat:
        full, self._full = self._full, None
        changed, self._reports = self._reports, {}
        done, self._done = self._done, []
        self._sending = True
        merged = {status.name: status for status in full or ()} | changed
        return Heartbeat(
            session=self._session,
            known_generation=self._known,
            statuses=list(merged.values()),
            full=full is not None,
            signals=done,
        )

    def _sent(self, beat: Heartbeat, *, again: bool) -> None:
        with self._changed:
            self._sending = False
            if again:
                self._done = beat.signals + self._done
                # What was reported since is newer.
                if beat.full:
                    self._full = beat.statuses if self._full is None else self._full
                else:
                    self._reports = {s.name: s for s in beat.statuses} | self._reports
            elif beat.full and beat.session == self._session:
                self._complete = True
            self._changed.notify_all()

    def _is_told(self) -> bool:
        waiting = self._reports or self._full or self._done or self._sending
        return not waiting or self._over.is_set()


class _Delay:
    """How long to wait for a registry that is away; tells of each absence once."""

    def __init__(self) -> None:
        self._next = RETRY_FIRST
        self._said = False

    def next(self) -> float:
        """Seconds until the next try."""
        delay, self._next = self._next, min(RETRY_LIMIT, 2 * self._next)
        return delay * random.uniform(0.75, 1.25)  # noqa: S311 - so that nodes do not come at once

    def say(self, text: str) -> None:
        """Log, unless it was said before."""
        if not self._said:
            _log.warning("%s", text)
            self._said = True

    def end(self, text: str) -> None:
        """Begin anew: it is there."""
        if self._said:
            _log.info("%s", text)
        self._said, self._next = False, RETRY_FIRST
