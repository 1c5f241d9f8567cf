"""What the page asks for: who it is, which clusters are ready, and the latest of long lists."""

from __future__ import annotations

import json

import pytest

from palm.registry_api.client import Refused, RegistryClient
from tests.registry.test_access import log_in
from tests.support.registry import Browser, RegistryThread, Runner, spec

pytestmark = pytest.mark.both_databases


def test_the_latest_events_are_read_backwards_page_by_page(client: RegistryClient) -> None:
    for number in range(7):
        client.declare("c", spec(f"n{number}"))
    whole, _ = client.events("c")
    found = []
    before = None
    while True:
        page = client.latest_events("c", 3, before=before)
        found = page.events + found
        if not page.more:
            break
        assert len(page.events) == 3
        before = page.events[0].seq
    assert [event.seq for event in found] == [event.seq for event in whole]


def test_after_the_latest_events_one_goes_on_by_their_cursor(client: RegistryClient) -> None:
    cursor = client.latest_events("c", 10).cursor
    client.declare("c", spec("foo"))
    later, _ = client.events("c", cursor)
    assert later and all("foo" in event.text or event.component == "foo" for event in later)


def test_events_are_of_a_component_and_of_a_kind_with_all_below_it(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("foo"))
    client.declare("c", spec("bar"))
    runner.run_all()
    mine = client.latest_events("c", 100, component="foo").events
    assert mine and {event.component for event in mine} == {"foo"}
    kinds = {event.kind for event in client.latest_events("c", 100, kind="component").events}
    assert kinds and all(kind.startswith("component.") for kind in kinds)
    one = sorted(kinds)[0]
    assert {event.kind for event in client.latest_events("c", 100, kind=one).events} == {one}
    assert client.latest_events("c", 100, kind="comp").events == []
    assert client.latest_events("c", 100, kind="%").events == []


def test_the_latest_of_the_audit_list_is_read_backwards_and_filtered(
    client: RegistryClient, registry: RegistryThread
) -> None:
    for name in ("a", "b", "d"):
        client.create_cluster(name)
    made = client.add_token("watcher", "viewer")
    with RegistryClient(registry.url, made.token) as watcher, pytest.raises(Refused):
        watcher.create_cluster("x")
    whole = client.audit().entries
    last = client.latest_audit(2)
    assert [entry.seq for entry in last.entries] == [entry.seq for entry in whole[-2:]]
    assert last.more
    rest = client.latest_audit(100, before=last.entries[0].seq)
    assert [entry.seq for entry in rest.entries] == [entry.seq for entry in whole[:-2]]
    assert not rest.more
    refused = client.latest_audit(100, refused=True).entries
    assert [(entry.token, entry.status) for entry in refused] == [("watcher", 403)]
    assert client.latest_audit(100, token="watcher").entries == refused
    client.declare("a", spec("foo"))
    assert {entry.cluster for entry in client.latest_audit(100, cluster="a").entries} == {"a"}


def test_clusters_are_listed_with_their_status_for_who_asks(
    client: RegistryClient, runner: Runner
) -> None:
    assert [(info.ready, info.missing) for info in client.cluster_list()] == [(None, None)]
    client.declare("c", spec("foo", replicas=2))
    listed = client.cluster_list(status=True)
    assert [(info.ready, info.missing) for info in listed] == [(False, 2)]
    runner.run_all()
    listed = client.cluster_list(status=True)
    assert [(info.ready, info.missing) for info in listed] == [(True, 0)]


def test_whoever_asks_is_told_who_that_is(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    me = client.caller()
    assert (me.token, me.user, me.scope, me.browser) == ("owner", "owner", "admin", False)
    assert me.expires is None
    client.add_user("alice")
    token = client.add_token("w", "viewer", user="alice", ttl=60.0)
    with RegistryClient(registry.url, token.token) as watcher:
        her = watcher.caller()
    assert (her.token, her.user, her.scope, her.expires) == ("w", "alice", "viewer", token.expires)
    assert browser.ask("GET", "/api/caller").status == 401
    inside, _ = log_in(client, browser)
    assert json.loads(inside.ask("GET", "/api/caller").body)["browser"]
