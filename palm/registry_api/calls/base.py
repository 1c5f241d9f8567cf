"""What all calls have in common: how one is made of a request, and how a path is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from palm.registry_api.answers import MSGPACK, read
from palm.registry_api.connections import ANSWER_TIMEOUT, Connections, Request

__all__ = ["Calls", "of_cluster"]

T = TypeVar("T")


class Calls:
    """Base of those that call a registry by way of ``connections``."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def _call(
        self,
        method: str,
        path: str,
        reply: type[T] | None,
        request: Any = None,
        *,
        repeat: bool = False,
        packed: bool = False,
        timeout: float = ANSWER_TIMEOUT,
    ) -> T:
        """Send a request and return the `reply`; those that change nothing twice are repeated."""
        headers = {}
        body = None
        if packed:
            headers["Accept"] = MSGPACK
        if request is not None:
            headers["Content-Type"] = MSGPACK if packed else "application/json"
            body = (msgspec.msgpack if packed else msgspec.json).encode(request)
        repeat = repeat or method in ("GET", "PUT")
        asked = Request(method, path, body, headers, timeout)
        return read(self._connections.ask(asked, repeat=repeat), reply)


def of_cluster(key: str, *parts: str, query: Mapping[str, Any] | None = None) -> str:
    """Return the path of something of a cluster; what is not given in the query is left out."""
    path = "/".join(quote(part, safe="") for part in ("api", "clusters", key, *parts))
    given = {k: v for k, v in (query or {}).items() if v is not None and v != "" and v != []}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path
