"""The contract between the registry and all who talk to it: its values, and a client.

The client is loaded when it is first used: the registry itself needs only the values.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palm.registry_api.client import Refused, RegistryClient, Unreachable

__all__ = ["Refused", "RegistryClient", "Unreachable"]

_HOME = "palm.registry_api.client"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'palm.registry_api' has no attribute {name!r}")
    return getattr(import_module(_HOME), name)
