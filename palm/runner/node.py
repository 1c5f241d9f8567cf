"""The runner: makes what runs on a node equal to what the registry wants of it.

What it starts belongs to the node, not to this process: a runner that dies, however, leaves its
components running, and the next one of the node adopts them. They end when the registry says so.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from palm.errors import ConfigError, PalmError
from palm.registry_api.schema import (
    Assignments,
    NodeJoin,
    ReplicaStatus,
    SignalOrder,
)
from palm.runner.adoption import RunnerLock, left_behind
from palm.runner.code import CodeFolders
from palm.runner.commands import process_spec, remove_kernel_files
from palm.runner.forking import ForkServer
from palm.runner.keeper import Keeper
from palm.runner.local import node_name
from palm.runner.membership import WAIT, Membership
from palm.runner.registry import Registry
from palm.runner.sampling import Running, Sampler
from palm.runner.service import ProcessSupervisor
from palm.runner.sharedkeys import SharedKeys
from palm.runner.signalbook import SignalBook
from palm.runner.sockets import Sockets, own_keys
from palm.runner.statuses import Statuses
from palm.runner.upload import Uploader
from palm.runner.wanted import NodePlan, NodeProcess, stand_in, unstarted
from palm.runtime.folders import Folders, socket_path
from palm.runtime.metrics import Metrics, read_metrics
from palm.runtime.records import live_records
from palm.spec.allow import refusal
from palm.spec.component import ComponentSpec
from palm.spec.names import check_name
from palm.spec.node import NodeConfig
from palm.spec.plan import Step, Wanted, steps
from palm.spec.process import OVER, ProcessSpec, ProcessState

__all__ = ["Node"]

#: Seconds between two looks at what ready components say of themselves.
REFRESH = 2.0
#: Seconds for the last report, and the last output, at the end of a cluster.
LAST_REPORT = 5.0
LAST_OUTPUT = 10.0
#: Seconds for output that is under way when only the runner ends; the next one sends the rest.
PARTING = 1.0

_log = logging.getLogger("palm.runner")


class Node:
    """One node of one cluster.

    Parameters
    ----------
    folders
        Its cluster's; the cluster is known to the registry by the same name.
    registry
        A client; it is used by several threads.
    name
        Of the node.
    wait
        Seconds for which the registry may hold back an answer.
    config
        What there is to say of this machine; by default all is found out.
    forks
        What forks components of ours; whoever made it ends it.
    keys
        Of the cluster, if it is the registry that hands them to this node.
    own_token
        Whether our token is for this node alone: without it, we are none.
    ready
        Called once, when the registry has said for the first time what is to run.

    Raises
    ------
    ConfigError
        There is no host of the address that it says.
    """

    def __init__(
        self,
        folders: Folders,
        registry: Registry,
        name: str = "",
        *,
        wait: float = WAIT,
        config: NodeConfig | None = None,
        forks: ForkServer | None = None,
        ready: Callable[[], None] | None = None,
        keys: SharedKeys | None = None,
        own_token: bool = False,
    ) -> None:
        config = config or NodeConfig()
        self.name = check_name(name or config.name or node_name())
        self.folders = folders
        self._allow = config.allow
        self._sockets = Sockets(folders, self.name, config)
        cluster = folders.cluster
        self._supervisor = ProcessSupervisor(folders.spool, cluster, self.name, forks=forks)
        self._uploader = Uploader(
            folders.spool, lambda pieces: registry.send_output(cluster, pieces)
        )
        self._keeper = Keeper(folders.spool, self._uploader, self._supervisor)
        join = NodeJoin(
            name=self.name,
            address=config.address or os.uname().nodename,
            cores=config.cores or os.cpu_count() or 1,
            labels=config.labels,
            places=config.places,
        )
        self._keys = keys
        self._membership = Membership(registry, cluster, join, self, wait, own_token=own_token)
        self._sampler = Sampler(folders, registry, self._running, lambda: self._membership.place)
        self._signals = SignalBook(folders.state / cluster / f"signals-{self.name}.json")
        self._plan = NodePlan()
        self._code = CodeFolders(
            folders.state / cluster / f"code-{self.name}",
            lambda digest: registry.fetch_code(cluster, digest),
        )
        self._processes: dict[str, NodeProcess] = {}
        #: What is said of processes that cannot start yet.
        self._waiting: dict[str, ReplicaStatus] = {}
        self._statuses = Statuses(folders, self.name)
        # What other threads tell this one, under the condition.
        self._told = threading.Condition()
        self._states: deque[ProcessState] = deque()
        self._orders: deque[tuple[Assignments, bool]] = deque()
        self._dismissal: tuple[str, bool] | None = None
        self._farewell = ""
        #: Whether there is output that the registry has not got, and nobody sends.
        self.owes_output = False
        self._stopping = False
        self._ready = ready

    def run(self) -> None:
        """Be the node until the cluster ends, or `stop`.

        Raises
        ------
        ConfigError
            This node has a runner already.
        """
        lock = RunnerLock(self.folders, self.name)
        lock.acquire()
        try:
            self._run()
        finally:
            lock.release()

    def stop(self) -> None:
        """End the runner, and leave what runs to the next one. Any thread, or a handler, may."""
        self._stopping = True
        with self._told:
            self._told.notify_all()

    def leave(self, reason: str) -> None:
        """End what runs here, send the last of its output, and be no node any more.

        Any thread may.
        """
        with self._told:
            self._farewell = self._farewell or reason
            self._told.notify_all()

    @property
    def is_dismissed(self) -> bool:
        """Whether it was removed from its cluster, or has left it, and not just ended."""
        plan = self._plan
        return (plan.dismissed and not plan.replaced) or plan.leaving

    def metrics(self) -> list[Metrics]:
        """Return what the components of this node have counted; any thread may ask."""
        ours = {process.instance for process in list(self._processes.values())}
        return [each for each in read_metrics(self.folders) if each.instance in ours]

    def _running(self) -> list[Running]:
        """What there is, for the sampler's thread."""
        states = {state.instance: state for state in self._supervisor.states()}
        ours = list(self._processes.values())
        return [(p.spec, states[p.instance]) for p in ours if p.instance in states]

    # Told by other threads

    def assigned(self, assignments: Assignments, fresh: bool) -> None:
        """Take what is to run; see `palm.runner.membership.Orders`."""
        with self._told:
            self._orders.append((assignments, fresh))
            self._told.notify_all()

    def dismissed(self, reason: str, stop: bool) -> None:
        """Take that we are no node any more."""
        with self._told:
            self._dismissal = (reason, stop)
            self._told.notify_all()

    def _changed(self, state: ProcessState) -> None:
        with self._told:
            self._states.append(state)
            self._told.notify_all()

    # The main thread

    def _run(self) -> None:
        unsubscribe = self._supervisor.subscribe(self._changed)
        self._uploader.start(self.folders.cluster, self.name)
        try:
            self._adopt()
            self._membership.start()
            self._sampler.start()
            self._keeper.start()
            while not self._stopping:
                self._work()
                if self._is_over():
                    break
                self._wait()
            self._part()
        finally:
            unsubscribe()
            self._sampler.stop()
            self._keeper.stop()
            self._supervisor.leave()
            self._membership.stop()
            self._uploader.stop()

    def _wait(self) -> None:
        def news() -> bool:
            told = self._states or self._orders or self._dismissal or self._stopping
            return bool(told or (self._farewell and not self._plan.leaving))

        with self._told:
            self._told.wait_for(news, REFRESH)

    def _work(self) -> None:
        with self._told:
            states, self._states = self._states, deque()
            orders, self._orders = self._orders, deque()
            dismissal, self._dismissal = self._dismissal, None
            farewell = self._farewell
        self._statuses.begin_round()
        if dismissal is not None:
            self._plan.dismiss(*dismissal)
        if farewell and not self._plan.leaving:
            self._plan.leave(farewell)
        for state in states:
            self._note(state)
        for assignments, _ in orders:
            self._plan.take(assignments)
            self._sockets.take(assignments)
            if self._keys is not None:
                self._keys.follow(assignments.keys)
            self._take_signals(assignments.signals)
        if orders:
            self._check_adopted()
            self._clear_code()
            if self._ready is not None:
                ready, self._ready = self._ready, None
                ready()
        self._converge()
        if any(fresh for _, fresh in orders):
            self._membership.report_all(list(self._all_statuses()))
        self._refresh()

    def _take_signals(self, orders: list[SignalOrder]) -> None:
        """Send what was not sent before, and tell what became of it."""
        try:
            done = self._signals.take(orders, self._send_signal)
        except (OSError, PalmError) as error:  # they are told again
            _log.warning("signals cannot be written down, and are not sent: %s", error)
            return
        if done:
            self._membership.report_signals(done)

    def _send_signal(self, order: SignalOrder) -> str:
        """Send one; return why that cannot be, else ""."""
        process = self._processes.get(order.name)
        if process is None or process.instance != order.instance:
            return "it runs no more"
        if self._supervisor.state(order.name).pid is None:
            return "it did not run"
        _log.info("sends %s to %s", order.signal, order.instance)
        self._supervisor.signal(order.name, order.signal)
        return ""

    def _is_over(self) -> bool:
        plan = self._plan
        if plan.replaced:
            return True
        return plan.ending and not self._processes and not (self._states or self._orders)

    def _part(self) -> None:
        """Say goodbye, if we are to end for good; else just finish what is under way."""
        plan = self._plan
        if self._stopping or plan.replaced:
            _log.info("the runner ends; what it runs goes on: %d", len(self._processes))
            self._uploader.flush(0.0 if plan.replaced else PARTING)
            return
        if not plan.dismissed:
            self._membership.flush(LAST_REPORT)
        if not self._uploader.flush(PARTING if plan.dismissed else LAST_OUTPUT):
            _log.warning("not all output could be sent; it stays in %s", self.folders.spool)
            self.owes_output = True
        self._clear_cells()
        self._code.keep()
        self._sockets.forget()
        if not plan.dismissed:
            self._membership.leave()
        _log.info("the runner ends: %s", self._farewell or "so does its cluster")

    def _clear_code(self) -> None:
        """Remove code that nothing here runs, or is to run, any more."""
        wanted = [spec.code for spec in self._plan.specs.values() if spec.code is not None]
        running = [text for p in self._processes.values() for text in (p.spec.cwd, *p.spec.argv)]
        self._code.keep(wanted, running)

    def _clear_cells(self) -> None:
        """Remove what notebooks handed to their components: it may be large, or secret."""
        for path in self.folders.cells.iterdir():
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _adopt(self) -> None:
        for spool, state in left_behind(self.folders, self.name):
            spec = state.spec
            if spec is None:
                continue
            process = NodeProcess(spec, spool.instance)
            process.is_adopted = True
            if state.asked:
                process.ask(spec.grace)
            self._processes[spec.name] = process
            self._uploader.add(spool, spec)
            if state.state in OVER and not state.is_running:
                process.is_news = False
                self._uploader.over(spool.instance)
            else:
                _log.info("adopts %s (pid %d)", spec.name, state.pid)
            self._supervisor.adopt(spool, state, partial(self._has_announced, process))
            if state.state == "failed":
                process.last_lines = self._supervisor.last_lines(spec.name)

    def _check_adopted(self) -> None:
        """Replace what was adopted and is not what is wanted, though it seems to be.

        A cluster that was deleted and made again counts its generations anew.
        """
        for name, process in self._processes.items():
            wanted = self._plan.wanted.get(name)
            if process.is_adopted and wanted and wanted.generation == process.spec.generation:
                spec = self._plan.specs[wanted.component]
                named = self._sockets.named_by(spec, wanted.number)
                with suppress(PalmError):
                    found = self._code.find(spec)
                    now = process_spec(
                        found, wanted.number, self.name, self.folders, named.addresses
                    )
                    if not named.waits and not _same(now, process.spec):
                        process.spec = replace(process.spec, generation=-1)
            process.is_adopted = False

    def _has_announced(self, process: NodeProcess) -> bool:
        records = live_records(self.folders)
        return any(record.instance == process.instance for record in records)

    def _converge(self) -> None:
        if not self._plan.is_known:
            return
        states = {state.name: state for state in self._supervisor.states()}
        present = {name: process.present(states.get(name))
                   for name, process in self._processes.items()}  # fmt: skip
        wanted = self._with_sockets(self._plan.wanted)
        for step in steps(wanted, present, self._plan.graces):
            self._do(step, wanted)

    def _with_sockets(self, wanted: dict[str, Wanted]) -> dict[str, Wanted]:
        """Add the addresses that processes are given; those that lack one do not start yet."""
        found, waiting = {}, {}
        for name, each in wanted.items():
            spec = self._plan.specs.get(each.component)
            named = None if spec is None else self._sockets.named_by(spec, each.number)
            if named is not None and not named.waits:
                found[name] = replace(each, sockets=named.addresses)
            elif spec is None or named is None or name in self._processes:
                found[name] = each
            else:
                waiting[name] = self._wait_with(spec, each, named.waits)
        for name in self._waiting.keys() - wanted.keys():
            left = self._waiting[name]
            self._membership.report(msgspec.structs.replace(left, state="stopped", reason=""))
        self._waiting = waiting
        return found

    def _wait_with(self, spec: ComponentSpec, wanted: Wanted, why: str) -> ReplicaStatus:
        """Say once why a process does not start yet."""
        before = self._waiting.get(spec.replica_name(wanted.number))
        if before is not None and before.reason == why:
            return before
        status = unstarted(spec, wanted, "starting", why, time.time())
        _log.info("%s %s", status.name, why)
        self._membership.report(status)
        return status

    def _do(self, step: Step, wanted: dict[str, Wanted]) -> None:
        if step.action == "start":
            self._start(wanted[step.name])
        elif step.action == "stop":
            self._stop_process(step)
        else:
            self._forget(step.name)

    def _start(self, wanted: Wanted) -> None:
        spec = self._plan.specs[wanted.component]
        name = spec.replica_name(wanted.number)
        if name in self._processes:
            self._finish(self._processes[name])
        self._sockets.renew(own_keys(spec.name, wanted.number, wanted.sockets or {}))
        named = self._sockets.named_by(spec, wanted.number)
        if named.waits:  # none is free at the moment: the next look tries again
            self._membership.report(unstarted(spec, wanted, "starting", named.waits, time.time()))
            return
        try:
            self._check_allowed(spec)
            ready = self._code.prepare(spec)
            process = process_spec(ready, wanted.number, self.name, self.folders, named.addresses)
            instance = self._supervisor.start(process)
        except PalmError as error:  # it cannot ever run like this
            failure = unstarted(spec, wanted, "failed", f"cannot be started: {error}", time.time())
            _log.error("%s %s", name, failure.reason)
            self._processes[name] = NodeProcess(stand_in(failure, wanted), failure=failure)
            self._membership.report(failure)
            return
        except OSError as error:  # as a full disk: the next look tries again
            _log.error("%s cannot be started for now: %s", name, error)
            self._membership.report(unstarted(spec, wanted, "backing-off", str(error), time.time()))
            return
        _log.info("starts %s", instance)
        self._processes[name] = NodeProcess(process, instance)
        self._uploader.add(self._supervisor.spool(name), process)

    def _check_allowed(self, spec: ComponentSpec) -> None:
        if why := refusal(spec, self._allow, laid=self._code.is_laid(spec)):
            raise ConfigError(why, key="allow")

    def _stop_process(self, step: Step) -> None:
        process = self._processes[step.name]
        process.ask(process.spec.grace if step.grace is None else step.grace)
        _log.info("stops %s", process.instance)
        self._supervisor.request_stop(step.name, process.grace)

    def _forget(self, name: str) -> None:
        process = self._processes.pop(name)
        self._finish(process)
        self._statuses.forget(name)
        if process.failure is None:
            self._supervisor.discard(name)

    def _finish(self, process: NodeProcess) -> None:
        """Tell the last of a process that is over, and clear away what it may have left."""
        name = process.spec.name
        if process.failure is None and process.is_news:
            self._membership.report(self._statuses.of(process, self._supervisor.state(name)))
        self._uploader.over(process.instance)
        if process.spec.kernel_file:
            sockets = socket_path(self.folders, name, "kernel")
            remove_kernel_files(Path(process.spec.kernel_file), sockets)

    # Reporting

    def _note(self, state: ProcessState) -> None:
        if state.state in OVER:
            self._uploader.over(state.instance)
        process = self._processes.get(state.name)
        if process is not None and process.instance == state.instance:
            if state.state in ("backing-off", "failed"):
                self._look_at_ports(process.spec)
                process.last_lines = self._supervisor.last_lines(state.name)
            elif state.state == "ready":
                process.last_lines = ""
            process.is_news = True
            self._membership.report(self._statuses.of(process, state))

    def _look_at_ports(self, spec: ProcessSpec) -> None:
        """Find other ports for a process that has ended, if somebody else has its own."""
        if self._sockets.renew(own_keys(spec.component, spec.replica, spec.sockets)):
            _log.warning("%s gets other ports: somebody else has its own", spec.name)

    def _all_statuses(self) -> Iterator[ReplicaStatus]:
        states = {state.name: state for state in self._supervisor.states()}
        for name, process in self._processes.items():
            if process.failure is not None:
                yield process.failure
            elif name in states:
                yield self._statuses.of(process, states[name])
        yield from self._waiting.values()

    def _refresh(self) -> None:
        """Report what ready components say of themselves, where that has changed."""
        for state in self._supervisor.states():
            process = self._processes.get(state.name)
            if process is not None and state.state == "ready":
                status = self._statuses.changed(process, state)
                if status is not None:
                    self._membership.report(status)


def _same(one: ProcessSpec, other: ProcessSpec) -> bool:
    # Whichever Python a runner happens to be run by.
    return replace(one, argv=("", *one.argv[1:])) == replace(other, argv=("", *other.argv[1:]))
