"""Keys of clusters: what their nodes and clients on other machines are handed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from palm.errors import ConfigError
from palm.registry_api.schema import ClusterKey, ClusterKeys, KeysOffer
from palm_registry.failures import Busy, Conflict, Invalid, NotFound
from palm_registry.keyfiles import flaw_of
from palm_registry.service.core import Core, add_event, get_cluster
from palm_registry.service.reporting import removed
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import nodes as node_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Keyrings"]

T = TypeVar("T")


class Keyrings:
    """Rules for keys."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._files = core.keys

    async def take(self, key: str, request: KeysOffer, node: str = "") -> ClusterKeys:
        """Return the keys of a cluster; those that are offered, if it has none.

        ``node`` is who asks, if its token is for that node alone: one that was removed, and still
        ends what it runs, gets none that were made since.
        """
        user, offered = await self._user(key, node), request.keys
        if offered is None:
            found = await _in_thread(lambda: self._files.read(user, key))
            if found is None:
                raise _none_yet(key)
            return found
        if flaw := flaw_of(offered):
            raise Invalid("keys", flaw)
        kept = await _in_thread(lambda: self._files.offer(user, key, offered))
        if kept == offered:
            self._core.changed(key)  # so that their digest is known
        return kept

    async def change(self, key: str, keys: ClusterKeys) -> None:
        """Put keys in the place of those that a cluster has, and have its nodes told."""
        user = await self._user(key)
        if flaw := flaw_of(keys):
            raise Invalid("keys", flaw)
        if not await _in_thread(lambda: self._files.change(user, key, keys)):
            text = f"the keys of the cluster {key!r} are others than those of before these"
            raise Conflict("keys", text, "they were changed meanwhile: try again")
        await self._core.database.write(lambda connection: _note_change(connection, key))
        self._core.changed(key)

    async def of_role(self, key: str, role: str) -> ClusterKey:
        """Return the key of one role."""
        user = await self._user(key)
        found = await _in_thread(lambda: self._files.read(user, key))
        if found is None:
            raise _none_yet(key)
        return found.client if role == "client" else found.worker

    async def _user(self, key: str, node: str = "") -> str:
        """Return whose cluster it is."""

        def read(connection: Connection) -> str:
            owner = get_cluster(connection, key).owner
            row = node_rows.get_node(connection, key, node) if node else None
            if row is not None and row.removed:
                raise removed(node)
            return owner

        return await self._core.database.read(read)


def _note_change(connection: Connection, key: str) -> None:
    get_cluster(connection, key)
    cluster_rows.bump(connection, key)
    add_event(connection, key, "keys.changed", "the keys of the cluster are other ones")


def _none_yet(key: str) -> NotFound:
    return NotFound("no-keys", f"the cluster {key!r} has no keys yet", "its first node makes them")


async def _in_thread(call: Callable[[], T]) -> T:
    try:
        return await asyncio.get_running_loop().run_in_executor(None, call)
    except (OSError, ConfigError) as error:
        raise Busy("keys", f"the keys cannot be read or kept: {error}") from error
