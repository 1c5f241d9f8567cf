"""A machine that has joined: what it keeps of that."""

from __future__ import annotations

from pathlib import Path

import msgspec

from palm.errors import ConfigError
from palm.files import privatefile
from palm.registry_api.client import RegistryClient
from palm.runner.registry import has_database
from palm.runtime.folders import Folders
from palm.spec.node import NodeConfig

__all__ = [
    "Joined",
    "forget_joined",
    "has_joined",
    "joined_at",
    "read_joined",
    "renew_joined",
    "write_joined",
]

_MAX_FILE = 64 * 1024


class Joined(msgspec.Struct, kw_only=True):
    """As which node a machine has joined; the file has its token, and is for its user alone."""

    cluster: str
    node: str
    url: str
    token: str
    fingerprint: str = ""
    schema: int = 1
    address: str = ""
    cores: int = 0
    ports: tuple[int, int] | None = None
    labels: dict[str, str] = {}
    allow: tuple[str, ...] | None = None
    places: int = 0

    def __repr__(self) -> str:
        return f"<Joined {self.cluster} as {self.node}>"

    @property
    def config(self) -> NodeConfig:
        """What the machine is as a node."""
        return NodeConfig(
            self.node, self.address, self.cores, self.ports, self.labels, self.allow, self.places
        )

    def client(self, retry: float = 0.0) -> RegistryClient:
        """Return a client of the registry, which is known by its certificate."""
        return RegistryClient(self.url, self.token, retry=retry, fingerprint=self.fingerprint)


def has_joined(folders: Folders) -> bool:
    """Whether this machine is a node of the cluster, under whatever name."""
    return any(folders.keys.parent.glob("joined-*.json"))


def joined_at(folders: Folders) -> str:
    """Where the registry is whose node this machine is; "" if it is none."""
    for path in sorted(folders.keys.parent.glob("joined-*.json")):
        return read_joined(folders, path.stem.removeprefix("joined-")).url
    return ""


def write_joined(folders: Folders, joined: Joined) -> None:
    """Keep it for the next start."""
    privatefile.replace(_path(folders, joined.node), msgspec.json.encode(joined))


def read_joined(folders: Folders, node: str = "") -> Joined:
    """Return as what this machine has joined; without a name there must be one only.

    Raises
    ------
    ConfigError
        It has not, or as several nodes.
    AuthenticationError
        The file may be known to others.
    """
    found = sorted(folders.keys.parent.glob("joined-*.json"))
    names = [path.stem.removeprefix("joined-") for path in found]
    if not node and len(names) == 1:
        node = names[0]
    if node not in names:
        what = f"as {node!r}" if node else "as one node alone"
        known = f"--name: {', '.join(names)}" if names else "palm nodes join STRING"
        raise ConfigError(
            f"this machine has not joined the cluster {folders.cluster!r} {what}", hint=known
        )
    data = privatefile.read(_path(folders, node), "file of a node", _MAX_FILE)
    try:
        return msgspec.json.decode(data, type=Joined)
    except privatefile.UNREADABLE as error:
        path = _path(folders, node)
        raise ConfigError(f"{path} is damaged: {error}", hint="join again") from error


def forget_joined(folders: Folders, node: str) -> None:
    """Remove what a node that was removed has of its cluster: its token, and the keys.

    Where the registry is, the keys are its own.
    """
    _path(folders, node).unlink(missing_ok=True)
    if not has_joined(folders) and not has_database(folders):
        for path in folders.keys.glob("*.json"):
            path.unlink(missing_ok=True)


def _path(folders: Folders, node: str) -> Path:
    return folders.keys.parent / f"joined-{node}.json"


def renew_joined(folders: Folders, client: RegistryClient, joined: Joined) -> None:
    """Let a node go on with another token, which is written down before it is used."""
    token = client.renew_token(joined.cluster, joined.node)
    write_joined(folders, msgspec.structs.replace(joined, token=token))
    client.use_token(token)
