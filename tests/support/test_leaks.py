"""The checks that every test is under, tried on tests that are planted to break them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLANTED = """
import os, socket, subprocess, sys, threading
import pytest

kept = []

def test_thread():
    thread = threading.Thread(target=threading.Event().wait, name="palm-lost", daemon=True)
    thread.start()

def test_socket():
    kept.append(socket.socket())

def test_file_of_palm(palm_home):
    kept.append(os.open(palm_home / "lock", os.O_CREAT | os.O_RDWR))

def test_child():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

def test_orphan():
    start = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", start], check=True)

@pytest.mark.no_leak_check("threads")
def test_marked():
    threading.Thread(target=threading.Event().wait, daemon=True).start()

def test_clean(palm_home):
    assert os.environ["PALM_RUN_DIR"] == str(palm_home / "run")
    assert "PALM_MASTER" not in os.environ

def test_late():
    reader, writer = socket.socketpair()
    def close():
        reader.close()
        writer.close()
    threading.Timer(0.2, close).start()

@pytest.mark.parametrize("what", ["one", "two"])
@pytest.mark.skip(reason="it is planted")
def test_skipped(what):
    pass

@pytest.mark.needed
def test_needs():
    pass
"""

CONFTEST = """
from tests.support import leaks, requirements
requirements.REQUIREMENTS["needed"] = lambda: "the moon is not full"
found = leaks.LeakCheck.found
leaks.LeakCheck.found = lambda self, kinds=leaks.KINDS: found(self, kinds, within=0.5)
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_planted.py").write_text(PLANTED)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    needed: x\n    no_leak_check: x\n")
    return folder


def run(folder: Path, *options: str, **environment: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-ra", *options]
    env = {name: value for name, value in os.environ.items() if name != "CI"}
    env |= {"PYTHONPATH": str(ROOT), "PALM_MASTER": "of the shell", **environment}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False
    )
    return done.stdout.splitlines()


def test_each_leak_fails_the_test_that_made_it(planted: Path) -> None:
    lines = run(planted)
    failed = [line.split("::")[1] for line in lines if line.startswith("ERROR")]
    assert failed == [
        "test_thread - Failed: the test left behind:",
        "test_socket - Failed: the test left behind:",
        "test_file_of_palm - Failed: the test left behind:",
        "test_child - Failed: the test left behind:",
        "test_orphan - Failed: the test left behind:",
    ]
    assert "  thread 'palm-lost' (daemon)" in lines
    assert any(line.startswith("  process") and line.endswith(": sleep 60") for line in lines)


@pytest.mark.parametrize("shared", [(), ("--numprocesses=2", "--dist=loadfile")])
def test_run_ends_with_what_was_not_run(planted: Path, shared: tuple[str, ...]) -> None:
    assert run(planted, "-k", "skipped or needs or clean", *shared)[-3:] == [
        "not run here: test_planted.py::test_skipped (x2) because it is planted",
        "not run here: test_planted.py::test_needs        because the moon is not full",
        "not run here: 7 tests                            because they were deselected",
    ]


def test_run_says_that_nothing_was_left_out(planted: Path) -> None:
    assert run(planted, "test_planted.py::test_clean")[-1] == (
        "not run here: nothing, every test was run"
    )


def test_skip_for_a_missing_requirement_is_a_failure_in_ci(planted: Path) -> None:
    lines = run(planted, "-k", "needs", CI="true")
    assert any(
        line.startswith("ERROR test_planted.py::test_needs - Failed: in CI") for line in lines
    )
