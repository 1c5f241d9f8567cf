"""The sink: runs functions on what several stages before it make, or on what they make together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from logging import INFO
from typing import TYPE_CHECKING, Any, ClassVar

from palm.protocol.effects import ForgetJoined, KeepJoined
from palm.protocol.entries import Joined
from palm.protocol.flow import JOIN
from palm.runtime.folders import joined_path
from palm.runtime.functions import FunctionTable
from palm.runtime.joins import Join, joining, of_parts
from palm.runtime.message import Hook
from palm.servers.listening import CacheSpec
from palm.servers.server import Serving
from palm.servers.staged import previous_of

if TYPE_CHECKING:
    from palm.runtime.joinstore import JoinStore

__all__ = ["Sink"]


class Sink(Serving):
    """Runs functions on the results of several components, in its own process.

    They are those of its subclass, or ``functions``. What returns None has no result: nothing is
    sent on.

    Parameters
    ----------
    name
        Its name.
    db_address, pub_address
        ``tcp://HOST:PORT`` (port 0: any free one, see `endpoints`) or ``ipc://PATH``.
    sub_addresses
        An address of each component before it; without them these are found by their names.
    previous
        The names of those components, each maybe as ``NAME/TOPIC``; with addresses, the topics.
    to_client
        Results go to the client; else to the stages that subscribe to its name.
    join
        Messages of equal keys, one of each component as a rule, are one: functions take a list of
        payloads, in the order of ``previous``.
    messages, functions, handle_stream, cache
        As those of `palm.Server`.
    """

    role: ClassVar[str] = "sink"
    drops_none = True

    def __init__(
        self,
        name: str,
        db_address: str | None = None,
        sub_addresses: Iterable[str] | None = None,
        pub_address: str | None = None,
        previous: Iterable[str] | None = None,
        to_client: bool = True,
        log_level: int = INFO,
        messages: int | None = None,
        *,
        join: Join | None = None,
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
            previous=previous_of(previous, sub_addresses),
            messages=messages,
            functions=functions,
            handle_stream=handle_stream,
        )
        self._join = None if join is None else join.check()
        self._store_of_joins: JoinStore | None = None

    def _functions(self) -> FunctionTable:
        table = super()._functions()
        return table if self._join is None else table.around(of_parts)

    def _table(self) -> FunctionTable:
        table = super()._table()
        return table if self._join is None else table.under(self._join_table(self._join))

    def _join_table(self, join: Join) -> FunctionTable:
        return FunctionTable({}, {JOIN: joining(join)})

    def _steps(self) -> list[str]:
        steps = super()._steps()
        return steps if self._join is None else [JOIN, *steps]

    def _join_within(self) -> float | None:
        return None if self._join is None else self._join.within

    def _joined(self) -> list[Joined]:
        if self._join is None or not self._named:  # without a name nobody comes in its place
            return []
        from palm.runtime.joinstore import JoinStore  # SQLite: for those who join

        self._store_of_joins = JoinStore(joined_path(self.folders, self.name))
        return self._store_of_joins.all()

    def _performers(self) -> dict[type, Callable[[Any], None]]:
        return super()._performers() | {KeepJoined: self._keep, ForgetJoined: self._forget}

    def _keep(self, effect: KeepJoined) -> None:
        if self._store_of_joins is not None:
            self._store_of_joins.keep(effect.joined)

    def _forget(self, effect: ForgetJoined) -> None:
        if self._store_of_joins is not None:
            self._store_of_joins.forget(effect.id)

    def _close(self) -> None:
        super()._close()
        if self._store_of_joins is not None:
            self._store_of_joins.close()
            self._store_of_joins = None
