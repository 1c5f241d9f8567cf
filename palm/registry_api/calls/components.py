"""Calls about components: what is wanted of each."""

from __future__ import annotations

import secrets
from typing import Any

from palm.registry_api import schema
from palm.registry_api.calls.base import Calls, of_cluster
from palm.registry_api.schema import ComponentSpec

__all__ = ["ComponentCalls"]


class ComponentCalls(Calls):
    """What may be asked about components."""

    def components(self, key: str) -> list[schema.ComponentStatus]:
        """Return the status of each component."""
        return self._call("GET", of_cluster(key, "components"), list[schema.ComponentStatus])

    def component(self, key: str, name: str) -> schema.ComponentStatus:
        """Return the status of a component."""
        return self._call("GET", of_cluster(key, "components", name), schema.ComponentStatus)

    def declare(self, key: str, spec: ComponentSpec) -> schema.ComponentStatus:
        """Say what is wanted of a component."""
        path = of_cluster(key, "components", spec.name)
        return self._call("PUT", path, schema.ComponentStatus, spec)

    def remove(self, key: str, name: str) -> None:
        """Stop a component and forget it."""
        self._call("DELETE", of_cluster(key, "components", name), None)

    def start(self, key: str, name: str) -> schema.ComponentStatus:
        """Start a component that was stopped."""
        return self._act(key, name, "start", repeat=True)

    def stop(self, key: str, name: str, grace: float | None = None) -> schema.ComponentStatus:
        """Stop a component."""
        return self._act(key, name, "stop", schema.Stop(grace=grace), repeat=True)

    def restart(self, key: str, name: str) -> schema.ComponentStatus:
        """Replace every process of a component."""
        return self._act(key, name, "restart")

    def scale(self, key: str, name: str, replicas: int) -> schema.ComponentStatus:
        """Run another number of replicas."""
        return self._act(key, name, "scale", schema.Scale(replicas=replicas), repeat=True)

    def signal(
        self, key: str, name: str, signal: str, replica: int | None = None
    ) -> schema.SignalSent:
        """Send a signal, as "HUP", to the processes of a component, or to one; each gets it once.

        It is sent by their runners, soon or not at all; events say so.
        """
        request = schema.SignalRequest(signal=signal, replica=replica, id=secrets.token_hex(8))
        path = of_cluster(key, "components", name, "signal")
        return self._call("POST", path, schema.SignalSent, request, repeat=True)

    def _act(
        self, key: str, name: str, action: str, request: Any = None, *, repeat: bool = False
    ) -> schema.ComponentStatus:
        path = of_cluster(key, "components", name, action)
        return self._call("POST", path, schema.ComponentStatus, request, repeat=repeat)
