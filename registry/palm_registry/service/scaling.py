"""Components that scale themselves: how much waits for them, and how many they are to be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from palm.registry_api.schema import ComponentStatus, FunctionSample, Sample, Scaling
from palm.spec.autoscale import Decision, Pace, Range, Reading, Scaler
from palm_registry.service.core import Core, add_event, settle, status_of
from palm_registry.service.metrics import Metrics
from palm_registry.store import clusters as rows

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["EVERY", "ScalingRules", "reading_of"]

#: Seconds between two looks; runners tell what their processes do about as often.
EVERY = 1.0

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Look:
    """One component that scales itself, as it is now."""

    key: str
    status: ComponentStatus
    within: Range
    nodes: frozenset[str]

    @property
    def place(self) -> Place:
        return self.key, self.status.name


class ScalingRules:
    """Rules for their number; what was wanted of late is in memory only."""

    def __init__(self, core: Core, metrics: Metrics, pace: Pace) -> None:
        self._core = core
        self._metrics = metrics
        self._pace = pace
        self._scalers: dict[Place, Scaler] = {}
        self._next = 0.0

    async def sweep(self) -> None:
        """Look at all of them, now and then, and change the number of those where it is due."""
        now = self._core.now()
        if now < self._next:
            return
        self._next = now + EVERY
        looks = await self._core.database.read(self._looks)
        self._forget({look.place for look in looks})
        for look in looks:
            await self._decide(look, now)

    def _looks(self, connection: Connection) -> list[_Look]:
        identity = self._core.database.identity
        found = []
        for cluster in rows.all_clusters(connection):
            if cluster.state != "alive" or cluster.purge:
                continue
            components = rows.all_components(connection, cluster.key)
            ranges = {
                n: r.spec.scales for n, r in components.items() if r.running and r.spec.scales
            }
            if ranges:
                status = status_of(connection, cluster.key, identity)
                alive = frozenset(node.id for node in status.nodes if node.alive)
                found += [
                    _Look(cluster.key, each, within, alive)
                    for each in status.components
                    if (within := ranges.get(each.name)) is not None
                ]
        return found

    def _forget(self, places: set[Place]) -> None:
        self._scalers = {p: scaler for p, scaler in self._scalers.items() if p in places}
        for key, scalings in list(self._core.scalings.items()):
            left = {name: each for name, each in scalings.items() if (key, name) in places}
            if left:
                self._core.scalings[key] = left
            else:
                del self._core.scalings[key]

    async def _decide(self, look: _Look, now: float) -> None:
        scaler = self._scalers.setdefault(look.place, Scaler(self._pace))
        reading = reading_of(look.status, self._metrics.newest(look.key, look.nodes))
        decision = scaler.decide(reading, look.status.desired, look.within, now)
        self._show(look, reading, decision)
        if decision.replicas != look.status.desired:
            text = _waiting(reading)
            await self._core.database.write(lambda c: _scale(c, look, decision.replicas, text))
            self._core.changed(look.key)

    def _show(self, look: _Look, reading: Reading | None, decision: Decision) -> None:
        scalings = self._core.scalings.setdefault(look.key, {})
        shown = Scaling(least=look.within.least, most=look.within.most)
        if reading is not None:
            shown = replace(shown, wants=decision.wants, waiting=reading.waiting)
        if scalings.get(look.status.name) != shown:
            scalings[look.status.name] = shown
            self._core.signals.notify(look.key, "status")


def reading_of(status: ComponentStatus, samples: Iterable[Sample]) -> Reading | None:
    """Return what its master says of the functions that a component serves, None if nothing."""
    master = next((s for s in samples if s.name == status.master and s.state == "ready"), None)
    if master is None or not status.functions:
        return None
    counted = list(_served(master, status.functions))
    # Batches lie at workers, too, of which all messages but one each have not begun.
    running = sum(each.running for each in counted)
    waiting = sum(each.queued for each in counted) + max(0, running - status.actual)
    rates = [(each.rate_out, each.mean) for each in counted]
    known = [(rate or 0.0, mean) for rate, mean in rates if mean is not None]
    busy = sum(rate * mean for rate, mean in known)
    return Reading(waiting, busy, _mean(counted))


def _mean(counted: Iterable[FunctionSample]) -> float | None:
    """Seconds that a message takes, as what is open is mixed; None if nothing was done yet."""
    known = [(each.queued + each.running, each.mean) for each in counted if each.mean is not None]
    open_ = sum(count for count, _ in known)
    if not known:
        return None
    if not open_:
        return max(mean for _, mean in known)
    return sum(count * mean for count, mean in known) / open_


def _served(master: Sample, functions: Iterable[str]) -> Iterator[FunctionSample]:
    names = set(functions)
    return (each for each in master.functions if each.name.rpartition(".")[2] in names)


def _waiting(reading: Reading | None) -> str:
    return f"{reading.waiting:,} waiting" if reading is not None else "nothing known"


def _scale(connection: Connection, look: _Look, replicas: int, why: str) -> None:
    row = rows.get_component(connection, look.key, look.status.name)
    # Whoever changed it meanwhile meant it.
    if row is None or not row.running or row.spec.scales != look.within:
        return
    if row.spec.replicas != look.status.desired:
        return
    spec = replace(row.spec, replicas=replicas)
    rows.put_component(connection, look.key, replace(row, spec=spec))
    said = f"{spec.name} goes from {row.spec.replicas} to {replicas} of {look.within}: {why}"
    add_event(connection, look.key, "component.scaled", said, component=spec.name)
    settle(connection, look.key, changed=True)
