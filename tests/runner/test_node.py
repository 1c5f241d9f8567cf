"""A node: gets to what the registry assigns, whatever dies on the way."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from palm.clients import Client
from palm.errors import ConfigError
from palm.registry_api.schema import ComponentSpec
from palm.runner.node import Node
from palm.runner.spool import find_spool
from palm.runtime.folders import Folders
from tests.runner.conftest import PROLOGUE, ROOT, SERVE, STUBBORN, exists
from tests.support.nodes import (
    SOON,
    FakeRegistry,
    House,
    RunningNode,
    component,
    eventually,
    refused,
)


def test_replicas_are_exact(registry: FakeRegistry, node: RunningNode) -> None:
    spec = component("foo", SERVE, role="worker")
    registry.want((spec, 3))
    assert registry.are(foo_0="ready", foo_1="ready", foo_2="ready")
    assert len(set(registry.pids().values())) == 3
    before = registry.pids()
    registry.want((spec, 4))
    assert registry.are(foo_0="ready", foo_1="ready", foo_2="ready", foo_3="ready")
    registry.want((spec, 2))
    assert eventually(lambda: registry.states()["foo-3"] == registry.states()["foo-2"] == "stopped")
    after = registry.pids()
    assert (after["foo-0"], after["foo-1"]) == (before["foo-0"], before["foo-1"])
    assert registry.states()["foo-0"] == "ready"
    registry.want((spec, 2))
    registry.want((spec, 2))
    time.sleep(0.1)
    assert registry.pids() == after


def test_component_is_started_soon_after_it_is_wanted(
    registry: FakeRegistry, node: RunningNode
) -> None:
    registry.want((component("warm", SERVE), 1))
    assert registry.are(warm="ready")
    registry.want((component("warm", SERVE), 1), (component("foo", SERVE), 1))
    wanted = time.time()
    assert registry.are(warm="ready", foo="ready")
    started = registry.replicas["foo"].started
    assert started is not None
    assert started - wanted < 0.2  # a few milliseconds where the machine is idle


def test_status_says_what_there_is_to_say(registry: FakeRegistry, node: RunningNode) -> None:
    registry.want((component("foo", SERVE, generation=7), 1))
    assert registry.are(foo="ready")
    status = registry.replicas["foo"]
    assert (status.component, status.replica, status.node) == ("foo", 0, "here")
    assert status.generation == 7
    assert status.pid is not None
    assert status.instance.startswith("foo.")
    os.kill(status.pid, signal.SIGKILL)
    assert eventually(lambda: registry.replicas["foo"].restarts == 1)
    assert registry.are(foo="ready")
    assert registry.replicas["foo"].pid != status.pid
    assert ("foo", "backing-off") in registry.history


def test_environment_tells_a_component_who_it_is(registry: FakeRegistry, node: RunningNode) -> None:
    source = PROLOGUE + (
        "keys = ('COMPONENT', 'REPLICA', 'MASTER', 'CLUSTER', 'INSTANCE')\n"
        "print(*(os.environ['PALM_' + key] for key in keys), *sys.argv[1:], flush=True)\n"
        "notify_ready(); stop.wait(60)\n"
    )
    args = ["${replica}", "${name}", "${node}", "$${x}"]
    registry.want((component("foo", source, role="worker", master="bar", args=args), [0, 2]))
    assert registry.are(foo_0="ready", foo_2="ready")
    instance = registry.replicas["foo-2"].instance
    said = f"foo-2 2 bar default {instance} 2 foo-2 here ${{x}}\n".encode()
    assert eventually(lambda: registry.output.get((instance, "stdout")) == said)


def test_environment_tells_a_component_whose_results_it_takes(
    registry: FakeRegistry, node: RunningNode
) -> None:
    source = PROLOGUE + (
        "for name in ('PREVIOUS', 'PIPELINED', 'STAGES'):\n"
        "    print(os.environ.get('PALM_' + name), flush=True)\n"
        "notify_ready(); stop.wait(60)\n"
    )
    linked = component("foo", source, role="sink", previous=["a", "b/even"], pipelined=True)
    linked.stages = ["c/foo", "d/odd"]
    registry.want((linked, 1), (component("bar", source, role="server"), 1))
    assert registry.are(foo="ready", bar="ready")
    instances = {name: registry.replicas[name].instance for name in ("foo", "bar")}
    said = {"foo": b"a,b/even\n1\nc/foo,d/odd\n", "bar": b"None\nNone\nNone\n"}
    for name, instance in instances.items():
        assert eventually(lambda i=instance, n=name: registry.output.get((i, "stdout")) == said[n])


def test_changed_component_is_replaced(registry: FakeRegistry, node: RunningNode) -> None:
    registry.want((component("foo", SERVE), 1))
    assert registry.are(foo="ready")
    first = registry.replicas["foo"]
    registry.want((component("foo", SERVE, generation=2), 1))
    assert eventually(lambda: registry.replicas["foo"].generation == 2)
    assert registry.are(foo="ready")
    assert first.pid is not None
    assert not exists(first.pid)
    assert registry.replicas["foo"].instance != first.instance


def test_slow_stop_holds_up_nobody_else(registry: FakeRegistry, node: RunningNode) -> None:
    registry.want((component("slow", STUBBORN, grace=30.0), 1))
    assert registry.are(slow="ready")
    registry.want((component("slow", STUBBORN, grace=30.0), 0), (component("foo", SERVE), 1))
    assert registry.are(slow="stopping", foo="ready")
    # Whoever cannot wait says so.
    registry.want((component("slow", STUBBORN, grace=0.0), 0), (component("foo", SERVE), 1))
    assert registry.are(slow="stopped", foo="ready")


def test_stopped_component_can_be_started_again(registry: FakeRegistry, node: RunningNode) -> None:
    registry.want((component("foo", SERVE), 1))
    assert registry.are(foo="ready")
    first = registry.replicas["foo"].instance
    registry.want()
    assert registry.are(foo="stopped")
    registry.want((component("foo", SERVE), 1))
    assert registry.are(foo="ready")
    assert registry.replicas["foo"].instance != first


def test_what_cannot_be_started_fails_alone(registry: FakeRegistry, node: RunningNode) -> None:
    nothing = ComponentSpec(name="bad", generation=1)
    no_kernel = component("worse", SERVE, kernel=True)
    crashes = component("crash", "raise SystemExit(3)", restart="never")
    registry.want((nothing, 1), (no_kernel, 1), (crashes, 1), (component("foo", SERVE), 1))
    assert registry.are(bad="failed", worse="failed", crash="failed", foo="ready")
    assert "does not say what to start" in registry.replicas["bad"].reason
    assert "cannot run as a kernel" in registry.replicas["worse"].reason
    assert registry.replicas["crash"].exit == 3
    registry.want((component("bad", SERVE, generation=2), 1), (component("foo", SERVE), 1))
    assert eventually(lambda: registry.states().get("bad") == "ready")


def test_readiness_rules_hold(registry: FakeRegistry, node: RunningNode) -> None:
    server = (
        "import http.server, sys, time; time.sleep(0.1)\n"
        "server = http.server.HTTPServer(('localhost', 0), http.server.SimpleHTTPRequestHandler)\n"
        "print('port', server.server_port, file=sys.stderr, flush=True); server.serve_forever()"
    )
    registry.want(
        (component("log", server, ready="log:^port \\d+$"), 1),
        (component("delay", "import time; time.sleep(60)", ready="delay:0.2"), 1),
        (component("never", "import time; time.sleep(60)", ready="tcp:1", ready_timeout=60.0), 1),
    )
    assert registry.are(log="ready", delay="ready", never="starting")
    instance = registry.replicas["log"].instance
    assert eventually(lambda: registry.output.get((instance, "stderr"), b"").endswith(b"\n"))
    port = registry.output[instance, "stderr"].split()[1].decode()
    waits = "import time; time.sleep(60)"
    registry.want(
        (component("log", server, ready="log:^port \\d+$"), 1),
        (component("tcp", waits, ready=f"tcp:{port}"), 1),
        (component("http", waits, ready=f"http:http://localhost:{port}/"), 1),
    )
    assert eventually(lambda: registry.states().get("tcp") == "ready")
    assert eventually(lambda: registry.states().get("http") == "ready")


def test_registry_that_is_away_costs_delay_alone(registry: FakeRegistry, node: RunningNode) -> None:
    source = PROLOGUE + (
        "notify_ready()\n"
        "for i in range(100): print('line', i, flush=True); time.sleep(0.005)\n"
        "stop.wait(60)\n"
    )
    registry.want((component("foo", source), 1))
    assert registry.are(foo="ready")
    status = registry.replicas["foo"]
    registry.go_away(True)
    assert status.pid is not None
    os.kill(status.pid, signal.SIGKILL)  # nobody is told for now, but it is started again
    time.sleep(0.3)
    registry.go_away(False)
    assert eventually(lambda: registry.replicas["foo"].restarts == 1)
    assert registry.are(foo="ready")
    lines = b"".join(b"line %d\n" % i for i in range(100))
    written = (status.instance, "stdout")
    assert eventually(lambda: registry.output.get(written, b"").endswith(lines))
    assert registry.sessions == 1


def test_node_that_is_unknown_joins_again(registry: FakeRegistry, node: RunningNode) -> None:
    registry.want((component("foo", SERVE), 1))
    assert registry.are(foo="ready")
    pids = registry.pids()
    registry.replicas.clear()
    registry.refusal = refused(404, "no-such-node")
    time.sleep(0.2)
    registry.refusal = None
    assert eventually(lambda: registry.sessions > 1)
    assert registry.are(foo="ready")
    assert registry.pids() == pids


def test_all_is_over_when_the_cluster_ends(registry: FakeRegistry, node: RunningNode) -> None:
    goodbye = SERVE + "print('goodbye', flush=True)\n"
    registry.want((component("foo", goodbye, role="master"), 1),
                  (component("bar", goodbye, role="worker"), 2))  # fmt: skip
    assert registry.are(foo="ready", bar_0="ready", bar_1="ready")
    pids = registry.pids().values()
    instance = registry.replicas["bar-1"].instance
    registry.want(ending=True)
    node.join()
    assert registry.are(foo="stopped", bar_0="stopped", bar_1="stopped")
    assert registry.left == ["here"]
    assert not any(exists(pid) for pid in pids if pid is not None)
    assert registry.output[instance, "stdout"].endswith(b"goodbye\n")
    # A master gets back what its workers had: they leave before it does. What it says last may
    # overtake that it is stopping.
    order = dict.fromkeys(name for name, state in registry.history if state.startswith("stop"))
    assert list(order)[-1] == "foo", registry.history


@pytest.mark.parametrize(
    ("status", "code", "goes_on"),
    [(410, "node-removed", False), (404, "no-such-cluster", False), (409, "replaced", True)],
)
def test_node_that_is_dismissed_ends(
    registry: FakeRegistry, node: RunningNode, status: int, code: str, goes_on: bool
) -> None:
    registry.want((component("foo", SERVE), 1))
    assert registry.are(foo="ready")
    pid = registry.pids()["foo"]
    assert pid is not None
    registry.refusal = refused(status, code)
    node.join()
    assert exists(pid) == goes_on
    if goes_on:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def test_runner_that_ends_leaves_what_runs_to_the_next(
    registry: FakeRegistry, node: RunningNode
) -> None:
    registry.want(
        (component("foo", SERVE), 1), (component("once", "notify = 1", ready="delay:0"), 1)
    )
    assert eventually(lambda: registry.states() == {"foo": "ready", "once": "stopped"})
    before = dict(registry.replicas)
    node.stop()
    assert registry.left == []
    second = RunningNode(registry)
    try:
        assert eventually(lambda: registry.sessions == 2 and len(registry.states()) == 2)
        time.sleep(0.2)
        # What had ended by itself is not run a second time.
        for name, was in before.items():
            now = registry.replicas[name]
            assert (now.pid, now.instance, now.state) == (was.pid, was.instance, was.state)
    finally:
        registry.want(ending=True)
        second.join()
    assert registry.states()["foo"] == "stopped"


def test_node_has_one_runner(registry: FakeRegistry, node: RunningNode) -> None:
    registry.want((component("foo", SERVE), 1))
    assert registry.are(foo="ready")
    with pytest.raises(ConfigError, match=f"runs already: pid {os.getpid()}"):
        Node(Folders.find(), registry, "here").run()
    assert registry.sessions == 1


def test_component_is_recognised_under_a_name_of_its_own(
    registry: FakeRegistry, node: RunningNode
) -> None:
    source = "from palm.servers import Master\nMaster('other').start()"
    registry.want((component("foo", source, role="master"), 1))
    assert registry.are(foo="ready")
    assert registry.replicas["foo"].endpoints["ipc"].startswith("ipc://")


def test_cluster_that_was_made_anew_does_not_adopt_what_is_not_its_own(
    registry: FakeRegistry, node: RunningNode
) -> None:
    registry.want((component("foo", SERVE), 1), (component("bar", "1 / 0", restart="never"), 1))
    assert registry.are(foo="ready", bar="failed")
    before = dict(registry.replicas)
    node.stop()
    changed = SERVE + "# changed\n"
    registry.want((component("foo", SERVE), 1), (component("bar", changed), 1))
    second = RunningNode(registry)
    try:
        assert eventually(lambda: registry.sessions == 2)
        assert registry.are(foo="ready", bar="ready")
        assert registry.replicas["foo"].pid == before["foo"].pid
    finally:
        registry.want(ending=True)
        second.join()


# The command, with a registry of its own


COUNT = PROLOGUE + (
    "notify_ready()\n"
    "i = 0\n"
    "while not stop.wait(0.001):\n"
    "    print(f'line {i} ' + 'x' * (i % 200), flush=True); i += 1\n"
)


def counted(output: bytes) -> bytes:
    """What `COUNT` writes, in as many lines as there are."""
    lines = range(output.count(b"\n"))
    return b"".join(b"line %d %s\n" % (i, b"x" * (i % 200)) for i in lines)


def test_runner_killed_in_the_middle_of_output_loses_and_doubles_nothing(house: House) -> None:
    house.runner.start()
    house.client.declare("default", component("foo", COUNT, role="worker", replicas=2))
    assert house.ready()
    pids = {replica.pid for replica in house.replicas("foo")}
    for _ in range(3):
        seen = len(house.stdout("foo-0"))
        assert eventually(lambda seen=seen: len(house.stdout("foo-0")) > seen + 5_000)
        house.runner.kill()
        time.sleep(0.05)
        house.runner.start()
    assert eventually(lambda: all(r.state == "ready" for r in house.replicas("foo")))
    assert {replica.pid for replica in house.replicas("foo")} == pids
    assert [replica.restarts for replica in house.replicas("foo")] == [0, 0]
    house.client.stop("default", "foo")
    assert eventually(lambda: all(r.state == "stopped" for r in house.replicas("foo")))
    spool = Folders.find().spool
    for name, replica in (("foo-0", 0), ("foo-1", 1)):
        written = (spool / house.replicas("foo")[replica].instance / "stdout").read_bytes()
        digest = hashlib.sha256(written).hexdigest()
        assert eventually(lambda name=name, digest=digest: hashlib.sha256(
            house.stdout(name)).hexdigest() == digest)  # fmt: skip
        assert written == counted(written)


def test_registry_killed_in_the_middle_of_output_comes_back_elsewhere(house: House) -> None:
    house.runner.start()
    house.client.declare("default", component("foo", COUNT))
    assert house.ready()
    pid = house.replicas("foo")[0].pid
    assert eventually(lambda: len(house.stdout("foo")) > 5_000)
    house.registry.kill()
    with socket.create_server(("127.0.0.1", house.registry.port)):
        # The runner starts another one, and somebody else has its address by now.
        house.follow_registry()
    assert f":{house.registry.port}/" not in house.client.url
    seen = len(house.stdout("foo"))
    assert eventually(lambda: len(house.stdout("foo")) > seen + 5_000)
    assert house.ready()
    assert house.replicas("foo")[0].pid == pid
    output = house.stdout("foo")
    output = output[: output.rindex(b"\n") + 1]
    assert output == counted(output)


def test_component_that_died_while_its_runner_was_dead_is_started_again(house: House) -> None:
    house.runner.start()
    house.client.declare("default", component("foo", COUNT))
    assert house.ready()
    before = house.replicas("foo")[0]
    assert before.pid is not None
    house.runner.kill()
    os.kill(before.pid, signal.SIGKILL)
    house.runner.start()
    assert eventually(lambda: house.replicas("foo")[0].pid not in (None, before.pid))
    assert house.ready()
    after = house.replicas("foo")[0]
    assert (after.instance, after.restarts) == (before.instance, 1)


def test_adopted_component_is_watched_like_a_child(house: House) -> None:
    house.runner.start()
    house.client.declare("default", component("foo", COUNT))
    assert house.ready()
    first = house.replicas("foo")[0].pid
    assert first is not None
    house.runner.kill()
    house.runner.start()
    log = house.runner.home / "runner.log"
    assert eventually(lambda: "adopts foo" in log.read_text())
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: house.replicas("foo")[0].restarts == 1)
    assert house.ready()
    # A signal, too, ends the runner alone.
    house.runner.terminate()
    assert house.runner.wait() == 0
    house.runner.start()
    assert eventually(lambda: log.read_text().count("adopts foo") == 2)
    house.client.stop("default", "foo")
    assert eventually(lambda: house.replicas("foo")[0].state == "stopped")


def test_component_that_was_started_but_not_yet_noted_is_found(house: House) -> None:
    house.runner.start()
    house.client.declare("default", component("foo", COUNT))
    assert house.ready()
    before = house.replicas("foo")[0]
    house.runner.kill()
    spool = find_spool(Folders.find().spool, "foo", "default")
    assert spool is not None
    state = spool.read_state()
    assert state is not None
    spool.write_state(msgspec.structs.replace(state, state="starting", pid=0, identity=""))
    house.runner.start()
    log = house.runner.home / "runner.log"
    assert eventually(lambda: f"adopts foo (pid {before.pid})" in log.read_text())
    # It said that it is ready to a runner that is no more, and has no record to tell it.
    assert eventually(lambda: house.replicas("foo")[0].state == "starting")
    assert house.replicas("foo")[0].pid == before.pid
    house.client.stop("default", "foo")
    assert eventually(lambda: house.replicas("foo")[0].state == "stopped")


def test_component_that_becomes_ready_after_its_runner_died_is_seen_to(house: House) -> None:
    slow = "import time; time.sleep(1.5)\nfrom palm.servers import Master\nMaster('foo').start()"
    house.runner.start()
    house.client.declare("default", component("foo", slow, role="master"))
    assert eventually(lambda: any(replica.pid for replica in house.replicas("foo")))
    before = house.replicas("foo")[0]
    assert before.state == "starting"
    house.runner.kill()
    house.runner.start()
    assert house.ready()
    after = house.replicas("foo")[0]
    assert (after.pid, after.restarts) == (before.pid, 0)
    assert after.endpoints["ipc"].startswith("ipc://")


def test_flood_of_one_component_does_not_hold_up_another(house: House) -> None:
    flood = PROLOGUE + (
        "notify_ready()\n"
        "for i in range(100_000): print('flood', i, 'x' * 60)\n"
        "print('dry', flush=True); stop.wait(60)\n"
    )
    tick = PROLOGUE + (
        "notify_ready()\nwhile not stop.wait(0.05): print(repr(time.time()), flush=True)\n"
    )
    house.runner.start()
    house.client.declare("default", component("tick", tick))
    assert house.ready()
    house.client.declare("default", component("flood", flood))
    assert eventually(lambda: house.stdout("flood").endswith(b"dry\n"))
    expected = b"".join(b"flood %d %s\n" % (i, b"x" * 60) for i in range(100_000)) + b"dry\n"
    assert house.stdout("flood") == expected
    page = house.client.output("default", name="tick", stream="stdout", limit=1000)
    delays = [record.time - float(record.raw.split()[0]) for record in page.records[1:]
              if record.raw.split()]  # fmt: skip
    assert max(delays) < 2.0


def test_runner_without_a_registry_says_what_to_do(palm_home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "palm", "runner"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": ROOT},
        timeout=SOON,
    )
    assert done.returncode == 1
    assert "no registry runs here" in done.stderr
    assert "palm up" in done.stderr


def test_a_node_knows_what_its_components_have_counted(
    registry: FakeRegistry, node: RunningNode
) -> None:
    source = "from palm.servers import Master; Master('foo').start()"
    registry.want((component("foo", source, role="master", ready="palm"), 1))
    assert registry.are(foo="ready")
    with Client("foo") as client:
        client.set(1, "key")
        assert eventually(lambda: [each.name for each in node.node.metrics()] == ["foo"])
    registry.want()
    assert eventually(lambda: node.node.metrics() == [])


def test_status_alone_says_why_a_process_ended(registry: FakeRegistry, node: RunningNode) -> None:
    source = "import sys; print('line', *range(3000), file=sys.stderr); sys.exit('no such model')"
    registry.want((component("foo", source, restart="never"), 1))
    assert registry.are(foo="failed")
    status = registry.replicas["foo"]
    assert status.reason == "ended with exit code 1 before it was ready"
    assert status.last_lines.endswith("2999\nno such model\n")
    assert len(status.last_lines) == 2000


def test_last_lines_go_when_a_process_is_ready_again(
    registry: FakeRegistry, node: RunningNode, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    source = PROLOGUE + (
        f"path = {str(mark)!r}\n"
        "if not os.path.exists(path):\n"
        "    open(path, 'w').close(); sys.exit('the first time')\n"
        "notify_ready(); stop.wait(60)\n"
    )
    registry.want((component("foo", source), 1))
    seen: set[str] = set()
    assert eventually(
        lambda: (
            "foo" in registry.replicas
            and (seen.add(registry.replicas["foo"].last_lines), registry.states())[1]
            == {"foo": "ready"}
        )
    )
    assert "the first time\n" in seen
    assert registry.replicas["foo"].last_lines == ""


TELLS = PROLOGUE + (
    "path, name = sys.argv[1:]\n"
    "def tell(word):\n"
    "    with open(path, 'a') as file: file.write(f'{word} {name}\\n')\n"
    "notify_ready(); stop.wait(60); time.sleep(0.2); tell('gone')\n"
)


@pytest.mark.parametrize("ending", [True, False])
def test_components_end_in_the_reverse_order_of_their_needs(
    registry: FakeRegistry, node: RunningNode, tmp_path: Path, ending: bool
) -> None:
    log = tmp_path / "log"
    needs: dict[str, tuple[str, list[str]]] = {
        "db": ("process", []), "foo": ("master", ["db"]), "w": ("worker", []),
        "api": ("process", ["db"]), "page": ("process", ["api"]),
    }  # fmt: skip
    wanted = [
        (component(name, TELLS, role=role, needs=of, args=[str(log), name], ready="palm"), 1)
        for name, (role, of) in needs.items()
    ]
    registry.want(*wanted)
    assert registry.are(db="ready", foo="ready", w_0="ready", api="ready", page="ready")
    registry.want(ending=ending)
    assert eventually(lambda: log.exists() and len(log.read_text().split()) == 2 * len(needs))
    order = [line.split()[1] for line in log.read_text().splitlines()]
    assert set(order[:2]) == {"w", "page"}
    assert order.index("page") < order.index("api") < order.index("db")
    assert order.index("w") < order.index("foo") < order.index("db")
    assert order[-1] == "db"


def test_one_that_does_not_end_holds_up_what_it_needs_for_its_grace_alone(
    registry: FakeRegistry, node: RunningNode
) -> None:
    slow = component("slow", STUBBORN, grace=0.5, needs=["db"])
    registry.want((component("db", SERVE), 1), (slow, 1))
    assert registry.are(db="ready", slow="ready")
    asked = time.monotonic()
    registry.want()
    assert eventually(lambda: registry.states()["slow"] == "stopping")
    assert registry.states()["db"] == "ready"
    assert registry.are(db="stopped", slow="stopped")
    assert 0.5 <= time.monotonic() - asked < 10.0
