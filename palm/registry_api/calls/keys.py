"""Calls about the keys of a cluster, and where its components are."""

from __future__ import annotations

from palm.registry_api import schema
from palm.registry_api.calls.base import Calls, of_cluster

__all__ = ["KeyCalls"]


class KeyCalls(Calls):
    """What may be asked about keys and names."""

    def cluster_keys(self, key: str, offer: schema.ClusterKeys | None = None) -> schema.ClusterKeys:
        """Return the keys of a cluster, for a node of it; the first ones offered are kept.

        They travel over TLS, or on one machine, and no other way.
        """
        request = schema.KeysOffer(keys=offer)
        return self._call("POST", of_cluster(key, "keys"), schema.ClusterKeys, request, repeat=True)

    def change_keys(self, key: str, keys: schema.ClusterKeys) -> None:
        """Put keys in the place of those of a cluster, which are in them as those of before."""
        self._call("PUT", of_cluster(key, "keys"), None, keys, repeat=True)

    def role_key(self, key: str, role: str) -> schema.ClusterKey:
        """Return the key of clients, or of workers, of a cluster; as `cluster_keys` does."""
        return self._call("POST", of_cluster(key, "keys", role), schema.ClusterKey, repeat=True)

    def names(self, key: str) -> list[schema.NamedAddress]:
        """Return where the components are that other machines find by their name."""
        return self._call("GET", of_cluster(key, "names"), list[schema.NamedAddress])
