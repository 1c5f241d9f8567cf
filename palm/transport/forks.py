"""Forked children let go of our connections.

A child that a user's function forks has copies of all descriptors. While it lives, a peer would not
see that we died - until its heartbeat tells it - and the address of a listener would stay taken.
libzmq's own sockets cannot be closed in a child, so the descriptors are found by their addresses.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakSet

from palm.spec.endpoint import Endpoint

__all__ = ["Holder", "let_go_in_children"]


class Holder(Protocol):
    """Somebody with sockets that a child must not keep."""

    def bound_to(self) -> list[Endpoint]:
        """Return where it listens."""

    def connected_to(self) -> list[Endpoint]:
        """Return where it is connected to."""


_HOLDERS: WeakSet[Holder] = WeakSet()


def let_go_in_children(holder: Holder) -> None:
    """Close, in every child that is forked from now on, the sockets of ``holder``."""
    _HOLDERS.add(holder)


def _close_in_child() -> None:
    holders = list(_HOLDERS)
    _HOLDERS.clear()
    bound = {_key(endpoint) for holder in holders for endpoint in holder.bound_to()}
    connected = {_key(endpoint) for holder in holders for endpoint in holder.connected_to()}
    if not bound and not connected:
        return
    for fd in map(int, os.listdir("/dev/fd")):
        if _is_socket(fd) and _is_ours(fd, bound, connected):
            os.close(fd)


def _key(endpoint: Endpoint) -> str | tuple[str, int]:
    """Return the address as the system gives it."""
    if endpoint.scheme == "ipc":
        return endpoint.path
    return "127.0.0.1" if endpoint.host == "localhost" else endpoint.host, endpoint.port


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:  # that of the listing itself
        return False


def _is_ours(fd: int, bound: set[Any], connected: set[Any]) -> bool:
    import socket  # slow to load, and hardly anybody forks

    known = socket.socket(fileno=fd)
    try:
        own = _address(known.getsockname)
        # All that came in at a port of ours has that port, whatever the address of the host.
        if own in bound or (isinstance(own, tuple) and own[1] in {b[1] for b in bound}):
            return True
        return _address(known.getpeername) in connected
    finally:
        known.detach()


def _address(name: Callable[[], Any]) -> Any:
    try:
        address = name()
    except OSError:  # it is not connected
        return None
    return address[:2] if isinstance(address, tuple) else address


os.register_at_fork(after_in_child=_close_in_child)
