"""What palm keeps for one kernel: its cluster, its live panel, and the rules of the magics.

Every magic is one method here, and each can be called from Python as well. Nothing here knows
IPython; the panel is drawn by what `Session` is given.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from palm.clients import Job
from palm.clusters import (
    CellSource,
    Cluster,
    Component,
    ComponentStatus,
    Line,
    Status,
    connect,
    follow,
    up,
)
from palm.errors import ConfigError, PalmError
from palm.spec.component import SINGLE_ROLES
from palm.spec.endpoint import Endpoint, parse_address
from palm.spec.names import check_name, nearest
from palm_jupyter import cellcode
from palm_jupyter.canvas import Canvas, JobCard, Panel
from palm_jupyter.feed import Feed, components_of
from palm_jupyter.happened import happened
from palm_jupyter.jobs import JobWatch, describe
from palm_jupyter.render import panel_html, panel_text
from palm_jupyter.viewmodels import ClusterView, Frozen

if TYPE_CHECKING:
    import pandas

__all__ = ["LogText", "Session", "WorkerOptions"]

#: Seconds a start may take before it is given up.
START_TIMEOUT = 30.0
#: Seconds that who completes a name waits for the registry.
PROMPT = 0.025
#: Seconds for which a status is the present one, and shown live.
PRESENT = 5.0


class LogText(str):
    """Output of a component; shown as it is, not as a quoted string."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What the first line of ``%%palm_worker`` says."""

    master: str
    name: str = ""
    replicas: int = 1
    push: tuple[str, ...] = ()
    replace: bool = False
    kernel: bool = False
    node: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """Name of the component."""
        if self.name:
            return check_name(self.name)
        if isinstance(parse_address(self.master), Endpoint):
            raise ConfigError(
                "a group whose master is given by its address needs a name",
                key="name",
                hint="add --name GROUP",
            )
        return f"{self.master}-worker"


