"""Components: what is wanted of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from palm.registry_api.schema import ComponentStatus, Scaling, SignalRequest, SignalSent
from palm.spec.cluster import component_flaws
from palm.spec.component import MAX_REPLICAS, SINGLE_ROLES, ComponentSpec
from palm.spec.diff import ComponentChange, change_of
from palm.spec.names import nearest
from palm_registry.failures import Conflict, Invalid, NotFound
from palm_registry.service.code import check_code
from palm_registry.service.core import Core, add_event, get_cluster, settle, status_of
from palm_registry.service.signalling import put_signal
from palm_registry.store import clusters as rows
from palm_registry.store.clusters import ComponentRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Components", "check_processes", "put_component", "remove_component"]


class Components:
    """Rules for single components. Every change answers with the status that it leads to."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def all(self, key: str) -> list[ComponentStatus]:
        """Return the status of every component."""
        identity = self._core.database.identity
        status = await self._core.database.read(
            lambda c: status_of(c, key, identity, self._core.scalings.get(key))
        )
        return status.components

    async def get(self, key: str, name: str) -> ComponentStatus:
        """Return the status of a component."""
        identity = self._core.database.identity
        scalings = self._core.scalings.get(key)
        return await self._core.database.read(lambda c: _status(c, key, name, identity, scalings))

    async def declare(self, key: str, spec: ComponentSpec) -> ComponentStatus:
        """Say what is wanted: another spec replaces what runs, the same one changes nothing."""

        def write(connection: Connection) -> None:
            known = {**rows.all_components(connection, key), spec.name: None}
            for field, text, hint in component_flaws(spec, known):
                raise Invalid("component", text, hint or "", key=field.partition(".")[0])
            _check_processes(connection, key, spec)
            check_code(connection, key, [spec.code])
            if put_component(connection, key, spec):
                add_event(
                    connection, key, "component.declared", f"{spec.name} is wanted",
                    component=spec.name,
                )  # fmt: skip
                settle(connection, key, changed=True)

        return await self._change(key, spec.name, write)

    async def delete(self, key: str, name: str) -> None:
        """Stop a component and forget it."""

        def write(connection: Connection) -> None:
            get_cluster(connection, key)
            _component(connection, key, name)
            remove_component(connection, key, name)
            settle(connection, key, changed=True)

        await self._core.database.write(write)
        self._core.changed(key)

    async def start(self, key: str, name: str) -> ComponentStatus:
        """Start a component that was stopped."""

        def write(connection: Connection) -> None:
            row = _component(connection, key, name)
            if not row.running:
                self._store(connection, key, replace(row, running=True, stop_grace=None))

        return await self._change(key, name, write)

    async def stop(self, key: str, name: str, grace: float | None) -> ComponentStatus:
        """Stop a component; it stays known."""
        if grace is not None and not 0 <= grace <= 24 * 3600:
            raise Invalid("grace", f"{grace} seconds", "from 0 to 86400")

        def write(connection: Connection) -> None:
            row = _component(connection, key, name)
            said = f"{name} is to stop"
            add_event(connection, key, "component.stopping", said, component=name)
            changed = replace(row, running=False, released=False, stop_grace=grace)
            self._store(connection, key, changed)

        return await self._change(key, name, write)

    async def restart(self, key: str, name: str) -> ComponentStatus:
        """Replace every process of a component by a new one."""

        def write(connection: Connection) -> None:
            row = _component(connection, key, name)
            add_event(connection, key, "component.restarting", f"{name} is to start again",
                      component=name)  # fmt: skip
            spec = replace(row.spec, generation=_next(connection, key))
            self._store(connection, key, replace(row, spec=spec, running=True, stop_grace=None))

        return await self._change(key, name, write)

    async def scale(self, key: str, name: str, replicas: int) -> ComponentStatus:
        """Run another number of replicas; those that stay are not touched."""

        def write(connection: Connection) -> None:
            row = _component(connection, key, name)
            if not 0 <= replicas <= MAX_REPLICAS:
                raise Invalid("replicas", f"{replicas} replicas", f"from 0 to {MAX_REPLICAS}")
            if row.spec.role in SINGLE_ROLES and replicas > 1:
                raise Invalid("replicas", f"a {row.spec.role} cannot have {replicas} replicas")
            within = row.spec.scales
            if within is not None and within.clamp(replicas) != replicas:
                text = f"{name} scales itself, from {within.least} to {within.most}"
                raise Invalid("replicas", text, "change the range in its cluster file")
            spec = replace(row.spec, replicas=replicas)
            _check_processes(connection, key, spec)
            self._store(connection, key, replace(row, spec=spec, running=True, stop_grace=None))

        return await self._change(key, name, write)

    async def signal(self, key: str, name: str, request: SignalRequest) -> SignalSent:
        """Have a signal sent to the processes of a component, or to one of them."""

        def write(connection: Connection) -> SignalSent:
            get_cluster(connection, key)
            return put_signal(connection, key, _component(connection, key, name), request)

        sent = await self._core.database.write(write)
        self._core.changed(key)
        return sent

    def _store(self, connection: Connection, key: str, row: ComponentRow) -> None:
        rows.put_component(connection, key, row)
        settle(connection, key, changed=True)

    async def _change(
        self, key: str, name: str, write: Callable[[Connection], None]
    ) -> ComponentStatus:
        identity = self._core.database.identity

        def job(connection: Connection) -> ComponentStatus:
            cluster = get_cluster(connection, key)
            if cluster.state != "alive":
                hint = "take a lease on it, and it goes on"
                raise Conflict("cluster-ended", f"the cluster {key!r} has ended", hint)
            write(connection)
            return _status(connection, key, name, identity, self._core.scalings.get(key))

        status = await self._core.database.write(job)
        self._core.changed(key)
        return status


