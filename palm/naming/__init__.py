"""Names across machines: where a registry says that components are, and the keys to them."""

from __future__ import annotations

import os
from collections.abc import Callable

from palm.runtime.folders import Folders
from palm.runtime.resolver import Elsewhere

__all__ = ["asking"]


def asking(folders: Folders, role: str, url: str = "") -> Callable[[], Elsewhere | None]:
    """Return what makes who is asked for names that nobody on this machine knows.

    ``role`` is the one whose key is wanted, "client" or "worker"; ``url`` that of the registry,
    ``PALM_REGISTRY`` or else this user's if it is empty.
    """

    def ask() -> Elsewhere | None:
        # What a runner started is told by the runner, and asks nobody.
        if os.environ.get("PALM_COMPONENT"):
            return None
        registry = url or os.environ.get("PALM_REGISTRY", "")
        if not registry and not (folders.run / "registry.json").exists():
            return None
        from palm.naming.elsewhere import RegistryNames  # HTTP: most find all on their machine

        return RegistryNames(folders, registry, role)

    return ask
