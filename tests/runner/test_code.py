"""Code on a node: used in place where it is the same, else fetched, checked and laid down."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from palm.clusters.code import code_of, code_of_target
from palm.clusters.declaration import Declaration
from palm.clusters.source import CellSource
from palm.errors import ConfigError, RegistryError
from palm.registry_api.client import Refused
from palm.registry_api.schema import ErrorDetail
from palm.runner.code import CodeFolders
from palm.runtime.folders import Folders
from palm.spec.component import Code, CodeFile, ComponentSpec


class Shelf:
    """What a registry would give; ``asked`` is how often."""

    def __init__(self, project: Path) -> None:
        files = [path for path in project.rglob("*") if path.is_file()]
        self.contents = {sha256(p.read_bytes()).hexdigest(): p.read_bytes() for p in files}
        self.asked = 0

    def __call__(self, digest: str) -> bytes:
        self.asked += 1
        return self.contents[digest]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "lib").mkdir(parents=True)
    (folder / "worker.py").write_text("import lib.a\n")
    (folder / "lib" / "a.py").write_text("x = 1\n")
    return folder


def spec_of(project: Path, **fields: bool) -> ComponentSpec:
    paths = sorted(path for path in project.rglob("*") if path.is_file())
    code = code_of(paths, str(project), "foo")
    script, cwd = str(project / "worker.py"), str(project)
    return ComponentSpec(name="foo", script=script, cwd=cwd, code=code, **fields)


def test_on_the_machine_that_has_the_files_nothing_is_copied(
    project: Path, palm_home: Path
) -> None:
    spec, shelf = spec_of(project), Shelf(project)
    folders = CodeFolders(palm_home / "code", shelf)
    assert folders.prepare(spec) == spec
    (project / "worker.py").write_text("being edited")
    assert folders.prepare(spec) == spec
    assert shelf.asked == 0
    assert not (palm_home / "code").exists()


def test_a_shared_file_system_is_known_by_its_content(project: Path, palm_home: Path) -> None:
    spec, shelf = spec_of(project), Shelf(project)
    assert spec.code is not None
    spec.code.place = "of another machine"
    folders = CodeFolders(palm_home / "code", shelf)
    assert folders.prepare(spec) == spec
    (project / "lib" / "a.py").write_text("x = 2\n")
    laid = folders.prepare(spec)
    assert laid.script != spec.script
    assert Path(laid.cwd, "lib", "a.py").read_text() == "x = 1\n"


def test_what_is_asked_for_as_a_copy_is_laid_down_once_and_read_only(
    project: Path, palm_home: Path
) -> None:
    spec, shelf = spec_of(project, copy=True), Shelf(project)
    folders = CodeFolders(palm_home / "code", shelf)
    laid = folders.prepare(spec)
    assert folders.prepare(spec) == laid == folders.find(spec)
    assert shelf.asked == 2
    assert Path(laid.script).read_text() == "import lib.a\n"
    for path in (Path(laid.cwd), *Path(laid.cwd).rglob("*")):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o277, path
    assert [p.name for p in (palm_home / "code").iterdir()] == [Path(laid.cwd).name]


def test_what_was_changed_on_the_node_is_laid_down_again(project: Path, palm_home: Path) -> None:
    spec, shelf = spec_of(project, copy=True), Shelf(project)
    folders = CodeFolders(palm_home / "code", shelf)
    script = Path(folders.prepare(spec).script)
    script.chmod(0o600)
    script.write_text("import os\n")
    assert Path(folders.prepare(spec).script).read_text() == "import lib.a\n"


def test_44_another_content_than_was_asked_for_is_never_laid_down(
    project: Path, palm_home: Path
) -> None:
    spec = spec_of(project, copy=True)
    folders = CodeFolders(palm_home / "code", lambda _: b"evil")
    with pytest.raises(ConfigError, match="another content"):
        folders.prepare(spec)
    assert not list((palm_home / "code").iterdir())


def test_44_a_registry_cannot_have_files_written_elsewhere(palm_home: Path) -> None:
    data = b"evil"
    for path in ("../evil", "/tmp/evil"):
        code = Code(
            folder="/nowhere", files={path: CodeFile(sha256=sha256(data).hexdigest(), size=4)}
        )
        folders = CodeFolders(palm_home / "code", lambda _: data)
        with pytest.raises(ConfigError, match="not below"):
            folders.prepare(ComponentSpec(name="foo", script="/nowhere/x.py", code=code))
    assert not (palm_home / "evil").exists()


def test_a_registry_that_is_away_is_asked_again_and_one_without_it_is_not(
    project: Path, palm_home: Path
) -> None:
    def away(_: str) -> bytes:
        raise RegistryError("nobody answers")

    def gone(_: str) -> bytes:
        raise Refused(404, ErrorDetail(code="no-code", text="it has no such code"))

    spec = spec_of(project, copy=True)
    with pytest.raises(OSError, match="nobody answers"):
        CodeFolders(palm_home / "code", away).prepare(spec)
    with pytest.raises(ConfigError, match="no such code"):
        CodeFolders(palm_home / "code", gone).prepare(spec)


def test_what_nothing_runs_any_more_is_removed(project: Path, palm_home: Path) -> None:
    folders = CodeFolders(palm_home / "code", Shelf(project))
    spec = spec_of(project, copy=True)
    laid = folders.prepare(spec)
    folders.keep([], [laid.script])
    assert os.path.exists(laid.script)
    folders.keep([spec.code] if spec.code else [])
    assert os.path.exists(laid.script)
    folders.keep()
    assert not list((palm_home / "code").iterdir())


def test_a_cell_travels_and_what_is_pushed_does_not(palm_home: Path) -> None:
    folders = Folders.find()
    cell = CellSource("def double(x):\n    return factor * x\n", "<cell>", b"pickled")
    declared = Declaration("worker", "w", cell, node="far")
    spec = declared.spec(folders, "somebody", {})
    spec.code = code_of_target(declared, spec, folders.cells)
    assert spec.code is not None
    assert [Path(path).suffix for path in spec.code.files] == [".py"]
    shelf = Shelf(folders.cells)
    for path in folders.cells.iterdir():
        path.unlink()
    spec.code.place = "of another machine"
    laid = CodeFolders(palm_home / "code", shelf).prepare(spec)
    source = Path(laid.argv[4])
    assert source.is_relative_to(palm_home / "code")
    assert source.read_text() == cell.source
    assert laid.cwd == str(source.parent)