def put_component(connection: Connection, key: str, spec: ComponentSpec) -> ComponentChange | None:
    """Make a component wanted; say what that changes, if anything. `settle` is still to follow."""
    before = rows.get_component(connection, key, spec.name)
    old = None if before is None else before.spec
    running = before is None or before.running
    spec = spec.carried_over(old if running else None)
    change = change_of(old, spec, running=running)
    if change is None:
        return None
    keeps = old is not None and not change.replaces
    spec = replace(spec, generation=old.generation if keeps and old else _next(connection, key))
    released = (
        before is not None
        and before.released
        and before.running
        and set(spec.needs) <= set(before.spec.needs)
    )
    rows.put_component(connection, key, ComponentRow(spec=spec, released=released))
    return change


def remove_component(connection: Connection, key: str, name: str) -> None:
    """Forget a component; its nodes stop what they no longer find."""
    rows.delete_component(connection, key, name)
    said = f"{name} is no longer wanted"
    add_event(connection, key, "component.removed", said, component=name)


def _next(connection: Connection, key: str) -> int:
    row = rows.get_cluster(connection, key)
    return row.generation + 1 if row else 1


def _component(connection: Connection, key: str, name: str) -> ComponentRow:
    row = rows.get_component(connection, key, name)
    if row is None:
        close = nearest(name, rows.all_components(connection, key))
        hint = f"did you mean {close!r}?" if close else ""
        raise NotFound("no-such-component", f"there is no component {name!r}", hint)
    return row


def _status(
    connection: Connection,
    key: str,
    name: str,
    identity: str,
    scalings: Mapping[str, Scaling] | None,
) -> ComponentStatus:
    status = status_of(connection, key, identity, scalings)
    for component in status.components:
        if component.name == name:
            return component
    close = nearest(name, [component.name for component in status.components])
    hint = f"did you mean {close!r}?" if close else ""
    raise NotFound("no-such-component", f"there is no component {name!r}", hint)


def check_processes(specs: Iterable[ComponentSpec], others: Iterable[ComponentSpec]) -> None:
    """Refuse components of which a process would have the name of another's."""
    taken = {
        other.replica_name(number): other.name for other in others for number in range(other.most)
    }
    for spec in specs if taken else ():
        for number in range(spec.most):
            process = spec.replica_name(number)
            if (other := taken.get(process, spec.name)) != spec.name:
                text = f"{other!r} has a process {process!r} too"
                raise Conflict("name-taken", text, "choose another name")


def _check_processes(connection: Connection, key: str, spec: ComponentSpec) -> None:
    check_processes([spec], [row.spec for row in rows.all_components(connection, key).values()])