class Session:
    """The cluster of one kernel and what is shown of it.

    What is shown, and where: a master, a status and the cluster itself show the *live panel* of
    the whole cluster; whichever was shown last has it, an earlier one freezes. A group of workers
    shows one line, as the live panel above tells the rest, and is in the reader's way if each
    cell brings another copy; only without a live panel it shows one.

    Parameters
    ----------
    namespace
        Gives the notebook's variables.
    canvas
        Gives what draws; asked for when something is first shown, as it loads the widgets.
    """

    def __init__(
        self, namespace: Callable[[], Mapping[str, Any]], canvas: Callable[[], Canvas]
    ) -> None:
        self._namespace = namespace
        self._canvas = canvas
        self._cluster: Cluster | None = None
        self._live: tuple[Panel, Feed] | None = None
        self._cards: dict[str, tuple[JobCard, JobWatch]] = {}
        self._took: dict[str, float] = {}
        self._seen: Sequence[Mapping[str, Any]] = ()
        self._looking: threading.Thread | None = None

    @property
    def cluster(self) -> Cluster:
        """The cluster of this notebook, started or found again when first needed."""
        if self._cluster is not None and self._cluster.ended:
            self.close()  # somebody ended it; what comes now is another one
        if self._cluster is None:
            self._cluster = up()
        return self._cluster

    # Magics

    def up(self, file: str | None = None, linger: str | None = None) -> Cluster:
        """Start the cluster, if it does not run; put a cluster file in force."""
        if linger is not None:
            up(linger, hold=False).close()
        if file is not None:
            self.cluster.apply(file)
        return self.cluster

    def down(self) -> None:
        """End the cluster; what it wrote stays."""
        self.freeze()
        cluster, self._cluster = self.cluster, None
        try:
            cluster.down()
        finally:
            cluster.close()

    def attach(self, name: str | None = None) -> Cluster:
        """Use a cluster that runs, from now on."""
        cluster = connect(name)
        self.close()
        self._cluster = cluster
        return cluster

    def master(
        self, name: str, *, args: Sequence[str] = (), replace: bool = False, kernel: bool = False
    ) -> Component:
        """Start a master and wait until it is ready."""
        return self.component("master", name, args=args, replace=replace, kernel=kernel)

    def component(
        self,
        role: str,
        name: str,
        target: str | None = None,
        *,
        args: Sequence[str] = (),
        previous: Sequence[str] = (),
        replace: bool = False,
        kernel: bool = False,
    ) -> Component:
        """Start a component, such as a pipeline, and wait until it is ready.

        Parameters
        ----------
        previous
            Names of those whose results it takes; they must run.
        """
        for each in previous:
            self._check_previous(role, each)
        component = self.cluster.start(
            role, name, target, args=args, replace=replace, kernel=kernel
        )
        return self._ready(component)

    def worker(self, options: WorkerOptions, cell: str, header: str) -> Component:
        """Serve the functions of a cell and wait until all replicas are ready.

        What can be known before is checked before: that the cell compiles, defines the names it
        uses and something to serve, and that its master runs.

        Parameters
        ----------
        header
            The first line of the cell, so that line numbers agree with the cell.
        """
        group = options.group
        filename = f"<palm_worker {options.master}>"
        source = cellcode.padded(cell, header)
        tree = cellcode.parse(source, filename)
        pushed = self._values(options.push)
        cellcode.check_names(source, self._namespace(), options.push)
        cellcode.check_serves(tree)
        self._check_master(options.master)
        target = CellSource(source, filename, CellSource.pack(pushed))
        component = self.cluster.start(
            "worker",
            group,
            target,
            replicas=options.replicas,
            args=("--master", options.master),
            replace=options.replace,
            kernel=options.kernel,
            node=options.node or None,
            labels=options.labels,
        )
        return self._ready(component)

    def status(self) -> Status:
        """The cluster at this moment."""
        return self.cluster.status()

    def top(self, what: str = "components", interval: float = 1.0) -> pandas.DataFrame:
        """How much its components, their functions or edges have to do; see `Cluster.top`."""
        return self.cluster.top(what, interval)

    def logs(self, name: str, n: int = 100, grep: str | None = None) -> LogText:
        """The last lines of a component, or of one of its processes."""
        return LogText(self.cluster.logs(name, n, grep=grep))

    def follow(self, name: str, n: int = 100, grep: str | None = None) -> Iterator[Line]:
        """The last lines of a component, and then those that come, until it is over."""
        lines, cursor = self.cluster.lines(name, n, grep=grep)
        yield from lines
        yield from follow(self.cluster, name, cursor, grep)

    def stop(
        self, names: Sequence[str], *, everything: bool = False, everyone: bool = False
    ) -> None:
        """Stop components by name, or all that this notebook started, or all there are."""
        if everything == bool(names):
            raise ConfigError("stop takes names of components, or --all")
        if everything:
            self.cluster.stop_all(everyone=everyone)
        else:
            self.cluster.stop(*names)
        self._refresh()

    def restart(self, name: str) -> Component:
        """Replace the processes of a component by new ones, and wait until they are ready."""
        self.cluster.restart(name)
        return self._ready(self.cluster[name])

    def signal(self, name: str, signal: str, replica: int | None = None) -> tuple[str, ...]:
        """Send a signal to the processes of a component, or to one; return their names."""
        return self.cluster.signal(name, signal, replica)

    def scale(self, name: str, replicas: int) -> Component:
        """Run another number of processes of a component, and wait until they are ready."""
        component = self.cluster[name].scale(replicas)
        try:
            return component.wait_ready(START_TIMEOUT) if replicas else component
        finally:
            self._refresh()

    def names(self) -> list[str]:
        """Names of components and of their processes, for completion."""
        components = self._components()
        found = {component["name"] for component in components}
        return sorted(found | {p["name"] for c in components for p in c["processes"]})

    def masters(self) -> list[str]:
        """Names of those that workers may have, for completion."""
        return [c["name"] for c in self._components() if c["role"] in ("master", "hub")]

    def functions(self) -> list[str]:
        """Names of functions that are served, ``server.name``, for completion."""
        return sorted(
            {f"{c['master'] or c['name']}.{f}" for c in self._components() for f in c["functions"]}
        )

    def _components(self) -> Sequence[Mapping[str, Any]]:
        """The components as last seen: who completes a name does not wait for a registry."""
        if self._live is not None:
            return list(self._live[1].view.snapshot(0)["components"])
        if self._cluster is not None:
            self._look_soon(self._cluster)
        return self._seen

    def _look_soon(self, cluster: Cluster) -> None:
        """Have somebody look, and wait for a moment; not again while they do."""
        if self._looking is None or not self._looking.is_alive():
            self._looking = threading.Thread(
                target=self._look, args=(cluster,), name="palm-look", daemon=True
            )
            self._looking.start()
            self._looking.join(PROMPT)

    def _look(self, cluster: Cluster) -> None:
        try:
            self._seen = components_of(cluster.status()).components
        except PalmError:
            return  # it is away: what was seen before has to do

    # Showing

    def show(self, value: Component | Cluster | Status | Job) -> None:
        """Show something in the output of the running cell; see the class."""
        if isinstance(value, Job):
            self._show_job(value)
        elif isinstance(value, Status) and time.time() - value.time > PRESENT:
            self._show_still(value)
        elif isinstance(value, Component) and value.role == "worker" and self._live is not None:
            self._show_card(value)
        elif isinstance(value, Component):
            self._show_live(value.cluster, "" if self._is_fresh(value) else value.name)
        else:
            self._show_live(value if isinstance(value, Cluster) else self.cluster)

    def _is_fresh(self, component: Component) -> bool:
        """Whether it is the last that was started: that is chosen by itself."""
        return component.change.kind != "kept"

    def _show_live(self, cluster: Cluster, chosen: str = "") -> None:
        self.freeze()
        feed = Feed(cluster, ClusterView(cluster.name))
        feed.start()
        panel = self._canvas().ClusterPanel(feed, chosen)
        self._live = (panel, feed)
        panel.show()

    def _show_job(self, job: Job) -> None:
        """A card, live until the job has ended; an earlier one of the same job freezes."""
        self._freeze_card(job.id)
        card = self._canvas().JobPanel(partial(describe, job))
        card.show()
        watch = JobWatch(job, card.update)
        self._cards = {i: c for i, c in self._cards.items() if not c[1].job.has_ended}
        self._cards[job.id] = (card, watch)
        watch.start()

    def _freeze_card(self, job: str) -> None:
        if job in self._cards:
            card, watch = self._cards.pop(job)
            watch.close()
            card.freeze()

    def headline(self, component: Component) -> str:
        """The line that says what the latest start did: what was kept, came and went."""
        return f"{component.name} {happened(component.change, component, component.status())}"

    def _show_card(self, component: Component) -> None:
        status = component.status()
        self._canvas().show_card(status.state, self.headline(component), self._detail(status))

    def _show_still(self, status: Status) -> None:
        view = ClusterView(status.cluster)
        view.apply(components_of(status))
        view.apply(Frozen(status.time))
        snapshot = view.snapshot()
        self._canvas().show_html(panel_html(snapshot), panel_text(snapshot))

    def _detail(self, status: ComponentStatus) -> str:
        parts = [f"{status.desired} {'replica' if status.desired == 1 else 'replicas'}"]
        if status.functions:
            master = f"{status.master}." if status.master else ""
            served = [f"{master}{function}" for function in status.functions[:6]]
            more = len(status.functions) - len(served)
            parts.append("serving " + ", ".join(served) + (f" and {more} more" if more else ""))
        if status.name in self._took:
            parts.append(f"{self._took[status.name]:.1f} s")
        return " · ".join(parts)

    def freeze(self) -> None:
        """Stop watching: the live panel stays as it is. Idempotent."""
        if self._live is not None:
            panel, feed = self._live
            self._live = None
            feed.close()
            panel.freeze()

    def close(self) -> None:
        """Let go of the cluster, which goes on for as long as it lingers. Idempotent."""
        try:
            self.freeze()
            for job in list(self._cards):
                self._freeze_card(job)
        finally:
            cluster, self._cluster = self._cluster, None
            if cluster is not None:
                cluster.close()

    def _refresh(self) -> None:
        if self._live is not None:
            panel, feed = self._live
            feed.refresh()
            panel.refresh()

    # Starting

    def _ready(self, component: Component) -> Component:
        """Wait for a start; one that fails, or is interrupted, leaves nothing half-started."""
        began = time.monotonic()
        try:
            component.wait_ready(START_TIMEOUT)
        except BaseException:
            if component.change.kind != "kept":  # else others may be at work with it
                component.stop(grace=1.0)
            raise
        else:
            if component.change.kind == "kept":
                self._took.pop(component.name, None)
            else:
                self._took[component.name] = time.monotonic() - began
            return component
        finally:
            self._refresh()

    def _values(self, names: Sequence[str]) -> dict[str, Any]:
        namespace = self._namespace()
        for name in names:
            if name not in namespace:
                close = nearest(name, (n for n in namespace if not n.startswith("_")))
                raise ConfigError(
                    f"there is no {name!r} in this notebook to push",
                    key="push",
                    hint=f"did you mean {close!r}?" if close else None,
                )
        return {name: namespace[name] for name in names}

    def _check_master(self, master: str) -> None:
        """A worker waits for its master for ever; in a notebook, that is a typing error."""
        if not isinstance(parse_address(master), Endpoint):
            start = f"start it first: %palm master --name {master}"
            self._check_runs(master, "master", lambda role: role != "worker", start)

    def _check_previous(self, role: str, name: str) -> None:
        """Likewise of one that takes the results of another."""
        start = f"start it before the {role}"
        self._check_runs(name, "component", lambda role: role in SINGLE_ROLES, start)

    def _check_runs(self, name: str, what: str, is_one: Callable[[str], bool], start: str) -> None:
        components = self.cluster.status().components
        known = sorted(c.name for c in components if is_one(c.role) and (c.desired or not c.own))
        if name in known:
            return
        close = nearest(name, known)
        if close:
            hint = f"did you mean {close!r}?"
        elif known:
            hint = f"there is {', '.join(known)}"
        else:
            hint = start
        raise ConfigError(f"no {what} named {name!r} runs", hint=hint)
