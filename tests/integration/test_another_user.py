"""Another user of the machine gets nowhere: not at a socket, a key, a record or a folder.

The intruder is a process of its own that becomes *nobody* after its imports, so that it does not
matter whether that user may read the virtual environment. It keeps the group of root, as
``setpriv --reuid nobody --clear-groups`` does: the harder case.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

from palm.clients import Client
from palm.clusters import CellSource
from palm.errors import AuthenticationError, ConfigError
from palm.runner.local import runner_pid
from palm.runner.registry import read_registry
from palm.runtime.folders import Folders, socket_path
from palm.runtime.namelock import NameLock
from palm.runtime.records import ComponentRecord, process_start_time, publish_record
from palm.servers import Master, Worker
from palm.transport.keys import ensure_keys, load_key
from palm.transport.security import ZapHandler, check_ipc_server, secure_ipc_bind, secure_tcp_bind
from palm_registry.handlers import ROUTES
from tests.support.cluster import until
from tests.support.local import local_cluster

pytestmark = [pytest.mark.root, pytest.mark.slow]

NOBODY = 65534

BECOME_NOBODY = f"""
import json, os, socket, sys
import zmq
from zmq.utils.monitor import recv_monitor_message

plan = json.loads(sys.stdin.readline())
os.setgroups([])
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
assert os.getresuid() == ({NOBODY},) * 3 and os.getgroups() == []
"""

INTRUDER = (
    BECOME_NOBODY
    + """
done = {}

def attempt(what, act):
    try:
        act()
        done[what] = "succeeded"
    except OSError as error:
        done[what] = type(error).__name__

def knock(address, pair=None, server=None):
    # Send, wait for the end of the handshake if it comes that far, and say how it ended.
    context = zmq.Context()
    peer = context.socket(zmq.DEALER)
    if pair is not None:
        peer.curve_publickey, peer.curve_secretkey = pair
        peer.curve_serverkey = server
    monitor = peer.get_monitor_socket(
        zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.HANDSHAKE_FAILED_AUTH
        | zmq.Event.HANDSHAKE_FAILED_PROTOCOL | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    )
    peer.connect(address)
    peer.send(b"from nobody", zmq.DONTWAIT)
    event = recv_monitor_message(monitor)["event"].name if monitor.poll(1500) else "nothing"
    peer.disable_monitor()
    monitor.close()
    # What was let in is sent before the socket goes; what was not is dropped.
    peer.close(linger=1000 if event == "HANDSHAKE_SUCCEEDED" else 0)
    context.term()
    return event

for path in plan["folders"]:
    attempt(f"list {path}", lambda: os.listdir(path))
    attempt(f"write {path}/x", lambda: open(path + "/x", "w"))
    attempt(f"open up {path}", lambda: os.chmod(path, 0o777))
for path in plan["files"]:
    attempt(f"read {path}", lambda: open(path).read())
    attempt(f"remove {path}", lambda: os.unlink(path))
attempt("connect", lambda: socket.socket(socket.AF_UNIX).connect(plan["ipc"].removeprefix("ipc://")))
attempt("control", lambda: os.listdir(plan["open"]))
attempt("environment", lambda: open(f"/proc/{os.getppid()}/environ").read())

