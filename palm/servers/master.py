"""The master: takes jobs from clients and leases their messages to workers."""

from __future__ import annotations

import os
from logging import INFO
from typing import ClassVar

from palm.runtime.message import Hook
from palm.servers.listening import CacheSpec
from palm.servers.staged import Staged

__all__ = ["Master"]


class Master(Staged):
    """Takes jobs from clients and leases their messages to workers.

    Without an address it is found by its name by this user's processes on this host. Each
    address given is bound as well, and every role may connect to any of them.

    Parameters
    ----------
    name
        Its name; without one it gets one that nobody else has.
    pull_address, pub_address, worker_pull_address, worker_push_address, db_address
        ``tcp://HOST:PORT`` (port 0: any free one, see `endpoints`) or ``ipc://PATH``.
    pipelined
        Results go to the stages that subscribe to its name, not to the client.
    cache
        Where the shared values are kept: in memory (None), in a file ("sqlite", "sqlite:PATH", a
        `Path`), or in a mapping of str to bytes. `MemoryCache` and `SqliteCache` take a quota.
    log_level
        As in `logging`.
    scatter, gather, handle_stream
        Hooks; a subclass may define the methods instead. The first yields the messages that one
        becomes before it goes to a worker, the second those that a result becomes, the third
        returns the topic of a result, and the result.
    durable
        Open the journal at the start, and fail if that cannot be done. Without it the journal is
        opened when the first job wants it.
    """

    role: ClassVar[str] = "master"

    def __init__(
        self,
        name: str = "",
        pull_address: str | None = None,
        pub_address: str | None = None,
        worker_pull_address: str | None = None,
        worker_push_address: str | None = None,
        db_address: str | None = None,
        pipelined: bool = False,
        cache: CacheSpec = None,
        log_level: int = INFO,
        *,
        scatter: Hook | None = None,
        gather: Hook | None = None,
        handle_stream: Hook | None = None,
        durable: bool = False,
    ) -> None:
        super().__init__(
            name or f"master-{os.urandom(4).hex()}",
            {
                "pull": pull_address,
                "pub": pub_address,
                "worker_pull": worker_pull_address,
                "worker_push": worker_push_address,
                "db": db_address,
            },
            cache,
            log_level,
            pipelined=pipelined,
            hooks={"scatter": scatter, "gather": gather, "handle_stream": handle_stream},
            durable=durable,
        )
