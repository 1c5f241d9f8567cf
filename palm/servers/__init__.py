"""The components of a cluster.

Each is loaded when it is first used: a worker starts without the rules of a master.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palm.runtime.joins import Join
    from palm.runtime.message import Message
    from palm.runtime.tasks import Task, current_task
    from palm.servers.hub import Hub
    from palm.servers.master import Master
    from palm.servers.pipeline import Pipeline
    from palm.servers.server import Server
    from palm.servers.sink import Sink
    from palm.servers.topology import Topology
    from palm.servers.worker import MuxWorker, Worker

__all__ = [
    "Hub",
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
    "current_task",
]

_HOMES = {
    "Hub": "palm.servers.hub",
    "Join": "palm.runtime.joins",
    "Master": "palm.servers.master",
    "Message": "palm.runtime.message",
    "MuxWorker": "palm.servers.worker",
    "Pipeline": "palm.servers.pipeline",
    "Server": "palm.servers.server",
    "Sink": "palm.servers.sink",
    "Task": "palm.runtime.tasks",
    "Topology": "palm.servers.topology",
    "Worker": "palm.servers.worker",
    "current_task": "palm.runtime.tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'palm.servers' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
