"""Code in the registry: once by content, kept while a version names it, for its cluster alone."""

from __future__ import annotations

import time
from hashlib import sha256

import pytest

from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import Code, CodeFile, CodePiece
from palm_registry.service import code as rules
from palm_registry.store.code import drop_code
from tests.support.registry import RegistryThread

pytestmark = pytest.mark.both_databases
TEXT = '[components.foo]\nscript = "foo.py"\n'


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def piece(data: bytes) -> CodePiece:
    return CodePiece(sha256=digest(data), data=data)


def code(data: bytes) -> dict[str, Code]:
    file = CodeFile(sha256=digest(data), size=len(data))
    return {"foo": Code(folder="/project", files={"foo.py": file})}


def put(client: RegistryClient, data: bytes, text: str = TEXT) -> int:
    client.send_code("c", [piece(data)])
    return client.set_cluster("c", text, folder="/project", code=code(data)).version


def drop(registry: RegistryThread, before: float) -> int:
    assert registry.registry is not None
    assert registry.registry.service is not None
    database = registry.registry.service.core.database
    import asyncio

    job = database.write(lambda c: drop_code(c, before))
    return asyncio.run_coroutine_threadsafe(job, registry._loop).result(10)


def test_a_version_whose_files_are_not_there_is_refused_and_says_which(
    client: RegistryClient,
) -> None:
    with pytest.raises(Refused, match="does not have the content of 1") as caught:
        client.set_cluster("c", TEXT, folder="/project", code=code(b"1"))
    assert (caught.value.code, caught.value.data["missing"]) == ("code-missing", [digest(b"1")])
    assert not client.config_versions("c")
    assert put(client, b"1") == 1
    assert client.fetch_code("c", digest(b"1")) == b"1"
    assert client.cluster_config("c").code == code(b"1")


def test_changed_content_is_a_new_version_that_replaces_what_runs(client: RegistryClient) -> None:
    put(client, b"1")
    before = client.component("c", "foo").generation
    assert put(client, b"1") == 1
    assert client.component("c", "foo").generation == before
    shown = client.diff_config("c", TEXT, folder="/project", code=code(b"2")).diff
    assert str(shown) == "~ foo: restarted\n    foo.py changed"
    assert put(client, b"2") == 2
    assert client.component("c", "foo").generation > before
    compared = client.diff_config("c", version=2, against=1).diff
    assert str(compared) == "~ foo: restarted\n    foo.py changed"
    back = client.rollback_config("c")
    assert back.code == code(b"1")


def test_who_knows_nothing_of_code_keeps_it(client: RegistryClient) -> None:
    """As the page of the registry, and a client of the version before."""
    put(client, b"1")
    text = TEXT + "replicas = 2\n"
    assert str(client.diff_config("c", text, folder="/project").diff).startswith("~ foo: scaled")
    applied = client.set_cluster("c", text, folder="/project")
    assert applied.code == code(b"1")
    other = text.replace("foo.py", "bar.py")
    assert client.set_cluster("c", other, folder="/project").code == {}


def test_what_no_version_names_is_dropped_in_time_and_the_rest_is_not(
    client: RegistryClient, registry: RegistryThread
) -> None:
    put(client, b"1")
    put(client, b"2")
    client.send_code("c", [piece(b"never put in force")])
    assert drop(registry, time.time() - 60) == 0
    assert drop(registry, time.time() + 60) == 1
    assert client.fetch_code("c", digest(b"1")) == b"1"
    client.delete_cluster("c")
    client.create_cluster("c")
    with pytest.raises(Refused) as caught:
        client.fetch_code("c", digest(b"1"))
    assert caught.value.code == "no-code"


def test_a_cluster_has_no_more_than_its_quota(
    client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "CODE_QUOTA", 10)
    put(client, b"12345")
    client.send_code("c", [piece(b"12345")])  # again, which takes no room
    with pytest.raises(Refused) as caught:
        client.send_code("c", [piece(b"1234567")])
    assert (caught.value.status, caught.value.code) == (413, "code-quota")


def test_44_what_is_not_what_it_is_said_to_be_is_refused(client: RegistryClient) -> None:
    for bad in (CodePiece(sha256=digest(b"1"), data=b"2"), CodePiece(sha256="../x", data=b"2")):
        with pytest.raises(Refused) as caught:
            client.send_code("c", [bad])
        assert caught.value.status == 400
    traversal = code(b"1")
    traversal["foo"].files["../x"] = traversal["foo"].files.pop("foo.py")
    with pytest.raises(Refused, match="not below"):
        client.set_cluster("c", TEXT, folder="/project", code=traversal)


def test_code_of_a_cluster_is_for_that_cluster_alone(
    client: RegistryClient, registry: RegistryThread
) -> None:
    put(client, b"secret")
    client.create_cluster("other")
    with pytest.raises(Refused) as caught:
        client.fetch_code("other", digest(b"secret"))
    assert caught.value.status == 404
    token = client.add_token("r", "runner", cluster="c").token
    with RegistryClient(registry.url, token) as runner:
        assert runner.fetch_code("c", digest(b"secret")) == b"secret"
