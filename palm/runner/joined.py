"""A machine that has joined: what it keeps of that, and the keys that it is given."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec

from palm.errors import ConfigError, PalmError
from palm.registry_api.client import RegistryClient
from palm.registry_api.schema import KeyFile
from palm.runtime.folders import Folders
from palm.spec.node import NodeConfig
from palm.transport import privatefile
from palm.transport.security import load_key, parse_key

__all__ = ["GivenKeys", "Joined", "forget_joined", "read_joined", "renew_joined", "write_joined"]

_MAX_FILE = 64 * 1024
_ROLE = re.compile(r"[a-z]{1,32}(\.before)?")
_log = logging.getLogger("palm.runner")


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

    def __repr__(self) -> str:
        return f"<Joined {self.cluster} as {self.node}>"

    @property
    def config(self) -> NodeConfig:
        """What the machine is as a node."""
        return NodeConfig(self.node, self.address, self.cores, self.ports, self.labels, self.allow)

    def client(self, retry: float = 0.0) -> RegistryClient:
        """Return a client of the registry, which is known by its certificate."""
        return RegistryClient(self.url, self.token, retry=retry, fingerprint=self.fingerprint)


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
    """Remove what a node that was removed has of its cluster: its token, and the keys."""
    _path(folders, node).unlink(missing_ok=True)
    if not list(folders.keys.parent.glob("joined-*.json")):
        for path in folders.keys.glob("*.json"):
            path.unlink(missing_ok=True)


def _path(folders: Folders, node: str) -> Path:
    return folders.keys.parent / f"joined-{node}.json"


def renew_joined(folders: Folders, client: RegistryClient, joined: Joined) -> None:
    """Let a node go on with another token, which is written down before it is used."""
    token = client.renew_token(joined.cluster, joined.node)
    write_joined(folders, msgspec.structs.replace(joined, token=token))
    client.use_token(token)


class GivenKeys:
    """The keys of a cluster, as its registry hands them to a node.

    ``ask`` has the registry hand them over, ``renew`` is called once they are other ones: then the
    token of the node is to be another, too.
    """

    def __init__(
        self,
        folders: Folders,
        ask: Callable[[], list[KeyFile]],
        renew: Callable[[], object] = lambda: None,
    ) -> None:
        self._folders = folders
        self._ask = ask
        self._renew = renew
        self._wanted = ""

    def follow(self, digest: str) -> None:
        """Have the keys of this digest; if they cannot be had now, at a later call."""
        self._wanted = digest or self._wanted
        if not self._wanted or self._wanted == self.digest():
            return
        try:
            had = bool(self.digest())
            self.install(self._ask())
            if had:
                self._renew()
        except PalmError as error:
            _log.warning("the keys of the cluster cannot be had for now: %s", error)
        else:
            _log.info("has the keys of the cluster")

    def digest(self) -> str:
        """Return what the registry says of the same files."""
        paths = sorted(self._folders.keys.glob("*.json"))
        texts = [(path.stem, path.read_text("utf-8", "replace")) for path in paths]
        told = "".join(f"{role}\0{text}\0" for role, text in texts)
        return sha256(told.encode()).hexdigest()[:16] if texts else ""

    def install(self, keys: list[KeyFile]) -> None:
        """Put keys in the place of what is there.

        Raises
        ------
        ConfigError
            They are none.
        """
        for key in keys:
            if not _ROLE.fullmatch(key.role):
                raise ConfigError(f"the registry gave a key for {key.role[:40]!r}")
            parse_key(key.text.encode(), f"the key of the role {key.role}")
        with privatefile.locked(self._folders.keys / ".lock"):
            for key in keys:
                privatefile.replace(self._folders.keys / f"{key.role}.json", key.text.encode())
            given = {f"{key.role}.json" for key in keys}
            for path in self._folders.keys.glob("*.json"):
                if path.name not in given:
                    path.unlink(missing_ok=True)

    def check_free(self, keys: list[KeyFile]) -> None:
        """Refuse to take the place of the keys of another cluster of the same name."""
        path = self._folders.keys / "owner.json"
        theirs = next((key.text for key in keys if key.role == "owner"), None)
        if not path.exists() or theirs is None:
            return
        ours = load_key(path)
        if ours.curve_publickey != parse_key(theirs.encode(), "the owner's key").curve_publickey:
            raise ConfigError(
                f"this machine has a cluster {self._folders.cluster!r} of its own, with other keys",
                hint="set PALM_STATE_DIR and PALM_RUN_DIR to other folders for the one to join",
            )