server = plan["server"].encode()
own = zmq.curve_keypair()
done["ipc"] = knock(plan["ipc"])
done["misplaced ipc"] = knock(plan["misplaced"])
done["tcp, no key"] = knock(plan["tcp"])
done["tcp, own key"] = knock(plan["tcp"], own, server)
done["tcp, own key as server"] = knock(plan["tcp"], own, own[0])
done["tcp, stolen key"] = knock(plan["tcp"], [part.encode() for part in plan["stolen"]], server)
print(json.dumps(done))
"""
)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own would shield what is to be tested."""
    path = Path(tempfile.mkdtemp(prefix="palm-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def folders(public: Path) -> Folders:
    return Folders.find({"PALM_RUN_DIR": f"{public}/run", "PALM_STATE_DIR": f"{public}/state"})


def act_as_nobody(source: str, plan: dict[str, Any]) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", source],
        input=json.dumps(plan) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_another_user_gets_nowhere(public: Path, folders: Folders) -> None:
    keyring = ensure_keys(folders.keys)
    lock = NameLock(folders, "foo")
    lock.acquire()
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        handler = ZapHandler(context, keyring)
        handler.start()
        stack.callback(handler.stop)
        router = stack.enter_context(context.socket(zmq.ROUTER))
        router.linger = 0
        secure_tcp_bind(router, keyring.owner)
        router.bind("tcp://127.0.0.1:0")
        tcp = router.getsockopt_string(zmq.LAST_ENDPOINT)
        secure_ipc_bind(router)
        ipc = f"ipc://{socket_path(folders, 'foo', 'pull')}"
        router.bind(ipc)
        # A socket where no folder protects it, as after ipc:///tmp/foo and a bad umask.
        router.bind(f"ipc://{public}/misplaced")
        (public / "misplaced").chmod(0o777)
        publish_record(
            folders,
            ComponentRecord(
                name="foo",
                role="master",
                instance="i",
                pid=os.getpid(),
                start_time=process_start_time(os.getpid()) or 0.0,
                endpoints={"pull": ipc, "db": tcp},
                public_key=keyring.owner.curve_publickey,
            ),
        )
        private = [folders.run, folders.state, *folders.run.rglob("*"), *folders.state.rglob("*")]
        done = act_as_nobody(
            INTRUDER,
            {
                "folders": [str(path) for path in private if path.is_dir()],
                "files": [str(path) for path in private if path.is_file()],
                "open": str(public),
                "ipc": ipc,
                "misplaced": f"ipc://{public}/misplaced",
                "tcp": tcp,
                "server": keyring.owner.curve_publickey,
                "stolen": [keyring.client.curve_publickey, keyring.client.curve_secretkey],
            },
        )
        came_through = []
        while router.poll(500):
            _peer, body = router.recv_multipart(copy=False)
            came_through.append((body.bytes, body.get("User-Id"), body.get("Peer-Address")))
        refusals = handler.refusals
    lock.release()

    # The two controls: the intruder can act, and a message of its gets through with a right key.
    assert done.pop("control") == "succeeded"
    assert done.pop("tcp, stolen key") == "HANDSHAKE_SUCCEEDED"
    assert came_through == [(b"from nobody", "client", "127.0.0.1")]

    assert done.pop("ipc") == "nothing"  # the file system refuses, so no handshake begins
    assert done.pop("misplaced ipc") == "HANDSHAKE_FAILED_AUTH"  # the kernel told its uid
    assert done.pop("tcp, own key") == "HANDSHAKE_FAILED_AUTH"
    assert done.pop("tcp, no key").startswith("HANDSHAKE_FAILED")
    assert done.pop("tcp, own key as server").startswith("HANDSHAKE_FAILED")
    assert refusals == 2
    assert {path.name for path in private} >= {"owner.json", "foo.json", "foo.lock", "sockets"}
    assert {what: how for what, how in done.items() if how != "PermissionError"} == {}


SQUATTER = (
    BECOME_NOBODY
    + """
os.umask(0)
listener = socket.socket(socket.AF_UNIX)
listener.bind(plan["socket"])
open(plan["key"], "w").write(plan["text"])
os.chmod(plan["key"], 0o600)
os.mkdir(plan["run"], 0o700)
print("{}")
"""
)


def test_what_another_user_put_in_our_way_is_not_used(public: Path, folders: Folders) -> None:
    ensure_keys(folders.keys)
    public.chmod(0o1777)  # as /tmp
    plan = {
        "socket": str(public / "socket"),
        "key": str(public / "client.json"),
        "text": (folders.keys / "client.json").read_text(),
        "run": str(public / "squatted"),
    }
    act_as_nobody(SQUATTER, plan)
    with pytest.raises(AuthenticationError, match=f"belongs to user {NOBODY}"):
        check_ipc_server(Path(plan["socket"]))
    with pytest.raises(AuthenticationError, match=f"belongs to user {NOBODY}"):
        load_key(Path(plan["key"]))
    with pytest.raises(ConfigError, match=f"belongs to user {NOBODY}"):
        Folders.find({"PALM_RUN_DIR": plan["run"], "PALM_STATE_DIR": f"{public}/state"})


CLIENT_OF_NOBODY = (
    BECOME_NOBODY.replace(
        "import zmq\n",
        "import zmq\nimport palm.clients, palm.clients.client, palm.errors, palm.protocol.client\n",
    )
    + """
from palm.clients import Client
from palm.errors import PalmError

def call(**environment):
    os.environ.update(environment)
    try:
        with Client("foo", plan["tcp"] if environment["PALM_RUN_DIR"] == plan["own"] else None,
                    connect_timeout=5.0) as client:
            return repr(client.eval("foo.secret", 1, timeout=20.0))
    except (PalmError, OSError) as error:
        return type(error).__name__

print(json.dumps({
    "their own keys": call(PALM_RUN_DIR=plan["own"], PALM_STATE_DIR=plan["own"]),
    "our folders": call(PALM_RUN_DIR=plan["run"], PALM_STATE_DIR=plan["state"]),
}))
"""
)


def test_another_user_cannot_call_a_function(
    public: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALM_RUN_DIR", str(folders.run))
    monkeypatch.setenv("PALM_STATE_DIR", str(folders.state))
    own = public / "nobody"
    own.mkdir(mode=0o700)
    os.chown(own, NOBODY, NOBODY)
    master = Master("foo", db_address="tcp://127.0.0.1:0")
    worker = Worker("w", master="foo", functions={"secret": lambda x: f"seen {x}"})
    with ExitStack() as stack:
        for component in (master, worker):
            thread = threading.Thread(target=component.start)
            thread.start()
            stack.callback(thread.join)
            stack.callback(component.stop)
        client = stack.enter_context(Client("foo"))
        assert client.eval("foo.secret", 1) == "seen 1"
        done = act_as_nobody(
            CLIENT_OF_NOBODY,
            {
                "tcp": master.endpoints["db"],
                "own": str(own),
                "run": str(folders.run),
                "state": str(folders.state),
            },
        )
    assert done == {"their own keys": "AuthenticationError", "our folders": "ConfigError"}


INTRUDER_OF_THE_HOUSE = (
    BECOME_NOBODY.replace(
        "import zmq\n",
        "import zmq\nimport encodings.idna, http.client\nimport palm.clusters.finding\n",
    )
    + """
done = {}

def attempt(what, act):
    try:
        done[what] = act()
    except Exception as error:
        done[what] = type(error).__name__

def ask(method, path, headers):
    connection = http.client.HTTPConnection("127.0.0.1", plan["port"], timeout=10)
    body = None if method == "GET" else b"{}"
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return "leaked" if plan["secret"].encode() in data else answer.status

def connect(**environment):
    os.environ.update(environment)
    with palm.clusters.connect(hold=False) as cluster:
        return repr(cluster.status())

for what, (method, path, headers) in plan["requests"].items():
    attempt(what, lambda: ask(method, path, headers))
for path in plan["files"]:
    attempt(f"read {path}", lambda: len(open(path, "rb").read()))
    attempt(f"remove {path}", lambda: os.unlink(path))
for path in plan["folders"]:
    attempt(f"list {path}", lambda: os.listdir(path))
    attempt(f"write {path}", lambda: open(path + "/x", "w").close())
for name, pid in plan["pids"].items():
    attempt(f"environment of {name}", lambda: len(open(f"/proc/{pid}/environ", "rb").read()))
    attempt(f"memory of {name}", lambda: len(open(f"/proc/{pid}/maps", "rb").read()))
    attempt(f"signal {name}", lambda: os.kill(pid, 15))
    with open(f"/proc/{pid}/cmdline") as file:
        done[f"token on the line of {name}"] = plan["token"] in file.read()
own = {"PALM_RUN_DIR": plan["own"], "PALM_STATE_DIR": plan["own"]}
attempt("palm, their own folders", lambda: connect(**own))
attempt("palm, our registry", lambda: connect(**own, PALM_REGISTRY=plan["url"]))
attempt("palm, our token file", lambda: connect(PALM_TOKEN_FILE=plan["token file"]))
attempt("palm, our folders", lambda: connect(
    PALM_RUN_DIR=plan["run"], PALM_STATE_DIR=plan["state"], PALM_REGISTRY="", PALM_TOKEN_FILE=""))
print(json.dumps(done))
"""
)

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def paths() -> list[str]:
    """An address of each route of the registry."""
    names = {"key": "default", "name": "foo", "node": "here", "action": "stop", "path": "page.js",
             "digest": "0" * 64, "role": "client", "number": "1"}  # fmt: skip

    def fill(route: str) -> str:
        for name, value in names.items():
            route = re.sub(rf"\(\?P<{name}>[^()]*\)", value, route)
        return "/" + route.replace("\\", "").replace(".*", "nothing/here")

    return [fill(route) for route, _ in ROUTES]


def requests(port: int, token: str) -> dict[str, tuple[str, str, dict[str, str]]]:
    """Requests without a token, with wrong ones, and with all but the right address."""
    right = {"Authorization": f"Bearer {token}"}
    wrong = {
        "no token": {},
        "wrong token": {"Authorization": f"Bearer {token[:-1]}{'A' if token[-1] != 'A' else 'B'}"},
        "no bearer": {"Authorization": token},
        "wrong cookie": {"Cookie": f"palm-session-{port}={token}"},
    }
    found = {
        f"{method} {path}, {name}": (method, path, headers)
        for path in paths()
        for method in METHODS
        if path not in ("/health", "/api/join") and (method, path) != ("GET", "/login")
        for name, headers in wrong.items()
    }
    status = "/api/clusters/default/status"
    for name, headers in {
        "foreign host": {"Host": "evil.example"},
        "foreign host with a port": {"Host": f"evil.example:{port}"},
        "foreign origin": {"Origin": "http://evil.example"},
        "no origin": {"Origin": "null"},
    }.items():
        found[f"stolen token, {name}"] = ("GET", status, right | headers)
    found["stolen token"] = ("GET", status, right)
    found["health"] = ("GET", "/health", {})
    found["login"] = ("GET", "/login?code=" + "A" * 43, {})
    return found


def test_another_user_gets_nothing_of_a_cluster(
    public: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALM_RUN_DIR", str(folders.run))
    monkeypatch.setenv("PALM_STATE_DIR", str(folders.state))
    own = public / "nobody"
    own.mkdir(mode=0o700)
    os.chown(own, NOBODY, NOBODY)
    previous = os.umask(0)  # what palm makes is private whatever the umask
    try:
        with local_cluster() as cluster:
            cluster.start("master", "foo")
            source = CellSource("print('a secret line')\ndef f(x):\n    return x\n", "<cell>")
            worker = cluster.start("worker", "w", source, args=("--master", "foo")).wait_ready()
            until(lambda: "a secret line" in worker.logs())
            record = read_registry(folders)
            runner = runner_pid(folders)
            assert record is not None and runner is not None
            token = Path(record.token_file).read_text().strip()
            port = int(record.url.rsplit(":", 1)[1].strip("/"))
            private = [folders.run, folders.state]
            private += [path for folder in list(private) for path in folder.rglob("*")]
            done = act_as_nobody(
                INTRUDER_OF_THE_HOUSE,
                {
                    "requests": requests(port, token),
                    "files": [str(path) for path in private if path.is_file()],
                    "folders": [str(path) for path in private if path.is_dir()],
                    "pids": {"registry": record.pid, "runner": runner, "worker": worker.pid},
                    "secret": "secret line",
                    "port": port,
                    "token": token,
                    "token file": record.token_file,
                    "url": record.url,
                    "own": str(own),
                    "run": str(folders.run),
                    "state": str(folders.state),
                },
            )
            assert cluster.status().ready, "nothing was changed"
            assert read_registry(folders) == record
    finally:
        os.umask(previous)

    # The two controls: the intruder reaches the registry, and would get in with our token.
    assert done.pop("health") == 200
    assert done.pop("stolen token") == 200
    assert done.pop("login") in (403, 429)  # by then it has tried too often
    stolen = {done.pop(what) for what in list(done) if what.startswith("stolen token, ")}
    assert stolen == {403}
    asked = {what: done.pop(what) for what in list(done) if what.partition(" ")[0] in METHODS}
    assert len(asked) >= 20 * len(METHODS) * 4
    # Who has tried too often is sent away before it is told that it was wrong again.
    assert {what: how for what, how in asked.items() if how not in (401, 429)} == {}
    assert {how for what, how in asked.items() if what.endswith(", no token")} == {401}

    assert done.pop("palm, their own folders") == "ConfigError"  # no cluster of theirs runs
    refusals = {"ConfigError", "AuthenticationError", "RegistryError"}
    assert {done.pop(what) for what in list(done) if what.startswith("palm, our")} <= refusals
    lines = {done.pop(what) for what in list(done) if what.startswith("token on the line")}
    assert lines == {False}
    names = {path.name for path in private}
    assert names >= {"registry.json", "registry.db", "owner", "registry.log", "runner.log"}
    assert names >= {"stdout", "state.json", "foo.json", "cells", "spool"}
    assert {what: how for what, how in done.items() if how != "PermissionError"} == {}
