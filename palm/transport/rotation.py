"""Keys that take the place of others while a cluster runs.

Those of before lie beside the new ones, with the time at which they end. Nobody is told of a
change: whoever is asked for a key that it does not know, or is refused with the one that it has,
looks at the files again.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from palm.errors import AuthenticationError, ConfigError
from palm.transport.keys import Keyring, RoleKey, load_key, new_key

__all__ = ["keys_to_try", "rotated"]


def rotated(keys: Keyring, until: float) -> Keyring:
    """Return new keys in the place of others, which are good until then, too (epoch seconds)."""
    found: list[RoleKey] = []
    for key in (keys.owner, keys.client, keys.worker):
        fresh = new_key(key.role, found[0].curve_publickey if found else "")
        former = msgspec.structs.replace(key.without_folder(), expires=until, before=None)
        found.append(msgspec.structs.replace(fresh, before=former))
    return Keyring(*found)


def keys_to_try(key: RoleKey) -> list[RoleKey]:
    """Return the keys of a role by which a server may let us in: the newest, then those before."""
    found = []
    for name in (f"{key.role}.json", f"{key.role}.before.json") if key.folder else ():
        with contextlib.suppress(AuthenticationError, ConfigError):
            found.append(load_key(Path(key.folder, name)))
    found += key.pairs
    return [each for at, each in enumerate(found) if _pair(each) not in map(_pair, found[:at])]


def _pair(key: RoleKey) -> tuple[str, str]:
    return key.curve_publickey, key.server_publickey
