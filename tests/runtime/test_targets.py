from __future__ import annotations

import linecache
import pickle
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from palm.errors import ConfigError
from palm.runtime.targets import Target, load_target


class Worker:
    """Stands for the base of all workers."""


PREFIX = "from tests.runtime.test_targets import Worker\n"


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    # A test module may be loaded under another name than the one that targets import.
    monkeypatch.setitem(sys.modules, "tests.runtime.test_targets", sys.modules[__name__])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("palm_target_", "mine")):
            del sys.modules[name]


def write(name: str, source: str) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    return name


def load(target: str, **options: Any) -> Any:
    return load_target(target, Worker, **options)


@pytest.mark.parametrize(
    ("text", "place", "attribute", "is_file"),
    [
        ("module", "module", "", False),
        ("pkg.module:Class", "pkg.module", "Class", False),
        ("file.py", "file.py", "", True),
        ("a/file.py:Class", "a/file.py", "Class", True),
        ("/abs:olute/file.py", "/abs:olute/file.py", "", True),
        ("./file", "./file", "", True),
    ],
)
def test_forms_of_a_target(text: str, place: str, attribute: str, is_file: bool) -> None:
    target = Target.parse(text)
    assert (target.place, target.attribute, target.is_file) == (place, attribute, is_file)


@pytest.mark.parametrize("text", ["", "a b", "a..b", ":Class", "module:", "1st", "module:1"])
def test_what_is_no_target_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ConfigError, match=r"MODULE, MODULE:Class, FILE\.py"):
        load(text)


def test_public_functions_of_a_file_are_served() -> None:
    write(
        "mine.py",
        "from os.path import join\n"
        "import functools, os\n"
        "from dataclasses import dataclass\n"
        "CONSTANT = 1\n"
        "@dataclass\nclass Thing: pass\n"
        "def one(x): return x + 1\n"
        "def _hidden(x): pass\n"
        "@functools.cache\ndef cached(x): return x\n"
        "two = lambda x: x + 2\n"
        "part = functools.partial(one, 1)\n",
    )
    functions = load("mine.py")
    assert sorted(functions) == ["cached", "one", "two"]
    assert functions["one"](1) == 2


def test_functions_of_a_module_in_the_current_folder_are_served() -> None:
    write("mine_pkg/__init__.py", "")
    write("mine_pkg/work.py", "def go(x): return x\n")
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(Path.cwd()))]
    assert sorted(load("mine_pkg.work")) == ["go"]


def test_worker_class_wins_over_functions() -> None:
    write("mine.py", PREFIX + "class Mine(Worker):\n    pass\nAlias = Mine\ndef f(x): pass\n")
    assert load("mine.py").__name__ == "Mine"


def test_imported_worker_classes_do_not_count() -> None:
    write("mine_base.py", PREFIX + "class Base(Worker):\n    pass\n")
    write("mine.py", "from mine_base import Base\nclass Mine(Base):\n    pass\n")
    assert load("mine.py").__name__ == "Mine"
    assert load("mine.py:Base").__name__ == "Base"


def test_several_worker_classes_need_a_choice() -> None:
    write("mine.py", PREFIX + "class One(Worker): pass\nclass Two(Worker): pass\n")
    with pytest.raises(ConfigError, match=r"mine\.py defines several Worker classes.*One, Two"):
        load("mine.py")
    assert load("mine.py:Two").__name__ == "Two"


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ("Twoo", r"mine\.py has no class 'Twoo' \(did you mean Two\?\)"),
        ("Nothing", r"no class 'Nothing' \(it has One, Two\)"),
        ("helper", r"helper is not a Worker class"),
        ("Other", r"Other is not a Worker class \(derive it from palm\.servers\.Worker\)"),
    ],
)
def test_wrong_class_is_refused_with_what_there_is(attribute: str, text: str) -> None:
    write(
        "mine.py",
        PREFIX + "class One(Worker): pass\nclass Two(Worker): pass\nclass Other: pass\n"
        "def helper(x): pass\n",
    )
    with pytest.raises(ConfigError, match=text):
        load(f"mine.py:{attribute}")


