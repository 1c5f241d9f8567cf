"""Whether another process would load the modules that this one has."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from palm.runner.loaded import Loaded, search_path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, with a module that was loaded from it."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "palm_probe.py").write_text("")
    monkeypatch.syspath_prepend(str(folder))
    importlib.import_module("palm_probe")
    yield folder
    del sys.modules["palm_probe"]


def test_places_count_once_and_are_absolute() -> None:
    base = ["/lib/python.zip", "/lib/python", "/lib/site-packages"]
    assert search_path("/project", "", base) == ["/project", *base]
    found = search_path("/project", "/a:b::/lib/site-packages:/a", base)
    assert found == ["/project", "/a", "/project/b", "/project", "/lib/site-packages", *base[:2]]


def test_process_with_the_same_path_loads_the_same(home: Path) -> None:
    assert Loaded().hidden([str(home), *sys.path]) == ""


def test_folder_that_comes_first_hides(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    loaded = Loaded()
    assert loaded.hidden([str(other), *sys.path]) == ""
    for name in ("palm_probe.py", "palm_probe.pyc", "palm_probe.abi3.so", "palm_probe/__init__.py"):
        (other / name).parent.mkdir(exist_ok=True)
        (other / name).write_text("")
        assert loaded.hidden([str(other), *sys.path]) == str(other / "palm_probe"), name
        assert loaded.hidden([*sys.path, str(other)]) == ""
        (other / name).unlink()
    # The folder is left, and so is a text of that name: neither is a module.
    (other / "palm_probe.txt").write_text("")
    assert loaded.hidden([str(other), *sys.path]) == ""


@pytest.mark.parametrize("name", ["palm_lone.py", "palm_lone/__init__.py"])
def test_home_of_a_module_is_where_it_was_found_even_if_it_says_that_it_is_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As six does: a file with a ``__path__``, for the modules that it makes up."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("__path__ = []\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "palm_lone", raising=False)
    module = importlib.import_module("palm_lone")
    monkeypatch.setitem(sys.modules, "palm_lone", module)
    assert Loaded().hidden(sys.path) == ""
    assert Loaded().hidden(sys.path[1:]) == "palm_lone"


def test_module_that_is_not_found_any_more_is_named(home: Path) -> None:
    places = [place for place in sys.path if place != str(home)]
    assert Loaded().hidden(places) == "palm_probe"


def test_module_that_came_by_a_hook_is_not_looked_for_and_can_be_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("palm_hooked")
    module.__spec__ = ModuleSpec("palm_hooked", None, origin="/elsewhere/palm_hooked.py")
    module.__spec__.has_location = True
    monkeypatch.setitem(sys.modules, "palm_hooked", module)
    loaded = Loaded()
    assert loaded.hidden(sys.path) == ""
    (tmp_path / "palm_hooked.py").write_text("")
    assert loaded.hidden([str(tmp_path), *sys.path]) == str(tmp_path / "palm_hooked")


def test_archive_on_the_path_is_named(tmp_path: Path) -> None:
    archive = tmp_path / "some.zip"
    archive.write_bytes(b"")
    assert Loaded().hidden([str(archive), *sys.path]) == str(archive)


def test_change_of_a_loaded_file_is_seen(home: Path) -> None:
    loaded = Loaded()
    assert loaded.changed() == ""
    (home / "palm_probe.py").write_text("x = 1\n")
    assert loaded.changed() == str(home / "palm_probe.py")
    (home / "palm_probe.py").unlink()
    assert loaded.changed() == str(home / "palm_probe.py")
