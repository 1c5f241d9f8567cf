"""The examples run as their pages say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cluster import ROOT, until

pytestmark = pytest.mark.slow

Start = Callable[..., Path]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def start(palm_home: Path, tmp_path: Path) -> Iterator[Start]:
    """Start Python with arguments in the background, and return where its output goes."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*args: str | Path) -> Path:
        out = tmp_path / f"{len(running)}.out"
        with out.open("wb") as file:
            running.append(
                subprocess.Popen([sys.executable, *map(str, args)], stdout=file, **_how(tmp_path))  # type: ignore[call-overload]
            )
        return out

    yield start
    for process in reversed(running):
        process.terminate()
        process.wait(20)


def _how(folder: Path) -> dict[str, object]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return {"cwd": folder, "env": env, "stdin": subprocess.DEVNULL}


def end_of(folder: Path, *args: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        capture_output=True, text=True, timeout=60, check=False, **_how(folder),  # type: ignore[call-overload]
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_a_function_behind_a_gateway(start: Start, tmp_path: Path) -> None:
    here = EXAMPLES / "gateway"
    start(here / "master.py")
    start(here / "worker.py")
    said = start("-m", "palm", "gateway", "--server", "words", "--json")
    until(lambda: said.read_text().endswith("\n"), within=20)
    assert end_of(tmp_path, here / "client.py", said).splitlines()[1:] == [
        "shout: b'THE CAT'",
        "cuont: (404, 'FunctionNotFound')",
    ]


def test_a_worker_behind_http(start: Start, tmp_path: Path) -> None:
    here = EXAMPLES / "http"
    said = start(here / "web_worker.py", "--port", "0")
    until(lambda: said.read_text().endswith("\n"), within=20)
    url = said.read_text().strip()
    start("-m", "palm", "worker", "--http", url, "--master", "primes", "--token-file", "web.token")
    start(here / "master.py")
    assert "\n1229 primes below 10,000" in end_of(tmp_path, here / "client.py")
