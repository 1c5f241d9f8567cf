"""Users of a shared registry: each has clusters of its own, and knows of no others."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from palm.errors import RegistryError
from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import NodeSamples, Sample
from palm_registry.keys import Key
from palm_registry.migrations import m0001
from palm_registry.security import digest_of
from palm_registry.store import clusters as rows
from palm_registry.store.clusters import ClusterRow
from tests.support.registry import RegistryThread, Runner, piece, spec

pytestmark = pytest.mark.both_databases


@pytest.fixture
def users(client: RegistryClient, registry: RegistryThread) -> Iterator[dict[str, RegistryClient]]:
    """The owner, who may everything, and two users with a cluster of their own each."""
    with ExitStack() as stack:
        found = {"owner": client}
        for name in ("alice", "bob"):
            client.add_user(name)
            made = client.add_token(f"{name}-1", "operator", user=name)
            found[name] = stack.enter_context(RegistryClient(registry.url, made.token))
            found[name].create_cluster(f"{name}s")
        yield found


def keys(client: RegistryClient) -> list[str]:
    return [info.key for info in client.cluster_list()]


def test_a_user_sees_only_own_clusters_and_an_admin_all(users: dict[str, RegistryClient]) -> None:
    assert keys(users["alice"]) == ["alices"]
    assert keys(users["bob"]) == ["bobs"]
    assert keys(users["owner"]) == ["alices", "bobs", "c"]
    owners = {info.key: info.owner for info in users["owner"].cluster_list()}
    assert owners == {"alices": "alice", "bobs": "bob", "c": "owner"}
    assert users["owner"].view_cluster("bobs").owner == "bob"


def test_nothing_tells_that_others_have_a_cluster(users: dict[str, RegistryClient]) -> None:
    for key in ("alices", "alicez", "c"):  # there, almost there, and the owner's
        with pytest.raises(Refused) as caught:
            users["bob"].view_cluster(key)
        assert (caught.value.status, caught.value.code) == (404, "no-such-cluster")
        assert caught.value.args[0] == f"there is no cluster {key!r}"
        assert "alices" not in caught.value.hint
    with pytest.raises(Refused, match="did you mean 'bobs'"):
        users["bob"].view_cluster("bobz")


def test_a_user_does_with_an_own_cluster_whatever_there_is_to_do(
    users: dict[str, RegistryClient],
) -> None:
    alice = users["alice"]
    alice.declare("alices", spec("foo"))
    runner = Runner(alice, "alices").join()
    assert runner.run_all().components
    alice.send_output("alices", [piece(0, b"hello\n")])
    assert alice.cluster_status("alices").ready
    assert alice.scale("alices", "foo", 2).desired == 2
    with alice.live("alices", since="start") as feed:
        seen = {feed.next_frame(10).topic for _ in range(3)}  # type: ignore[union-attr]
    assert "status" in seen
    sample = Sample(name="foo", component="foo", instance="foo.1", pid=1)
    alice.send_metrics("alices", "here", NodeSamples(session=runner.session, samples=[sample]))
    with alice.live("alices", ("metrics",)) as feed:
        frame = feed.next_frame(10)
    assert frame is not None
    assert [found.name for found in frame.data.samples] == ["foo"]
    assert [record.text for record in alice.output("alices").records] == ["hello\n"]
    runner.client.leave("alices", "here")
    alice.delete_cluster("alices")
    assert keys(alice) == []


def test_41_a_key_is_there_once_and_taking_anothers_harms_nobody(
    users: dict[str, RegistryClient],
) -> None:
    users["alice"].declare("alices", spec("foo"))
    with pytest.raises(Refused) as caught:
        users["bob"].create_cluster("alices", 0.0)
    assert (caught.value.status, caught.value.code) == (409, "name-taken")
    assert "alice " not in f"{caught.value} "  # not whose it is
    assert users["alice"].view_cluster("alices").linger is None
    assert [c.name for c in users["alice"].components("alices")] == ["foo"]
    # An admin may: it is a cluster that is there.
    assert users["owner"].create_cluster("alices").owner == "alice"


def test_a_key_is_free_once_its_cluster_is_gone_and_leads_to_nothing_of_it(
    users: dict[str, RegistryClient],
) -> None:
    alice, bob = users["alice"], users["bob"]
    alice.send_output("alices", [piece(0, b"secret\n")])
    alice.delete_cluster("alices")
    assert bob.create_cluster("alices").owner == "bob"
    assert bob.output("alices").records == []
    assert bob.events("alices")[0][0].kind == "cluster.created"
    with pytest.raises(Refused, match="there is no cluster"):
        alice.cluster_status("alices")


@pytest.mark.parametrize("topic", ["status", "events", "output"])
def test_a_live_feed_does_not_go_on_in_the_next_cluster_of_that_name(
    users: dict[str, RegistryClient], topic: str
) -> None:
    alice, bob = users["alice"], users["bob"]
    alice.declare("alices", spec("foo"))
    alice.send_output("alices", [piece(0, b"mine\n")])
    with alice.live("alices", (topic,), since="start") as feed:
        assert feed.next_frame(10) is not None
        alice.delete_cluster("alices")
        bob.create_cluster("alices")
        bob.declare("alices", spec("secret"))
        bob.send_output("alices", [piece(0, b"secret\n", component="secret")])
        seen = []
        with pytest.raises(RegistryError):  # noqa: PT012 - it is read until that comes
            while (frame := feed.next_frame(20)) is not None:
                seen.append(repr(frame.data))
        assert not any("secret" in frame for frame in seen)


def test_a_heartbeat_does_not_go_on_in_the_next_cluster_of_that_name(
    users: dict[str, RegistryClient],
) -> None:
    alice, bob = users["alice"], users["bob"]
    runner = Runner(alice, "alices").join()
    runner.beat()
    alice.delete_cluster("alices")
    assert runner.beat().stop
    alice.leave("alices", "here")
    bob.create_cluster("alices")
    bob.declare("alices", spec("secret"))
    with pytest.raises(Refused) as caught:
        runner.beat()
    assert caught.value.status == 404
    assert bob.nodes("alices") == []


def test_what_happens_by_the_clock_happens_to_clusters_of_users_too(
    users: dict[str, RegistryClient],
) -> None:
    alice = users["alice"]
    with alice.live("alices", ("events",), since="start") as feed:
        alice.lease("alices", "me", ttl=0.2, linger=0.0)
        while (frame := feed.next_frame(20)) is not None and frame.data.kind != "cluster.ended":
            continue
    assert alice.view_cluster("alices").state == "ended"


def test_a_cluster_ends_with_its_lost_node_whosever_that_node_was_before(
    users: dict[str, RegistryClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of nodes outlives a cluster; whose it was must not stick to it."""
    monkeypatch.setattr("palm_registry.watch.LOST_AFTER", 0.5)
    alice, bob = users["alice"], users["bob"]
    Runner(alice, "alices").join()
    with alice.live("alices", ("events",), since="start") as feed:
        while (frame := feed.next_frame(20)) is not None and frame.data.kind != "node.lost":
            continue
    assert frame is not None
    alice.delete_cluster("alices")
    bob.create_cluster("alices")
    Runner(bob, "alices").join()  # of the same name
    bob.delete_cluster("alices")  # once its node is heard of no more
    end = time.monotonic() + 20
    while "alices" in next(user for user in users["owner"].users() if user.name == "bob").clusters:
        assert time.monotonic() < end
        time.sleep(0.05)


