"""A cluster of named components on this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from palm.clusters.component import Change, Component
from palm.clusters.declaration import Declaration
from palm.clusters.local import LocalHost
from palm.clusters.source import CellSource, prune_pushed, pushed_path
from palm.clusters.status import ComponentStatus, ProcessStatus, Status
from palm.errors import ConfigError
from palm.runner.spool import Stream
from palm.runtime.folders import Folders
from palm.runtime.records import ComponentRecord, is_running, live_records
from palm.spec.names import nearest
from palm.spec.process import ProcessState

if TYPE_CHECKING:
    from palm.clients import Client

__all__ = ["Cluster"]


class Cluster:
    """Starts components and knows how they are; ``cluster[name]`` is one of them.

    What it starts ends with this process. Components of the same cluster that others started
    (in a shell, in another notebook) show in `status` and can be stopped by name.

    Parameters
    ----------
    name
        Name of the cluster; ``PALM_CLUSTER``, else "default".
    folders
        Where its files are; found by the environment.
    """

    def __init__(self, name: str | None = None, *, folders: Folders | None = None) -> None:
        self.folders = folders or Folders.find(cluster=name)
        self.host = LocalHost(self.folders)
        self._components: dict[str, Component] = {}
        self._starting = threading.RLock()
        prune_pushed(self.folders)

    @property
    def name(self) -> str:
        """Name of the cluster."""
        return self.folders.cluster

    # Components

    def start(
        self,
        role: str,
        name: str,
        target: str | CellSource | None = None,
        *,
        replicas: int = 1,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        kernel: bool = False,
        node: str | None = None,
        replace: bool = False,
    ) -> Component:
        """Start a component and return at once; `Component.wait_ready` waits.

        What runs already and was asked for in the same way is returned as it is. If it was asked
        for differently, it is stopped and the new one started in its place.

        Parameters
        ----------
        role
            "master" or "worker".
        target
            What a worker serves: ``module``, ``module:Class``, ``file.py[:Class]`` or the source
            of a cell.
        args
            Further arguments of its command, such as ``("--master", "foo")``.
        env, cwd
            Additions to this process's environment; the folder it runs in, by default ours.
        replace
            Start it anew even if nothing changed, and stop what others run under its name.

        Raises
        ------
        ConfigError
            The name is taken, by another role here or by a process of someone else's, or an
            argument cannot be used.
        """
        if kernel or node is not None:
            what = "kernel=True" if kernel else "node="
            raise ConfigError(f"{what} is not available yet", hint="components run as processes")
        declared = Declaration(
            role, name, target, replicas, tuple(args), dict(env or {}), cwd
        )  # fmt: skip
        with self._starting:
            return self._start(declared, replace)

    def _start(self, declared: Declaration, replace: bool) -> Component:
        self._check_names(declared)
        old = self._components.get(declared.name)
        running = old is not None and bool(old.pids)
        if old is not None and running and old.declared == declared and not replace:
            old.change = Change("kept", declared, old.functions)
            self._launch(declared)  # a replica that had given up gets another chance
            return old
        change = Change("started")
        if old is not None and running:
            change = Change("replaced", old.declared, old.functions)
            self.host.stop(old.declared.instances, grace=5.0)
        self._clear_names(declared, replace)
        component = Component(self, declared, change)
        self._components[declared.name] = component
        if old is not None:
            self._forget_pushed(old)
        self._launch(declared)
        return component

    def _launch(self, declared: Declaration) -> None:
        for spec in declared.processes(self.folders):
            self.host.start(spec)

    def __getitem__(self, name: str) -> Component:
        component = self._components.get(name)
        if component is None:
            raise self._unknown(name)
        return component

    def __contains__(self, name: object) -> bool:
        return name in self._components

    def __iter__(self) -> Iterator[Component]:
        return iter(list(self._components.values()))

    def __len__(self) -> int:
        return len(self._components)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._components)

    def _unknown(self, name: str) -> ConfigError:
        known = {*self._components, *self.records()}
        close = nearest(name, known)
        if close:
            hint = f"did you mean {close!r}?"
        elif known:
            hint = f"there is {', '.join(sorted(known))}"
        else:
            hint = "nothing was started yet"
        return ConfigError(f"no component is named {name!r}", hint=hint)

    # Looking

    def status(self) -> Status:
        """All components at this moment, those that others started included."""
        records = self.records()
        states = self.host.states()
        own = [self._own_status(c, states, records) for c in self]
        mine = {process.name for status in own for process in status.processes}
        foreign = [_foreign(record) for name, record in records.items() if name not in mine]
        return Status(self.name, time.time(), (*own, *foreign))

    def component_status(self, name: str) -> ComponentStatus:
        """One component started here."""
        return self._own_status(self[name], self.host.states(), self.records())

    def records(self) -> dict[str, ComponentRecord]:
        """What running processes of this cluster say of themselves, by name."""
        return {record.name: record for record in live_records(self.folders)}

    def client(self, name: str, **options: Any) -> Client:
        """A client of the server or master of this name."""
        from palm.clients import Client  # a notebook that only looks needs no sockets

        return Client(name, **options)

    def output(
        self, process: str, stream: Stream, offset: int, limit: int
    ) -> tuple[str, int, bytes]:
        """What a process that was started here wrote, as (instance, offset, bytes).

        A negative ``offset`` counts from the end. A name that is started anew gets another
        instance, whose output begins at 0 again; a restart by the supervisor keeps it.
        """
        spool = self.host.spool(process)
        start = max(0, spool.size(stream) + offset) if offset < 0 else offset
        return spool.instance, start, spool.read(stream, start, limit)

    def logs(
        self, name: str, n: int = 100, stream: Stream | None = None, grep: str | None = None
    ) -> str:
        """The last lines of a component, or of one of its processes; see `Component.logs`."""
        if name not in self._components and name in self.host.states():
            return self.host.spool(name).logs(n, stream, grep).rstrip("\n")
        return self[name].logs(n, stream, grep)

    def subscribe(self, callback: Callable[[ProcessState], None]) -> Callable[[], None]:
        """Call back, from another thread, when a process changes its state."""
        return self.host.subscribe(callback)

    def _own_status(
        self,
        component: Component,
        states: Mapping[str, ProcessState],
        records: Mapping[str, ComponentRecord],
    ) -> ComponentStatus:
        declared = component.declared
        processes = tuple(
            ProcessStatus.of(states[name]) for name in declared.instances if name in states
        )
        pids = {process.pid for process in processes}
        functions: dict[str, None] = {}
        master = declared.master
        for name in declared.instances:
            record = records.get(name)
            if record is not None and record.pid in pids:
                functions |= dict.fromkeys(record.functions)
                master = record.master or master
        # Between two runs nobody says what is served; it is what was served before.
        component.served = tuple(functions) or component.served
        over = all(process.state == "stopped" for process in processes)
        desired = 0 if over else declared.replicas
        return ComponentStatus(
            declared.name, declared.role, desired, processes, component.served, master
        )

    # Stopping

    def stop(self, *names: str, grace: float = 5.0) -> None:
        """End components by name, those of others included, and wait until they are gone."""
        records = self.records()
        for name in names:
            if name not in self._components and name not in records:
                raise self._unknown(name)
        own = [self._components[name] for name in names if name in self._components]
        instances = [i for component in own for i in component.declared.instances]
        others = [records[name] for name in names if name not in self._components]
        self.host.stop(instances + [r.name for r in others], grace)
        for component in own:
            self._forget_pushed(component)
        mine = self.host.states()
        _end([record for record in others if record.name not in mine], grace)

    def stop_all(self, grace: float = 5.0) -> None:
        """End all that was started here, workers before masters."""
        for role in ("worker", "master"):
            self.stop(*(c.name for c in self if c.role == role), grace=grace)

    def restart(self, name: str) -> None:
        """Stop a component and start it as it was; does not wait until it is ready."""
        component = self[name]
        with self._starting:
            self.host.stop(component.declared.instances, grace=5.0)
            component.change = Change("started")
            self._launch(component.declared)

    def scale(self, name: str, replicas: int) -> None:
        """Change the number of replicas; those that stay are not touched."""
        component = self[name]
        declared = component.declared.scaled(replicas)
        with self._starting:
            surplus = set(component.declared.instances) - set(declared.instances)
            self.host.stop(sorted(surplus), grace=5.0)
            component.declared = declared
            self._launch(declared)

    def close(self, grace: float = 5.0) -> None:
        """End all that was started here; nothing can be started afterwards. Idempotent."""
        self.host.close(grace)
        for component in self:
            self._forget_pushed(component)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self.status())

    # Names

    def _check_names(self, declared: Declaration) -> None:
        """Two components here may not get in each other's way."""
        old = self._components.get(declared.name)
        if old is not None and old.role != declared.role:
            raise ConfigError(
                f"{declared.name!r} is a {old.role} here, and cannot be a {declared.role} too",
                hint="choose another name",
            )
        wanted = set(declared.instances)
        for other in self:
            clash = wanted & set(other.declared.instances)
            if other.name != declared.name and clash and other.pids:
                raise ConfigError(
                    f"{min(clash)!r} is a process of {other.name!r} already",
                    hint="choose another name",
                )

    def _clear_names(self, declared: Declaration, replace: bool) -> None:
        """Processes of others under our names: refuse, or end them if told to."""
        records = self.records()
        taken = [records[name] for name in declared.instances if name in records]
        mine = {state.pid for state in self.host.states().values()}
        taken = [record for record in taken if record.pid not in mine]
        if not taken:
            return
        if replace:
            _end(taken, grace=5.0)
            return
        first = taken[0]
        since = first.started.partition(".")[0].replace("T", " ")
        raise ConfigError(
            f"a {first.role} named {first.name!r} already runs, started elsewhere"
            f" (pid {first.pid}, since {since} UTC)",
            hint="use it as it is, stop it, choose another name, or replace it (--replace)",
        )

    def _forget_pushed(self, component: Component) -> None:
        """Remove the values pushed to a component that is over."""
        target = component.declared.target
        if not isinstance(target, CellSource) or not target.pushed:
            return
        others = [c.declared.target for c in self if c is not component and c.pids]
        if any(isinstance(o, CellSource) and o.pushed == target.pushed for o in others):
            return
        pushed_path(self.folders, target).unlink(missing_ok=True)


def _foreign(record: ComponentRecord) -> ComponentStatus:
    process = ProcessStatus(record.name, "ready", record.pid, started=record.start_time)
    return ComponentStatus(
        record.name,
        record.role,
        desired=0,
        processes=(process,),
        functions=tuple(record.functions),
        master=record.master,
        own=False,
    )


def _end(records: Sequence[ComponentRecord], grace: float) -> None:
    """SIGTERM, and SIGKILL after the grace, to processes that are not our children."""
    for name, limit in (("SIGTERM", grace), ("SIGKILL", 5.0)):
        left = [record for record in records if _runs(record)]
        for record in left:
            with suppress(ProcessLookupError):
                os.kill(record.pid, signal.Signals[name])
        deadline = time.monotonic() + limit
        while any(map(_runs, left)) and time.monotonic() < deadline:
            time.sleep(0.02)  # not our children: nothing to wait on but their end


def _runs(record: ComponentRecord) -> bool:
    return is_running(record.pid, record.start_time, record.identity)
