"""A virtual environment for each peer, made when it is first needed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.processes import ROOT, BrokenError

__all__ = ["PEERS", "environment", "version"]

#: What is installed for a peer, in the versions of `CONSTRAINTS`.
PEERS = {"Dask": "distributed", "ipyparallel": "ipyparallel", "Ray": "ray"}

CONSTRAINTS = Path(__file__).with_name("constraints.txt")

#: They stay there from one run to the next.
FOLDER = ROOT / "build" / "bench"

#: Seconds in which an environment must be there.
INSTALLED_WITHIN = 300.0


def environment(peer: str, within: float = INSTALLED_WITHIN) -> str:
    """Return the interpreter that a peer is installed for; make the environment if need be.

    pip uses the index that it is configured for. A `BrokenError` says why there is none.
    """
    folder = FOLDER / peer.lower()
    python = folder / "bin" / "python"
    stamp = folder / "palm-bench.txt"
    if not (stamp.exists() and stamp.read_text() == _stamp(peer) and python.exists()):
        shutil.rmtree(folder, ignore_errors=True)
        until = time.monotonic() + within
        _run([sys.executable, "-m", "venv", str(folder)], until)
        options = ["--quiet", "--no-input", "--constraint", str(CONSTRAINTS)]
        _run([str(python), "-m", "pip", "install", *options, PEERS[peer]], until)
        stamp.write_text(_stamp(peer))
    return str(python)


def version(peer: str) -> str:
    """Return which version is installed for a peer."""
    source = f"import importlib.metadata as m, json; print(json.dumps(m.version({PEERS[peer]!r})))"
    return str(json.loads(_run([environment(peer), "-c", source], time.monotonic() + 30)))


def _stamp(peer: str) -> str:
    """Say what an environment is made from, and where: it cannot be moved."""
    made_from = f"{FOLDER}\n{sys.version}\n{PEERS[peer]}\n{CONSTRAINTS.read_text()}"
    return hashlib.sha256(made_from.encode()).hexdigest()


def _run(command: list[str], until: float) -> str:
    """Run a command and return its output; end it, with what it started, when its time is over."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    what = " ".join(command[1:4])
    try:
        output, _ = process.communicate(timeout=max(until - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise BrokenError(f"`python {what}` took too long") from None
    except BaseException:  # an interrupt: leave nothing running
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    if process.returncode:
        raise BrokenError(f"`python {what}` failed: {_reason(output)}")
    return output


def _reason(output: str) -> str:
    """Return the first line that tells of an error, or else the last one."""
    lines = output.strip().splitlines() or ["it says nothing"]
    return next((line for line in lines if line.startswith("ERROR")), lines[-1])
