"""Dask as the executor of a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from palm.engines.scheduler import ANSWER_WITHIN, dask_library, parse_scheduler

__all__ = ["executor_of"]


def executor_of(address: str, within: float = ANSWER_WITHIN) -> Callable[[], Any]:
    """Return what connects to the scheduler at ``HOST:PORT`` and returns its executor.

    Raises
    ------
    ConfigError
        Dask is not installed, or this is no address.
    """
    dask_library()
    scheduler = parse_scheduler(address)
    return lambda: _OwnExecutor(scheduler.connect(within))


class _OwnExecutor:
    """The executor of a client that ends with it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        # Equal batches are not one: each must run.
        self._executor = client.get_executor(pure=False)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """See `concurrent.futures.Executor`."""
        return self._executor.submit(function, *args)

    def shutdown(self, wait: bool = True) -> None:
        """Cancel what goes on, and leave the scheduler."""
        if self._client.status == "running":  # else nobody is there to cancel anything
            self._executor.shutdown(wait=wait)
        self._client.close()
