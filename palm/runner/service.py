"""Keeps processes running: the driver around the pure rules of `palm.runner.supervisor`.

One thread owns every process. It waits, in one selector, for exits (by pidfd where the system
has them), for ready pipes and for requests of other threads. All rules are in the machines.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from palm.errors import ConfigError, PalmError
from palm.runner.aftermath import Aftermath
from palm.runner.entry import Entry
from palm.runner.forking import ForkServer
from palm.runner.limitwatch import LimitWatch
from palm.runner.process import AdoptedProcess, Process, signal_name, spawn
from palm.runner.readiness import Look, Probe, look_for
from palm.runner.spool import Spool, SpoolState, make_spool
from palm.runner.supervisor import (
    Effect,
    Event,
    Exited,
    LimitExceeded,
    Ready,
    Signal,
    Spawn,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopRequested,
    Tick,
)
from palm.runner.watch import Watcher
from palm.spec.names import nearest
from palm.spec.process import ProcessSpec, ProcessState, State

__all__ = ["ProcessSupervisor"]

#: Seconds that a caller waits for a stop beyond the grace: after SIGKILL only the kernel is slow.
_MARGIN = 10.0

Subscriber = Callable[[ProcessState], None]
_log = logging.getLogger("palm.runner")


@dataclass(slots=True)
class _Watch:
    """Effect of an adoption: watch a process that runs, and one that does not yet say ready."""

    process: AdoptedProcess
    look: Look | None


@dataclass(slots=True)
class _Bury:
    """Effect of an adoption: a process ended while nobody looked; see to what is left of it."""

    run: int


class ProcessSupervisor:
    """Starts processes, keeps them running and ends them; safe to use from any thread.

    Whatever ends this process, kill -9 included, ends the children too, unless it keeps them for
    a node. The thread starts with the first process.

    Parameters
    ----------
    spool
        Folder of the spools, `Folders.spool`.
    cluster
        Name of the cluster that the components belong to; goes into the spool.
    node
        If given, the processes outlive us, to be adopted by the next supervisor of that node.
    forks
        What forks components of ours; whoever made it ends it.
    """

    def __init__(
        self,
        spool: Path,
        cluster: str = "default",
        node: str = "",
        *,
        forks: ForkServer | None = None,
    ) -> None:
        self._root = spool
        self._cluster = cluster
        self._node = node
        self._forks = forks
        self._changed = threading.Condition(threading.RLock())
        self._entries: dict[str, Entry] = {}
        self._effects: deque[tuple[Entry, Effect | _Watch | _Bury]] = deque()
        self._news: deque[ProcessState] = deque()
        self._subscribers: list[Subscriber] = []
        self._thread: threading.Thread | None = None
        self._watcher: Watcher | None = None
        self._aftermath = Aftermath()
        self._woke = 0.0
        self._limits = LimitWatch()
        self._closing = False
        self._leaving = False

    def start(self, spec: ProcessSpec) -> str:
        """Start a process and return the name of its instance at once; see `wait_ready`.

        A process of that name that has ended is forgotten; one that runs is a `ConfigError`.
        """
        with self._changed:
            self._check_startable(spec.name)
            spool = make_spool(
                self._root, spec.name, role=spec.role, cluster=self._cluster, node=self._node,
                spec=spec if self._node else None,
            )  # fmt: skip
            entry = Entry(spec, spool)
            self._entries[spec.name] = entry
            self._ensure_thread()
            self._handle(entry, StartRequested())
            return spool.instance

    def adopt(self, spool: Spool, state: SpoolState, announced: Look) -> None:
        """Go on with what an earlier supervisor of this node started, or saw end.

        ``announced`` looks whether it is ready, if it says so itself: its way to tell us is gone
        with the earlier supervisor.
        """
        if state.spec is None:
            raise PalmError(f"{spool.instance} does not say how it was started")
        entry = Entry(state.spec, spool)
        was, runs = cast("State", state.state), state.is_running
        entry.run, entry.started = 1, state.started
        entry.machine.adopt(
            was, state.pid if runs else None, time.monotonic(), reason=state.reason,
            exit=state.exit, restarts=state.restarts, asked=state.asked,
        )  # fmt: skip
        with self._changed:
            self._check_startable(state.name)
            self._entries[state.name] = entry
            self._ensure_thread()
            if runs:
                look = look_for(entry.spec.ready, spool, since=0) or announced
                self._effects.append(
                    (entry, _Watch(AdoptedProcess(state), look if was == "starting" else None))
                )
                # An earlier one that was killed may have suspended it.
                self._effects.append((entry, Signal(entry.run, "SIGCONT")))
                self._wake()
            elif was in ("starting", "ready", "stopping"):
                self._effects.append((entry, _Bury(entry.run)))
                self._wake()

    def wait_ready(self, name: str, timeout: float | None = None) -> None:
        """Wait until a process is ready.

        Raises
        ------
        StartFailed
            It ended, or could not be started, or - if it has never been ready - one attempt
            failed (others may follow); or ``timeout`` (default: that of the spec) seconds went
            by, which changes nothing for the process.
        """
        with self._changed:
            entry = self._entry(name)
            limit = entry.spec.ready_timeout if timeout is None else timeout
            if not self._wait_for(lambda: entry.is_decided, limit):
                raise entry.too_slow(limit)
            if entry.machine.state != "ready":
                raise entry.failure()

    def request_stop(self, name: str, grace: float | None = None) -> None:
        """Have a process stopped; returns at once, `subscribe` and `state` tell when it is."""
        with self._changed:
            self._ask_to_stop(self._entry(name), grace)

    def stop(self, name: str, grace: float | None = None) -> None:
        """End a process and all that it started; returns when that is gone.

        It gets SIGTERM, with its group, and what it leaves behind gets it then. What is there after
        ``grace`` seconds (of its spec, if None) gets SIGKILL, wherever it went.
        """
        with self._changed:
            self._stop_all([self._entry(name)], grace)

    def stop_all(self, grace: float | None = None, names: Iterable[str] | None = None) -> None:
        """End all processes, or those named, at the same time; returns when they are gone."""
        with self._changed:
            chosen = list(self._entries) if names is None else list(names)
            self._stop_all([self._entry(name) for name in chosen], grace)

    def restart(self, name: str, grace: float | None = None) -> None:
        """End a process and start it again at once, in the same spool; see `wait_ready`."""
        with self._changed:
            entry = self._entry(name)
            self._handle(entry, StopRequested(grace))
            entry.saved.asked = False
            self._handle(entry, StartRequested())

    def signal(self, name: str, signal: str) -> None:
        """Send a signal, as "SIGHUP", to a process and what it started; none if it does not run."""
        with self._changed:
            entry = self._entry(name)
            if entry.machine.pid is not None:
                self._effects.append((entry, Signal(entry.machine.run, signal)))
                self._wake()

    def pause(self, name: str, instance: str, reason: str) -> None:
        """Suspend a process and what it started, if it runs and is still that instance.

        It goes on when it is told to stop, with `resume`, and when we `leave` it to another.
        """
        with self._changed:
            entry = self._entries.get(name)
            same = entry is not None and entry.spool.instance == instance
            if same and entry is not None and entry.pause(reason, time.monotonic()):
                self._suspend(entry, "SIGSTOP")

    def resume(self, name: str, instance: str) -> None:
        """Let a process go on that was suspended by `pause`."""
        with self._changed:
            entry = self._entries.get(name)
            same = entry is not None and entry.spool.instance == instance
            if same and entry is not None and entry.resume(time.monotonic()):
                self._suspend(entry, "SIGCONT")

    def _suspend(self, entry: Entry, signal: str) -> None:
        self._effects.append((entry, Signal(entry.machine.run, signal)))
        self._news.append(entry.state())
        self._wake()

    def discard(self, name: str) -> None:
        """Forget a process that has ended; its spool stays."""
        with self._changed:
            entry = self._entry(name)
            if not entry.is_over:
                raise ConfigError(f"{name} runs", hint="stop it first")
            del self._entries[name]
            if not entry.saved.asked:  # nobody is to think that it should be left as it is
                entry.saved.asked = True
                entry.save()

    def state(self, name: str) -> ProcessState:
        """The state of one process; a name never started is a `ConfigError`."""
        with self._changed:
            return self._entry(name).state()

    def states(self) -> list[ProcessState]:
        """The states of all processes, in the order of their starts."""
        with self._changed:
            return [entry.state() for entry in self._entries.values()]

    def last_lines(self, name: str) -> str:
        """The last of the error output of a process's latest run."""
        with self._changed:
            entry = self._entry(name)
        return entry.last_lines()

    def spool(self, name: str) -> Spool:
        """The output of a process."""
        with self._changed:
            return self._entry(name).spool

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` with each new state, from the supervisor's thread and in order.

        It must return soon. One that raises is logged and not called again. Returns a function
        that ends the subscription.
        """
        with self._changed:
            self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            with self._changed, contextlib.suppress(ValueError):
                self._subscribers.remove(subscriber)

        return unsubscribe

    def close(self, grace: float | None = None) -> None:
        """End all processes and the thread. Idempotent; nothing can be started afterwards."""
        with self._changed:
            self._closing = True
            thread, self._thread = self._thread, None
            for entry in self._entries.values():
                self._ask_to_stop(entry, grace)
            self._wake()
        self._join(thread)

    def leave(self) -> None:
        """End the thread, and leave the processes of a node to its next supervisor."""
        if not self._node:
            raise PalmError("processes that belong to no node end with their supervisor")
        with self._changed:
            self._closing = self._leaving = True
            thread, self._thread = self._thread, None
            for entry in self._entries.values():
                if entry.resume(time.monotonic()):  # there may be no next one
                    self._suspend(entry, "SIGCONT")
            self._wake()
        self._join(thread)

    def _join(self, thread: threading.Thread | None) -> None:
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    # Below: with the lock held.

    def _check_startable(self, name: str) -> None:
        if self._closing:
            raise PalmError("this supervisor is closed")
        if name in self._entries and not self._entries[name].is_over:
            pid = self._entries[name].machine.pid
            raise ConfigError(
                f"a component named {name!r} already runs" + (f" (pid {pid})" if pid else ""),
                hint="stop it first, or replace it",
            )

    def _entry(self, name: str) -> Entry:
        if name in self._entries:
            return self._entries[name]
        meant = nearest(name, self._entries)
        raise ConfigError(
            f"no component named {name!r} was started here",
            hint=f"did you mean {meant!r}?" if meant else None,
        )

    def _stop_all(self, entries: list[Entry], grace: float | None) -> None:
        for entry in entries:
            self._ask_to_stop(entry, grace)
        limit = max((e.spec.grace if grace is None else grace for e in entries), default=0.0)
        if not self._wait_for(lambda: self._all_over(entries), limit + _MARGIN):
            left = ", ".join(f"{e.spec.name} (pid {e.machine.pid})" for e in entries
                             if not e.is_over)  # fmt: skip
            raise PalmError(f"did not end, even after SIGKILL: {left}")

    def _ask_to_stop(self, entry: Entry, grace: float | None) -> None:
        if not entry.is_over:
            entry.saved.asked = True
        self._handle(entry, StopRequested(grace))

    def _handle(self, entry: Entry, event: Event) -> None:
        """Feed one event; the thread performs what follows from it."""
        before, deadline = entry.state(), entry.machine.next_deadline
        effects = entry.machine.handle(event, time.monotonic())
        if entry.machine.state == "stopping":  # SIGTERM lets it go on
            entry.paused = ""
        self._effects.extend((entry, effect) for effect in effects)
        after = entry.state()
        if before != after:
            entry.save()
            self._news.append(after)
        if effects or before != after or deadline != entry.machine.next_deadline:
            self._changed.notify_all()
            self._wake()

    def _ensure_thread(self) -> None:
        if self._thread is None:
            self._watcher = Watcher()
            self._thread = threading.Thread(target=self._serve, name="palm-supervisor", daemon=True)
            self._thread.start()

    def _wake(self) -> None:
        if self._watcher is not None and threading.current_thread() is not self._thread:
            self._watcher.wake()

    def _all_over(self, entries: Iterable[Entry]) -> bool:
        return all(entry.is_over for entry in entries)

    def _wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a subscriber cannot wait: it runs in the supervisor's thread")
        return self._changed.wait_for(condition, timeout)

    # Below: in the supervisor's thread, without the lock but for short looks.

    def _serve(self) -> None:
        watcher = self._watcher
        assert watcher is not None  # noqa: S101 - for the type checker
        while not self._is_finished():
            if not self._work(watcher):
                watcher.wait(self._timeout())
                self._tick()
                self._look_at_remains()
                self._look_at_limits()
        with self._changed:
            self._watcher = None
            for entry in self._entries.values():
                entry.stop_probe()
                if entry.process is not None:
                    entry.process.release()
        watcher.close()

    def _is_finished(self) -> bool:
        with self._changed:
            if self._leaving:
                return not self._effects
            busy = self._effects or self._news or not self._all_over(self._entries.values())
            return self._closing and not busy

    def _work(self, watcher: Watcher) -> bool:
        """Perform what the machines asked for and pass on the news; say whether any was there."""
        with self._changed:
            effects, self._effects = self._effects, deque()
            news, self._news = self._news, deque()
            self._woke = time.monotonic()
            subscribers = list(self._subscribers)
        for entry, effect in effects:
            self._perform(watcher, entry, effect)
        for state in news:
            self._tell(subscribers, state)
        return bool(effects or news)

    def _timeout(self) -> float | None:
        with self._changed:
            deadlines = [e.next_deadline for e in self._entries.values()]
        deadlines += [self._aftermath.next_look(), self._limits.next_look()]
        first = min((each for each in deadlines if each is not None), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    def _tick(self) -> None:
        now = time.monotonic()
        with self._changed:
            for entry in self._entries.values():
                deadline = entry.next_deadline
                if deadline is not None and now >= deadline:
                    self._handle(entry, Tick())

    def _perform(self, watcher: Watcher, entry: Entry, effect: Effect | _Watch | _Bury) -> None:
        if isinstance(effect, Spawn):
            self._report(entry, self._spawn(watcher, entry, effect.run))
        elif isinstance(effect, _Watch):
            self._watch(watcher, entry, effect.process, effect.look)
        elif isinstance(effect, _Bury):
            self._aftermath.bury(entry)
            self._gone(entry, effect.run, None)
        else:
            self._aftermath.signal(entry, effect, self._woke)

    def _spawn(self, watcher: Watcher, entry: Entry, run: int) -> Event:
        entry.run = run
        entry.stderr_start = entry.spool.size("stderr")
        try:
            look = look_for(entry.spec.ready, entry.spool)
            process = spawn(entry.spec, entry.spool, tied=not self._node, forks=self._forks)
        except (OSError, ValueError, ConfigError) as error:
            return SpawnFailed(run, f"could not be started: {error}")
        with self._changed:
            entry.note_start(process)
            self._limits.add(entry)
        self._watch(watcher, entry, process, look)
        return Spawned(run, process.pid)

    def _watch(
        self, watcher: Watcher, entry: Entry, process: Process | AdoptedProcess, look: Look | None
    ) -> None:
        run = entry.run
        entry.process = process
        if look is not None:  # else, or if it is to be looked at too, it may say so itself
            process.close_ready()
            entry.probe = Probe(look, lambda: self._report(entry, Ready(run)))
        watcher.add(
            process,
            on_ready=lambda: self._report(entry, Ready(run)),
            on_exit=lambda code: self._on_exit(entry, run, code),
            on_end=lambda: self._aftermath.begin(entry, process, watcher.woke),
        )

    def _on_exit(self, entry: Entry, run: int, code: int | None) -> None:
        if not self._aftermath.holds_up(entry, run, code):
            self._gone(entry, run, code)

    def _look_at_remains(self) -> None:
        """Tell that a run is over of which nothing is left."""
        for entry, run, code in self._aftermath.take_over():
            self._gone(entry, run, code)

    def _look_at_limits(self) -> None:
        """End what uses more than it may."""
        with self._changed:
            entries = list(self._entries.values())
        for entry, reason in self._limits.look(entries):
            self._report(entry, LimitExceeded(entry.run, reason))

    def _gone(self, entry: Entry, run: int, code: int | None) -> None:
        with self._changed:
            entry.note_exit(code)
            self._handle(entry, Exited(run, code, signal_name(code or 0)))

    def _report(self, entry: Entry, event: Event) -> None:
        with self._changed:
            self._handle(entry, event)

    def _tell(self, subscribers: list[Subscriber], state: ProcessState) -> None:
        for subscriber in subscribers:
            try:
                subscriber(state)
            except Exception:  # noqa: BLE001 - whatever it is, the processes must not suffer
                _log.exception("a subscriber to process states failed and is dropped")
                with self._changed, contextlib.suppress(ValueError):
                    self._subscribers.remove(subscriber)
