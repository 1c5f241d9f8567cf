"""The keys of a cluster: files that only their user may read, one for each role.

RFC 26 (CurveZMQ).
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import msgspec
import zmq

from palm.errors import ConfigError
from palm.files import privatefile

__all__ = [
    "Keyring",
    "RoleKey",
    "ensure_keys",
    "install_keys",
    "load_key",
    "new_key",
    "read_keyring",
]

ROLES = ("owner", "client", "worker")

#: Bytes; a key file has about 300.
_MAX_KEY_FILE = 16 * 1024


class RoleKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """The key pair of one role, and the public key of the servers it may talk to (z85 text).

    ``expires`` is until when the pair is good beside another one that has taken its place, in
    seconds since the epoch, 0: for ever. ``before`` is the one whose place this one has taken; it
    lies in a file of its own. ``folder`` is where it was read.
    """

    schema: int
    role: str
    curve_publickey: str
    curve_secretkey: str
    server_publickey: str
    created: str
    expires: float = 0.0
    folder: str = ""
    before: RoleKey | None = None

    def __repr__(self) -> str:
        return f"<RoleKey {self.role} {self.curve_publickey}>"  # a repr ends up in logs

    @property
    def pairs(self) -> tuple[RoleKey, ...]:
        """The pair itself, and that of before."""
        return (self,) if self.before is None else (self, self.before)

    def without_folder(self) -> RoleKey:
        """Return it as it may be handed on: where it was read is nobody else's concern."""
        before = self.before and self.before.without_folder()
        return msgspec.structs.replace(self, folder="", before=before)


class Keyring(msgspec.Struct, frozen=True):
    """All keys of a cluster. The owner's pair is also that of its servers.

    Those of before the latest change are good for a while, too.
    """

    owner: RoleKey
    client: RoleKey
    worker: RoleKey

    @property
    def pairs(self) -> tuple[RoleKey, ...]:
        """All pairs, those of before among them."""
        return (*self.owner.pairs, *self.client.pairs, *self.worker.pairs)

    def without_folder(self) -> Keyring:
        """Return them as they may be handed on."""
        return Keyring(*(key.without_folder() for key in (self.owner, self.client, self.worker)))

    def user_id_of(self, public_key: str, now: float = 0.0) -> str | None:
        """Return the role whose key `public_key` (z85) is, None for a stranger's.

        `now` is in seconds since the epoch.
        """
        for key in self.pairs:
            if key.curve_publickey == public_key and not 0 < key.expires <= now:
                return key.role
        return None

    def again(self) -> Keyring:
        """Return the keys as they are now: they may have been changed since they were read."""
        return ensure_keys(Path(self.owner.folder)) if self.owner.folder else self


def ensure_keys(folder: Path) -> Keyring:
    """Return the keys in `folder`, a private one, after making those that are missing.

    Any number of processes may call this at once; all get the same keys.

    Raises
    ------
    AuthenticationError
        A key file is not ours, or open to others.
    ConfigError
        A key file is damaged, or cannot be written.
    """
    if all((folder / f"{role}.json").exists() for role in ROLES):
        with contextlib.suppress(ConfigError):  # they may be being changed: then in turn
            return read_keyring(folder)
    try:
        with privatefile.locked(folder / ".lock"):
            _make_missing(folder)
            return read_keyring(folder)
    except OSError as error:
        raise ConfigError(
            f"no keys can be made in {folder}: {error.strerror}",
            hint="set PALM_STATE_DIR to a folder on a disk of this machine that has room",
        ) from error


