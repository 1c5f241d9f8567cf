"""Components in kernels: they serve, can be looked into and changed, and end like any other."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from palm.cli.arguments import HelpRequested
from palm.clients import Client
from palm.errors import PalmError
from palm.registry_api.schema import ComponentSpec
from palm.runner.hosting import hosted
from palm.runtime.folders import Folders
from tests.support.nodes import FakeRegistry, House, RunningNode, eventually

CELL = """
import os, sys
factor = 2

def double(x):
    print("doubles", x)
    print("complains", file=sys.stderr)
    return x * factor
"""

CLASS = """
from palm.servers import Worker

class Doubler(Worker):
    def double(self, x):
        return x * 2
"""

SCRIPT = """
import sys
from palm.servers import Master
if __name__ == "__main__":
    server = Master(sys.argv[1])
    server.start()
    print("served", flush=True)
"""


def master(**more: Any) -> ComponentSpec:
    return ComponentSpec(
        name="foo", role="master", module="palm", args=["master", "--name", "foo"],
        **({"generation": 1} | more),
    )  # fmt: skip


def worker(folder: Path, source: str = CELL, **more: Any) -> ComponentSpec:
    target = folder / "cell.py"
    target.write_text(source)
    args = ["worker", str(target), "--master", "foo", "--name", "${name}"]
    values = {"module": "palm", "kernel": True, "generation": 1, "args": args, "needs": ["foo"]}
    return ComponentSpec(name="doubler", role="worker", **(values | more))


@contextmanager
def console(file: str) -> Iterator[Any]:
    """What ``jupyter console --existing FILE`` does."""
    from jupyter_client.blocking.client import BlockingKernelClient
    from jupyter_core.utils import ensure_event_loop

    client = BlockingKernelClient(connection_file=file)
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=20)
        yield client
    finally:
        client.stop_channels()
        client.context.term()
        ensure_event_loop().close()  # it would keep it for the life of the thread


def execute(client: Any, code: str) -> str:
    """Run a cell; return what it printed and what it gave."""
    said: list[str] = []

    def hear(message: Any) -> None:
        content = message["content"]
        said.append(content.get("text") or content.get("data", {}).get("text/plain", ""))

    reply = client.execute_interactive(code, timeout=20, output_hook=hear)
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(said)


def reply_to(client: Any, request: str) -> Any:
    """What a cell ended with."""
    while True:
        reply = client.get_shell_msg(timeout=20)
        if reply["parent_header"]["msg_id"] == request:
            return reply["content"]


def evaluate(function: str, payload: Any) -> Any:
    with Client("foo") as client:
        return client.eval(function, payload, timeout=20)


def test_kernel_serves_and_its_functions_can_be_redefined(
    registry: FakeRegistry, node: RunningNode, tmp_path: Path
) -> None:
    registry.want((master(), 1), (worker(tmp_path), 1))
    assert registry.are(foo="ready", doubler_0="ready")
    status = registry.replicas["doubler-0"]
    assert status.functions == ["double"]
    assert evaluate("foo.double", 4) == 8
    file = Path(status.kernel_file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.is_relative_to(Folders.find().run)
    assert json.loads(file.read_text())["transport"] == "ipc"
    with console(status.kernel_file) as client:
        assert execute(client, "factor, os.getpid()") == f"(2, {status.pid})"
        execute(client, "factor = 3")
        assert evaluate("foo.double", 4) == 12
        execute(client, "def double(x):\n    return f'twice {x}'")
        assert evaluate("foo.double", 4) == "twice 4"
        # It serves while a cell runs, too.
        running = client.execute("import time; time.sleep(60)")
        assert evaluate("foo.double", 5) == "twice 5"
        # An interrupt is the cell's.
        client.control_channel.send(client.session.msg("interrupt_request", {}))
        assert reply_to(client, running)["ename"] == "KeyboardInterrupt"
        assert evaluate("foo.double", 6) == "twice 6"
    said = registry.output[status.instance, "stdout"].decode()
    assert "Got worker push address" in said
    assert "doubles 4\n" in said
    assert registry.output[status.instance, "stderr"] == b"complains\n" * 2
    registry.want((master(), 1))
    assert eventually(lambda: registry.states()["doubler-0"] == "stopped")
    assert registry.replicas["doubler-0"].exit == 0
    assert not file.exists()
    assert not list(Folders.find().sockets.glob("*-*"))


def test_class_can_be_redefined_in_its_kernel(
    registry: FakeRegistry, node: RunningNode, tmp_path: Path
) -> None:
    registry.want((master(), 1), (worker(tmp_path, CLASS), 1))
    assert registry.are(foo="ready", doubler_0="ready")
    assert evaluate("foo.double", 4) == 8
    with console(registry.replicas["doubler-0"].kernel_file) as client:
        execute(client, "Doubler.double = lambda self, x: (self.name, x)")
        assert evaluate("foo.double", 4) == ("doubler-0", 4)
        execute(client, CLASS.replace("* 2", "* 10"))
        assert evaluate("foo.double", 4) == 40


def test_script_and_master_live_in_kernels(
    registry: FakeRegistry, node: RunningNode, tmp_path: Path
) -> None:
    script = tmp_path / "server.py"
    script.write_text(SCRIPT)
    scripted = ComponentSpec(
        name="bar", role="master", script=str(script), args=["${name}"], kernel=True, generation=1
    )
    registry.want((master(kernel=True), 1), (scripted, 1))
    assert registry.are(foo="ready", bar="ready")
    for name, variable in (("foo", "master"), ("bar", "server")):
        with console(registry.replicas[name].kernel_file) as client:
            assert execute(client, f"{variable}.name") == f"'{name}'"
    instance = registry.replicas["bar"].instance
    registry.want()
    assert registry.are(foo="stopped", bar="stopped")
    assert [registry.replicas[name].exit for name in ("foo", "bar")] == [0, 0]
    assert eventually(lambda: registry.output[instance, "stdout"].endswith(b"served\n"))


def test_linked_components_live_in_kernels(
    registry: FakeRegistry, node: RunningNode, tmp_path: Path
) -> None:
    source = CLASS.replace("Worker", "Server")
    specs = []
    for role, name, text, previous in (
        ("server", "first", source, []),
        ("pipeline", "second", f"{CELL}\ndef each(x):\n    yield x * factor\n", ["first"]),
        ("hub", "third", "", ["second"]),
    ):
        target = tmp_path / f"{name}.py"
        target.write_text(text)
        args = [role, *([str(target)] if text else []), "--name", "${name}"]
        specs.append(
            ComponentSpec(
                name=name, role=role, module="palm", args=args, kernel=True, generation=1,
                previous=previous, pipelined=name != "third",
            )
        )  # fmt: skip
    target = tmp_path / "last.py"
    target.write_text("def last(x):\n    return ['last', x]\n")
    args = ["worker", str(target), "--name", "${name}", "--master", "third"]
    last = ComponentSpec(name="w", role="worker", module="palm", args=args, generation=1)
    registry.want(*((spec, 1) for spec in [*specs, last]))
    assert registry.are(first="ready", second="ready", third="ready", w_0="ready")
    with Client("first") as client:
        job = client.job(["first.double", "second.double", "third.last"], [4])
        assert list(job) == [["last", 16]]
        with console(registry.replicas["second"].kernel_file) as second:
            execute(second, "factor = 3")
            execute(second, "def double(x):\n    return x + 1")
            job = client.job(["first.double", "second.double", "third.last"], [4])
            assert list(job) == [["last", 9]]
            job = client.job(["first.double", "second.each", "third.last"], [4])
            assert list(job) == [["last", 24]]
            execute(second, "def each(x):\n    yield x\n    yield [x]")
            job = client.job(["first.double", "second.each", "third.last"], [4])
            assert sorted(job, key=str) == [["last", 8], ["last", [8]]]
            execute(second, "def each(x):\n    return (x, x)")
            job = client.job(["first.double", "second.each", "third.last"], [4])
            assert list(job) == [["last", (8, 8)]]


def test_kernel_survives_its_runner_and_is_replaced_after_a_kill(
    house: House, tmp_path: Path
) -> None:
    house.runner.start()
    house.client.declare("default", master())
    house.client.declare("default", worker(tmp_path))
    assert house.ready()
    before = house.replicas("doubler")[0]
    with console(before.kernel_file) as client:
        execute(client, "factor = 7; import signal; print(os.environ.get('JPY_PARENT_PID'))")
        house.runner.kill()
        house.runner.start()
        log = house.runner.home / "runner.log"
        assert eventually(lambda: "adopts doubler-0" in log.read_text())
        assert evaluate("foo.double", 1) == 7
        assert execute(client, "factor") == "7"
    assert house.ready()
    after = house.replicas("doubler")[0]
    assert (after.pid, after.kernel_file) == (before.pid, before.kernel_file)
    assert "None\n" in house.stdout("doubler-0").decode()
    # A killed one leaves its files; the next one is none the worse.
    assert before.pid is not None
    os.kill(before.pid, 9)
    assert eventually(lambda: house.replicas("doubler")[0].restarts == 1)
    assert house.ready()
    with console(house.replicas("doubler")[0].kernel_file) as client:
        assert execute(client, "factor") == "2"


def test_code_that_cannot_be_loaded_fails_the_start(
    registry: FakeRegistry, node: RunningNode, tmp_path: Path
) -> None:
    broken = "def f(x):\n    return x\n\n1 / 0\n"
    registry.want((worker(tmp_path, broken, restart="never"), 1))
    assert registry.are(doubler_0="failed")
    status = registry.replicas["doubler-0"]
    assert status.exit == 1
    assert eventually(lambda: (status.instance, "stderr") in registry.output)
    said = registry.output[status.instance, "stderr"].decode()
    assert said.splitlines()[1].endswith('cell.py", line 4, in <module>')
    assert said.endswith("ZeroDivisionError: division by zero\n")


def test_kernel_that_was_started_in_a_notebook_does_not_end_with_it(
    palm_home: Path, tmp_path: Path
) -> None:
    file, sockets = tmp_path / "k.json", palm_home / "k"
    process = subprocess.Popen(
        [sys.executable, "-m", "palm.runner.kernel", file, sockets, "master", "--name", "foo"],
        env=os.environ | {"JPY_PARENT_PID": "999999"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert eventually(lambda: file.exists() and file.read_text().rstrip().endswith("}"))
        with console(str(file)) as client:
            assert execute(client, "'JPY_PARENT_PID' in __import__('os').environ") == "False"
            time.sleep(1.2)  # ipykernel looks once a second whether its parent is there
            assert process.poll() is None
            client.shutdown()
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    "program", [[], ["script"], ["status"], ["worker"], ["sink", "--name", "a"]]
)
def test_what_a_kernel_cannot_host_is_refused(program: list[str]) -> None:
    with pytest.raises((PalmError, HelpRequested)):
        hosted(program)
