"""Keys and names of a cluster for its other machines: who gets them, and over which way."""

from __future__ import annotations

import stat
import threading
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import ClusterKey, ClusterKeys, KeyPair, NamedAddress, Scope
from palm.transport.keys import ensure_keys
from tests.registry.test_sockets import joined, report
from tests.support.registry import Browser, RegistryThread, Runner, spec


def some_keys(text: str = "a") -> ClusterKeys:
    def key(role: str, letter: str) -> ClusterKey:
        return ClusterKey(
            role=role,
            curve_publickey=letter * 40,
            curve_secretkey=letter.upper() * 40,
            server_publickey=text * 40,
        )

    return ClusterKeys(owner=key("owner", text), client=key("client", "y"),
                       worker=key("worker", "z"))  # fmt: skip


def test_the_first_keys_that_are_offered_are_kept(client: RegistryClient) -> None:
    with pytest.raises(Refused) as nothing:
        client.cluster_keys("c")
    assert (nothing.value.status, nothing.value.code) == (404, "no-keys")
    assert client.cluster_keys("c", some_keys("a")) == some_keys("a")
    assert client.cluster_keys("c", some_keys("b")) == some_keys("a")
    assert client.cluster_keys("c") == some_keys("a")
    assert client.role_key("c", "client") == some_keys("a").client
    assert client.role_key("c", "worker") == some_keys("a").worker


def changed_keys(text: str, before: ClusterKeys) -> ClusterKeys:
    """Keys that take the place of others."""
    fresh, until = some_keys(text), time.time() + 60.0

    def after(key: ClusterKey, old: ClusterKey) -> ClusterKey:
        values = {name: getattr(old, name) for name in KeyPair.__struct_fields__}
        return replace(key, before=KeyPair(**{**values, "expires": until}))

    return ClusterKeys(
        owner=after(fresh.owner, before.owner),
        client=after(fresh.client, before.client),
        worker=after(fresh.worker, before.worker),
    )


def test_47_keys_take_the_place_of_those_that_they_know_as_those_of_before(
    client: RegistryClient,
) -> None:
    first = client.cluster_keys("c", some_keys("a"))
    second = changed_keys("b", first)
    client.change_keys("c", second)
    assert client.cluster_keys("c") == second
    assert client.role_key("c", "client") == second.client
    client.change_keys("c", second)  # said twice
    for bad in (some_keys("d"), changed_keys("d", first)):
        with pytest.raises(Refused) as refused:
            client.change_keys("c", bad)
        assert (refused.value.status, refused.value.code) == (409, "keys")
    torn = replace(second, worker=replace(second.worker, before=None))
    with pytest.raises(Refused) as invalid:
        client.change_keys("c", torn)
    assert invalid.value.status == 400
    assert client.cluster_keys("c") == second
    client.change_keys("c", changed_keys("d", second))
    assert [e.kind for e in client.events("c")[0]].count("keys.changed") == 3


def test_47_keys_that_change_reach_a_node_that_waits(client: RegistryClient) -> None:
    first = client.cluster_keys("c", some_keys("a"))
    node = Runner(client, "c", "one").join()
    assert node.beat().keys == first.digest
    second = changed_keys("b", first)
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(node.beat(wait=30.0).keys))
    thread.start()
    client.change_keys("c", second)
    thread.join(10.0)
    assert found == [second.digest]
    assert second.digest != first.digest


def test_components_of_this_machine_and_nodes_have_the_same_keys(
    client: RegistryClient, palm_home: Path
) -> None:
    folder = palm_home / "state" / "c" / "keys"
    folder.mkdir(mode=0o700, parents=True)
    (palm_home / "state" / "c").chmod(0o700)
    ours = ensure_keys(folder)
    found = client.cluster_keys("c", some_keys())
    assert found.owner.curve_secretkey == ours.owner.curve_secretkey
    assert found.worker.curve_publickey == ours.worker.curve_publickey