def install_keys(folder: Path, keyring: Keyring) -> bool:
    """Have `folder` hold these keys and no others; say whether it held others, or none.

    Raises
    ------
    ConfigError
        They do not belong together, or cannot be written.
    """
    for key in keyring.pairs:
        try:
            _check_pair(key)
        except ValueError as error:
            raise ConfigError(f"the key of {key.role} cannot be used: {error}") from error
    try:
        with privatefile.locked(folder / ".lock"):
            if _holds(folder, keyring):
                return False
            for key in (keyring.owner, keyring.client, keyring.worker):
                _install(folder, key.without_folder())
            return True
    except OSError as error:
        raise ConfigError(f"keys cannot be kept in {folder}: {error.strerror}") from error


def _holds(folder: Path, keyring: Keyring) -> bool:
    if not all((folder / f"{role}.json").exists() for role in ROLES):
        return False
    try:
        return read_keyring(folder).without_folder() == keyring.without_folder()
    except ConfigError:  # damaged: they are replaced
        return False


def _install(folder: Path, key: RoleKey) -> None:
    former = folder / f"{key.role}.before.json"
    if key.before is None:
        former.unlink(missing_ok=True)
    else:
        privatefile.replace(former, msgspec.json.encode(key.before))
    alone = msgspec.structs.replace(key, before=None)
    privatefile.replace(folder / f"{key.role}.json", msgspec.json.encode(alone))


def load_key(path: Path) -> RoleKey:
    """Read one key file; raise as `ensure_keys` does."""
    data = privatefile.read(path, "key file", _MAX_KEY_FILE)
    found = _parse_key(data, str(path), path.parent)
    return msgspec.structs.replace(found, folder=str(path.parent))


def _parse_key(data: bytes, what: str, folder: Path | None = None) -> RoleKey:
    """Return the key that is in a file; `what` and `folder` are for the error.

    Raises
    ------
    ConfigError
        It is none.
    """
    try:
        key = msgspec.json.decode(data, type=RoleKey)
        _check_pair(key)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{what} is not a key file: {error}",
            hint=f"stop the components, remove the folder {folder} and start them again; "
            "new keys are made"
            if folder
            else None,
        ) from error
    return key


def _check_pair(key: RoleKey) -> None:
    for name in ("curve_publickey", "curve_secretkey", "server_publickey"):
        value = getattr(key, name)
        if len(value) != 40 or not value.isascii():
            raise ValueError(f"{name} is not a key of 40 characters")
    try:
        public = zmq.curve_public(key.curve_secretkey.encode())
    except zmq.ZMQError:
        raise ValueError("curve_secretkey is not z85 text") from None
    if public.decode() != key.curve_publickey:
        raise ValueError("curve_publickey and curve_secretkey do not belong together")


def read_keyring(folder: Path) -> Keyring:
    """Read the keys in `folder`, and make none; raise as `ensure_keys` does."""
    owner, client, worker = (_load_pairs(folder, role) for role in ROLES)
    for role, key in zip(ROLES, (owner, client, worker), strict=True):
        if key.role != role or key.server_publickey != owner.curve_publickey:
            raise ConfigError(
                f"{folder / role}.json does not belong to the other keys there",
                hint=f"stop the components, remove the folder {folder} and start them again; "
                "new keys are made",
            )
    return Keyring(owner, client, worker)


def _load_pairs(folder: Path, role: str) -> RoleKey:
    key, former = load_key(folder / f"{role}.json"), folder / f"{role}.before.json"
    return msgspec.structs.replace(key, before=load_key(former)) if former.exists() else key


def _make_missing(folder: Path) -> None:
    for leftover in folder.glob(".*.tmp"):  # of a process that died; nobody else holds the lock
        leftover.unlink(missing_ok=True)
    server = ""
    for role in ROLES:
        path = folder / f"{role}.json"
        if not path.exists():
            privatefile.create(path, msgspec.json.encode(new_key(role, server)))
        server = server or load_key(path).curve_publickey


def new_key(role: str, server: str) -> RoleKey:
    """Return a new pair of a role; `server` is the public key of its servers, "" for its own."""
    public, secret = (part.decode() for part in zmq.curve_keypair())
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return RoleKey(1, role, public, secret, server or public, created)
