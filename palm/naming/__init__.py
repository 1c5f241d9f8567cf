"""Names across machines: where a registry says that components are, and the keys to them."""

from __future__ import annotations

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
        from palm.naming.elsewhere import registry_names  # HTTP: most find all on their machine

        return registry_names(folders, role, url)

    return ask
