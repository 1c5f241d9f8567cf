from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from palm.errors import AuthenticationError, ConfigError, PalmError, TransportError
from palm.transport import security
from palm.transport.keys import Keyring, RoleKey, ensure_keys, load_key
from palm.transport.security import (
    ZapHandler,
    allowed_roles,
    check_ipc_bind,
    check_ipc_server,
    check_libzmq,
    secure_connect,
    secure_ipc_bind,
    secure_tcp_bind,
)

ROLES = ["owner", "client", "worker"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def keyring(folder: Path) -> Keyring:
    return ensure_keys(folder)


# -- key files --------------------------------------------------------------------------------


def test_keys_are_made_once_and_survive(folder: Path) -> None:
    first = ensure_keys(folder)
    assert ensure_keys(folder) == first
    assert [load_key(folder / f"{role}.json").role for role in ROLES] == ROLES
    pairs = {first.owner, first.client, first.worker}
    assert len({key.curve_publickey for key in pairs}) == 3
    assert len({key.curve_secretkey for key in pairs}) == 3
    assert {key.server_publickey for key in pairs} == {first.owner.curve_publickey}


def test_the_file_has_the_fields_that_the_interface_names(folder: Path, keyring: Keyring) -> None:
    data = msgspec.json.decode((folder / "client.json").read_bytes())
    assert list(data) == [
        "schema", "role", "curve_publickey", "curve_secretkey", "server_publickey", "created",
    ]  # fmt: skip
    assert (data["schema"], data["role"]) == (1, "client")
    assert data["created"].endswith("Z")


def test_key_files_are_private_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        ensure_keys(folder)
    finally:
        os.umask(before)
    names = sorted(entry.name for entry in folder.iterdir())
    assert names == [".lock", "client.json", "owner.json", "worker.json"]
    for entry in folder.iterdir():
        assert entry.stat().st_mode & 0o7777 == 0o600, entry
        assert entry.stat().st_uid == os.geteuid()
        assert entry.stat().st_nlink == 1


def test_a_missing_key_is_made_and_the_others_stay(folder: Path, keyring: Keyring) -> None:
    (folder / "worker.json").unlink()
    again = ensure_keys(folder)
    assert (again.owner, again.client) == (keyring.owner, keyring.client)
    assert again.worker != keyring.worker
    assert again.worker.server_publickey == keyring.owner.curve_publickey


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_maker_that_died_on_the_way_is_continued(folder: Path, done: int) -> None:
    before = ensure_keys(folder)
    for role in ROLES[done:]:
        (folder / f"{role}.json").unlink()
    leftover = folder / f".{ROLES[done]}.0123456789ab.tmp"
    leftover.write_bytes(b'{"schema": 1, "ro')
    after = ensure_keys(folder)
    assert not leftover.exists()
    for role in ROLES[:done]:
        assert getattr(after, role) == getattr(before, role)


def test_a_secret_is_in_no_repr(keyring: Keyring) -> None:
    for key in (keyring.owner, keyring.client, keyring.worker):
        assert key.curve_secretkey not in f"{keyring!r} {keyring} {key!r} {key}"


MAKE = """
import sys
from pathlib import Path
from palm.transport.keys import ensure_keys
print("ready", flush=True)
sys.stdin.readline()
ring = ensure_keys(Path(sys.argv[1]))
print(*(key.curve_secretkey for key in (ring.owner, ring.client, ring.worker)))
"""


def test_four_processes_that_start_at_once_agree_on_the_keys(tmp_path: Path) -> None:
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        folder.mkdir(mode=0o700)
        children = [
            subprocess.Popen(
                [sys.executable, "-c", MAKE, folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        answers = {child.communicate(timeout=60)[0] for child in children}
        assert [child.returncode for child in children] == [0, 0, 0, 0]
        assert len(answers) == 1
        ring = ensure_keys(folder)
        assert answers.pop().split() == [
            ring.owner.curve_secretkey, ring.client.curve_secretkey, ring.worker.curve_secretkey,
        ]  # fmt: skip


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o610, 0o644])
@pytest.mark.parametrize("role", ROLES)
def test_a_key_that_others_may_read_is_refused(
    folder: Path, keyring: Keyring, role: str, bits: int
) -> None:
    path = folder / f"{role}.json"
    path.chmod(bits)
    for read in (lambda: load_key(path), lambda: ensure_keys(folder)):
        with pytest.raises(AuthenticationError, match=f"chmod 600 {path}"):
            read()


def test_a_key_behind_a_link_is_refused(folder: Path, keyring: Keyring) -> None:
    path = folder / "client.json"
    moved = path.rename(folder.parent / "moved.json")
    path.symlink_to(moved)
    for read in (lambda: load_key(path), lambda: ensure_keys(folder)):
        with pytest.raises(AuthenticationError, match="symbolic link"):
            read()


def test_a_dangling_link_is_not_written_through(folder: Path) -> None:
    target = folder.parent / "target"
    (folder / "owner.json").symlink_to(target)
    with pytest.raises(AuthenticationError, match="symbolic link"):
        ensure_keys(folder)
    assert not target.exists()


def test_a_pipe_or_a_folder_is_no_key(folder: Path) -> None:
    os.mkfifo(folder / "pipe", 0o600)
    (folder / "folder").mkdir(mode=0o700)
    for name in ("pipe", "folder"):
        with pytest.raises(AuthenticationError, match="regular"):
            load_key(folder / name)


def test_a_key_where_everybody_may_rename_is_refused(folder: Path, keyring: Keyring) -> None:
    folder.chmod(0o777)
    with pytest.raises(AuthenticationError, match="chmod o-w"):
        load_key(folder / "client.json")


@pytest.mark.root
def test_a_key_of_another_user_is_refused(folder: Path, keyring: Keyring) -> None:
    os.chown(folder / "client.json", 65534, 65534)
    with pytest.raises(AuthenticationError, match="belongs to user 65534"):
        load_key(folder / "client.json")


def test_no_key_file_is_a_config_error_that_names_it(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"client\.json cannot be read: No such file"):
        load_key(folder / "client.json")


def damaged(data: bytes) -> list[bytes]:
    key = msgspec.json.decode(data)
    other = zmq.curve_keypair()[1].decode()
    changes: list[dict[str, object]] = [
        {"curve_secretkey": other},
        {"curve_secretkey": " " * 40},
        {"curve_secretkey": key["curve_secretkey"][:-1]},
        {"curve_publickey": "ä" * 40},
        {"server_publickey": ""},
        {"schema": "one"},
    ]
    return [
        b"",
        data[:50],
        data[:-1],
        b"\xff" * 50,
        b"[]",
        b"{}",
        b'{"a":' * 3000,
        *(msgspec.json.encode(key | change) for change in changes),
    ]


@pytest.mark.parametrize("index", range(13))
def test_a_damaged_key_says_what_to_do(folder: Path, keyring: Keyring, index: int) -> None:
    path = folder / "client.json"
    path.write_bytes(damaged(path.read_bytes())[index])
    for read in (lambda: load_key(path), lambda: ensure_keys(folder)):
        with pytest.raises(ConfigError, match="not a key file") as caught:
            read()
        text = str(caught.value)
        assert str(path) in text
        assert f"remove the folder {folder}" in text
        assert keyring.client.curve_secretkey not in text


@given(st.binary(max_size=400))
def test_no_bytes_at_all_make_reading_a_key_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("key") / "client.json"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="not a key file"):
        load_key(path)


@pytest.mark.parametrize("server", ["short", "\u00e9" * 40, "x" * 41, "\ud800"])
def test_server_key_that_is_none_is_refused(keyring: Keyring, server: str) -> None:
    with (
        zmq.Context() as context,
        context.socket(zmq.DEALER) as dealer,
        pytest.raises(ConfigError, match="not the public key"),
    ):
        secure_connect(dealer, keyring.client, server)


def test_keys_of_two_clusters_do_not_mix(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir(mode=0o700)
        ensure_keys(folder)
    (two / "worker.json").replace(one / "worker.json")
    with pytest.raises(ConfigError, match="does not belong") as caught:
        ensure_keys(one)
    assert f"remove the folder {one}" in str(caught.value)


def test_a_folder_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PALM_STATE_DIR"):
        ensure_keys(tmp_path / "nowhere")


# -- roles ------------------------------------------------------------------------------------


def test_a_key_allows_its_role_and_not_another() -> None:
    assert allowed_roles("client") == {"client", "observer"}
    assert allowed_roles("worker") == {"worker", "stage"}
    assert allowed_roles("local") == allowed_roles("owner")
    assert allowed_roles("local") >= {"client", "observer", "worker"}
    for stranger in ("", "root", "Client", "client\n"):
        assert allowed_roles(stranger) == frozenset()


def test_a_keyring_knows_its_own_keys_only(keyring: Keyring) -> None:
    assert keyring.user_id_of(keyring.owner.curve_publickey) == "owner"
    assert keyring.user_id_of(keyring.worker.curve_publickey) == "worker"
    assert keyring.user_id_of(keyring.worker.curve_secretkey) is None
    assert keyring.user_id_of("") is None


def test_this_libzmq_is_good_enough() -> None:
    check_libzmq()


def test_an_old_libzmq_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq, "zmq_version_info", lambda: (4, 3, 1))
    with pytest.raises(TransportError, match="pip install"):
        check_libzmq()


def test_a_libzmq_without_curve_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zmq, "has", lambda capability: capability != "curve")
    with pytest.raises(TransportError, match="without CURVE"):
        check_libzmq()


