"""Where the registry is that this process belongs to, and how it proves who it is."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from palm.errors import ConfigError, PalmError
from palm.files import privatefile
from palm.registry_api.client import Whereabouts
from palm.runtime.folders import Folders
from palm.runtime.records import is_running

__all__ = [
    "RegistryRecord",
    "is_same",
    "locate_registry",
    "own_certificate",
    "read_registry",
    "read_token",
    "whereabouts",
]

_MAX_FILE = 64 * 1024


class RegistryRecord(msgspec.Struct, kw_only=True):
    """What the file ``registry.json`` of the run folder says.

    ``certfile`` has the certificate that it shows; it was started with ``arguments``. ``run`` is
    another after each start, be it in the same process.
    """

    url: str
    token_file: str
    pid: int = 0
    start_time: float = 0.0
    certfile: str = ""
    arguments: list[str] = []
    run: str = ""

    @property
    def is_running(self) -> bool:
        """Whether that very process is still there."""
        return is_running(self.pid, self.start_time)


def read_registry(folders: Folders) -> RegistryRecord | None:
    """Return where this user's registry was last seen, None if there is none."""
    path = folders.run / "registry.json"
    try:
        data = privatefile.read(path, "record of the registry", _MAX_FILE)
        return msgspec.json.decode(data, type=RegistryRecord)
    except (PalmError, *privatefile.UNREADABLE):
        return None


def locate_registry(folders: Folders, url: str) -> Whereabouts | None:
    """Return where the registry at ``url`` is, or without one this user's, if it runs.

    Raises
    ------
    PalmError
        The token cannot be read.
    """
    record = read_registry(folders)
    if record is not None and (not url or is_same(record.url, url)):
        return whereabouts(folders, record) if url or record.is_running else None
    return Whereabouts(url, read_token(folders, ""), own_certificate(folders)) if url else None


def whereabouts(folders: Folders, record: RegistryRecord) -> Whereabouts:
    """Return what a record says of a registry of this user."""
    ca_file = os.environ.get("PALM_CA_FILE") or record.certfile
    return Whereabouts(record.url, read_token(folders, record.token_file), ca_file)


def own_certificate(folders: Folders) -> str:
    """Return the file with the certificate of the registry whose token is the owner's, or "".

    It is in the state folder, which machines may share: the registry runs on another one then.
    """
    if os.environ.get("PALM_CA_FILE") or os.environ.get("PALM_TOKEN_FILE"):
        return ""
    path = folders.state / "tls" / "registry.crt"
    return str(path) if path.exists() else ""


def read_token(folders: Folders, token_file: str) -> str:
    """Return the token for a registry: of ``PALM_TOKEN_FILE``, else of a file, else the owner's.

    Raises
    ------
    ConfigError
        There is none, or others may know it.
    """
    path = os.environ.get("PALM_TOKEN_FILE") or token_file
    file = Path(path) if path else folders.state / "tokens" / "owner"
    try:
        data = privatefile.read(file, "token", _MAX_FILE)
    except ConfigError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise ConfigError(
            f"there is no token for the registry: {file}",
            key="PALM_TOKEN_FILE",
            hint="name the file that has it; whoever runs the registry makes one with"
            " palm token add NAME --out FILE",
        ) from error
    return data.decode("ascii", "replace").strip()


def is_same(one: str, other: str) -> bool:
    """Whether two addresses are of one registry."""
    return one.rstrip("/") == other.rstrip("/")
