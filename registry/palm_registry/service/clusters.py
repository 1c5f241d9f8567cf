"""Clusters: their making, their leases and their end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from palm.errors import ConfigError
from palm.registry_api.schema import (
    ClusterCreate,
    ClusterInfo,
    ClusterStatus,
    ClusterUpdate,
    Lease,
    LeaseReply,
)
from palm.spec.names import check_name
from palm_registry.failures import Conflict, Invalid, NotFound
from palm_registry.keys import Key
from palm_registry.scopes import OWNER
from palm_registry.service.core import (
    Core,
    add_event,
    get_cluster,
    no_such_cluster,
    settle,
    status_of,
)
from palm_registry.store import access as access_rows
from palm_registry.store import clusters as rows
from palm_registry.store import nodes as node_rows
from palm_registry.store.clusters import ClusterRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Clusters", "end_cluster", "finish", "revive"]

#: Seconds that a lease may last: a holder that hangs does not keep a cluster for ever.
MAX_TTL = 24 * 3600.0
MAX_HOLDER = 128
#: Characters of a name for people.
MAX_NAME = 128


class Clusters:
    """Rules for whole clusters."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def all(self, owner: str | None = None) -> list[ClusterInfo]:
        """Return every cluster, or every one of a user."""

        def read(connection: Connection) -> list[ClusterInfo]:
            found = [row for row in rows.all_clusters(connection, owner) if not row.purge]
            return [self._info(connection, row) for row in found]

        return await self._core.database.read(read)

    async def check_reach(self, key: Key, only: str) -> None:
        """Refuse a cluster of another user, or any but `only`, as if it were not there.

        One that is being deleted is still there for its runners.
        """

        def read(connection: Connection) -> None:
            if rows.get_cluster(connection, key) is None:
                raise no_such_cluster(connection, key)

        if only and key != only:
            raise NotFound("no-such-cluster", f"there is no cluster {key!r}")
        await self._core.database.read(read)

    async def get(self, key: str) -> ClusterInfo:
        """Return one cluster."""
        return await self._core.database.read(lambda c: self._info(c, get_cluster(c, key)))

    async def create(
        self, request: ClusterCreate, user: str = OWNER, owner: str | None = None
    ) -> tuple[ClusterInfo, bool]:
        """Return the cluster of a name, and whether it was made; one that ended lives again.

        A new one is of `user`; one that is there has to be of `owner`, unless that is None.
        """
        key = _checked(request.name)
        linger = request.linger

        def write(connection: Connection) -> tuple[ClusterInfo, bool]:
            now = time.time()
            row = rows.get_cluster(connection, key)
            made = row is None
            if row is None:
                _check_user(connection, user)
                row = ClusterRow(key=key, name=request.name, created=now, updated=now, owner=user)
                rows.add_cluster(connection, row)
                add_event(connection, key, "cluster.created", "the cluster was made")
            elif owner not in (None, row.owner):
                # Keys are unique in a registry; whose this one is stays untold.
                hint = "choose another name"
                raise Conflict("name-taken", f"the name {key!r} cannot be used", hint)
            elif row.purge:
                hint = "try again in a moment"
                raise Conflict("being-deleted", f"the cluster {key!r} is being deleted", hint)
            if linger is not msgspec.UNSET:
                rows.update_cluster(connection, key, linger=_checked_linger(linger))
            revive(connection, row)
            return self._info(connection, get_cluster(connection, key)), made

        info, made = await self._core.database.write(write)
        self._core.used = True
        self._core.changed(key)
        return info, made

    async def update(self, key: str, request: ClusterUpdate) -> ClusterInfo:
        """Change the name that people see, or how long it goes on after its last lease."""
        values = {
            field: value
            for field, value in msgspec.structs.asdict(request).items()
            if value is not msgspec.UNSET
        }
        _checked_linger(request.linger)
        if request.name is not msgspec.UNSET:
            _check_people_name(request.name)

        def write(connection: Connection) -> ClusterInfo:
            row = get_cluster(connection, key)
            changed = {f: value for f, value in values.items() if value != getattr(row, f)}
            if changed:
                rows.update_cluster(connection, key, updated=time.time(), **changed)
                said = ", ".join(_said(field, value) for field, value in changed.items())
                add_event(connection, key, "cluster.updated", said, data=changed)
            return self._info(connection, get_cluster(connection, key))

        info = await self._core.database.write(write)
        self._core.changed(key)
        return info

    async def delete(self, key: str) -> None:
        """End a cluster and forget it, with its output, once its nodes have stopped."""

        def write(connection: Connection) -> None:
            row = get_cluster(connection, key)
            rows.update_cluster(connection, key, purge=True)
            end_cluster(connection, row, "it is deleted")

        await self._core.database.write(write)
        self._core.leases.forget(key)
        self._core.changed(key)

    async def reset(self, key: str) -> ClusterInfo:
        """Forget lost nodes and what ran there, and place again what is wanted."""

        def write(connection: Connection) -> ClusterInfo:
            get_cluster(connection, key)
            nodes = {row.id: row for row in node_rows.all_nodes(connection, key)}
            lost = [node for node, row in nodes.items() if not row.alive]
            for node in lost:
                node_rows.update_node(connection, key, node, removed=True)
                node_rows.delete_strays(connection, key, node)
            for status in node_rows.get_replicas(connection, key).values():
                if status.node in lost or status.node not in nodes:
                    node_rows.delete_replica(connection, key, status.name)
            add_event(connection, key, "cluster.reset", "lost nodes were forgotten")
            settle(connection, key, changed=True)
            return self._info(connection, get_cluster(connection, key))

        info = await self._core.database.write(write)
        self._core.changed(key)
        return info

    async def status(self, key: str) -> ClusterStatus:
        """Return what there is of a cluster, and what is missing."""
        identity = self._core.database.identity
        return await self._core.database.read(
            lambda c: status_of(c, key, identity, self._core.scalings.get(key))
        )

    async def lease(self, key: str, lease: Lease) -> LeaseReply:
        """Give, renew or take back a lease, or end the cluster."""
        _check_lease(lease)
        if not await self._is_renewal(key, lease):
            await self._core.database.write(lambda c: self._set_lease(c, key, lease))
            if lease.end:
                self._core.leases.forget(key)
            elif lease.release:
                self._core.leases.release(key, lease.holder, self._core.now())
            else:
                self._core.leases.renew(key, lease.holder, lease.ttl, self._core.now())
            self._core.changed(key)
        info = await self.get(key)
        return LeaseReply(lease_until=info.lease_until, linger=info.linger, holders=info.holders)

    async def _is_renewal(self, key: str, lease: Lease) -> bool:
        # Leases count in memory and begin anew with the registry, so more time needs no write.
        plain = not (lease.end or lease.release) and lease.linger is msgspec.UNSET
        if not plain or lease.holder not in self._core.leases.holders(key):
            return False
        return not self._core.leases.renew(key, lease.holder, lease.ttl, self._core.now())

    def _set_lease(self, connection: Connection, key: str, lease: Lease) -> None:
        row = get_cluster(connection, key)
        if row.state != "alive" and not (lease.revive or lease.end or lease.release):
            hint = "ask for it to be revived, and it goes on"
            raise Conflict("cluster-ended", f"the cluster {key!r} has ended", hint)
        if lease.linger is not msgspec.UNSET:
            rows.update_cluster(connection, key, linger=lease.linger)
        if lease.end:
            end_cluster(connection, row, f"{lease.holder} asked for it")
        elif lease.release:
            rows.delete_lease(connection, key, lease.holder)
        else:
            revive(connection, row)
            rows.put_lease(connection, key, lease.holder, lease.ttl)
            rows.update_cluster(connection, key, held=True)

    def _info(self, connection: Connection, row: ClusterRow) -> ClusterInfo:
        nodes, components = rows.count_parts(connection, row.key)
        left = self._core.leases.left(row.key, self._core.now())
        return ClusterInfo(
            key=row.key,
            name=row.name,
            created=row.created,
            updated=row.updated,
            config_version=row.config_version,
            generation=row.generation,
            state=row.state,
            linger=row.linger,
            lease_until=None if left is None else time.time() + left,
            holders=self._core.leases.holders(row.key),
            nodes=nodes,
            components=components,
            owner=row.owner,
        )