# -- peers ------------------------------------------------------------------------------------


class House:
    """A ROUTER that listens on tcp and on ipc, as a master's does, with its handler."""

    def __init__(self, stack: ExitStack, folder: Path, keyring: Keyring) -> None:
        self.context = stack.enter_context(zmq.Context())
        self.keyring = keyring
        self.handler = ZapHandler(self.context, keyring)
        self.handler.start()
        stack.callback(self.handler.stop)
        self.router = stack.enter_context(self.context.socket(zmq.ROUTER))
        self.router.linger = 0
        # The order that matters: tcp first, then the options for ipc, then ipc. Each listener
        # keeps the options of the moment of its bind.
        secure_tcp_bind(self.router, keyring.owner)
        self.router.bind("tcp://127.0.0.1:0")
        self.tcp = self.router.getsockopt_string(zmq.LAST_ENDPOINT)
        secure_ipc_bind(self.router)
        self.ipc = f"ipc://{folder}/socket"
        self.router.bind(self.ipc)

    @contextmanager
    def peer(
        self, address: str, key: RoleKey | None = None, server: str = ""
    ) -> Iterator[zmq.Socket[bytes]]:
        with self.context.socket(zmq.DEALER) as peer:
            peer.linger = 0
            if key is not None:
                secure_connect(peer, key, server)
            peer.connect(address)
            peer.send(b"hello", zmq.DONTWAIT)
            yield peer

    def user_id(self, address: str, key: RoleKey | None = None) -> str:
        """Connect, send, and return the User-Id with which the frames arrive."""
        with self.peer(address, key):
            assert self.router.poll(5000), self.handler.last_refusal
            frames = self.router.recv_multipart(copy=False)
            assert frames[-1].bytes == b"hello"
            users = {str(frame.get("User-Id")) for frame in frames}
            assert len(users) == 1
            return users.pop()

    def is_refused(self, address: str, key: RoleKey | None = None, server: str = "") -> bool:
        """Connect, send, and say whether the handshake failed and no message came through.

        Which of the failures a peer sees depends on who notices first, unless it is ZAP that
        refuses: that is always HANDSHAKE_FAILED_AUTH.
        """
        ends = (
            zmq.Event.HANDSHAKE_FAILED_AUTH
            | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
            | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
            | zmq.Event.HANDSHAKE_SUCCEEDED
        )
        refusals = self.handler.refusals
        with self.context.socket(zmq.DEALER) as peer:
            peer.linger = 0
            if key is not None:
                secure_connect(peer, key, server)
            with peer.get_monitor_socket(ends) as monitor:
                peer.connect(address)
                peer.send(b"hello", zmq.DONTWAIT)
                assert monitor.poll(5000)
                event = recv_monitor_message(monitor)["event"]
                peer.disable_monitor()
            came_through = bool(self.router.poll(100))
        by_zap = self.handler.refusals > refusals
        assert by_zap == (event == zmq.Event.HANDSHAKE_FAILED_AUTH)
        return event != zmq.Event.HANDSHAKE_SUCCEEDED and not came_through


