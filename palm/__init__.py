"""palm: interactive clusters of named components over ZeroMQ.

Importing this package is light: the public names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from palm._version import __version__

if TYPE_CHECKING:
    from palm import clusters, errors
    from palm.clients import Client, Job
    from palm.clusters import connect, up
    from palm.servers import (
        Hub,
        Join,
        Master,
        Message,
        MuxWorker,
        Pipeline,
        Server,
        Sink,
        Task,
        Topology,
        Worker,
        current_task,
    )

__all__ = [
    "Client",
    "Hub",
    "Job",
    "Join",
    "Master",
    "Message",
    "MuxWorker",
    "Pipeline",
    "Server",
    "Sink",
    "Task",
    "Topology",
    "Worker",
    "__version__",
    "clusters",
    "connect",
    "current_task",
    "errors",
    "up",
]

_FROM_SERVERS = (
    "Hub", "Join", "Master", "Message", "MuxWorker", "Pipeline", "Server", "Sink", "Task",
    "Topology", "Worker", "current_task",
)  # fmt: skip
_HOMES = {
    "Client": "palm.clients",
    "Job": "palm.clients",
    **dict.fromkeys(_FROM_SERVERS, "palm.servers"),
    "connect": "palm.clusters",
    "up": "palm.clusters",
}
_MODULES = ("clusters", "errors")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"palm.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'palm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
