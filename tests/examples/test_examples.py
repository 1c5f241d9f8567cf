"""Each folder of examples/ runs as a user runs it: ``python -m examples NAME``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from examples.__main__ import load, names
from tests.support.cluster import ROOT

BOUND = 110.0  # seconds; far beyond what any of this takes
#: Of these some component needs another one that starts after it.
REVERSED = ["parallel", "pipeline", "sink", "stream_sink", "server_hub", "master_pipeline"]


def run_examples(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_example_runs(name: str) -> None:
    ended = run_examples(name, "--order", "random", "--timeout", "80")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout or name == "error"
    assert not ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", REVERSED)
def test_example_runs_when_its_client_starts_first(name: str) -> None:
    ended = run_examples(name, "--order", "reversed", "--timeout", "80")
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", names())
def test_example_says_what_it_shows_and_how_it_is_run(name: str) -> None:
    readme = (load(name).folder / "README.md").read_text("utf-8")
    assert readme.startswith("# ")
    assert f"python -m examples {name}" in readme


def test_list_has_a_line_for_each() -> None:
    lines = run_examples("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == names()
    assert all(len(line.split()) > 3 for line in lines)


def test_unknown_name_is_an_error_of_usage() -> None:
    ended = run_examples("single", "no-such")
    assert ended.returncode == 2
    assert "there is no example no-such" in ended.stderr


def test_failure_of_the_client_is_seen_and_nothing_is_left(tmp_path: Path) -> None:
    folder = _copy_of_single(tmp_path)
    (folder / "client.py").write_text("raise SystemExit('not what was expected')\n")
    ended = run_examples("single", cwd=tmp_path)
    assert ended.returncode == 1
    assert "client | not what was expected" in ended.stdout
    assert "single | the client ended with exit code 1" in ended.stdout


def test_component_that_ends_is_seen_at_once(tmp_path: Path) -> None:
    folder = _copy_of_single(tmp_path)
    (folder / "server.py").write_text("raise SystemExit(3)\n")
    ended = run_examples("single", cwd=tmp_path)
    assert ended.returncode == 1
    assert "server ended with exit code 3" in ended.stdout


def _copy_of_single(tmp_path: Path) -> Path:
    """Put the runner and one example elsewhere, with palm beside them."""
    folder = tmp_path / "examples" / "single"
    folder.mkdir(parents=True)
    (tmp_path / "palm").symlink_to(ROOT / "palm")
    for name in ("__init__.py", "__main__.py", "single/client.py", "single/README.md"):
        (tmp_path / "examples" / name).write_text((ROOT / "examples" / name).read_text())
    (folder / "server.py").write_text((ROOT / "examples/single/server.py").read_text())
    return folder
