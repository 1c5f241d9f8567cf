"""The components of a cluster.

Each is loaded when it is first used: a worker starts without the rules of a master.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palm.servers.master import Master
    from palm.servers.worker import Worker

__all__ = ["Master", "Worker"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'palm.servers' has no attribute {name!r}")
    return getattr(import_module(f"palm.servers.{name.lower()}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
