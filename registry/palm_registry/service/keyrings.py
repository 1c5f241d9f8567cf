"""Keys of clusters: what their nodes and clients on other machines are handed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from palm.errors import ConfigError
from palm.registry_api.schema import ClusterKey, ClusterKeys, KeysOffer
from palm_registry.failures import Busy, Invalid, NotFound
from palm_registry.keyfiles import KeyFiles, flaw_of
from palm_registry.service.core import Core, get_cluster

__all__ = ["Keyrings"]

T = TypeVar("T")


class Keyrings:
    """Rules for keys."""

    def __init__(self, core: Core, files: KeyFiles) -> None:
        self._core = core
        self._files = files

    async def take(self, key: str, request: KeysOffer) -> ClusterKeys:
        """Return the keys of a cluster; those that are offered, if it has none."""
        user, offered = await self._user(key), request.keys
        if offered is None:
            found = await _in_thread(lambda: self._files.read(user, key))
            if found is None:
                raise _none_yet(key)
            return found
        if flaw := flaw_of(offered):
            raise Invalid("keys", flaw)
        return await _in_thread(lambda: self._files.offer(user, key, offered))

    async def of_role(self, key: str, role: str) -> ClusterKey:
        """Return the key of one role."""
        user = await self._user(key)
        found = await _in_thread(lambda: self._files.read(user, key))
        if found is None:
            raise _none_yet(key)
        return found.client if role == "client" else found.worker

    async def _user(self, key: str) -> str:
        row = await self._core.database.read(lambda connection: get_cluster(connection, key))
        return row.owner


def _none_yet(key: str) -> NotFound:
    return NotFound("no-keys", f"the cluster {key!r} has no keys yet", "its first node makes them")


async def _in_thread(call: Callable[[], T]) -> T:
    try:
        return await asyncio.get_running_loop().run_in_executor(None, call)
    except (OSError, ConfigError) as error:
        raise Busy("keys", f"the keys cannot be read or kept: {error}") from error