def _check_user(connection: Connection, name: str) -> None:
    """Refuse a new cluster to who was removed while asking for it."""
    if name != OWNER and access_rows.get_user(connection, name) is None:
        raise NotFound("no-such-user", f"there is no user {name!r}")


def end_cluster(connection: Connection, row: ClusterRow, why: str) -> None:
    """Tell the nodes of a cluster to stop; without any it has ended."""
    for component in rows.all_components(connection, row.key).values():
        if component.spec.owner:
            rows.delete_component(connection, row.key, component.spec.name)
        else:
            component.running = component.released = False
            rows.put_component(connection, row.key, component)
    rows.delete_lease(connection, row.key)
    rows.update_cluster(connection, row.key, state="ending", held=False, updated=time.time())
    add_event(connection, row.key, "cluster.ending", f"the cluster ends: {why}")
    settle(connection, row.key, changed=True)
    finish(connection, row.key)


def finish(connection: Connection, key: str) -> None:
    """Note that a cluster has ended, if it was about to and its last node is gone."""
    row = rows.get_cluster(connection, key)
    if row is None or row.state != "ending":
        return
    nodes = node_rows.all_nodes(connection, key)
    if any(node.alive for node in nodes):
        return
    if row.purge:
        rows.delete_cluster(connection, key)
        return
    for node in nodes:
        node_rows.update_node(connection, key, node.id, removed=True)
        node_rows.delete_strays(connection, key, node.id)
    for name in node_rows.get_replicas(connection, key):
        node_rows.delete_replica(connection, key, name)
    rows.delete_placements(connection, key)
    rows.update_cluster(connection, key, state="ended", updated=time.time())
    add_event(connection, key, "cluster.ended", "the cluster has ended")


