"""The keys of a cluster, the same on all of its nodes: those that its registry has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from palm.errors import ConfigError, PalmError
from palm.registry_api.client import Refused
from palm.registry_api.schema import ClusterKeys
from palm.runner.registry import has_database
from palm.runtime.folders import Folders
from palm.runtime.records import live_records
from palm.transport.keys import Keyring, ensure_keys, install_keys, read_keyring

__all__ = ["KeySource", "SharedKeys", "keyring_of", "shown"]

_log = logging.getLogger("palm.runner")


class KeySource(Protocol):
    """What is needed of a registry: this method of `RegistryClient`."""

    def cluster_keys(self, key: str, offer: ClusterKeys | None = None) -> ClusterKeys:
        """Return the keys of a cluster."""


class SharedKeys:
    """The keys of a cluster on one of its nodes; belongs to one thread.

    ``renew`` is called once they have changed: then the token of the node is to be another, too.
    ``has_joined``: the keys that are here are known to be of this cluster.
    """

    def __init__(
        self,
        folders: Folders,
        registry: KeySource,
        renew: Callable[[], object] = lambda: None,
        *,
        has_joined: bool = False,
    ) -> None:
        self._folders = folders
        self._registry = registry
        self._renew = renew
        self._are_ours = has_joined
        self._said = ""

    def share(self) -> None:
        """Have this machine use the keys that the registry has; give it ours, if it has none.

        Raises
        ------
        ConfigError
            Another cluster of this name has keys here, and would be shut out.
        RegistryError
            The registry is away, or refuses.
        """
        folders = self._folders
        try:
            keys = self._registry.cluster_keys(folders.cluster)
        except Refused as error:
            if error.status != 404:
                raise
            if error.code != "no-keys":  # one that is older than we are
                _log.warning("the registry hands out no keys: copy them to each node by hand")
                return
            offer = shown(ensure_keys(folders.keys))
            keys = self._registry.cluster_keys(folders.cluster, offer)
        self._install(keys)

    def follow(self, digest: str) -> None:
        """Have the keys of this digest; if they cannot be had now, at a later call.

        "" says that the registry has none.
        """
        ours = self._present()
        if not digest or (ours is not None and ours.digest == digest):
            return
        try:
            self._install(self._registry.cluster_keys(self._folders.cluster))
            if ours is not None:
                self._renew()
        except PalmError as error:
            if str(error) != self._said:
                self._said = str(error)
                _log.warning("the keys of the cluster cannot be had for now: %s", error)

    def _install(self, keys: ClusterKeys) -> None:
        self._check_others(keys)
        if install_keys(self._folders.keys, keyring_of(keys)):
            _log.info("has the keys of cluster %s from the registry", self._folders.cluster)
        self._are_ours, self._said = True, ""

    def _check_others(self, keys: ClusterKeys) -> None:
        """Refuse to take away the keys of another cluster, or of what runs here by them."""
        ours = self._present()
        if self._are_ours or ours is None or keys.follows(ours):
            return
        folders = self._folders
        running = [record.name for record in live_records(folders) if record.public_key]
        if not running and not has_database(folders):
            return  # they were made in passing, and nobody goes by them
        runs = f": {', '.join(sorted(running))}" if running else ""
        raise ConfigError(
            f"this machine has a cluster {folders.cluster!r} of its own, with other keys{runs}",
            key="PALM_STATE_DIR",
            hint="give PALM_STATE_DIR and PALM_RUN_DIR for this node, or end that one",
        )

    def _present(self) -> ClusterKeys | None:
        """Return the keys that are here, None if there are none that are whole."""
        try:
            return shown(read_keyring(self._folders.keys))
        except ConfigError:
            return None


def keyring_of(keys: ClusterKeys) -> Keyring:
    """Return keys as components use them."""
    return msgspec.convert(msgspec.to_builtins(keys), Keyring)


def shown(keys: Keyring) -> ClusterKeys:
    """Return keys as they are handed on."""
    return msgspec.convert(msgspec.to_builtins(keys.without_folder()), ClusterKeys)