@pytest.fixture
def house(tmp_path: Path, keyring: Keyring) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(stack, tmp_path, keyring)


def stranger(server: str) -> RoleKey:
    public, secret = (part.decode() for part in zmq.curve_keypair())
    return RoleKey(1, "client", public, secret, server, "")


def test_one_router_takes_the_right_peers_on_tcp_and_on_ipc(house: House) -> None:
    ring = house.keyring
    assert house.user_id(house.ipc) == "local"
    assert house.user_id(house.tcp, ring.client) == "client"
    assert house.user_id(house.tcp, ring.worker) == "worker"
    assert house.user_id(house.tcp, ring.owner) == "owner"
    assert house.user_id(house.ipc) == "local"
    assert house.handler.refusals == 0


def test_a_peer_without_a_key_is_refused_at_the_tcp_port(house: House) -> None:
    assert house.is_refused(house.tcp)


def test_an_unknown_key_is_refused(house: House) -> None:
    assert house.is_refused(house.tcp, stranger(house.keyring.owner.curve_publickey))
    assert house.handler.refusals == 1
    assert "unknown key from 127.0.0.1" in house.handler.last_refusal


def test_a_server_with_another_key_is_not_talked_to(house: House) -> None:
    other = zmq.curve_keypair()[0].decode()
    assert house.is_refused(house.tcp, house.keyring.client, server=other)


