"""Join strings in the registry: once, for a while, for one node; and what ends with a node."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from palm.registry_api.client import Refused, RegistryClient, Untrusted
from palm.registry_api.schema import Heartbeat, NodeAccepted, NodeJoin
from palm_registry.attempts import BURST
from tests.registry.test_keys import some_keys
from tests.support.registry import Browser, RegistryThread, Runner, spec

pytestmark = pytest.mark.both_databases


def anybody(registry: RegistryThread, token: str = "") -> RegistryClient:
    return RegistryClient(registry.url, token, retry=0.0)


def let_in(client: RegistryClient, registry: RegistryThread) -> NodeAccepted:
    with anybody(registry) as far:
        return far.accept(client.invite("c").secret, "far")


def refused(client: RegistryClient, secret: str, name: str = "far") -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        client.accept(secret, name)
    assert caught.value.hint
    return caught.value.status, caught.value.code


def test_47_a_join_string_lets_one_node_in_and_is_used_up(
    client: RegistryClient, registry: RegistryThread
) -> None:
    invitation = client.invite("c")
    assert (invitation.cluster, invitation.url) == ("c", registry.url)
    with anybody(registry) as far:
        accepted = far.accept(invitation.secret, "far")
        assert refused(far, invitation.secret, "further") == (403, "invitation-used")
    assert (accepted.cluster, accepted.node) == ("c", "far")
    token = next(each for each in client.tokens() if each.node == "far")
    assert (token.scope, token.cluster, token.expires) == ("runner", "c", None)
    with anybody(registry, accepted.token) as runner:
        Runner(runner, "c", "far").join()
    assert [node.name for node in client.nodes("c")] == ["far"]
    events = [event.kind for event in client.events("c")[0]]
    assert events.count("node.invited") == 1


def test_47_of_many_who_have_it_at_once_one_gets_in(
    client: RegistryClient, registry: RegistryThread
) -> None:
    secret = client.invite("c").secret

    def come(number: int) -> str:
        with anybody(registry) as far:
            try:
                return far.accept(secret, f"n{number}").cluster
            except Refused as error:
                return error.code

    with ThreadPoolExecutor(8) as pool:
        said = sorted(pool.map(come, range(16)))
    assert said == ["c", *["invitation-used"] * 15]


def test_47_one_that_is_too_old_unknown_or_for_another_node_is_told_so(
    client: RegistryClient, registry: RegistryThread
) -> None:
    with anybody(registry) as far:
        assert refused(far, "x" * 43) == (404, "no-invitation")
        old = client.invite("c", ttl=0.001)
        while time.time() <= old.expires:
            pass
        assert refused(far, old.secret) == (403, "invitation-expired")
        mine = client.invite("c", node="near")
        assert refused(far, mine.secret) == (403, "invitation-node")
        assert far.accept(mine.secret, "near").node == "near"
        client.invite("c")
        Runner(client, "c", "here").join()
        assert refused(far, client.invite("c").secret, "here") == (409, "node-exists")
    for ttl in (0, -1, 1e9):
        with pytest.raises(Refused):
            client.invite("c", ttl=ttl)


def test_46_who_guesses_is_sent_away(client: RegistryClient, registry: RegistryThread) -> None:
    browser = Browser(registry.url)
    said = [
        browser.ask("POST", "/api/join", {"secret": f"{number}" * 20, "name": "far"}).status
        for number in range(BURST + 5)
    ]
    assert said[:BURST] == [404] * BURST
    assert set(said[BURST:]) == {429}
    assert browser.ask("POST", "/api/join", b"x" * 5000).status in (413, 429)
    noted = [entry for entry in client.audit().entries if entry.what == "POST /api/join"]
    assert noted
    assert all("secret" not in entry.details for entry in noted)


def test_only_a_hash_of_the_secret_is_kept(
    client: RegistryClient, registry: RegistryThread, palm_home: Path
) -> None:
    secret = client.invite("c").secret
    files = [path for path in (palm_home / "state").rglob("*") if path.is_file()]
    assert not any(secret.encode() in path.read_bytes() for path in files)


def test_47_a_node_is_one_node_and_no_other(
    client: RegistryClient, registry: RegistryThread
) -> None:
    Runner(client, "c", "near").join()
    accepted = let_in(client, registry)
    with anybody(registry, accepted.token) as runner:
        node = Runner(runner, "c", "far").join()
        node.beat()
        for call in (
            lambda: runner.join("c", NodeJoin(name="near")),
            lambda: runner.heartbeat("c", "near", Heartbeat(session=node.session)),
            lambda: runner.leave("c", "near"),
        ):
            with pytest.raises(Refused) as caught:
                call()
            assert (caught.value.status, caught.value.code) == (403, "node")


def test_47_a_removed_node_is_told_to_end_and_may_not_come_back(
    client: RegistryClient, registry: RegistryThread
) -> None:
    accepted = let_in(client, registry)
    with anybody(registry, accepted.token) as runner:
        node = Runner(runner, "c", "far").join()
        client.cluster_keys("c", some_keys())
        assert runner.cluster_keys("c") == some_keys()
        client.leave("c", "far")
        for call in (
            node.beat,
            lambda: Runner(runner, "c", "far").join(),
            lambda: runner.cluster_keys("c"),
        ):
            with pytest.raises(Refused) as caught:
                call()
            assert (caught.value.status, caught.value.code) == (410, "node-removed")
    token = next(each for each in client.tokens() if each.node == "far")
    assert token.expires is not None
    assert 0 < token.expires - time.time() <= 60
    # Whoever is invited again under that name is another one.
    again = let_in(client, registry)
    with anybody(registry, again.token) as runner:
        Runner(runner, "c", "far").join().beat()


def test_47_revoking_a_node_cuts_what_it_waits_for(
    client: RegistryClient, registry: RegistryThread
) -> None:
    accepted = let_in(client, registry)
    client.declare("c", spec("foo"))
    with anybody(registry, accepted.token) as runner:
        node = Runner(runner, "c", "far").join()
        node.run_all()
        found: list[Refused] = []
        waiting = threading.Event()

        def wait() -> None:
            waiting.set()
            try:
                while True:
                    node.beat(wait=30.0)
            except Refused as error:
                found.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(5)
        begun = time.monotonic()
        client.leave("c", "far", now=True)
        thread.join(10)
        assert time.monotonic() - begun < 5
        assert found[0].status in (401, 410)
        with pytest.raises(Refused) as caught:
            node.beat()
        assert caught.value.status == 401


@pytest.mark.parametrize("ends", [False, True], ids=["alone", "with its cluster"])
def test_47_a_node_that_goes_by_itself_may_come_back_if_its_cluster_has_ended(
    client: RegistryClient, registry: RegistryThread, ends: bool
) -> None:
    accepted = let_in(client, registry)
    with anybody(registry, accepted.token) as runner:
        Runner(runner, "c", "far").join()
        if ends:
            client.end_cluster("c")
        runner.leave("c", "far")
    token = next(each for each in client.tokens() if each.node == "far")
    assert (token.expires is None) == ends


def test_47_a_node_renews_its_token_and_nobody_does_it_for_another(
    client: RegistryClient, registry: RegistryThread
) -> None:
    accepted = let_in(client, registry)
    with anybody(registry, accepted.token) as runner:
        node = Runner(runner, "c", "far").join()
        token = runner.renew_token("c", "far")
        node.beat()  # the one of before is good for a while
        runner.use_token(token)
        node.beat()
        with pytest.raises(Refused) as caught:
            runner.renew_token("c", "near")
        assert caught.value.code == "node"
    with pytest.raises(Refused) as caught:
        client.renew_token("c", "far")
    assert caught.value.code == "no-node-token"
    ends = {t.expires is None for t in client.tokens() if t.node == "far"}
    assert ends == {True, False}
    client.leave("c", "far", now=True)
    assert not [t for t in client.tokens() if t.node == "far"]


def test_another_certificate_than_that_of_the_join_string_is_not_talked_to(
    palm_home: Path, database_url: str
) -> None:
    if database_url:
        pytest.skip("the database has no part in it")
    registry = RegistryThread(palm_home, tls=True).start()
    try:
        assert registry.registry is not None
        certificate = registry.registry.record["certfile"]
        with registry.client(ca_file=certificate) as client:
            client.create_cluster("c")
            invitation = client.invite("c")
        assert len(invitation.fingerprint.replace(":", "")) == 64
        wrong = "00" + invitation.fingerprint[2:]
        with (
            RegistryClient(registry.url, "", retry=0.0, fingerprint=wrong) as far,
            pytest.raises(Untrusted, match="fingerprint"),
        ):
            far.accept(invitation.secret, "far")
        with RegistryClient(registry.url, "", fingerprint=invitation.fingerprint) as far:
            assert far.accept(invitation.secret, "far").token
    finally:
        registry.stop()