# ---- who is who


def test_users_are_listed_with_what_they_have(users: dict[str, RegistryClient]) -> None:
    found = {user.name: user for user in users["owner"].users()}
    assert found["alice"].clusters == ["alices"]
    assert found["alice"].tokens == ["alice-1"]
    assert found["alice"].creator == "owner"
    assert found["owner"].clusters == ["c"]
    with pytest.raises(Refused, match="not enough"):
        users["alice"].users()


def test_a_user_with_clusters_is_not_removed_and_one_without_is_at_once(
    users: dict[str, RegistryClient],
) -> None:
    owner, alice = users["owner"], users["alice"]
    with pytest.raises(Refused, match="still has clusters: alices") as caught:
        owner.remove_user("alice")
    assert caught.value.status == 409
    assert keys(alice) == ["alices"]
    alice.delete_cluster("alices")
    owner.remove_user("alice")
    with pytest.raises(Refused) as caught:
        alice.cluster_list()
    assert caught.value.status == 401
    assert [token.name for token in owner.tokens()] == ["bob-1", "owner"]
    with pytest.raises(Refused, match="no user 'alice'"):
        owner.remove_user("alice")
    assert [user.name for user in owner.users()] == ["bob", "owner"]


def test_the_owner_cannot_be_removed(client: RegistryClient) -> None:
    with pytest.raises(Refused, match="own") as caught:
        client.remove_user("owner")
    assert caught.value.status == 409


