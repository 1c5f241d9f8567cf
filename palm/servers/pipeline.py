"""The pipeline: runs functions on what the stage before it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from logging import INFO
from typing import Any, ClassVar

from palm.runtime.message import Hook
from palm.servers.listening import CacheSpec
from palm.servers.server import Serving
from palm.servers.staged import previous_of

__all__ = ["Pipeline"]


class Pipeline(Serving):
    """Runs functions on the results of another component, in its own process.

    They are those of its subclass, or ``functions``. What returns None has no result: nothing is
    sent on.

    Parameters
    ----------
    name
        Its name.
    db_address, pub_address
        ``tcp://HOST:PORT`` (port 0: any free one, see `endpoints`) or ``ipc://PATH``.
    sub_address
        An address of the component before it; without one that is found by its name.
    previous
        The name of that component, or ``NAME/TOPIC``; with an address, the topic.
    to_client
        Results go to the client; else to the stages that subscribe to its name.
    messages, functions, handle_stream, cache
        As those of `palm.Server`.
    """

    role: ClassVar[str] = "pipeline"
    drops_none = True

    def __init__(
        self,
        name: str,
        db_address: str | None = None,
        sub_address: str | None = None,
        pub_address: str | None = None,
        previous: str | None = None,
        to_client: bool = True,
        log_level: int = INFO,
        messages: int | None = None,
        *,
        functions: Mapping[str, Callable[[Any], Any]] | None = None,
        handle_stream: Hook | None = None,
        cache: CacheSpec = None,
    ) -> None:
        super().__init__(
            name,
            {"db": db_address, "pub": pub_address},
            cache,
            log_level,
            pipelined=not to_client,
            previous=previous_of(previous, sub_address),
            messages=messages,
            functions=functions,
            handle_stream=handle_stream,
        )
