"""What the ancestor's manager and log store did wrong (29 to 43), where no other test holds it.

29, 30 and 31 are in test_status, test_components and tests/spec/test_placement, 29, 30 and 33 of
its files in tests/spec/test_pylm, 32 in tests/runner/test_ports and test_sockets, 33 in
tests/spec/test_cluster, too, 34 and the poisoned session of 42 in test_database, 35 to 37 in
test_access and test_refusals too, 39 in test_audit, 40 in test_users, 41 in test_users and
test_components, 43 also in test_configs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from palm.registry_api.client import Refused, RegistryClient
from tests.support.registry import Browser, RegistryThread, Runner, piece, spec


def bearer(registry: RegistryThread) -> dict[str, str]:
    return {"Authorization": f"Bearer {registry.token}"}


def test_35_changes_at_the_same_time_are_all_made(client: RegistryClient) -> None:
    runners = [Runner(client, "c", f"n{number}").join() for number in range(4)]
    client.declare("c", spec("w", role="worker", replicas=16))

    def work(runner: Runner) -> None:
        for _ in range(3):
            runner.run_all()

    threads = [threading.Thread(target=work, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = client.cluster_status("c")
    assert status.ready
    assert len(status.components[0].replicas) == 16
    numbers = [n for runner in runners for a in runner.beat().components for n in a.numbers]
    assert sorted(numbers) == list(range(16))


def test_35_who_knows_the_name_of_a_cluster_knows_nothing(
    client: RegistryClient, registry: RegistryThread
) -> None:
    """What the ancestor gave to everybody who knew it: all commands, as a change of its state."""
    client.declare("c", spec("foo", command=["sh", "-c", "echo a secret"]))
    client.add_user("alice")
    alice = client.add_token("alice", "operator", user="alice").token
    before = client.cluster_status("c")
    for token in (alice, "x" * 43, ""):
        for method, path in (
            ("POST", "/api/clusters/c/nodes"),
            ("POST", "/api/clusters/c/nodes/here/heartbeat"),
            ("GET", "/api/clusters/c/components"),
            ("GET", "/api/clusters/c/config"),
        ):
            body = {"name": "here", "session": ""} if method == "POST" else None
            headers = {"Authorization": f"Bearer {token}"}
            answer = Browser(registry.url).ask(method, path, body, headers)
            assert answer.status == (404 if token == alice else 401)
            assert b"secret" not in answer.body
    after = client.cluster_status("c")
    assert (after.generation, after.nodes) == (before.generation, before.nodes)


def test_36_output_is_read_and_written_by_those_it_belongs_to(
    client: RegistryClient, registry: RegistryThread
) -> None:
    client.send_output("c", [piece(0, b"one\n")])
    client.create_cluster("d")
    runner = client.add_token("runner", "runner", cluster="d").token
    viewer = client.add_token("viewer", "viewer").token
    with RegistryClient(registry.url, runner) as other:
        with pytest.raises(Refused, match="there is no cluster 'c'"):
            other.send_output("c", [piece(4, b"forged\n")])
        with pytest.raises(Refused, match="not enough"):
            other.output("d")
        other.send_output("d", [piece(0, b"its own\n")])
    with RegistryClient(registry.url, viewer) as other:
        with pytest.raises(Refused, match="not enough"):
            other.send_output("c", [piece(4, b"forged\n")])
        assert [record.text for record in other.output("c").records] == ["one\n"]


def test_36_output_keeps_the_time_at_which_it_was_written(client: RegistryClient) -> None:
    client.send_output("c", [piece(0, b"x", time=1234.5)])
    assert client.output("c").records[0].time == 1234.5


def test_38_no_two_users_have_the_same_secret(registry: RegistryThread, palm_home: Path) -> None:
    other = RegistryThread(palm_home / "other").start()
    try:
        assert len({registry.token, other.token}) == 2
        assert min(len(registry.token), len(other.token)) >= 43
        answer = Browser(other.url).ask("GET", "/api/clusters", headers=bearer(registry))
        assert answer.status == 401
    finally:
        other.stop()


def test_42_importing_it_does_nothing() -> None:
    program = "import sys; sys.argv = ['x', '--nonsense']; import palm_registry.app"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=30)


def test_42_it_listens_on_the_loopback_and_keeps_what_it_has(
    client: RegistryClient, registry: RegistryThread
) -> None:
    assert registry.url.startswith("http://127.0.0.1:")
    client.declare("c", spec("a"))
    registry.stop()
    registry.start()
    assert [component.name for component in client.components("c")] == ["a"]


def test_43_a_query_that_nobody_asked_for_is_left_alone(
    registry: RegistryThread, browser: Browser
) -> None:
    for path in ("/static/page.js?x", "/static/page.css?x=1&x=2", "/api/clusters?x", "/health?x"):
        assert browser.ask("GET", path, headers=bearer(registry)).status == 200


def test_a_flood_of_output_leaves_the_rest_answering(
    client: RegistryClient, registry: RegistryThread
) -> None:
    stop = threading.Event()

    def flood() -> None:
        offset = 0
        while not stop.is_set():
            offset = client.send_output("c", [piece(offset, b"f" * 200_000)])[0].durable_offset

    thread = threading.Thread(target=flood)
    thread.start()
    with registry.client() as other:
        try:
            for number in range(10):
                other.declare("c", spec(f"a{number}"))
                assert json.loads(Browser(registry.url).ask("GET", "/health").body)
        finally:
            stop.set()
            thread.join()
        with pytest.raises(Refused):
            other.component("c", "a10")
