"""A cluster of named components, as its registry knows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from palm.clusters.code import code_of_target, sending_code
from palm.clusters.component import Change, Component
from palm.clusters.declaration import Declaration, own_environment
from palm.clusters.files import ClusterFile, Diff, gave_up, put_file, try_again
from palm.clusters.lease import LeaseKeeper
from palm.clusters.load import FIRST, Observer
from palm.clusters.output import Line, read_lines, select_output, shown
from palm.clusters.pools import add_pool, remove_pool
from palm.clusters.readiness import Readiness
from palm.clusters.source import CellSource, pushed_path
from palm.clusters.status import ComponentStatus, Status, cluster_status
from palm.errors import ConfigError, PalmError
from palm.registry_api import schema
from palm.registry_api.client import Refused, RegistryClient
from palm.runner.ending import end_processes
from palm.runner.spool import Stream
from palm.runtime.folders import Folders
from palm.runtime.records import ComponentRecord, live_records
from palm.spec.names import nearest
from palm.spec.order import Dependent, stop_waves
from palm.spec.process import OVER
from palm.spec.signals import parse_signal

if TYPE_CHECKING:
    import pandas

    from palm.clients import Client
    from palm.registry_api.live import LiveFeed

__all__ = ["Cluster"]

#: Seconds between two looks at components that are to end.
_POLL = 0.01
#: Seconds for a stop beyond its grace.
_MARGIN = 10.0
#: States in which a process may be running.
_LIVING = ("starting", "ready", "stopping", "backing-off", "unknown")


class Cluster:
    """Starts components and knows how they are; ``cluster[name]`` is one of them.

    Made by `palm.up` and `palm.connect`. Components belong to the cluster, not to this process:
    they go on without it, for as long as the cluster's leases and its linger say. Components
    that somebody started in a shell show in `status`, and can be stopped by name.
    """

    def __init__(
        self,
        client: RegistryClient,
        folders: Folders,
        *,
        keeper: LeaseKeeper,
        owner: str,
        runner: Callable[[], Mapping[str, str]],
        down: Callable[[float], None],
    ) -> None:
        self.registry = client
        self.folders = folders
        self._keeper = keeper
        self._readiness = Readiness(client, folders.cluster, lambda: keeper.problem)
        self._owner = owner
        self._runner = runner
        self._down = down
        self._known: dict[str, Component] = {}
        self._starting = threading.RLock()

    @property
    def name(self) -> str:
        """Name of the cluster."""
        return self.folders.cluster

    @property
    def ended(self) -> bool:
        """Whether somebody has ended it, as far as is known here; `start` has it go on."""
        return self._keeper.ended

    @property
    def is_local(self) -> bool:
        """Whether its registry, and a runner for this machine, are ours to start."""
        return self._keeper.local

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
        labels: Mapping[str, str] | None = None,
    ) -> Component:
        """Start a component and return at once; `Component.wait_ready` waits.

        What runs already and was asked for in the same way is returned as it is, whoever asked.
        If it was asked for differently, the new one takes its place.

        Parameters
        ----------
        role
            "master", "worker", "server", "hub", "pipeline" or "sink".
        target
            What it serves, unless it is a master or a hub: ``module``, ``module:Class``,
            ``file.py[:Class]`` or the source of a cell.
        args
            Further arguments of its command, such as ``("--master", "foo")`` of a worker, or
            ``("--previous", "foo")`` of what takes the results of another component.
        env, cwd
            Additions to this process's environment; the folder it runs in, by default ours.
        kernel
            Run it in an ipykernel, which `Component.connection_file` leads into.
        node
            The node that runs it; any that has room for it by default.
        replace
            Start it anew even if nothing changed, and stop what runs under its name in a shell.
        labels
            Labels that a node must have to run it, such as ``{"engine": "dask"}``.

        Raises
        ------
        ConfigError
            The name is taken, or an argument cannot be used.
        RegistryError
            The registry cannot be asked.
        """
        declared = Declaration(
            role,
            name,
            target,
            replicas,
            tuple(args),
            dict(env or {}),
            cwd,
            kernel,
            node or "",
            dict(labels or {}),
        )
        with self._starting:
            if self._keeper.is_over:
                self._revive()
            else:
                self._keeper.ensure_runner()
            try:
                return self._start(declared, replace)
            except Refused as error:
                if error.code not in ("cluster-ended", "no-such-cluster"):
                    raise
            self._revive()
            return self._start(declared, replace)

    def _start(self, declared: Declaration, replace: bool) -> Component:
        before = self._find(declared.name)
        self._check_role(declared, before)
        spec = declared.spec(self.folders, self._owner, own_environment(self._runner()))
        self._clear_names(spec, before, replace)
        self._check_node(declared.node)
        spec.code = code_of_target(declared, spec, self.folders.cells)
        codes = {spec.name: spec.code} if spec.code else {}
        now = sending_code(
            self.registry, self.name, codes, lambda: self.registry.declare(self.name, spec)
        )
        component = self._known.get(declared.name) or Component(self, spec.name, spec.role)
        component.change = self._change(component, before, now)
        if component.change.kind == "kept" and (replace or gave_up(now)):
            now = self.registry.restart(self.name, declared.name)
            kind = "replaced" if replace else "started"
            component.change = self._change(component, before, now, kind)
        self._forget_pushed(component, declared)
        component.declared, component.generation = declared, now.generation
        component.over = _over(before)
        self._known[declared.name] = component
        return component

    def _change(
        self,
        component: Component,
        before: schema.ComponentStatus | None,
        now: schema.ComponentStatus,
        kind: str = "",
    ) -> Change:
        if before is None or not before.desired:
            return Change("started")
        if not kind:
            kept = before.generation == now.generation and before.desired == now.desired
            kind = "kept" if kept else "replaced"
        return Change(kind, component.declared, tuple(before.functions), before.desired)

    def _find(self, name: str) -> schema.ComponentStatus | None:
        try:
            return self.registry.component(self.name, name)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def _ensure_alive(self) -> None:
        """Have the cluster go on, if it has ended, and a runner to run what is wanted."""
        if self._keeper.is_over or self.registry.view_cluster(self.name).state != "alive":
            self._revive()
        else:
            self._keeper.ensure_runner()

    def _revive(self) -> None:
        self._keeper.ensure_registry()
        self.registry.create_cluster(self.name)
        self._keeper.begin()

    def __getitem__(self, name: str) -> Component:
        if name not in self._known:
            found = self._find(name)
            if found is None:
                raise self._unknown(name)
            component = Component(self, found.name, found.role)
            component.generation = found.generation
            self._known[name] = component
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def __iter__(self) -> Iterator[Component]:
        return iter([self[found.name] for found in self.registry.components(self.name)])

    def __len__(self) -> int:
        return len(self.registry.components(self.name))

    def _ipython_key_completions_(self) -> list[str]:
        return [found.name for found in self.registry.components(self.name)]

    @property
    def started(self) -> tuple[str, ...]:
        """Names of the components that were started, or found again, from here."""
        return tuple(name for name, component in self._known.items() if component.declared)

    def _unknown(self, name: str) -> ConfigError:
        known = {each.name for each in self.registry.components(self.name)} | set(self.records())
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
        """All components at this moment, those that somebody started in a shell included."""
        return self.status_of(self.registry.cluster_status(self.name))

    def status_of(self, found: schema.ClusterStatus) -> Status:
        """The same of what the registry said, as in a frame of `live`."""
        return cluster_status(found, live_records(self.folders))

    def top(self, what: str = "components", interval: float = 1.0) -> pandas.DataFrame:
        """How much the cluster has to do: one row each of its "components", "functions" or "edges".

        Rates are those of the next ``interval`` seconds, for which this waits, at least 1.2. Times
        are in seconds, sizes in bytes.
        """
        if what not in ("components", "functions", "edges"):
            raise ConfigError(f"top of {what!r}", hint="components, functions or edges")
        observer = Observer(self.folders)
        observer.look(self.status())
        time.sleep(max(interval, FIRST))
        return observer.look(self.status()).to_frame(what)

    def component_status(self, name: str) -> ComponentStatus:
        """One component."""
        found = self._find(name)
        if found is None:
            raise self._unknown(name)
        return ComponentStatus.of(found)

    def records(self) -> dict[str, ComponentRecord]:
        """What running processes of this cluster on this machine say of themselves, by name."""
        return {record.name: record for record in live_records(self.folders)}

    def endpoints(self, name: str) -> dict[str, str]:
        """Addresses of a component's first process."""
        return dict(self._first(name).endpoints)

    def connection_file(self, name: str) -> str:
        """Where Jupyter finds the kernel that a component runs in; "" if it runs in none."""
        return self._first(name).kernel_file

    def _first(self, name: str) -> schema.ReplicaStatus:
        found = self._find(name)
        replicas = found.replicas if found is not None else []
        return replicas[0] if replicas else schema.ReplicaStatus(name=name, component=name)

    def client(self, name: str, **options: Any) -> Client:
        """A client of the server or master of this name, on whichever machine that is."""
        # A notebook that only looks needs no sockets.
        from palm.clients.client import Client, Place

        return Client(name, _place=Place(self.folders, self.registry.url), **options)

    def live(
        self,
        topics: Sequence[str] = ("status", "output"),
        since: str = "",
        *,
        components: Sequence[str] = (),
        backlog: int | None = None,
    ) -> LiveFeed:
        """Status and output as they come; see `RegistryClient.live`. It is to be closed."""
        return self.registry.live(self.name, topics, since, components=components, backlog=backlog)

    def logs(
        self, name: str, n: int = 100, stream: Stream | None = None, grep: str | None = None
    ) -> str:
        """The last lines of a component, or of one of its processes; see `Component.logs`."""
        lines, _ = self.lines(name, n, stream, grep)
        several = len({line.process for line in lines}) > 1
        return "\n".join(shown(lines, tell_apart=several))

    def lines(
        self, name: str, n: int = 100, stream: str | None = None, grep: str | None = None
    ) -> tuple[list[Line], str]:
        """The same as values, and the cursor from which `live` goes on."""
        selection = select_output(self.registry, self.name, name)
        if selection is None:
            raise self._without_output(name)
        return read_lines(self.registry, self.name, [selection], n, stream, grep)

    def has_output(self, name: str) -> bool:
        """Whether palm keeps the output of a component, or process, of this name."""
        return select_output(self.registry, self.name, name) is not None

    def _without_output(self, name: str) -> ConfigError:
        record = self.records().get(name)
        if record is None:
            return self._unknown(name)
        return ConfigError(
            f"{name} (pid {record.pid}) was started in a shell: its output is there,"
            " and palm keeps none"
        )

    def wait_ready(self, name: str, timeout: float = 30.0) -> None:
        """Wait until a component is ready; see `Component.wait_ready`."""
        component = self[name]
        is_new = component.change.kind not in ("kept", "scaled")
        self._readiness.wait(
            name, component.generation, timeout, is_new=is_new, over=component.over
        )

    def last_errors(self) -> dict[str, str]:
        """The last error output of each process that failed, or is about to be tried again."""
        return self._readiness.last_errors()

    # Stopping

    def stop(self, *names: str, grace: float = 5.0) -> None:
        """End components by name, and wait until they are gone.

        Those that need others end before these, and workers before their masters.

        Raises
        ------
        ConfigError
            Nothing has the name, or only a part of a component has.
        PalmError
            Something did not end.
        """
        known = {
            each.name: Dependent(each.role, each.needs)
            for each in self.registry.components(self.name)
        }
        records = self.records()
        for name in names:
            if name not in known:
                self._check_foreign(name, records)
        own = [name for name in names if name in known]
        if own:
            self._keeper.ensure_runner()
        for wave in stop_waves({name: known[name] for name in own}):
            for name in wave:
                self.registry.stop(self.name, name, grace)
            self._wait_stopped(wave, grace)
        end_processes([records[name] for name in names if name not in known], grace)
        for name in own:
            if name in self._known:
                self._forget_pushed(self._known[name], None)

    def _check_foreign(self, name: str, records: Mapping[str, ComponentRecord]) -> None:
        if name not in records:
            raise self._unknown(name)
        for component in self.registry.components(self.name):
            if any(replica.instance == records[name].instance for replica in component.replicas):
                raise ConfigError(
                    f"{name!r} is one of the processes of {component.name!r}",
                    hint="stop that one, or scale it",
                )

    def _wait_stopped(self, names: Sequence[str], grace: float) -> None:
        deadline = time.monotonic() + grace + _MARGIN
        left = list(names)
        while left:
            found = {each.name: each for each in self.registry.components(self.name)}
            left = [name for name in left if name in found and _lives(found[name])]
            if left and time.monotonic() > deadline:
                why = self._keeper.problem or "its runner has not said that they are gone"
                raise PalmError(f"{', '.join(left)} did not end: {why}")
            time.sleep(_POLL if left else 0)

    def stop_all(self, grace: float = 5.0, *, everyone: bool = False) -> None:
        """End what was started, or found again, from here; or all that the cluster has."""
        mine = set(self.started)
        found = [each for each in self.registry.components(self.name) if each.desired]
        chosen = [each for each in found if everyone or each.name in mine]
        self.stop(*(each.name for each in chosen), grace=grace)

    def restart(self, name: str) -> None:
        """Replace the processes of a component by new ones; does not wait for them."""
        component = self[name]
        self._ensure_alive()
        now = self.registry.restart(self.name, name)
        component.change = Change("started")
        component.generation, component.over = now.generation, _over(now)

    def resume(self, name: str) -> None:
        """Start a component that was stopped, as it was; does not wait for it."""
        component = self[name]
        self._ensure_alive()
        before = self._find(name)
        now = self.registry.start(self.name, name)
        component.change = Change("started" if before is None or not before.desired else "kept")
        component.generation, component.over = now.generation, _over(before)

    def scale(self, name: str, replicas: int) -> None:
        """Change the number of replicas; those that stay are not touched."""
        component = self[name]
        self._ensure_alive()
        before = self._find(name)
        self.registry.scale(self.name, name, replicas)
        was = before.desired if before is not None else 0
        component.change = Change("kept" if was == replicas else "scaled", replicas=was)
        component.over = _over(before) | _unwanted(before)

    def signal(self, name: str, signal: str, replica: int | None = None) -> tuple[str, ...]:
        """Have a signal sent to the processes of a component; see `Component.signal`."""
        component = self[name]
        sent = self.registry.signal(self.name, component.name, parse_signal(signal), replica)
        return tuple(sent.processes)

    def remove(self, name: str) -> None:
        """Stop a component and forget it; what it wrote stays."""
        self.registry.remove(self.name, name)
        self._known.pop(name, None)

    # Nodes

    def add_nodes(
        self,
        source: Any,
        name: str = "dask",
        *,
        labels: Mapping[str, str] | None = None,
        allow: Sequence[str] | None = None,
        timeout: float = 60.0,
        say: Callable[[str], None] = lambda text: None,
    ) -> list[str]:
        """Have all workers of a Dask cluster be nodes, those that are to come as well.

        Each worker gets a runner, and as many places as it has threads; it is a node as long as it
        lasts. A component called ``name`` sees to that. What finds no place waits for one, and an
        adaptive cluster is asked for more workers. palm must be in the environment of the workers.

        Parameters
        ----------
        source
            ``dask://HOST:PORT`` of the scheduler, or a ``distributed.Client``.
        name
            Of the pool: its nodes are called ``NAME-WORKER``.
        labels
            Further labels of the nodes, beside engine, pool, cores, memory and the worker's
            resources.
        allow
            What they may run (`palm.spec.allow`), None: anything.
        timeout
            Seconds in which the workers that are there must be nodes.
        say
            Is told how it goes.

        Returns
        -------
        list
            Names of the nodes by then.

        Raises
        ------
        ConfigError
            The name is taken, Dask is not installed, or its workers cannot reach the registry.
        ConnectTimeout
            No scheduler answers.
        PalmError
            Workers did not become nodes in time.
        """
        self._ensure_alive()
        return add_pool(self, source, name, labels or {}, allow, timeout, say)

    def remove_nodes(self, name: str = "dask") -> list[str]:
        """Let the nodes of a pool go, with nothing left behind; return their names.

        ``name`` is that of the pool, or ``dask://HOST:PORT``.
        """
        return remove_pool(self, name)

    def runner_environment(self) -> Mapping[str, str]:
        """Variables that what runs on this machine has from its runner."""
        return self._runner()

    def apply(self, path: str | Path | ClusterFile) -> Diff:
        """Put a cluster file in force: what it names is started, changed or stopped.

        Raises
        ------
        ConfigError
            With file, line and key of what is wrong.
        """
        file = path if isinstance(path, ClusterFile) else ClusterFile.read(path)
        self._ensure_alive()
        before = {each.name: each for each in self.registry.components(self.name)}
        self.put(file)
        after = {each.name: each for each in self.registry.components(self.name)}
        return Diff.between(before, after)

    def put(
        self, file: ClusterFile, *, expected_version: int | None = None, note: str = ""
    ) -> schema.ConfigApplied:
        """Put a cluster file in force, and say which version it is and what it changed.

        With ``expected_version`` only if that one is in force (0: none is), else `Refused` has
        the code "version". What gave up is started again, as with `start`.
        """
        self._ensure_alive()
        applied = put_file(
            self.registry, self.name, file, expected_version=expected_version, note=note
        )
        try_again(self.registry, self.name)
        return applied

    def compare(self, file: ClusterFile) -> schema.ConfigDiff:
        """Say what putting a cluster file in force would do; nothing is done."""
        return self.registry.diff_config(
            self.name, file.text, file.name, file.folder, code=file.code()
        )

    def rollback(
        self,
        version: int | None = None,
        *,
        expected_version: int | None = None,
        note: str = "",
    ) -> schema.ConfigApplied:
        """Put an older version of its file in force, the one before by default; else as `put`."""
        self._ensure_alive()
        applied = self.registry.rollback_config(
            self.name, version, expected_version=expected_version, note=note
        )
        try_again(self.registry, self.name)
        return applied

    def down(self, grace: float = 5.0) -> None:
        """End the cluster: its components, its runner and, if it was the last, the registry.

        What it wrote stays, and so does its file.
        """
        self.registry.end_cluster(self.name, self._owner or "user")
        self._keeper.ended = True
        self._down(grace)

    def close(self) -> None:
        """Let go of the cluster: it goes on as long as its other leases and its linger say."""
        self._keeper.release()
        self.registry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self.status())

    # Names

    def _check_role(self, declared: Declaration, before: schema.ComponentStatus | None) -> None:
        if before is not None and before.desired and before.role != declared.role:
            raise ConfigError(
                f"{declared.name!r} is a {before.role} here, and cannot be a {declared.role} too",
                hint="choose another name",
            )

    def _check_node(self, name: str) -> None:
        """Refuse a node that is not there: what is to run on it would wait for ever."""
        known = sorted(node.name for node in self.registry.nodes(self.name)) if name else []
        if not known or name in known:  # while there are none, the first may be about to join
            return
        close = nearest(name, known)
        hint = f"did you mean {close!r}?" if close else f"there is {', '.join(known)}"
        raise ConfigError(f"there is no node {name!r}", key="node", hint=hint)

    def _clear_names(
        self,
        spec: schema.ComponentSpec,
        before: schema.ComponentStatus | None,
        replace: bool,
    ) -> None:
        """Processes in shells under our names: refuse, or end them if told to."""
        records = self.records()
        names = [spec.replica_name(number) for number in range(spec.replicas)]
        ours = {replica.instance for replica in before.replicas} if before is not None else set()
        taken = [records[n] for n in names if n in records and records[n].instance not in ours]
        if not taken:
            return
        # A process of another component is the registry's affair, which knows both.
        managed = {r.instance for each in self.registry.components(self.name)
                   for r in each.replicas}  # fmt: skip
        taken = [record for record in taken if record.instance not in managed]
        if taken and not replace:
            first = taken[0]
            since = first.started.partition(".")[0].replace("T", " ")
            raise ConfigError(
                f"a {first.role} named {first.name!r} already runs, started elsewhere"
                f" (pid {first.pid}, since {since} UTC)",
                hint="use it as it is, stop it, choose another name, or replace it (--replace)",
            )
        end_processes(taken)

    def _forget_pushed(self, component: Component, now: Declaration | None) -> None:
        """Remove the values pushed to what is over."""
        old = component.declared.target if component.declared is not None else None
        if not isinstance(old, CellSource) or not old.pushed:
            return
        used = [each.declared for each in self._known.values() if each is not component]
        targets = [each.target for each in (*used, now) if each is not None]
        if not any(isinstance(t, CellSource) and t.pushed == old.pushed for t in targets):
            pushed_path(self.folders, old).unlink(missing_ok=True)


def _over(component: schema.ComponentStatus | None) -> frozenset[str]:
    """Instances that had ended."""
    replicas = component.replicas if component is not None else []
    return frozenset(replica.instance for replica in replicas if replica.state in OVER)


def _unwanted(component: schema.ComponentStatus | None) -> frozenset[str]:
    """Instances of more replicas than are wanted: they end soon, if they have not."""
    if component is None:
        return frozenset()
    return frozenset(r.instance for r in component.replicas if r.replica >= component.desired)


def _lives(component: schema.ComponentStatus) -> bool:
    return any(replica.state in _LIVING for replica in component.replicas)