@pytest.mark.parametrize("name", ["", "a b", "a&b", "<b>", "a'b", "ä", "x" * 65, "alice"])
def test_40_a_name_is_taken_as_it_is_or_not_at_all(client: RegistryClient, name: str) -> None:
    client.add_user("alice")
    with pytest.raises(Refused) as caught:
        client.add_user(name)
    assert caught.value.status == (409 if name == "alice" else 400)
    assert [user.name for user in client.users()] == ["alice", "owner"]


def test_users_and_their_clusters_outlive_the_registry(
    users: dict[str, RegistryClient], registry: RegistryThread
) -> None:
    before = users["owner"].users()
    registry.stop()
    registry.start()
    assert users["owner"].users() == before
    assert keys(users["alice"]) == ["alices"]


# ---- in the store, and from before there were users


def test_a_key_leads_to_the_cluster_of_its_user_only() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        rows.clusters.metadata.create_all(connection)
        row = ClusterRow(key="k", name="k", created=0.0, updated=0.0, owner="alice")
        rows.add_cluster(connection, row)
        assert rows.get_cluster(connection, "k") == row
        assert rows.get_cluster(connection, Key("k", "alice")) == row
        assert rows.get_cluster(connection, Key("k", "bob")) is None
        assert [r.key for r in rows.all_clusters(connection, "alice")] == ["k"]
        assert rows.all_clusters(connection, "bob") == []
    engine.dispose()


def test_what_was_there_before_belongs_to_the_owner_and_the_owners_token_works(
    palm_home: Path,
) -> None:
    """A database, and a token, of the first schema."""
    state = palm_home / "state"
    (state / "tokens").mkdir(mode=0o700, parents=True)
    state.chmod(0o700)
    token = "t" * 43
    (state / "tokens" / "owner").write_text(f"{token}\n")
    (state / "tokens" / "owner").chmod(0o600)
    engine = create_engine(f"sqlite:///{state}/registry.db")
    with engine.begin() as connection:
        for statement in m0001.STATEMENTS:
            connection.execute(text(statement))
        connection.execute(text("INSERT INTO meta VALUES (1, 'abcd1234')"))
        values = {"hash": digest_of(token)}
        connection.execute(text("INSERT INTO tokens VALUES (:hash, 'owner', 'owner', 1)"), values)
        connection.execute(text("INSERT INTO sessions VALUES ('s', :hash, 9e9)"), values)
        connection.execute(
            text("INSERT INTO clusters VALUES ('old','old',1,1,0,0,'alive',NULL,0,0)")
        )
    engine.dispose()
    registry = RegistryThread(palm_home).start()
    try:
        with registry.client() as client:
            assert [(info.key, info.owner) for info in client.cluster_list()] == [("old", "owner")]
            (found,) = client.tokens()
            assert (found.name, found.scope, found.user) == ("owner", "admin", "owner")
            assert [user.name for user in client.users()] == ["owner"]
    finally:
        registry.stop()
    with closing(sqlite3.connect(state / "registry.db")) as database:
        assert database.execute("SELECT hash FROM sessions").fetchall() == [("s",)]
