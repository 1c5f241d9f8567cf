"""Dask as the executor of a worker."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

from palm.errors import ConfigError, ConnectTimeout

__all__ = ["executor_of"]

#: Seconds in which a scheduler must answer.
ANSWER_WITHIN: Final = 30.0


def executor_of(address: str, within: float = ANSWER_WITHIN) -> Callable[[], Any]:
    """Return what connects to the scheduler at ``HOST:PORT`` and returns its executor.

    Raises
    ------
    ConfigError
        Dask is not installed, or this is no address.
    """
    try:
        import distributed  # an extra: few need it, and it takes a second to load
    except ImportError as error:
        raise ConfigError(
            f"Dask is not installed here ({error})",
            key="dask",
            hint='pip install "palm-cluster[dask]"',
        ) from error
    where = address if "://" in address else f"tcp://{address}"
    host, _, port = where.partition("://")[2].rpartition(":")
    if not port.isdecimal():
        raise ConfigError(f"{address!r} is no address", key="dask", hint="HOST:PORT, as of 8786")

    def connect() -> Any:
        try:
            # A client that is not answered leaves a thread behind.
            socket.create_connection((host.strip("[]"), int(port)), within).close()
            make: Any = distributed.Client
            client = make(where, timeout=within, set_as_default=False, name="palm-worker")
        except (OSError, TimeoutError) as error:
            text = f"no scheduler of Dask answers at {where} ({error})"
            raise ConnectTimeout(text, name=address) from error
        return _OwnExecutor(client)

    return connect


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
