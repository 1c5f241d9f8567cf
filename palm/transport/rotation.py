"""Keys that take the place of others while a cluster runs.

Those of before lie beside the new ones, with the time at which they end. Nobody is told of a
change: whoever is asked for a key that it does not know, or is refused with the one that it has,
looks at the files again.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import msgspec

from palm.errors import AuthenticationError, ConfigError
from palm.transport import privatefile
from palm.transport.security import (
    Keyring,
    RoleKey,
    ensure_keys,
    load_key,
    new_key,
    read_keyring,
)

__all__ = ["keys_to_try", "rotate_keys"]


def rotate_keys(folder: Path, overlap: float) -> Keyring:
    """Put new keys in the place of those in `folder`, which are good for `overlap` seconds more.

    Nothing that runs has to be told: who is asked for a key that it does not know, and who is
    refused, looks at the files again. Raises as `ensure_keys` does.
    """
    ensure_keys(folder)
    with privatefile.locked(folder / ".lock"):
        old = read_keyring(folder)
        server = ""
        for key in (old.owner, old.client, old.worker):
            fresh = new_key(key.role, server)
            server = server or fresh.curve_publickey
            last = msgspec.structs.replace(key, expires=time.time() + overlap, folder="")
            privatefile.replace(folder / f"{key.role}.before.json", msgspec.json.encode(last))
            privatefile.replace(folder / f"{key.role}.json", msgspec.json.encode(fresh))
        return read_keyring(folder)


def keys_to_try(key: RoleKey) -> list[RoleKey]:
    """Return the keys of a role by which a server may let us in: the newest, then those before."""
    found = []
    for name in (f"{key.role}.json", f"{key.role}.before.json") if key.folder else ():
        with contextlib.suppress(AuthenticationError, ConfigError):
            found.append(load_key(Path(key.folder, name)))
    found.append(key)
    return [each for at, each in enumerate(found) if each not in found[:at]]
