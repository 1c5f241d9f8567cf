"""Real Dask clusters for tests, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["DaskCluster"]

_PROGRAM = """
import json, os, sys
import dask, palm
from distributed import Client, LocalCluster, Security

def name_and_pid(dask_worker):
    return str(dask_worker.name), os.getpid()

def main(workers, threads, port, adapt, tls, processes, allowed_failures):
    dask.config.set({"distributed.scheduler.allowed-failures": allowed_failures})
    options = {"protocol": "tls://", "security": Security.temporary()} if tls else {}
    if not processes:
        options |= {"protocol": "tcp://", "host": "127.0.0.1", "processes": False}
    with LocalCluster(
        n_workers=workers, threads_per_worker=threads, scheduler_port=port,
        dashboard_address=":0", silence_logs=60, **options,
    ) as cluster, Client(cluster) as client:
        if adapt:
            cluster.adapt(minimum=0, maximum=adapt, interval="500ms")
        print(json.dumps(cluster.scheduler_address), flush=True)
        for line in sys.stdin:
            if line.strip() == "pids":
                found = client.run(name_and_pid, on_error="ignore")
                print(json.dumps(dict(found.values())), flush=True)
            else:
                known = {"client": client, "cluster": cluster, "os": os, "palm": palm}
                print(json.dumps(eval(line, known)), flush=True)

if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
"""


class DaskCluster:
    """A scheduler and its workers, whose temporary files are all in ``folder``.

    Without ``processes`` its workers are threads of one: they come and go quickly. Dask runs what
    was lost with a worker on ``allowed_failures`` others.
    """

    def __init__(
        self, folder: Path, workers: int = 2, threads: int = 2, *, port: int = 0, adapt: int = 0,
        tls: bool = False, processes: bool = True, allowed_failures: int = 3,
    ) -> None:  # fmt: skip
        self.scratch = folder / "scratch"
        self.scratch.mkdir(exist_ok=True)
        root = Path(__file__).parents[2]
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(root), str(root / "registry")]),
            "TMPDIR": str(self.scratch),
            "DASK_TEMPORARY_DIRECTORY": str(folder / "dask"),
        }
        for name in ("PALM_RUN_DIR", "PALM_STATE_DIR"):  # as on any other machine
            env.pop(name, None)
        program = folder / "dask_cluster.py"
        program.write_text(_PROGRAM)
        given = [workers, threads, port, adapt, int(tls), int(processes), allowed_failures]
        self._process = subprocess.Popen(
            [sys.executable, str(program), *map(str, given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            cwd=folder,
        )
        self.address = str(self._answer())

    @property
    def url(self) -> str:
        """Where its scheduler is, as palm calls it."""
        return "dask://" + self.address.partition("://")[2]

    def pids(self) -> dict[str, int]:
        """Return the processes of its workers, by their names."""
        return dict(self._ask("pids"))  # type: ignore[call-overload]

    def evaluate(self, expression: str) -> object:
        """Evaluate an expression with its ``client`` and ``cluster``, ``os`` and ``palm``."""
        return self._ask(expression)

    def close(self) -> None:
        """End it with all its workers."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def _ask(self, line: str) -> object:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> object:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())