def test_nothing_to_serve_is_an_error_that_says_so() -> None:
    write("mine.py", "from os.path import join\ndef _f(x): pass\n")
    with pytest.raises(ConfigError, match=r"mine\.py has nothing to serve \(define a function"):
        load("mine.py")
    with pytest.raises(ConfigError, match="<palm_worker foo> has nothing to serve"):
        load("mine.py", source_name="<palm_worker foo>")


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("mine_wroker.py", r"there is no file mine_wroker\.py \(did you mean mine_worker\.py\?\)"),
        ("absent/x.py", r"there is no file absent/x\.py \(the current folder is "),
        ("mine_wroker", r"there is no module 'mine_wroker' \(did you mean mine_worker\?\)"),
        ("mine_pkg.wrk", r"no module 'mine_pkg\.wrk' \(did you mean mine_pkg\.work\?\)"),
        ("absent_zzz.work", r"there is no module 'absent_zzz', so no 'absent_zzz\.work'"),
    ],
)
def test_missing_target_is_one_sentence_with_the_nearest(target: str, text: str) -> None:
    write("mine_worker.py", "def f(x): pass\n")
    write("mine_pkg/__init__.py", "")
    write("mine_pkg/work.py", "")
    with pytest.raises(ConfigError, match=text):
        load(target)


def test_folder_and_binary_file_are_refused() -> None:
    Path("mine.py").mkdir()
    with pytest.raises(ConfigError, match=r"cannot read mine\.py"):
        load("mine.py")
    Path("binary.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not Python source text"):
        load("binary.py")


def test_import_that_a_module_misses_is_not_taken_for_the_module() -> None:
    write("mine_broken.py", "import absent_library\n")
    with pytest.raises(ModuleNotFoundError, match="absent_library"):
        load("mine_broken")


def test_file_is_a_fresh_module_that_is_not_main() -> None:
    write("mine-job.py", "def name(x): return __name__\nif __name__ == '__main__': 1 / 0\n")
    assert load("mine-job.py")["name"](0) == "palm_target_mine_job"
    assert load("mine-job.py")["name"].__globals__["__file__"].endswith("mine-job.py")


def test_instances_of_classes_of_a_file_can_be_pickled() -> None:
    write("mine.py", "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n"
          "def make(x): return P(x)\n")  # fmt: skip
    make = load("mine.py")["make"]
    assert pickle.loads(pickle.dumps(make(3))) == make(3)


def test_tracebacks_show_the_lines_of_a_cell_under_its_name() -> None:
    write("mine.py", "def fail(x):\n    return x / 0  # the line\n")
    fail = load("mine.py", source_name="<palm_worker foo>")["fail"]
    Path("mine.py").unlink()
    linecache.checkcache()
    with pytest.raises(ZeroDivisionError) as caught:
        fail(1)
    text = "".join(traceback.format_exception(caught.value))
    assert 'File "<palm_worker foo>", line 2, in fail' in text
    assert "return x / 0  # the line" in text


def test_neighbours_of_a_script_can_be_imported_but_not_those_of_a_cell() -> None:
    write("sub/mine_neighbour.py", "VALUE = 5\n")
    write("sub/mine.py", "import mine_neighbour\ndef f(x): return mine_neighbour.VALUE\n")
    with pytest.raises(ModuleNotFoundError):
        load("sub/mine.py", source_name="<palm_worker foo>")
    assert load("sub/mine.py")["f"](0) == 5


def test_pushed_values_are_there_before_the_code_runs(tmp_path: Path) -> None:
    scale = 3
    push = tmp_path / "push"
    push.write_bytes(cloudpickle.dumps({"scale": scale, "helper": lambda x: x * scale}))
    write("mine.py", "TOP = scale\ndef f(x): return helper(x) + TOP\n")
    functions = load("mine.py", push=push, source_name="<cell>")
    assert list(functions) == ["f"]
    assert functions["f"](2) == 9


def test_pushed_values_that_are_gone_are_named(tmp_path: Path) -> None:
    write("mine.py", "def f(x): pass\n")
    with pytest.raises(ConfigError, match="pushed values are gone"):
        load("mine.py", push=tmp_path / "absent")
