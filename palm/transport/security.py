"""Who may talk to a component: key files, socket options, and the handler that checks peers.

Two ways in, and no third:

* tcp, always CURVE: the peer proves that it has one of the keys of the cluster (ZAP domain
  ``palm``); its User-Id is the role of that key.
* ipc, in a folder that only its user may enter: the system tells the uid of the peer (ZAP domain
  ``palm-ipc``); its User-Id is ``local``.

RFC 27 (ZAP 1.0), RFC 26 (CurveZMQ).
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import threading
import time
from pathlib import Path

import zmq
from zmq.utils import z85

from palm.errors import AuthenticationError, ConfigError, TransportError
from palm.transport.keys import Keyring, RoleKey

__all__ = [
    "ZapHandler",
    "allowed_roles",
    "check_ipc_bind",
    "check_ipc_server",
    "check_libzmq",
    "is_listening",
    "libzmq_version",
    "secure_connect",
    "secure_ipc_bind",
    "secure_tcp_bind",
]

CURVE_DOMAIN = b"palm"
IPC_DOMAIN = b"palm-ipc"

#: Seconds between two looks at the key files for a key that is not known.
LOOK_AGAIN = 0.2

_ZAP_ADDRESS = "inproc://zeromq.zap.01"

#: The oldest libzmq without a known hole in front of the authentication.
_MIN_LIBZMQ = (4, 3, 5)

_EVERY_ROLE = frozenset({"client", "observer", "worker", "node", "stage", "master"})
_ALLOWED = {
    "local": _EVERY_ROLE,
    "owner": _EVERY_ROLE,
    "client": frozenset({"client", "observer"}),
    "worker": frozenset({"worker", "stage"}),
    "inner": frozenset({"inner"}),
}


def allowed_roles(user_id: str) -> frozenset[str]:
    """Return the roles that a peer may claim whose frames carry `user_id`; none if unknown."""
    return _ALLOWED.get(user_id, frozenset())


def check_libzmq() -> None:
    """Raise TransportError unless this libzmq can encrypt and has no known hole."""
    version = zmq.zmq_version_info()
    if version < _MIN_LIBZMQ:
        wanted = ".".join(map(str, _MIN_LIBZMQ))
        raise TransportError(
            f"libzmq {zmq.zmq_version()} is too old, palm needs {wanted}: pip install -U pyzmq"
        )
    if not zmq.has("curve"):
        raise TransportError(
            "this libzmq was built without CURVE, so nothing could be kept private: "
            "pip install -U --force-reinstall pyzmq"
        )


def libzmq_version() -> str:
    """The version of the libzmq that pyzmq has loaded."""
    return zmq.zmq_version()


# -- socket options ---------------------------------------------------------------------------
# libzmq copies the options into each listener when it is bound. So one ROUTER serves both ways:
# secure_tcp_bind, bind tcp, secure_ipc_bind, bind ipc.


def secure_tcp_bind(socket: zmq.Socket[bytes], owner: RoleKey) -> None:
    """Make the next binds of `socket` take only peers with a key of the cluster."""
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.ZAP_DOMAIN, CURVE_DOMAIN)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, owner.curve_secretkey.encode())


def secure_ipc_bind(socket: zmq.Socket[bytes]) -> None:
    """Make the next binds of `socket` take only processes of this user."""
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.ZAP_DOMAIN, IPC_DOMAIN)
    socket.setsockopt(zmq.CURVE_SERVER, 0)  # and the mechanism is NULL again


def secure_connect(socket: zmq.Socket[bytes], key: RoleKey, server: str = "") -> None:
    """Make the next tcp connects of `socket` prove `key`, and insist on the server's.

    `server` is the public key of the server, if it is not the one that the key file names; raises
    ConfigError if it is no key.
    """
    socket.setsockopt(zmq.CURVE_PUBLICKEY, key.curve_publickey.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, key.curve_secretkey.encode())
    server = server or key.server_publickey
    try:
        socket.setsockopt(zmq.CURVE_SERVERKEY, server.encode())
    except (zmq.ZMQError, UnicodeEncodeError) as error:
        raise ConfigError(f"{server!r} is not the public key of a server") from error


def check_ipc_server(path: Path) -> None:
    """Raise AuthenticationError if the socket at `path` was bound by another user.

    On ipc it is the connecting side's only way to know whom it talks to.
    """
    try:
        owner = path.lstat().st_uid
    except OSError:
        return  # not bound yet; a folder that is closed to us refuses the connect as well
    if owner != os.geteuid():
        raise AuthenticationError(
            f"the socket {path} belongs to user {owner}, not to you ({os.geteuid()})"
        )


def check_ipc_bind(path: Path) -> None:
    """Raise ConfigError unless a socket may be bound at `path`.

    libzmq removes whatever is there, be it a precious file or the socket of a live component,
    which would then wait for ever for peers.
    """
    try:
        found = path.lstat()
    except OSError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(
            f"{path} is there and not a socket, and would be lost",
            hint="give an address where no file is",
        )
    if is_listening(path):
        raise ConfigError(
            f"something listens at ipc://{path} already",
            hint="stop it, or give another address",
        )


def is_listening(path: Path) -> bool:
    """Say whether anybody listens at an ipc socket."""
    import socket  # slow to load, and needed only where a dead component left its socket behind

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True  # with a full backlog, too
        except OSError:
            return False
    return True


# -- ZAP --------------------------------------------------------------------------------------


class ZapHandler:
    """Answers, in a thread of its own, libzmq's question whether a peer may come in.

    One per context. `start` it before the first bind, and `stop` it after the last socket is
    closed: while none runs, everybody is refused. Terminating the context ends it too.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keyring: Keyring) -> None:
        self._context = context
        self._keyring = keyring
        self._looked = -math.inf
        self._uid = os.geteuid()
        self._thread: threading.Thread | None = None
        self._wake = -1
        #: Peers turned away so far, and why the last one was.
        self.refusals = 0
        self.last_refusal = ""

    def start(self) -> None:
        """Begin to answer; when this returns, peers are let in."""
        if self._thread is not None:
            return
        socket = self._context.socket(zmq.REP)
        try:
            socket.setsockopt(zmq.LINGER, 0)
            socket.bind(_ZAP_ADDRESS)
        except zmq.ZMQError as error:
            socket.close()
            raise TransportError(f"this context already has a ZAP handler: {error}") from error
        wake, self._wake = os.pipe()
        self._thread = threading.Thread(
            target=self._serve, args=(socket, wake), name="palm-zap", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and wait for the thread. May be called more than once."""
        if self._thread is None:
            return
        os.close(self._wake)
        self._thread.join()
        self._thread = None

    def _serve(self, socket: zmq.Socket[bytes], wake: int) -> None:
        try:
            poller = zmq.Poller()
            poller.register(socket, zmq.POLLIN)
            poller.register(wake, zmq.POLLIN)
            while wake not in dict(poller.poll()):
                socket.send_multipart(self._reply(socket.recv_multipart()))
        except zmq.ZMQError as error:
            # The context ends (ETERM), or libzmq is broken: no handler means nobody gets in.
            self.last_refusal = f"the ZAP handler ended: {error}"
        finally:
            # Closing frees the name only later; unbinding frees it at once, for the next handler.
            with contextlib.suppress(zmq.ZMQError):
                socket.unbind(_ZAP_ADDRESS)
            socket.close(linger=0)
            os.close(wake)

    def _reply(self, request: list[bytes]) -> list[bytes]:
        """Return the answer: version, request id, status code, status text, User-Id, metadata."""
        user, reason = self._judge(request)
        request_id = request[1] if len(request) > 1 else b""
        if user is not None:
            return [b"1.0", request_id, b"200", b"OK", user.encode(), b""]
        self.refusals += 1
        self.last_refusal = reason
        return [b"1.0", request_id, b"400", reason.encode(), b"", b""]

    def _judge(self, request: list[bytes]) -> tuple[str | None, str]:
        if len(request) < 6 or request[0] != b"1.0":
            return None, "not a ZAP 1.0 request"
        _version, _id, domain, address, _identity, mechanism, *credentials = request
        peer = address.decode("ascii", "replace")
        if (domain, mechanism) == (IPC_DOMAIN, b"NULL"):
            return self._judge_ipc(peer)
        if (domain, mechanism) == (CURVE_DOMAIN, b"CURVE"):
            return self._judge_key(peer, credentials)
        return None, f"{mechanism!r} is not served in domain {domain!r}"

    def _judge_key(self, peer: str, credentials: list[bytes]) -> tuple[str | None, str]:
        if len(credentials) != 1 or len(credentials[0]) != 32:
            return None, f"no key from {peer}"
        public_key = z85.encode(credentials[0]).decode()
        user = self._keyring.user_id_of(public_key, time.time())
        if user is None and time.monotonic() - self._looked >= LOOK_AGAIN:
            self._looked = time.monotonic()
            with contextlib.suppress(AuthenticationError, ConfigError):
                self._keyring = self._keyring.again()
            user = self._keyring.user_id_of(public_key, time.time())
        return user, "" if user else f"unknown key from {peer}"

    def _judge_ipc(self, peer: str) -> tuple[str | None, str]:
        # For a Unix socket libzmq gives "localhost", on Linux with ":uid:gid:pid" as the kernel
        # knows them; for tcp a number. Without the uid the folder's permissions decide alone.
        host, *credentials = peer.split(":")
        if host != "localhost":
            return None, f"{peer} did not come by ipc"
        if credentials and credentials[0] != str(self._uid):
            return None, f"a process of another user, uid:gid:pid {':'.join(credentials)}"
        return "local", ""
