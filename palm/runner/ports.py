"""The ports that a node gives to the sockets of its components, and keeps for them."""

from __future__ import annotations

import errno
import logging
import socket
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec

from palm.errors import ConfigError, PalmError
from palm.files import privatefile

__all__ = ["Ports", "is_free"]

_MAX_FILE = 1024 * 1024
_log = logging.getLogger("palm.runner")

#: Sockets of which ports are kept: of more, those that nobody names any more are forgotten.
_KEPT = 1024


def is_free(host: str, port: int) -> bool:
    """Whether a program could listen on a port of this machine now.

    Raises
    ------
    ConfigError
        Nobody can listen there: it is no address of this machine, or a port of the system.
    """
    return _try(host, port) is not None


def _try(host: str, port: int) -> int | None:
    """Listen for a moment; return the port, None if somebody has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            # As ZeroMQ does: connections that are about to be forgotten do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
            return int(probe.getsockname()[1])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return None
        hint = "see address and ports of the node"
        text = f"nobody can listen at {host}, port {port}: {error.strerror}"
        raise ConfigError(text, hint=hint) from error


class Ports:
    """Ports by the name of the socket ("foo.pull"); they stay the same over restarts.

    Parameters
    ----------
    path
        The file where they are kept.
    host
        The address of this machine that they belong to.
    limits
        The first and the last port that may be given, None for any that is free.
    needed
        Gives the sockets that somebody names now; the ports of others may be given again.
    """

    def __init__(
        self,
        path: Path,
        host: str,
        limits: tuple[int, int] | None,
        needed: Callable[[], Collection[str]] = list,
    ) -> None:
        self.host = host
        self._path = path
        self._limits = limits
        self._needed = needed
        self._ports = {key: p for key, p in _load(path).items() if self._is_allowed(p)}

    def __contains__(self, key: str) -> bool:
        return key in self._ports

    def port(self, key: str) -> int:
        """Return the port of a socket; it gets one if it has none.

        Raises
        ------
        ConfigError
            None is free.
        """
        if key not in self._ports:
            self._give(key)
        return self._ports[key]

    def renew(self, key: str) -> bool:
        """Give a socket another port if somebody else has its own; say whether it had to.

        Raises
        ------
        ConfigError
            None is free; the socket has no port now, and may get one later.
        """
        port = self.port(key)
        if is_free(self.host, port):
            return False
        del self._ports[key]
        self._give(key)
        return True

    def forget(self) -> None:
        """Give back all ports: the cluster has ended."""
        self._ports.clear()
        self._path.unlink(missing_ok=True)

    def _is_allowed(self, port: int) -> bool:
        first, last = self._limits or (1, 65535)
        return first <= port <= last

    def _give(self, key: str) -> None:
        if len(self._ports) >= _KEPT:
            self._forget_unneeded(key)
        port = self._find(key)
        if port is None:
            self._forget_unneeded(key)
            port = self._find(key)
        if port is None:
            first, last = self._limits or (1, 65535)
            raise ConfigError(f"none of the ports {first}-{last} is free", key="ports")
        self._ports[key] = port
        self._save()

    def _forget_unneeded(self, key: str) -> None:
        needed = {*self._needed(), key}
        self._ports = {each: port for each, port in self._ports.items() if each in needed}

    def _find(self, key: str) -> int | None:
        taken = set(self._ports.values())
        found = (_try(self.host, port) for port in self._candidates(key, taken))
        return next((port for port in found if port is not None and port not in taken), None)

    def _candidates(self, key: str, taken: Collection[int]) -> Iterator[int]:
        if self._limits is None:
            yield from (0,) * 64  # any, until it is one that no other socket here has
            return
        first, last = self._limits
        count = last - first + 1
        # Each socket begins elsewhere, so that nodes that share a machine seldom meet.
        begin = zlib.crc32(key.encode()) % count
        for step in range(count):
            port = first + (begin + step) % count
            if port not in taken:
                yield port

    def _save(self) -> None:
        try:
            privatefile.replace(self._path, msgspec.json.encode(self._ports))
        except OSError as error:  # a full disk: the next runner may find other ports
            _log.warning("the ports of this node cannot be kept: %s", error)


def _load(path: Path) -> dict[str, int]:
    try:
        data = privatefile.read(path, "ports of a node", _MAX_FILE)
        return msgspec.json.decode(data, type=dict[str, int])
    except (PalmError, *privatefile.UNREADABLE):  # not there yet, or lost: others are found
        return {}
