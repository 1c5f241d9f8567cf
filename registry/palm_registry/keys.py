"""The key of a cluster together with who asks for it."""

from __future__ import annotations

__all__ = ["Key", "owner_of"]


class Key(str):
    """A key that leads to the cluster of one user only; any other is as if it were not there.

    It is a plain key to all but the query that looks the cluster up (`store.clusters`), so that
    whose it is gets asked where the cluster is read, and not before.
    """

    __slots__ = ("owner",)

    owner: str

    def __new__(cls, key: str, owner: str) -> Key:
        """Make one of a key and the name of a user."""
        made = super().__new__(cls, key)
        made.owner = owner
        return made


def owner_of(key: str) -> str | None:
    """Return whose clusters a key may lead to, None for everybody's."""
    return key.owner if isinstance(key, Key) else None
