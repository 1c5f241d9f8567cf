"""A shell in this process, and real kernels."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from jupyter_client.manager import KernelManager
from traitlets.config import Config

from tests.support.fixtures import cluster_name, shared_registry
from tests.support.local import end_clusters

__all__ = ["cluster_name", "shared_registry"]

ROOT = Path(__file__).parents[2]


@dataclass
class Result:
    """What a cell did: its value, what it printed and displayed, its error."""

    value: Any = None
    text: str = ""
    errors: str = ""
    bundles: list[dict[str, Any]] = field(default_factory=list)
    error: BaseException | None = None


class Shell:
    """IPython in this process."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell

    def run(self, source: str) -> Result:
        """Run a cell."""
        with capture_output() as captured:
            done = self.shell.run_cell(source)
        bundles = [output.data for output in captured.outputs]
        error = done.error_in_exec or done.error_before_exec
        return Result(done.result, captured.stdout, captured.stderr, bundles, error)

    def ok(self, source: str) -> Result:
        """Run a cell that must work."""
        result = self.run(source)
        assert result.error is None, result.text
        return result


@contextmanager
def ipython() -> Iterator[Shell]:
    """IPython without history; palm is unloaded when it ends."""
    InteractiveShell.clear_instance()
    config = Config({"HistoryManager": {"enabled": False}})
    instance = InteractiveShell.instance(config=config, colors="nocolor")
    yield Shell(instance)
    if "palm_jupyter" in instance.extension_manager.loaded:
        instance.run_line_magic("unload_ext", "palm_jupyter")
    instance.atexit_operations()
    atexit.unregister(instance.atexit_operations)
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(cluster_name: str) -> Iterator[Shell]:
    """IPython in a cluster of its own."""
    with ipython() as shell:
        yield shell


class Kernel:
    """A kernel in a process of its own, and what it answers."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        # A short absolute path: the sockets lie beside the connection file.
        self.manager = KernelManager(
            kernel_name="python3", transport="ipc", connection_file=str(folder / "k.json")
        )
        self.manager.start_kernel(env=environment, cwd=str(folder))
        self._connect()

    def _connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    @property
    def pid(self) -> int:
        """The kernel's process."""
        return int(self.manager.provisioner.pid)

    def start(self, source: str) -> str:
        """Begin to run a cell."""
        return str(self.client.execute(source))

    def finish(self, message: str, timeout: float = 60) -> Result:
        """Wait until the cell is done and collect what came of it."""
        result = Result()
        deadline = time.monotonic() + timeout
        while True:
            got = self.client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            if got["parent_header"].get("msg_id") != message:
                continue
            content = got["content"]
            match got["msg_type"]:
                case "stream" if content["name"] == "stdout":
                    result.text += content["text"]
                case "stream":
                    result.errors += content["text"]
                case "execute_result" | "display_data":
                    result.bundles.append(content["data"])
                case "error":
                    result.errors += "\n".join(content["traceback"])
                    result.error = RuntimeError(content["ename"], content["evalue"])
                case "status" if content["execution_state"] == "idle":
                    return result

    def run(self, source: str, timeout: float = 60) -> Result:
        """Run a cell."""
        return self.finish(self.start(source), timeout)

    def ok(self, source: str, timeout: float = 60) -> Result:
        """Run a cell that must work."""
        result = self.run(source, timeout)
        assert result.error is None, result.errors
        return result

    def restart(self) -> None:
        """Restart as the notebook does."""
        self.client.stop_channels()
        self.manager.restart_kernel()
        self._connect()

    def close(self) -> None:
        """Shut down, if it still runs."""
        self.client.stop_channels()
        if self.manager.is_alive():
            self.manager.shutdown_kernel()
        self.manager.cleanup_resources()
        shutil.rmtree(self.folder, ignore_errors=True)


def make_kernel() -> Kernel:
    """A fresh kernel, in a folder of its own, which it removes when it is closed."""
    folder = Path(tempfile.mkdtemp(prefix="k-", dir="/tmp"))
    path = os.pathsep.join([str(ROOT), str(ROOT / "registry")])
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "IPYTHONDIR": str(folder / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    return Kernel(folder, environment)


@pytest.fixture
def kernel(cluster_name: str) -> Iterator[Kernel]:
    """A fresh kernel, in a cluster of its own."""
    kernel = make_kernel()
    yield kernel
    kernel.close()


@pytest.fixture
def lone_kernel(palm_home: Path) -> Iterator[Kernel]:
    """A fresh kernel that starts with empty folders: not even a registry runs."""
    kernel = make_kernel()
    yield kernel
    kernel.close()
    end_clusters()
