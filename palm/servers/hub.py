"""The hub: leases what the stage before it makes to workers."""

from __future__ import annotations

from logging import INFO
from typing import ClassVar

from palm.runtime.message import Hook
from palm.servers.listening import CacheSpec
from palm.servers.staged import Staged, previous_of

__all__ = ["Hub"]


class Hub(Staged):
    """A master whose messages come from another component, not from clients.

    Parameters
    ----------
    name
        Its name.
    sub_address
        An address of the component before it; without one that is found by its name.
    pub_address, worker_pull_address, worker_push_address, db_address
        ``tcp://HOST:PORT`` (port 0: any free one, see `endpoints`) or ``ipc://PATH``.
    previous
        The name of that component, or ``NAME/TOPIC``; with an address, the topic.
    pipelined
        Results go to the stages that subscribe to its name, not to the client.
    cache, scatter, gather, handle_stream
        As those of `palm.Master`.
    """

    role: ClassVar[str] = "hub"

    def __init__(
        self,
        name: str,
        sub_address: str | None = None,
        pub_address: str | None = None,
        worker_pull_address: str | None = None,
        worker_push_address: str | None = None,
        db_address: str | None = None,
        previous: str | None = None,
        pipelined: bool = False,
        cache: CacheSpec = None,
        log_level: int = INFO,
        *,
        scatter: Hook | None = None,
        gather: Hook | None = None,
        handle_stream: Hook | None = None,
    ) -> None:
        super().__init__(
            name,
            {
                "pub": pub_address,
                "worker_pull": worker_pull_address,
                "worker_push": worker_push_address,
                "db": db_address,
            },
            cache,
            log_level,
            pipelined=pipelined,
            previous=previous_of(previous, sub_address),
            hooks={"scatter": scatter, "gather": gather, "handle_stream": handle_stream},
        )
