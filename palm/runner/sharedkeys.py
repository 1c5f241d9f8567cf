"""The keys of a cluster, the same on all of its nodes: the first one's."""

from __future__ import annotations

import logging
from typing import Protocol

import msgspec

from palm.errors import ConfigError
from palm.registry_api.client import Refused
from palm.registry_api.schema import ClusterKey, ClusterKeys
from palm.runtime.folders import Folders
from palm.runtime.records import live_records
from palm.transport.security import (
    Keyring,
    RoleKey,
    ensure_keys,
    install_keys,
    read_keyring,
)

__all__ = ["KeySource", "share_keys"]

_log = logging.getLogger("palm.runner")


class KeySource(Protocol):
    """What is needed of a registry: this method of `RegistryClient`."""

    def cluster_keys(self, key: str, offer: ClusterKeys | None = None) -> ClusterKeys:
        """Return the keys of a cluster."""


def share_keys(folders: Folders, registry: KeySource) -> None:
    """Have this machine use the keys that the registry has of the cluster; give it ours, if none.

    Raises
    ------
    ConfigError
        Components that have other keys run here, and would be shut out.
    RegistryError
        The registry is away, or refuses.
    """
    try:
        keys = _keyring(registry.cluster_keys(folders.cluster))
    except Refused as error:
        if error.status != 404:
            raise
        if error.code != "no-keys":  # one that is older than we are
            _log.warning("the registry hands out no keys: copy them to each node by hand")
            return
        ours = _shown(ensure_keys(folders.keys))
        keys = _keyring(registry.cluster_keys(folders.cluster, ours))
    _check_running(folders, keys)
    if install_keys(folders.keys, keys):
        _log.info("has the keys of cluster %s from the registry", folders.cluster)


def _check_running(folders: Folders, keys: Keyring) -> None:
    """Refuse to take away the keys of what runs."""
    running = [record.name for record in live_records(folders) if record.public_key]
    if not running:
        return
    try:
        same = read_keyring(folders.keys) == keys
    except ConfigError:
        return
    if not same:
        raise ConfigError(
            f"another cluster {folders.cluster!r} runs on this machine, with keys of its own: "
            + ", ".join(sorted(running)),
            key="PALM_STATE_DIR",
            hint="end that one, or give PALM_STATE_DIR and PALM_RUN_DIR for this node",
        )


def _keyring(keys: ClusterKeys) -> Keyring:
    return msgspec.convert(msgspec.to_builtins(keys), Keyring)


def _shown(keys: Keyring) -> ClusterKeys:
    def one(key: RoleKey) -> ClusterKey:
        return msgspec.convert(msgspec.to_builtins(key), ClusterKey)

    return ClusterKeys(owner=one(keys.owner), client=one(keys.client), worker=one(keys.worker))
