"""Which scope may do what: every route, method and scope, on a real port."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from tornado.web import RequestHandler

from palm.registry_api.client import RegistryClient
from palm.registry_api.schema import Scope
from palm_registry.handlers import ROUTES
from palm_registry.scopes import allows
from tests.support.registry import Browser, RegistryThread, lent_registry, spec

# The one registry has threads and connections that begin in one test and end in another.
pytestmark = pytest.mark.no_leak_check("threads", "descriptors")

SCOPES: tuple[Scope, ...] = get_args(Scope)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: What stands for each part of a path: nothing that is there, so that nothing is done.
PARTS = {"key": "c", "name": "absent", "node": "absent", "action": "start", "path": "page.js",
         "digest": "0" * 64, "role": "client", "number": "1"}  # fmt: skip
#: Where one knows a code or asks for nothing but a sign of life.
OPEN = {("GET", "health"), ("GET", "login"), ("POST", "api/join")}

Asked = tuple[str, str, str]


def implemented(handler: type[RequestHandler]) -> list[str]:
    nothing = RequestHandler._unimplemented_method
    return [method for method in METHODS if getattr(handler, method.lower()) is not nothing]


def example(route: str, **parts: str) -> str:
    known = {**PARTS, **parts}
    filled = re.sub(r"\(\?P<(\w+)>[^()]*\)", lambda match: known[match[1]], route)
    return filled.replace("\\", "") if route != ".*" else "no/such/path"


EVERY: list[Asked] = [
    (method, route, handler.scopes.get(method, "admin"))
    for route, handler in ROUTES
    for method in implemented(handler)
    if (method, route) not in OPEN
]


@pytest.mark.parametrize(("route", "handler"), ROUTES)
def test_every_method_of_every_route_says_which_scope_it_takes(route: str, handler: Any) -> None:
    said = set(handler.scopes)
    assert said <= set(METHODS)
    if not handler.open_to_all:
        assert {m for m in implemented(handler) if (m, route) not in OPEN} == said
    assert set(handler.scopes.values()) <= {*SCOPES, "any"}


def test_scopes_mean_what_their_names_say() -> None:
    may = {scope: {need for need in SCOPES if allows(scope, need)} for scope in SCOPES}
    assert may == {
        "viewer": {"viewer"},
        "operator": {"viewer", "operator", "runner"},
        "runner": {"runner"},
        "admin": set(SCOPES),
    }


def test_reading_takes_no_more_than_changing() -> None:
    for _route, handler in ROUTES:
        if "GET" in handler.scopes and not handler.open_to_all:
            assert handler.scopes["GET"] in ("any", "viewer", "admin")
        for method in {"PUT", "DELETE", "PATCH"} & set(handler.scopes):
            assert handler.scopes[method] != "viewer"


# ---- on a real port


@pytest.fixture(scope="module")
def registry() -> Iterator[RegistryThread]:
    with lent_registry() as running:
        yield running


@pytest.fixture(scope="module")
def client(registry: RegistryThread) -> Iterator[RegistryClient]:
    with registry.client() as client:
        client.create_cluster("c")
        client.declare("c", spec("foo"))
        client.add_user("alice")
        yield client


@pytest.fixture(scope="module")
def tokens(client: RegistryClient) -> dict[Scope, dict[str, str]]:
    """A token of each scope, as a header."""
    found = {}
    for scope in SCOPES:
        bound = "c" if scope == "runner" else ""
        made = client.add_token(f"a-{scope}", scope, cluster=bound)
        found[scope] = {"Authorization": f"Bearer {made.token}"}
    return found


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("method", "route", "needed"), EVERY)
def test_a_scope_may_what_it_is_for_and_nothing_else(
    registry: RegistryThread,
    client: RegistryClient,
    tokens: dict[Scope, dict[str, str]],
    method: str,
    route: str,
    needed: Any,
    scope: Scope,
) -> None:
    # A body that cannot be read: whoever gets that far is told so, and nothing is done.
    body = b"{" if method in ("POST", "PUT") else None
    headers = {**tokens[scope], "Content-Type": "application/json"}
    path = "/" + example(route, key="absent")
    answer = Browser(registry.url).ask(method, path, body, headers)
    if allows(scope, needed):
        assert answer.status not in (401, 403), answer.body
        assert answer.status < 500
        return
    assert answer.status == 403
    if method != "HEAD":
        assert answer.code == "scope"
        assert needed in answer.body.decode()


def test_what_nobody_made_a_rule_for_is_for_admins(
    registry: RegistryThread,
    client: RegistryClient,
    tokens: dict[Scope, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = next(each for route, each in ROUTES if route.endswith("/status"))
    monkeypatch.setattr(handler, "scopes", {})
    for scope in SCOPES:
        answer = Browser(registry.url).ask("GET", "/api/clusters/c/status", headers=tokens[scope])
        assert answer.status == (200 if scope == "admin" else 403)


def test_a_method_that_is_not_there_is_not_there_for_any_scope(
    registry: RegistryThread, client: RegistryClient, tokens: dict[Scope, dict[str, str]]
) -> None:
    for scope in SCOPES:
        for method in ("PUT", "PATCH", "OPTIONS"):
            answer = Browser(registry.url).ask(
                method, "/api/clusters/c/status", headers=tokens[scope]
            )
            assert answer.status == 405


# ---- clusters of others, and a token for one cluster

OF_CLUSTERS = [(method, route) for method, route, _ in EVERY if "(?P<key>" in route]


@pytest.mark.parametrize(("method", "route"), OF_CLUSTERS)
def test_a_cluster_of_another_user_is_as_absent_as_one_that_is_not_there(
    registry: RegistryThread, client: RegistryClient, method: str, route: str
) -> None:
    found = {token.name for token in client.tokens()}
    if "alice-all" in found:
        client.revoke_token("alice-all")
    made = client.add_token("alice-all", "operator", user="alice")
    headers = {"Authorization": f"Bearer {made.token}", "Content-Type": "application/json"}
    body = b"{}" if method in ("POST", "PUT") else None
    before = client.cluster_status("c")
    answers = []
    for key in ("c", "z"):
        path = "/" + example(route, key=key, name="foo")
        answer = Browser(registry.url).ask(method, path, body, headers)
        answers.append((answer.status, answer.body.replace(b"'z'", b"'c'")))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    after = client.cluster_status("c")
    assert (after.generation, after.state) == (before.generation, before.state)


@pytest.mark.parametrize(("method", "route"), OF_CLUSTERS)
@pytest.mark.parametrize("scope", ["operator", "runner"])
def test_a_token_for_one_cluster_finds_no_other(
    registry: RegistryThread, client: RegistryClient, method: str, route: str, scope: Scope
) -> None:
    client.create_cluster("other")
    for name in {token.name for token in client.tokens()} & {"bound"}:
        client.revoke_token(name)
    made = client.add_token("bound", scope, cluster="other")
    headers = {"Authorization": f"Bearer {made.token}", "Content-Type": "application/json"}
    body = b"{}" if method in ("POST", "PUT") else None
    path = "/" + example(route, key="c", name="foo")
    answer = Browser(registry.url).ask(method, path, body, headers)
    needed = next(need for m, r, need in EVERY if (m, r) == (method, route))
    expected = (404, "no-such-cluster") if allows(scope, needed) else (403, "scope")  # type: ignore[arg-type]
    assert (answer.status, answer.code) == expected
    assert "other" not in answer.body.decode()
