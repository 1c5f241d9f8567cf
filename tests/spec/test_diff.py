from __future__ import annotations

import pytest
from msgspec.structs import replace

from palm.spec.cluster import parse_cluster
from palm.spec.component import ComponentSpec
from palm.spec.diff import FieldChange, change_of, compare, removal_of, unified

OLD = """\
[components.foo]
role = "master"
script = "master.py"
[components.w]
role = "worker"
script = "worker.py"
replicas = 2
needs = ["foo"]
env = { A = "1", B = "2" }
"""


def spec(name: str = "w", **values: object) -> ComponentSpec:
    given = {"role": "worker", "script": "w.py", "replicas": 2, "generation": 7, **values}
    return ComponentSpec(name=name, **given)  # type: ignore[arg-type]


def changed(**values: object) -> ComponentSpec:
    return replace(spec(**values), generation=0)


@pytest.mark.parametrize(
    ("values", "effect", "text", "replaces"),
    [
        ({"replicas": 4}, "scaled", "scaled 2 -> 4", False),
        ({"replicas": 0}, "stopped", "stopped: 2 -> 0 replicas", False),
        ({"args": ["x"]}, "restarted", "restarted", True),
        ({"args": ["x"], "replicas": 3}, "restarted", "restarted, 2 -> 3 replicas", True),
        ({"needs": ["a", "b"]}, "restarted", "restarted, once a, b are ready", True),
        ({"args": ["x"], "replicas": 0}, "stopped", "stopped: 2 -> 0 replicas", True),
        ({"owner": "notebook"}, "none", "nothing restarts", False),
    ],
)
def test_a_change_says_what_it_does_to_what_runs(
    values: dict[str, object], effect: str, text: str, replaces: bool
) -> None:
    found = change_of(spec(), changed(**values))
    assert found is not None
    assert (found.effect, found.text, found.replaces) == (effect, text, replaces)
    assert {each.field for each in found.fields} == set(values)


def test_what_was_stopped_is_started_and_what_is_the_same_is_no_change() -> None:
    assert change_of(spec(), changed()) is None
    found = change_of(spec(), changed(), running=False)
    assert found is not None
    assert (found.effect, found.text) == ("started", "started, 2 replicas")
    assert (found.replaces, found.fields) == (False, [])
    found = change_of(spec(), changed(args=["x"]), running=False)
    assert found is not None
    assert (found.effect, found.replaces) == ("started", True)
    new = change_of(None, changed(needs=["foo"]))
    assert new is not None
    assert new.text == "started, 2 replicas, once foo is ready"
    none = change_of(None, changed(replicas=0))
    assert none is not None
    assert (none.effect, none.text) == ("none", "nothing is started")
    assert removal_of(spec(), running=False).effect == "none"
    assert removal_of(spec()).effect == "stopped"


def test_two_files_differ_field_by_field() -> None:
    new = OLD.replace('A = "1"', 'A = "3", C = "4"').replace("foo", "bar")
    new += '[components.web]\ncommand = ["x"]\n'
    before, after = (parse_cluster(text).components for text in (OLD, new))
    diff = compare(before, after)
    assert [each.name for each in diff.added] == ["bar", "web"]
    assert [each.name for each in diff.removed] == ["foo"]
    (w,) = diff.changed
    assert w.fields == [
        FieldChange(field="env.A", old="1", new="3"),
        FieldChange(field="env.C", old=None, new="4"),
        FieldChange(field="needs", old=["foo"], new=["bar"]),
    ]
    assert str(diff).splitlines() == [
        "+ bar: started",
        "+ web: started",
        "~ w: restarted, once bar is ready",
        '    env.A: "1" -> "3"',
        '    env.C: none -> "4"',
        '    needs: ["foo"] -> ["bar"]',
        "- foo: stopped and forgotten",
    ]
    assert diff.effects == {
        "bar": "started", "web": "started", "w": "restarted", "foo": "stopped",
    }  # fmt: skip
    same = compare(before, before)
    assert (bool(same), str(same), same.unchanged) == (False, "nothing changes", ["foo", "w"])


def test_a_link_changes_who_is_linked_too() -> None:
    text = (
        '[components.a]\nrole = "server"\nscript = "a.py"\n'
        '[components.b]\nrole = "sink"\nscript = "b.py"\nprevious = "a"\n'
        '[components.c]\nrole = "sink"\nscript = "b.py"\n'
    )
    linked = text + 'previous = "a"\n'
    diff = compare(parse_cluster(text).components, parse_cluster(linked).components)
    assert diff.effects == {"a": "restarted", "c": "restarted"}
    assert diff.unchanged == ["b"]


def test_what_a_notebook_declared_stays_and_its_environment_is_not_shown() -> None:
    mine = spec("mine", owner="notebook", env={"TOKEN": "secret", "A": "1"})
    assert not compare({"mine": mine}, {})
    (change,) = compare({"mine": mine}, {"mine": changed(name="mine", env={"A": "2"})}).changed
    fields = {each.field: (each.old, each.new) for each in change.fields}
    assert fields == {
        "env.A": ("(not shown)", "2"), "env.TOKEN": ("(not shown)", None),
        "owner": ("notebook", ""),
    }  # fmt: skip
    assert "secret" not in str(change)


def test_texts_are_compared_as_diff_does() -> None:
    assert unified(OLD, OLD, ("a", "b")) == ""
    assert unified("a\nb\n", "a\nc\n", ("old", "new")) == (
        "--- old\n+++ new\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    )
    assert unified("", "a\n", ("old", "new")) == "--- old\n+++ new\n@@ -0,0 +1 @@\n+a\n"
    assert "too many lines" in unified("x\n" * 30_000, "", ("old", "new"))
