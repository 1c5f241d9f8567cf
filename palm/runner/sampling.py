"""Tells the registry what the processes of a node use and do: the newest, again and again.

Nothing is kept and nothing is sent twice. What cannot be told now is left out, so that a registry
that is away or slow costs nothing but gaps in its curves; reports and output have threads of their
own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from palm.errors import PalmError
from palm.protocol.meter import FunctionCounts, bounds
from palm.registry_api.client import Refused
from palm.registry_api.schema import (
    MAX_EDGES,
    MAX_FUNCTIONS,
    MAX_SAMPLES,
    EdgeSample,
    FunctionSample,
    NodeSamples,
    Sample,
)
from palm.runner.registry import Registry
from palm.runtime.folders import Folders
from palm.runtime.metrics import Metrics, read_metrics
from palm.runtime.rates import FunctionLoad, Rates, Seen, function_load, total
from palm.runtime.usage import Usage
from palm.spec.process import ProcessSpec, ProcessState

__all__ = ["EVERY", "Sampler"]

#: Seconds between two samples.
EVERY = 1.0
#: Functions of all processes in one report; beyond it, each tells fewer.
MAX_ALL_FUNCTIONS = 8192
#: Seconds until a registry is asked again that does not know what samples are.
TOO_OLD = 60.0
OTHERS = "(others)"
#: Characters of a neighbour's name: it is what another process calls itself.
LONGEST_NAME = 200

_BOUNDS = [upper for _, upper in bounds()[:-1]]
_log = logging.getLogger("palm.runner")

Running = tuple[ProcessSpec, ProcessState]


class Sampler:
    """A thread that samples the processes of a node.

    Parameters
    ----------
    processes
        Returns those that the node has; called in the sampler's thread.
    place
        Returns the node's id and session, the session "" while it has none.
    """

    def __init__(
        self,
        folders: Folders,
        registry: Registry,
        processes: Callable[[], Sequence[Running]],
        place: Callable[[], tuple[str, str]],
        every: float = EVERY,
    ) -> None:
        self._folders = folders
        self._registry = registry
        self._processes = processes
        self._place = place
        self._every = every
        self._rates = Rates()
        self._usage = Usage()
        self._told = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="palm-metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def set_pace(self, every: float) -> None:
        """Sample once in so many seconds, as the registry wishes; from any thread."""
        self._every = every

    def stop(self) -> None:
        """End; a request that hangs is not waited for."""
        self._over.set()

    def look(self, now: float) -> list[Sample]:
        """Return a sample of each process; rates are there from the second look on."""
        running = list(self._processes())[:MAX_SAMPLES]
        metrics = read_metrics(self._folders)
        self._rates.look(metrics, now)
        self._usage.look([state.pid for _, state in running if state.pid is not None], now)
        most = min(MAX_FUNCTIONS, max(MAX_ALL_FUNCTIONS // max(len(running), 1), 1))
        return [self._sample(spec, state, metrics, now, most) for spec, state in running]

    # In the thread.

    def _serve(self) -> None:
        wait = self._every
        while not self._over.wait(wait):
            wait = self._every
            try:
                self._tell()
            except Refused as error:  # what it means for us, the heartbeats find out
                _log.debug("samples are not taken: %s", error)
                wait = TOO_OLD if error.code == "no-such-address" else wait
            except (OSError, PalmError) as error:
                _log.debug("samples are left out: %s", error)

    def _tell(self) -> None:
        node, session = self._place()
        if not session:
            return
        samples = self.look(time.time())
        if samples or self._told:
            report = NodeSamples(session=session, bounds=_BOUNDS, samples=samples)
            self._registry.send_metrics(self._folders.cluster, node, report)
            self._told = bool(samples)

    def _sample(
        self,
        spec: ProcessSpec,
        state: ProcessState,
        metrics: Iterable[Metrics],
        now: float,
        most: int,
    ) -> Sample:
        parts = [each for each in metrics if each.instance == state.instance]
        used = self._usage.of(state.pid)
        sample = Sample(
            name=state.name,
            component=spec.component or spec.name,
            replica=spec.replica,
            instance=state.instance,
            state=state.state,
            pid=state.pid,
            restarts=state.restarts,
            time=now,
        )
        if used is not None:
            sample.cpu, sample.cpu_seconds = used.cpu, used.seconds
            sample.rss, sample.threads, sample.files = used.rss, used.threads, used.files
        for part in parts:
            seen = self._rates.seen[part.name, part.instance]
            _add(sample, seen)
            sample.functions += _functions(part.name if len(parts) > 1 else "", seen)
            sample.edges += _edges(seen)
        sample.edges = sorted(sample.edges, key=lambda each: -each.messages)[:MAX_EDGES]
        sample.functions = _busiest(sample.functions, most)
        return sample


def _add(sample: Sample, seen: Seen) -> None:
    """Add what a component did to the sample of its process."""
    whole = total(seen.counts)
    load = function_load("", "", whole, seen)
    for name in ("received", "done", "failed", "dropped", "queued", "running", "seconds"):
        setattr(sample, name, getattr(sample, name) + getattr(whole, name))
    before = sample.latency or [0] * len(whole.latency)
    sample.latency = [a + b for a, b in zip(before, whole.latency, strict=True)]
    for name in ("rate_in", "rate_out"):
        setattr(sample, name, _sum(getattr(sample, name), getattr(load, name)))
    for name in ("mean", "p50", "p99"):
        # Of several components in one process, the slowest: it is the one to look at.
        setattr(sample, name, _largest(getattr(sample, name), getattr(load, name)))


def _edges(seen: Seen) -> list[EdgeSample]:
    """Return what was counted of each neighbour; of two ends that count, the first is enough."""
    counted = seen.before.edges if seen.before is not None else []
    before = {(each.source, each.target, each.role): each.messages for each in counted}
    return [
        EdgeSample(
            source=each.source[:LONGEST_NAME],
            target=each.target[:LONGEST_NAME],
            role=each.role,
            rate=seen.rate(each.messages, before.get((each.source, each.target, each.role), 0)),
            messages=each.messages,
            open=each.open,
        )
        for each in seen.counts.edges
        if each.role != "nobody" and (each.messages or each.role != "client")
    ]


def _sum(one: float | None, other: float | None) -> float | None:
    return one if other is None else other if one is None else one + other


def _largest(one: float | None, other: float | None) -> float | None:
    return one if other is None else other if one is None else max(one, other)


def _functions(part: str, seen: Seen) -> list[FunctionSample]:
    loads = [
        (function_load("", name, counts, seen), counts)
        for name, counts in sorted(seen.counts.functions.items())
    ]
    return [_function(part, load, counts) for load, counts in loads]


def _function(part: str, load: FunctionLoad, counts: FunctionCounts) -> FunctionSample:
    return FunctionSample(
        name=load.function,
        part=part,
        received=load.received,
        done=load.done,
        failed=load.failed,
        dropped=load.dropped,
        queued=load.queued,
        running=load.running,
        seconds=counts.seconds,
        rate_in=load.rate_in,
        rate_out=load.rate_out,
        mean=load.mean,
        p50=load.p50,
        p99=load.p99,
    )


def _busiest(functions: list[FunctionSample], most: int) -> list[FunctionSample]:
    """Return as many functions at most; what is left out is counted as "(others)"."""
    if len(functions) <= most:
        return functions
    ordered = sorted(functions, key=lambda each: (each.name == OTHERS, -each.received, each.name))
    kept, rest = ordered[: most - 1], ordered[most - 1 :]
    others = FunctionSample(name=OTHERS)
    for each in rest:
        for name in ("received", "done", "failed", "dropped", "queued", "running", "seconds"):
            setattr(others, name, getattr(others, name) + getattr(each, name))
        others.rate_in = _sum(others.rate_in, each.rate_in)
        others.rate_out = _sum(others.rate_out, each.rate_out)
    return [*kept, others]