def test_a_known_key_at_the_ipc_socket_is_a_mistake_that_fails(house: House) -> None:
    assert house.is_refused(house.ipc, house.keyring.client)


def test_without_a_handler_nobody_gets_in(house: House) -> None:
    house.handler.stop()
    with house.peer(house.ipc), house.peer(house.tcp, house.keyring.client):
        assert not house.router.poll(500)
    house.handler.start()
    assert house.user_id(house.ipc) == "local"


def test_garbage_at_the_port_harms_nobody(house: House) -> None:
    port = int(house.tcp.rsplit(":", 1)[1])
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 500, b"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL"):
        with socket.create_connection(("127.0.0.1", port)) as stray:
            stray.sendall(data)
    assert house.user_id(house.tcp, house.keyring.client) == "client"


def test_the_socket_of_another_user_is_not_talked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "socket"
    check_ipc_server(path)  # not there yet: nobody to distrust
    path.write_bytes(b"")
    check_ipc_server(path)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(AuthenticationError, match="belongs to user"):
        check_ipc_server(path)


def test_a_bind_removes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    with pytest.raises(ConfigError, match="not a socket"):
        check_ipc_bind(path)
    # What the check is for:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(f"ipc://{path}")
    assert not path.is_file()


def test_a_bind_takes_no_socket_that_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    check_ipc_bind(path)  # nothing there
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        with pytest.raises(ConfigError, match="listens"):
            check_ipc_bind(path)
        with pytest.raises(ConfigError, match="listens"):
            check_ipc_bind(path)  # nobody accepts, and the backlog is full
    check_ipc_bind(path)  # its owner died and left the file behind
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(f"ipc://{path}")


# -- the handler ------------------------------------------------------------------------------


def zap_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "palm-zap"]


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_the_handler_leaves_no_thread_and_no_descriptor(keyring: Keyring) -> None:
    before = descriptors()
    with zmq.Context() as context:
        for _ in range(3):
            handler = ZapHandler(context, keyring)
            handler.start()
            handler.start()
            assert zap_threads() == ["palm-zap"]
            handler.stop()
            handler.stop()
            assert zap_threads() == []
    assert descriptors() == before  # the end of a context waits for libzmq's own threads


def test_the_end_of_the_context_ends_the_handler(keyring: Keyring) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    handler = ZapHandler(context, keyring)
    handler.start()
    context.term()  # would wait for ever for a socket that stays open
    handler.stop()
    assert zap_threads() == []


def test_a_context_has_one_handler(keyring: Keyring) -> None:
    with zmq.Context() as context:
        first, second = ZapHandler(context, keyring), ZapHandler(context, keyring)
        first.start()
        with pytest.raises(TransportError, match="already has"):
            second.start()
        second.stop()
        first.stop()
        second.start()
        second.stop()


