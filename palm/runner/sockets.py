"""Where the sockets are that arguments of this node's components name.

Alone, a machine uses ipc. With an address that others can reach, or where components on other
nodes name its sockets, they are tcp sockets with ports of this node; what was once is kept, so
that a node which comes and goes restarts nobody.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from palm.errors import ConfigError
from palm.files import privatefile
from palm.registry_api.schema import Assignments
from palm.runner.ports import Ports
from palm.runtime.folders import Folders, private_folder
from palm.runtime.peers import peers_path
from palm.spec.component import SINGLE_ROLES, ComponentSpec
from palm.spec.endpoint import Endpoint
from palm.spec.node import NodeConfig
from palm.spec.placeholder import Placeholder
from palm.spec.sockets import NODE_PORT, named_sockets, socket_key

__all__ = ["Named", "Sockets", "key_of", "own_keys", "own_sockets"]

_log = logging.getLogger("palm.runner")

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Named:
    """The sockets that one replica names: tcp addresses by key; ``waits`` says what is missing."""

    addresses: dict[str, str] = field(default_factory=dict)
    waits: str = ""


class Sockets:
    """The sockets of one node, its own and those it was told of."""

    def __init__(self, folders: Folders, node: str, config: NodeConfig) -> None:
        host = _numeric(config.address)
        private_folder(folders.state / folders.cluster, "PALM_STATE_DIR")
        path = folders.state / folders.cluster / f"ports-{node}.json"
        self._ports = Ports(path, host, config.ports, lambda: self._needed)
        self._is_reachable = not Endpoint("tcp", host=host).is_local
        #: Whether it is to be found by name from other nodes: somebody gave it an address.
        self._has_address = bool(config.address)
        self._peers = peers_path(folders, node)
        self._needed: set[str] = set()
        self._reached: set[str] = set()
        self._elsewhere: dict[str, str] = {}

    def take(self, assignments: Assignments) -> None:
        """Learn where other nodes' sockets are, and which of ours they name."""
        self._elsewhere = dict(assignments.sockets)
        self._write_peers(assignments.peers)
        self._reached = {each.spec.name for each in assignments.components if each.reached}
        self._needed = {
            key_of(each.spec, number, found)
            for each in assignments.components
            for found in named_sockets(each.spec)
            for number in each.numbers or [0]
        }

    def named_by(self, spec: ComponentSpec, number: int) -> Named:
        """Return the addresses of the sockets that a replica names, those on ipc excepted."""
        addresses: dict[str, str] = {}
        unknown = []
        for found in named_sockets(spec):
            key = key_of(spec, number, found)
            if key not in self._elsewhere:
                if not self._is_tcp(found.component, key):
                    continue
                try:
                    addresses[key] = self._address(key)
                except ConfigError as error:
                    return Named(waits=f"waits for a port: {error.args[0]}")
            elif self._elsewhere[key]:
                addresses[key] = self._elsewhere[key]
            else:
                unknown.append(key)
        try:
            addresses |= self._by_name(spec)
        except ConfigError as error:
            return Named(waits=f"waits for a port: {error.args[0]}")
        waits = f"waits for the address of {', '.join(sorted(set(unknown)))}" if unknown else ""
        return Named(addresses, waits)

    def _by_name(self, spec: ComponentSpec) -> dict[str, str]:
        """Where a component is found by its name from other nodes."""
        if not self._has_address or spec.role not in SINGLE_ROLES:
            return {}
        key = socket_key(spec.name, NODE_PORT)
        return {key: self._address(key)}

    def _write_peers(self, peers: Mapping[str, str]) -> None:
        """Let components of this node know where those on other nodes are."""
        try:
            if peers or self._peers.exists():
                privatefile.replace(self._peers, msgspec.json.encode(peers))
        except OSError as error:  # a full disk: they look again, and so do we
            _log.warning("components on other nodes cannot be found by name: %s", error)

    def renew(self, keys: Iterable[str]) -> bool:
        """Take ports from sockets where somebody else has them; say whether any was.

        They have others then, as far as there are any: `named_by` knows.
        """
        renewed = [self._renew(key) for key in keys if key in self._ports]
        return any(renewed)

    def _renew(self, key: str) -> bool:
        try:
            return self._ports.renew(key)
        except ConfigError:  # and later perhaps there is one
            return True

    def forget(self) -> None:
        """Give back all ports: the cluster has ended."""
        self._ports.forget()
        self._peers.unlink(missing_ok=True)

    def _is_tcp(self, component: str, key: str) -> bool:
        return self._is_reachable or component in self._reached or key in self._ports

    def _address(self, key: str) -> str:
        port = self._ports.port(key)
        return str(Endpoint("tcp", host=self._ports.host, port=port))


def own_sockets(component: str, number: int, addresses: Mapping[str, str]) -> dict[str, str]:
    """Return, by port name, those of the addresses that are a replica's own."""
    own = own_keys(component, number, addresses)
    return {key.rpartition(".")[2]: addresses[key] for key in own}


def own_keys(component: str, number: int, keys: Iterable[str]) -> list[str]:
    """Return those keys of sockets that are a replica's own."""
    prefix = socket_key(_owner(component, number), "")
    return [key for key in keys if key.startswith(prefix)]


def key_of(spec: ComponentSpec, number: int, found: Placeholder) -> str:
    """Return the key of a socket that a replica names; of its own component, it is its own one."""
    own = found.component == spec.name
    return socket_key(_owner(found.component, number) if own else found.component, found.port)


def _owner(component: str, number: int) -> str:
    # No other component can be called so: its process would have the name of this one's.
    return f"{component}-{number}" if number else component


def _numeric(address: str) -> str:
    """The IP address of a host, since ZeroMQ binds no names."""
    if not address:
        return LOOPBACK
    try:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(
            f"there is no host {address!r}: {error.strerror}",
            key="address",
            hint="a name or an IP address of this machine",
        ) from error
    return str(found[0][4][0])
