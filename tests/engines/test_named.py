"""An executor that a function of the user's makes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from palm.cli import main
from palm.engines.named import maker_of
from palm.errors import ConfigError
from tests.support.cluster import ROOT, ThreadCluster, until


def test_the_function_is_found() -> None:
    assert maker_of("concurrent.futures:ThreadPoolExecutor").__name__ == "ThreadPoolExecutor"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pools", "MODULE:FUNCTION"),
        ("no_such_module:make", "no_such_module"),
        ("concurrent.futures:ThreadPoolExecuter", "did you mean concurrent.futures:ThreadPool"),
    ],
)
def test_what_is_not_there_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        maker_of(text)


@pytest.mark.slow
def test_a_shell_starts_a_worker_with_a_pool_and_a_signal_ends_both(
    cluster: ThreadCluster, tmp_path: Path
) -> None:
    (tmp_path / "pools.py").write_text(
        "from concurrent.futures import ProcessPoolExecutor\n"
        "def make():\n    return ProcessPoolExecutor(2)\n"
    )
    (tmp_path / "functions.py").write_text("def double(value):\n    return 2 * value\n")
    cluster.master()
    command = ["worker", "functions.py", "--master", "foo", "--executor", "pools:make"]
    process = subprocess.Popen(
        [sys.executable, "-m", "palm", *command, "--slots", "3"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    try:
        client = cluster.client()
        assert client.wait_for_workers(3, timeout=30.0) == 3
        assert sorted(client.job("double", range(100))) == list(range(0, 200, 2))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_worker_class_is_refused_before_anything_is_made(
    palm_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "own.py"
    target.write_text(
        "from palm.servers import Worker\n"
        "class Own(Worker):\n    def double(self, value):\n        return 2 * value\n"
    )
    executor = "concurrent.futures:ThreadPoolExecutor"
    assert main(["worker", str(target), "--master", "foo", "--executor", executor]) == 1
    assert "methods stay in this process" in capsys.readouterr().err


ENDLESS = """
import pathlib, time
from concurrent.futures import ThreadPoolExecutor

def note_and_sleep(path):
    pathlib.Path(path).touch()
    time.sleep(60)

def make():
    return ThreadPoolExecutor(1)

def make_silent():
    return ThreadPoolExecutor(1, initializer=note_and_sleep, initargs=["begun"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("maker", "what"), [("make", "a function"), ("make_silent", "the executor")]
)
def test_what_goes_on_in_a_thread_does_not_keep_a_worker_that_was_told_to_end(
    cluster: ThreadCluster, tmp_path: Path, maker: str, what: str
) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    cluster.master()
    command = ["worker", "endless.py", "--master", "foo", "--executor", f"endless:{maker}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "palm", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    cluster.client().job("note_and_sleep", [str(tmp_path / "begun")], detach=True)
    until((tmp_path / "begun").exists, within=30.0)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)  # whoever asks twice gives no grace
    said, _ = process.communicate(timeout=10)
    assert process.returncode == 1
    assert f"{what} did not end in time" in said
