"""Versions of cluster files: what is kept, what another one does, and the way back."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palm.errors import ConfigError
from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import ConfigApplied
from palm.spec.cluster import parse_cluster
from palm.spec.diff import Diff
from palm_registry.migrations import m0001
from tests.registry.test_components import SEED
from tests.support.registry import Browser, RegistryThread, Runner, spec

pytestmark = pytest.mark.both_databases

MORE = SEED.replace("replicas = 2", "replicas = 4")
OTHER = SEED.replace('"worker.py"', '"other.py"')


def bearer(registry: RegistryThread, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {registry.token}", **more}


# ---- versions


def test_every_version_is_listed_with_what_it_is(client: RegistryClient) -> None:
    assert client.config_versions("c") == []
    client.set_cluster("c", SEED, "seed.toml", "/x", note="the first")
    client.set_cluster("c", MORE + "# größe\n", "seed.toml", "/x")
    latest, first = client.config_versions("c")
    assert (first.version, first.note, first.file, first.folder) == (
        1,
        "the first",
        "seed.toml",
        "/x",
    )
    assert (first.in_force, latest.in_force) == (False, True)
    data = (MORE + "# größe\n").encode()
    assert (latest.size, latest.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert 0 < first.created <= latest.created
    found = client.config_version("c", 1)
    assert (found.text, found.in_force, found.sha256) == (SEED, False, first.sha256)
    assert client.cluster_config("c") == client.config_version("c", 2)
    with pytest.raises(Refused, match="there are versions 1 to 2") as caught:
        client.config_version("c", 3)
    assert (caught.value.status, caught.value.code) == (404, "no-config")


def test_a_long_list_comes_in_parts(client: RegistryClient) -> None:
    for number in range(5):
        client.set_cluster("c", f"# {number}\n")
    assert [each.version for each in client.config_versions("c", limit=2)] == [5, 4]
    assert [each.version for each in client.config_versions("c", before=4)] == [3, 2, 1]


def test_the_same_text_is_no_new_version_but_undoes_what_was_done_by_hand(
    client: RegistryClient, runner: Runner
) -> None:
    first = client.set_cluster("c", SEED, "seed.toml", "/x")
    assert (first.version, first.changed) == (1, True)
    runner.run_all()
    again = client.set_cluster("c", SEED, "./seed.toml", "/x")
    assert (again.version, again.changed, bool(again.diff)) == (1, False, False)
    client.scale("c", "foo-worker", 5)
    client.stop("c", "foo")
    back = client.set_cluster("c", SEED, "seed.toml", "/x")
    assert (back.version, back.changed) == (1, False)
    assert back.diff.effects == {"foo": "started", "foo-worker": "scaled"}
    assert len(client.config_versions("c")) == 1
    kinds = [event.kind for event in client.events("c")[0] if event.kind.startswith("config.")]
    assert kinds == ["config.changed", "config.applied"]
    # Relative paths begin elsewhere.
    moved = client.set_cluster("c", SEED, "seed.toml", "/y")
    assert (moved.version, moved.diff.effects["foo"]) == (2, "restarted")


def test_who_does_not_know_the_version_in_force_changes_nothing(client: RegistryClient) -> None:
    assert client.set_cluster("c", SEED, expected_version=0).version == 1
    assert client.set_cluster("c", MORE, expected_version=1).version == 2
    with pytest.raises(Refused, match="version 2 was put in force") as caught:
        client.set_cluster("c", OTHER, expected_version=1)
    assert (caught.value.status, caught.value.code) == (409, "version")
    assert caught.value.data["version"] == 2
    assert client.cluster_config("c").text == MORE
    with pytest.raises(Refused) as caught:
        client.rollback_config("c", 1, expected_version=1)
    assert caught.value.code == "version"
    # An answer may have been lost, and the request come again.
    assert client.set_cluster("c", MORE, expected_version=1).version == 2


def test_of_several_who_change_one_version_one_succeeds(client: RegistryClient) -> None:
    client.set_cluster("c", SEED)
    results: list[Any] = []

    def put(number: int) -> None:
        try:
            results.append(client.set_cluster("c", f"{SEED}# {number}\n", expected_version=1))
        except Refused as error:
            results.append(error.code)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won,) = (each for each in results if isinstance(each, ConfigApplied))
    assert results.count("version") == 5
    assert client.cluster_config("c").text == won.text
    assert client.cluster_config("c").version == 2


def test_the_version_can_be_given_as_http_does(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    path = "/api/clusters/c/config"
    client.set_cluster("c", SEED)
    etag = browser.ask("GET", path, headers=bearer(registry)).headers["Etag"]
    unchanged = browser.ask("GET", path, headers=bearer(registry, **{"If-None-Match": etag}))
    assert (unchanged.status, unchanged.body) == (304, b"")
    put = browser.ask("PUT", path, {"text": MORE}, bearer(registry, **{"If-Match": etag}))
    assert put.status == 200
    late = browser.ask("PUT", path, {"text": OTHER}, bearer(registry, **{"If-Match": etag}))
    assert (late.status, late.code) == (409, "version")
    odd = browser.ask("PUT", path, {"text": OTHER}, bearer(registry, **{"If-Match": "x"}))
    assert (odd.status, odd.code) == (400, "if-match")
    now = put.headers["Etag"]
    assert now not in (etag, None)
    answer = browser.ask("POST", f"{path}/rollback", None, bearer(registry, **{"If-Match": now}))
    assert answer.status == 200
    # A cluster that was made anew has a version 1, too, and it is another one.
    client.delete_cluster("c")
    client.create_cluster("c")
    client.set_cluster("c", OTHER)
    again = browser.ask("GET", path, headers=bearer(registry, **{"If-None-Match": etag}))
    assert again.status == 200
    stale = browser.ask("PUT", path, {"text": SEED + "#"}, bearer(registry, **{"If-Match": etag}))
    assert (stale.status, stale.code) == (409, "version")
    by_number = bearer(registry, **{"If-Match": '"1"'})
    assert browser.ask("PUT", path, {"text": SEED + "#"}, by_number).status == 200


def test_versions_of_an_older_schema_are_told_as_others(palm_home: Path) -> None:
    registry = RegistryThread(palm_home)
    database = registry.settings.state / "registry.db"
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with sqlite3.connect(database) as connection:
        for statement in m0001.STATEMENTS:
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES (1, 'x')")
        connection.execute(
            "INSERT INTO clusters VALUES ('c', 'c', 1, 1, 1, 0, 'alive', NULL, 0, 0)"
        )
        connection.execute("INSERT INTO configs VALUES ('c', 1, ?, 'a.toml', '', 5.0)", (SEED,))
    connection.close()
    database.chmod(0o600)
    registry.start()
    try:
        with registry.client() as client:
            (found,) = client.config_versions("c")
            assert (found.created, found.size, found.by) == (5.0, len(SEED), "")
            assert found.sha256 == hashlib.sha256(SEED.encode()).hexdigest()
            assert client.rollback_config("c", 1).version == 1
            assert client.set_cluster("c", MORE).version == 2
    finally:
        registry.stop()


# ---- the way back


def test_back_is_a_new_version_with_the_text_of_an_old_one(
    client: RegistryClient, runner: Runner
) -> None:
    for text in (SEED, MORE, OTHER):
        client.set_cluster("c", text, "seed.toml", "/x")
    runner.run_all()
    back = client.rollback_config("c")
    assert (back.version, back.text, back.changed) == (4, MORE, True)
    assert (back.file, back.folder, back.note) == ("seed.toml", "/x", "back to version 2")
    assert back.diff.effects == {"foo-worker": "restarted"}
    first = client.rollback_config("c", 1, note="too many")
    assert (first.version, first.text, first.note) == (5, SEED, "too many")
    assert first.diff.effects == {"foo-worker": "scaled"}
    assert [each.version for each in client.config_versions("c")] == [5, 4, 3, 2, 1]
    events = [event for event in client.events("c")[0] if event.kind == "config.changed"]
    assert events[-1].text == "version 5 of seed.toml is in force, as version 1 was"
    assert events[-1].data == {
        "version": 5, "of": 1, "note": "too many", "by": "owner",
        "effects": {"foo-worker": "scaled"},
    }  # fmt: skip
    # What is in force is no new version.
    assert client.rollback_config("c", 5).version == 5


def test_where_there_is_no_way_back_nothing_happens(client: RegistryClient) -> None:
    for version in (None, 1):
        with pytest.raises(Refused) as caught:
            client.rollback_config("c", version)
        assert (caught.value.status, caught.value.code) == (404, "no-config")
    client.set_cluster("c", SEED)
    with pytest.raises(Refused, match="no version before 1"):
        client.rollback_config("c")
    for number in (7, 0, -1, 2**70):
        with pytest.raises(Refused, match=f"no version {number}"):
            client.rollback_config("c", number)
    assert len(client.config_versions("c")) == 1


# ---- all or nothing


def test_a_file_that_cannot_be_in_force_changes_nothing(
    client: RegistryClient, runner: Runner
) -> None:
    client.set_cluster("c", SEED)
    client.declare("c", spec("foo-worker-2x", owner="notebook"))
    client.declare("c", spec("bar-1", owner="notebook"))
    before = runner.run_all()
    events = client.events("c")[0]
    with pytest.raises(ConfigError):
        client.set_cluster("c", SEED.replace("foo]", "fo]"))
    clash = SEED + '[components.bar]\nrole = "worker"\nscript = "x"\nreplicas = 2\n'
    with pytest.raises(Refused) as caught:
        client.set_cluster("c", clash)
    assert caught.value.code == "name-taken"
    with pytest.raises(Refused) as caught:
        client.diff_config("c", clash)
    assert caught.value.code == "name-taken"
    for odd in ({"note": "x" * 501}, {"note": "a\nb"}, {"file": "a\0b"}, {"folder": "x" * 5000}):
        with pytest.raises(Refused) as caught:
            client.set_cluster("c", MORE, **odd)
        assert caught.value.status == 400
    assert runner.beat() == before
    assert client.events("c")[0] == events
    assert len(client.config_versions("c")) == 1


# ---- what another file does


def test_a_file_can_be_compared_before_it_is_in_force(
    client: RegistryClient, runner: Runner
) -> None:
    new = client.diff_config("c", SEED, "seed.toml")
    assert [each.text for each in new.diff.added] == [
        "started", "started, 2 replicas, once foo is ready",
    ]  # fmt: skip
    assert (new.before, new.after) == (0, 0)
    assert new.unified.startswith("--- /dev/null\n+++ seed.toml\n")
    client.set_cluster("c", SEED, "seed.toml")
    client.set_cluster("c", MORE, "seed.toml")
    runner.run_all()
    found = client.diff_config("c", OTHER, "new.toml")
    assert (found.before, found.after) == (2, 0)
    (change,) = found.diff.changed
    assert change.text == "restarted, 4 -> 2 replicas"
    assert found.unified.startswith("--- seed.toml (version 2)\n+++ new.toml\n")
    assert '-script = "worker.py"\n+script = "other.py"\n-' not in found.unified
    assert "-replicas = 4\n+replicas = 2\n" in found.unified
    back = client.diff_config("c", version=1)
    assert (back.before, back.after) == (2, 1)
    assert back.diff.effects == {"foo-worker": "scaled"}
    # What somebody did by hand counts, too, unless versions alone are compared.
    client.scale("c", "foo-worker", 2)
    assert client.diff_config("c", version=1).diff == Diff(unchanged=["foo", "foo-worker"])
    assert client.diff_config("c").diff.effects == {"foo-worker": "scaled"}
    assert client.diff_config("c", version=1, against=2).diff.effects == {"foo-worker": "scaled"}
    assert client.diff_config("c", SEED, against=1).diff == Diff(unchanged=["foo", "foo-worker"])
    with pytest.raises(ConfigError) as caught:
        client.diff_config("c", SEED.replace("replicas", "replcas"), "seed.toml")
    assert (caught.value.file, caught.value.line) == ("seed.toml", 11)
    with pytest.raises(Refused, match="no version 9"):
        client.diff_config("c", version=1, against=9)
    assert client.cluster_config("c").version == 2


def test_in_a_cluster_that_has_ended_all_is_started(client: RegistryClient) -> None:
    client.set_cluster("c", SEED)
    client.end_cluster("c")
    assert client.diff_config("c", SEED).diff.effects == {"foo": "started", "foo-worker": "started"}
    assert client.view_cluster("c").state == "ended"
    applied = client.set_cluster("c", SEED)
    assert applied.diff.effects == {"foo": "started", "foo-worker": "started"}
    assert client.view_cluster("c").state == "alive"


NAMES = ("a", "b", "c")


@st.composite
def files(draw: st.DrawFn) -> str:
    text = ""
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        text += f'[components.{name}]\nrole = "worker"\nscript = "{draw(st.sampled_from("xy"))}"\n'
        text += f"replicas = {draw(st.integers(0, 3))}\n"
        if draw(st.booleans()):
            text += f"grace = {draw(st.integers(1, 2))}\n"
        if draw(st.booleans()):
            text += f'env = {{ A = "{draw(st.integers(1, 2))}" }}\n'
    return text


def processes(runner: Runner) -> dict[str, int]:
    """The processes that run by now, and the generation of each."""
    answer = runner.run_all()
    return {
        each.spec.replica_name(number): each.spec.generation
        for each in answer.components
        for number in each.numbers
    }


def became(before: dict[str, int], after: dict[str, int], component: str) -> str:
    """What a runner sees of a component: the word that `Diff` has for it."""
    old, new = (
        {name: found for name, found in each.items() if name.startswith(f"{component}-")}
        for each in (before, after)
    )
    if not old and not new:
        return "none"
    if not new:
        return "stopped"
    if not old:
        return "started"
    both = old.keys() & new.keys()
    if any(old[name] != new[name] for name in both):
        assert all(old[name] != new[name] for name in both)
        return "restarted"
    return "none" if old == new else "scaled"


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    first=files(),
    by_hand=st.fixed_dictionaries(
        {name: st.sampled_from(["nothing", "stop", "scale", "remove"]) for name in NAMES}
    ),
    then=files(),
)
def test_what_is_said_is_what_is_done(
    client: RegistryClient, runner: Runner, first: str, by_hand: dict[str, str], then: str
) -> None:
    """Whatever was put in force, and done by hand, before: the comparison says what comes."""
    client.set_cluster("c", first)
    for name in parse_cluster(first).components:
        if by_hand[name] == "stop":
            client.stop("c", name)
        elif by_hand[name] == "scale":
            client.scale("c", name, 2)
        elif by_hand[name] == "remove":
            client.remove("c", name)
    before = processes(runner)
    said = client.diff_config("c", then).diff
    done = client.set_cluster("c", then).diff
    assert (said.effects, said.unchanged) == (done.effects, done.unchanged)
    assert said.changed == done.changed
    after = processes(runner)
    for name in NAMES:
        assert said.effects.get(name, "none") == became(before, after, name), name


# ---- a cluster as a whole


def test_a_cluster_can_be_called_otherwise_and_linger_longer(client: RegistryClient) -> None:
    info = client.update_cluster("c", name="Größe & Cie", linger=60.0)
    assert (info.key, info.name, info.linger) == ("c", "Größe & Cie", 60.0)
    assert client.update_cluster("c", linger=None).linger is None
    assert client.view_cluster("c").name == "Größe & Cie"
    assert client.create_cluster("c").name == "Größe & Cie"
    said = [event.text for event in client.events("c")[0] if event.kind == "cluster.updated"]
    assert said == ["it is called 'Größe & Cie', it lingers for 60 s", "it lingers for ever"]
    client.update_cluster("c")
    assert len([e for e in client.events("c")[0] if e.kind == "cluster.updated"]) == 2
    for wrong in ({"name": " "}, {"name": "a\nb"}, {"name": "x" * 129}, {"linger": -1.0}):
        with pytest.raises(Refused) as caught:
            client.update_cluster("c", **wrong)  # type: ignore[arg-type]
        assert caught.value.status == 400
    with pytest.raises(Refused) as caught:
        client.update_cluster("d", name="x")
    assert caught.value.status == 404


def test_43_a_cluster_without_a_file_is_whole_and_its_name_is_not_its_file(
    client: RegistryClient,
) -> None:
    """Defect 43: no status was an error, and the alias was the description."""
    client.update_cluster("c", name="people's name")
    assert client.cluster_status("c").components == []
    assert client.config_versions("c") == []
    client.set_cluster("c", SEED)
    (found,) = client.cluster_list()
    assert (found.key, found.name, found.config_version) == ("c", "people's name", 1)