def revive(connection: Connection, row: ClusterRow) -> None:
    """Let a cluster that ended, or was about to, go on."""
    if row.state != "alive":
        rows.update_cluster(connection, row.key, state="alive", updated=time.time())
        add_event(connection, row.key, "cluster.alive", "the cluster goes on")
        settle(connection, row.key, changed=True)


def _check_lease(lease: Lease) -> None:
    if not 0 < len(lease.holder) <= MAX_HOLDER or not lease.holder.isprintable():
        raise Invalid("holder", f"a holder has 1 to {MAX_HOLDER} printable characters")
    if not 0 < lease.ttl <= MAX_TTL:
        raise Invalid("ttl", f"{lease.ttl} seconds", f"more than 0, at most {MAX_TTL:.0f}")
    _checked_linger(lease.linger)


def _checked_linger(linger: Any) -> Any:
    if isinstance(linger, float | int) and not 0 <= linger < float("inf"):
        raise Invalid("linger", f"{linger} seconds", "from 0 on, or null for ever")
    return linger


def _check_people_name(name: str) -> None:
    if not 0 < len(name.strip()) <= MAX_NAME or not name.isprintable():
        text = f"{name!r} cannot be the name of a cluster"
        raise Invalid("name", text, f"it has 1 to {MAX_NAME} printable characters")


def _said(field: str, value: Any) -> str:
    if field == "name":
        return f"it is called {value!r}"
    return "it lingers for ever" if value is None else f"it lingers for {value:g} s"


def _checked(name: str) -> str:
    try:
        return check_name(name)
    except ConfigError as error:
        text = f"{name!r} cannot be the name of a cluster"
        raise Invalid("name", text, error.hint or "") from error