def test_key_files_are_for_their_user_alone(client: RegistryClient, palm_home: Path) -> None:
    client.cluster_keys("c", some_keys())
    files = list((palm_home / "state" / "c" / "keys").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert b"A" * 40 not in (palm_home / "state" / "registry.db").read_bytes()


@pytest.mark.parametrize("damaged", [b"", b"\xff", b"[1]", b'{"x": ' * 5000])
def test_damaged_keys_hold_up_no_node(
    damaged: bytes, client: RegistryClient, runner: Runner, palm_home: Path
) -> None:
    client.cluster_keys("c", some_keys())
    [path] = palm_home.glob("**/keys/client.json")
    path.write_bytes(damaged)
    client.declare("c", spec("x"))
    assert [each.spec.name for each in runner.beat().components] == ["x"]
    with pytest.raises(Refused, match="is not a key file"):
        client.cluster_keys("c")


def test_keys_that_do_not_belong_together_are_refused(client: RegistryClient) -> None:
    good = some_keys()
    short = replace(good, worker=replace(good.worker, curve_secretkey="x"))
    foreign = replace(good, worker=replace(good.worker, server_publickey="n" * 40))
    other = replace(good, worker=replace(good.worker, role="owner"))
    for bad in (short, foreign, other):
        with pytest.raises(Refused) as refused:
            client.cluster_keys("c", bad)
        assert refused.value.status == 400
    with pytest.raises(Refused):
        client.cluster_keys("c")


@pytest.mark.parametrize(
    ("scope", "may"), [("viewer", set()), ("runner", {"all"}), ("operator", {"all", "client"})]
)
def test_a_key_is_only_for_whom_it_is(
    client: RegistryClient, registry: RegistryThread, scope: Scope, may: set[str]
) -> None:
    client.cluster_keys("c", some_keys())
    token = client.add_token(scope, scope, cluster="c").token
    got, refused = set(), set()
    with RegistryClient(registry.url, token) as other:
        for name, call in (
            ("all", lambda: other.cluster_keys("c")),
            ("client", lambda: other.role_key("c", "client")),
        ):
            try:
                call()
                got.add(name)
            except Refused as error:
                refused.add((error.status, error.code))
    assert got == may
    assert refused <= {(403, "scope")}


def test_the_keys_of_a_user_are_not_those_of_the_next_one(
    client: RegistryClient, registry: RegistryThread
) -> None:
    tokens = {}
    for user in ("alice", "bob"):
        client.add_user(user)
        tokens[user] = client.add_token(user, "operator", user=user).token
    with RegistryClient(registry.url, tokens["alice"]) as alice:
        alice.create_cluster("night")
        alice.cluster_keys("night", some_keys("a"))
        alice.delete_cluster("night")
    with RegistryClient(registry.url, tokens["bob"]) as bob:
        bob.create_cluster("night")
        with pytest.raises(Refused):
            bob.cluster_keys("night")
        assert bob.cluster_keys("night", some_keys("b")) == some_keys("b")


def test_the_audit_list_says_who_got_a_key_and_not_which(client: RegistryClient) -> None:
    client.cluster_keys("c", some_keys())
    client.role_key("c", "client")
    entries = [entry for entry in client.audit().entries if "/keys" in entry.what]
    assert [(e.what.rpartition("api/")[2], e.token, e.status) for e in entries] == [
        ("clusters/c/keys", "owner", 200),
        ("clusters/c/keys/client", "owner", 200),
    ]
    assert "A" * 40 not in repr(entries)
    assert "A" * 40 not in repr(some_keys())


def test_no_key_travels_in_clear(palm_home: Path) -> None:
    """One that listens on all addresses, without TLS, as its user insisted."""
    running = RegistryThread(palm_home, host="0.0.0.0", exposed=True).start()
    try:
        address = own_address()
        if address is None:
            pytest.skip("this machine has no address but loopback")
        port = running.url.rstrip("/").rpartition(":")[2]
        with running.client() as near:
            near.create_cluster("c")
            near.cluster_keys("c", some_keys())
        for method, path in (("POST", "keys"), ("PUT", "keys"), ("POST", "keys/client")):
            browser = Browser(f"http://{address}:{port}/")
            answer = browser.ask(
                method, f"/api/clusters/c/{path}", {} if path == "keys" else None,
                {"Authorization": f"Bearer {running.token}"},
            )  # fmt: skip
            assert (answer.status, answer.code) == (403, "in-clear")
    finally:
        running.stop()


def own_address() -> str | None:
    """An address of this machine that is not loopback."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return None


def test_names_say_where_others_find_a_component(client: RegistryClient) -> None:
    one = joined(client, "one", "192.0.2.7")
    client.declare("c", spec("foo", role="master", node="one"))
    client.declare("c", spec("w", role="worker", node="one"))
    foo = NamedAddress(name="foo", role="master", node="one")
    assert client.names("c") == [foo]
    report(one, one.beat(), node="tcp://192.0.2.7:42000")
    assert client.names("c") == [replace(foo, address="tcp://192.0.2.7:42000", runs=True)]
    report(one, one.beat(), node="tcp://127.0.0.1:42000")
    assert client.names("c") == [replace(foo, runs=True)]