def ask(context: zmq.Context[zmq.Socket[bytes]], *frames: bytes) -> list[bytes]:
    with context.socket(zmq.REQ) as peer:
        peer.linger = 0
        peer.connect("inproc://zeromq.zap.01")
        peer.send_multipart(frames)
        assert peer.poll(5000)
        return peer.recv_multipart()


@pytest.fixture
def asked(keyring: Keyring) -> Iterator[tuple[zmq.Context[zmq.Socket[bytes]], ZapHandler]]:
    with zmq.Context() as context:
        handler = ZapHandler(context, keyring)
        handler.start()
        yield context, handler
        handler.stop()


def test_whatever_it_is_asked_the_handler_answers_and_goes_on(
    asked: tuple[zmq.Context[zmq.Socket[bytes]], ZapHandler], keyring: Keyring
) -> None:
    context, handler = asked
    key = z85.decode(keyring.client.curve_publickey.encode())
    refused: list[tuple[bytes, ...]] = [
        (b"",),
        (b"1.0",),
        (b"1.0", b"7", b"palm", b"127.0.0.1", b""),
        (b"2.0", b"7", b"palm", b"127.0.0.1", b"", b"CURVE", key),
        (b"1.0", b"7", b"palm", b"127.0.0.1", b"", b"CURVE"),
        (b"1.0", b"7", b"palm", b"127.0.0.1", b"", b"CURVE", key[:-1]),
        (b"1.0", b"7", b"palm", b"127.0.0.1", b"", b"CURVE", key, key),
        (b"1.0", b"7", b"palm", b"127.0.0.1", b"", b"CURVE", b"\0" * 32),
        (b"1.0", b"7", b"palm", b"127.0.0.1", b"", b"NULL"),
        (b"1.0", b"7", b"palm", b"127.0.0.1", b"", b"PLAIN", b"owner", b"owner"),
        (b"1.0", b"7", b"", b"127.0.0.1", b"", b"CURVE", key),
        (b"1.0", b"7", b"palm-ipc", b"localhost", b"", b"CURVE", key),
        (b"1.0", b"7", b"palm-ipc", b"127.0.0.1", b"", b"NULL"),
        (b"1.0", b"7", b"palm-ipc", b"::1", b"", b"NULL"),
        (b"1.0", b"7", b"palm-ipc", b"\xff\xfe", b"", b"NULL"),
        (b"1.0", b"7", b"palm-ipc", f"localhost:{os.geteuid() + 1}:0:1".encode(), b"", b"NULL"),
        (b"1.0", b"7", b"palm-ipc", b"localhost::", b"", b"NULL"),
    ]
    for count, request in enumerate(refused, start=1):
        reply = ask(context, *request)
        assert (reply[0], reply[2], reply[4:]) == (b"1.0", b"400", [b"", b""]), request
        assert reply[1] == (request[1] if len(request) > 1 else b"")
        assert handler.refusals == count
        assert handler.last_refusal
    granted = ask(context, b"1.0", b"8", b"palm", b"10.0.0.1", b"", b"CURVE", key)
    assert granted == [b"1.0", b"8", b"200", b"OK", b"client", b""]


def test_only_processes_of_this_user_are_local(
    asked: tuple[zmq.Context[zmq.Socket[bytes]], ZapHandler],
) -> None:
    context, _handler = asked
    peer = f"localhost:{os.geteuid()}:0:4711".encode()
    for address in (peer, b"localhost"):
        reply = ask(context, b"1.0", b"1", b"palm-ipc", address, b"", b"NULL")
        assert reply[2:5] == [b"200", b"OK", b"local"]


@given(st.lists(st.binary(max_size=40), max_size=9))
def test_no_request_makes_the_judge_raise(frames: list[bytes]) -> None:
    key = stranger("")
    with zmq.Context() as context:
        handler = ZapHandler(context, Keyring(key, key, key))
        for head in ([], [b"1.0", b"1", b"palm"], [b"1.0", b"1", b"palm-ipc"]):
            assert handler._reply(head + frames)[2] in (b"200", b"400")


def test_every_error_here_is_one_of_ours() -> None:
    assert issubclass(AuthenticationError, PalmError)
    assert set(security.__all__) <= set(dir(security))
