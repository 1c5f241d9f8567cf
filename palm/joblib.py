"""palm as a backend of joblib, by its name ``palm`` once this is imported.

```
import joblib
import palm.joblib

with joblib.parallel_config("palm", master="foo"):
    joblib.Parallel()(joblib.delayed(price)(row) for row in rows)
```

The calls are made by workers of ``palm.executors``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from palm.clients import Client
from palm.clients.executor import ClientExecutor
from palm.errors import ConfigError

try:
    from joblib import register_parallel_backend
    from joblib.parallel import AutoBatchingMixin, ParallelBackendBase
except ImportError as error:
    raise ConfigError(
        f"joblib is not installed here ({error})", hint="pip install joblib"
    ) from error

__all__ = ["PalmBackend"]


class PalmBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # it has no types
    """Has the workers of a master make the calls of `joblib.Parallel`.

    Parameters
    ----------
    master
        The name or an address of the master.
    client
        A client in place of one that is made, and closed, here.
    options
        Of each batch of calls, as of `palm.Client.executor`.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(
        self,
        master: str = "",
        client: Client | None = None,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **options: Any,
    ) -> None:
        if not master and client is None:
            raise ConfigError(
                "the backend 'palm' does not know its master", hint="give master=NAME"
            )
        if inner_max_num_threads is not None:
            raise ConfigError(
                "inner_max_num_threads cannot be set for workers that run",
                hint="start them with OMP_NUM_THREADS in their environment",
            )
        super().__init__(nesting_level=nesting_level)
        self._master = master
        self._client = client
        self._is_ours = client is None
        self._options = options
        self._executor: ClientExecutor | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many calls run at once: with -1 as many as there are workers.

        With a single worker that is 2: of 1 joblib makes the calls in this process.
        """
        if n_jobs == 0:
            raise ConfigError("n_jobs=0", hint="a positive number, or -1 for all workers")
        if n_jobs is not None and n_jobs > 0:
            return n_jobs
        workers = self._connected().wait_for_workers()
        return max(2, workers + 1 + (-1 if n_jobs is None else n_jobs))

    def configure(
        self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None, require: Any = None,
        **options: Any,
    ) -> int:  # fmt: skip
        """Make ready for calls; return how many run at once."""
        if require == "sharedmem":
            raise ConfigError("workers share no memory with the caller", hint='backend="threading"')
        self.parallel = parallel
        self._executor = self._connected().executor(**self._options)
        return self.effective_n_jobs(n_jobs)

    def submit(
        self, func: Callable[[], Any], callback: Callable[[Future[Any]], Any] | None = None
    ) -> Future[Any]:
        """Have a batch of calls made."""
        if self._executor is None:
            raise RuntimeError("the backend was terminated")
        future = self._executor.submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def apply_async(
        self, func: Callable[[], Any], callback: Callable[[Future[Any]], Any] | None = None
    ) -> Future[Any]:
        """Do the same, for a joblib before 1.5."""
        return self.submit(func, callback)

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Return the results of a batch, or raise what a call raised."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel all batches."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def terminate(self) -> None:
        """Let go of the workers."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
        if self._is_ours and self._client is not None:
            self._client.close()
            self._client = None
        self.reset_batch_stats()

    def _connected(self) -> Client:
        if self._client is None:
            if not self._is_ours:
                raise RuntimeError("the backend was terminated")
            self._client = Client(self._master)
        return self._client

    def __getstate__(self) -> dict[str, Any]:
        # A batch of calls brings its backend along: over there it connects anew if it must.
        return {**self.__dict__, "_client": None, "_executor": None, "parallel": None}


register_parallel_backend("palm", PalmBackend)
