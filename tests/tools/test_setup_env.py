"""What stands between a fresh machine and palm is said in a sentence, with its remedy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tools import setup_env


@pytest.fixture(autouse=True)
def _goal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALM_MAKE_GOAL", "test")


def made_venv(folder: Path) -> str:
    """Lay out what an environment looks like, around this interpreter."""
    (folder / "bin").mkdir()
    (folder / "pyvenv.cfg").touch()
    (folder / "bin" / "python").symlink_to(sys.executable)
    return str(folder)


def test_script_can_be_read_by_pythons_that_are_too_old() -> None:
    source = Path(setup_env.__file__).read_text("utf-8")
    ast.parse(source, feature_version=(3, 6))


def test_old_python_is_named_with_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_env.sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(setup_env, "is_new_enough", lambda python: python == "python3.13")
    with pytest.raises(setup_env.SetupError, match=r"needs Python 3\.11 or later") as caught:
        setup_env.check_python()
    assert str(caught.value).endswith("\n    make PYTHON=python3.13 test")


def test_old_python_alone_says_how_to_install_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_env.sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(setup_env, "is_new_enough", lambda python: False)
    with pytest.raises(setup_env.SetupError, match="apt-get install python3"):
        setup_env.check_python()


def test_missing_venv_module_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(setup_env.SetupError, match=r"apt-get install python3\.\d+-venv"):
        setup_env.check_venv_module()


def test_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(setup_env.SetupError, match="name another one"):
        setup_env.make_venv(str(tmp_path))
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("WARNING: Retrying (...) NewConnectionError(...)", "No package index can be reached"),
        ("ERROR: Could not find a version that satisfies x (from versions: none)", "No package"),
        ("ERROR: Cannot install palm and tornado<5", "pip could not install palm"),
    ],
)
def test_failure_of_pip_is_told_apart(tmp_path: Path, said: str, sentence: str) -> None:
    (tmp_path / "log").write_text(f"{said}\n")
    error = setup_env.install_error(str(tmp_path / "log"))
    assert str(error).startswith(sentence)
    assert str(error).endswith("make test")


@pytest.mark.parametrize(("installed", "wanted", "current"), [
    ("dev", "lab", True), ("dev", "dev", True), ("lab", "lab", True), ("lab", "dev", False),
])  # fmt: skip
def test_development_environment_serves_the_demo(
    tmp_path: Path, installed: str, wanted: str, current: bool
) -> None:
    (tmp_path / "palm-setup.txt").write_text(setup_env.stamp_of(installed))
    assert setup_env.is_current(str(tmp_path), wanted) is current


@pytest.mark.parametrize("stamp", [None, "", "of-old lab"])
def test_environment_that_says_otherwise_is_installed_again(
    tmp_path: Path, stamp: str | None
) -> None:
    if stamp is not None:
        (tmp_path / "palm-setup.txt").write_text(stamp)
    assert not setup_env.is_current(str(tmp_path), "lab")


def test_current_environment_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    venv = made_venv(tmp_path)
    monkeypatch.setattr(setup_env, "has_pip", lambda venv: True)
    monkeypatch.setattr(setup_env, "is_current", lambda venv, extra: True)
    monkeypatch.setattr(setup_env.sys, "argv", ["setup_env.py", venv, "dev"])
    assert setup_env.main() == 0
    assert capsys.readouterr().out == ""


def test_environment_whose_python_is_gone_is_made_again(tmp_path: Path) -> None:
    venv = made_venv(tmp_path)
    (tmp_path / "bin" / "python").unlink()
    (tmp_path / "bin" / "python").symlink_to(tmp_path / "gone")
    assert not setup_env.works(venv)


def test_unknown_command_is_said_by_make() -> None:
    done = subprocess.run(
        ["make", "test", "PYTHON=no-such-python"],
        cwd=setup_env.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith("There is no command no-such-python")
