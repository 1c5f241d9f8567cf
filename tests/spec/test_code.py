"""Code of components: which files are whose, what is no path, and what has changed."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.spec.cluster import check_cluster, component_flaws
from palm.spec.code import code_flaws, file_changes, identity_of, relocated
from palm.spec.component import Code, CodeFile, ComponentSpec
from palm.spec.diff import compare

ONE, TWO = (CodeFile(sha256=digit * 64, size=3) for digit in "12")


def code(**files: CodeFile) -> Code:
    named = {path.replace("__", "/") + ".py": file for path, file in files.items()}
    return Code(folder="/home/me/project", files=named)


def spec(**fields: object) -> ComponentSpec:
    script = "/home/me/project/worker.py"
    return ComponentSpec(name="foo", **{"script": script, "cwd": "/home/me/project", **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "a/", "a\0b", "C:\\x",
     "a\\..\\b", "x" * 2000],
)  # fmt: skip
def test_44_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    bad = Code(folder="/home/me", files={path: ONE})
    assert list(code_flaws(bad))
    assert "code" in [field for field, _, _ in component_flaws(spec(code=bad), ["foo"])]


@given(st.lists(st.sampled_from(["..", ".", "a", "b", "", "c\\d", "/"]), max_size=6))
def test_44_what_is_accepted_stays_below_the_folder_of_the_node(parts: list[str]) -> None:
    path = "/".join(parts)
    if not list(code_flaws(Code(folder="/x", files={path: ONE}))):
        inside = posixpath.normpath(posixpath.join("/node/code", path))
        assert inside.startswith("/node/code/")
        assert inside == f"/node/code/{path}"


def test_a_file_cannot_be_a_folder_too() -> None:
    both = Code(folder="/x", files={"a": ONE, "a/b": TWO})
    assert ["both a file and a folder" in text for _, text, _ in code_flaws(both)] == [True]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (CodeFile(sha256="x" * 64, size=1), "no SHA-256"),
        (CodeFile(sha256="1" * 64, size=2**30), "bytes"),
        (CodeFile(sha256="1" * 64, size=-1), "bytes"),
    ],
)
def test_what_cannot_be_a_file_is_refused(file: CodeFile, said: str) -> None:
    assert said in next(code_flaws(Code(folder="/x", files={"a": file})))[1]


def test_changed_content_is_a_change_and_another_place_is_none() -> None:
    old, new = spec(code=code(worker=ONE, lib__a=ONE)), spec(code=code(worker=TWO, lib__b=ONE))
    diff = compare({"foo": old}, {"foo": new})
    assert str(diff) == (
        "~ foo: restarted\n    lib/a.py removed\n    lib/b.py added\n    worker.py changed"
    )
    elsewhere = spec(code=code(worker=ONE, lib__a=ONE))
    elsewhere.code.place = "another machine"  # type: ignore[union-attr]
    assert not compare({"foo": old}, {"foo": elsewhere})


def test_what_makes_code_the_same_is_in_its_files_alone() -> None:
    one, two = code(a=ONE, b=TWO), code(b=TWO, a=ONE)
    two.folder = "/elsewhere"
    assert identity_of(one) == identity_of(two)
    assert identity_of(one) != identity_of(code(a=TWO, b=ONE))
    assert [change.what for change in file_changes(None, one)] == ["added", "added"]


def test_a_component_that_is_laid_down_runs_from_there() -> None:
    files = code(worker=ONE, lib__a=ONE)
    laid = relocated(
        spec(code=files, args=["--file", "/home/me/project/lib/a.py", "worker.py", "/etc/hosts"]),
        "/node/code/x", "/usr/bin/python3",
    )  # fmt: skip
    assert (laid.script, laid.cwd) == ("/node/code/x/worker.py", "/node/code/x")
    assert laid.args == ["--file", "/node/code/x/lib/a.py", "worker.py", "/etc/hosts"]
    target = spec(code=files, script="", argv=["/home/me/venv/bin/python", "-m", "palm", "worker",
                                               "/home/me/project/worker.py:Fast"])  # fmt: skip
    assert relocated(target, "/n", "/usr/bin/python3").argv == [
        "/usr/bin/python3", "-m", "palm", "worker", "/n/worker.py:Fast",
    ]  # fmt: skip
    assert relocated(spec(code=files, cwd="/home/me/project/lib"), "/n", "p").cwd == "/n/lib"
    assert relocated(spec(code=files, cwd="/var/data"), "/n", "p").cwd == "/n"


@pytest.mark.parametrize("pattern", ["/etc/*", "../x", "lib/../../x", ""])
def test_files_are_below_the_folder_of_the_cluster_file(pattern: str) -> None:
    text = f'[components.a]\nscript = "a.py"\nfiles = ["lib", "{pattern}"]\n'
    _, errors = check_cluster(text)
    assert [(error.line, error.key) for error in errors] == [(3, "components.a.files")]
