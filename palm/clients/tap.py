"""A tap: the live messages of a component, as they pass, without holding anything up."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from palm.errors import ConnectTimeout, PalmError
from palm.naming import asking
from palm.protocol.effects import Log, Ready, Reconnect, Show, Stopped
from palm.protocol.events import LookedUp, Refused, StopRequested
from palm.protocol.link import Identity
from palm.protocol.observer import ObserverMachine
from palm.runtime.connecting import Dialer
from palm.runtime.driver import Driver
from palm.runtime.folders import Folders
from palm.spec.endpoint import Endpoint, parse_address
from palm.transport.keys import ensure_keys
from palm.transport.zmq import ZmqConnector
from palm.wire.codec import decode_value
from palm.wire.message import Seen
from palm.wire.outcome import Kind, decode_failure
from palm.wire.results import unpack_results

__all__ = ["Sighting", "Tap"]

#: Seconds between two looks whether there is something to do beside waiting.
LOOK_EVERY: Final = 0.25


@dataclass(slots=True)
class Sighting:
    """A message on its way from ``source`` to ``target``.

    ``index`` is its number in the job there. ``value`` is its payload, the list of its results if
    there are several or none (``several``), or the text of its ``error``. ``skipped`` messages
    were not shown before it; one with nothing but that has an empty ``source``.
    """

    time: float
    source: str
    target: str
    function: str
    job: str
    index: int
    value: Any = None
    several: bool = False
    error: str = ""
    skipped: int = 0


class Tap:
    """Iterate it for what passes through a component; it waits for more, and never ends by itself.

    It may be made before the component runs, and goes on when that is started again.

    Parameters
    ----------
    name
        The name or an address of the component.
    edges
        What to show, each as ``SOURCE>TARGET``; names are those of components, ``clients`` and
        ``workers``. Default: all.
    connect_timeout
        Seconds to wait for the component (None: for ever).

    Raises
    ------
    ConnectTimeout
        While it is iterated: the component is not there.
    AuthenticationError
        It does not let us in.
    """

    def __init__(
        self, name: str, edges: Iterable[str] = (), *, connect_timeout: float | None = None
    ) -> None:
        target = parse_address(name)
        server = "" if isinstance(target, Endpoint) else target
        folders = Folders.find()
        self.name = name
        self._connector = ZmqConnector(ensure_keys(folders.keys).client)
        self._dialer = Dialer(folders, target, self._connector, asking(folders, "client"))
        me = f"tap-{os.urandom(4).hex()}"
        self._machine = ObserverMachine(Identity("observer", me, os.urandom(16), server, []), edges)
        self._until = None if connect_timeout is None else time.monotonic() + connect_timeout
        self._patience = connect_timeout
        self._seen: deque[Sighting] = deque()
        self._inbox: deque[LookedUp | Refused] = deque()
        self._error: PalmError | None = None
        self._closed = False
        self._driver = Driver(
            self._machine,
            self._connector,
            {
                Show: self._show,
                Ready: self._ready,
                Reconnect: lambda effect: self._inbox.append(self._dialer.look()),
                Log: lambda effect: None,
                Stopped: self._stopped,
            },
        )
        self._driver.perform(self._machine.start(self._driver.clock()))

    def __iter__(self) -> Iterator[Sighting]:
        return self

    def __next__(self) -> Sighting:
        while (found := self.take(LOOK_EVERY)) is None:
            if self._closed:
                raise StopIteration
        return found

    def take(self, timeout: float) -> Sighting | None:
        """Return what passed next; None if nothing did within ``timeout`` seconds."""
        if not self._seen and not self._closed:
            self._step(timeout)
        return self._seen.popleft() if self._seen else None

    def close(self) -> None:
        """Watch no more; harmless when done before."""
        if not self._closed:
            self._closed = True
            self._driver.handle(StopRequested(0.0))
            self._dialer.close()
            self._connector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _step(self, timeout: float) -> None:
        while self._inbox:
            self._driver.handle(self._inbox.popleft())
            timeout = 0.0
        self._driver.step(timeout)
        if self._error is not None:
            raise self._error
        if self._until is not None and time.monotonic() > self._until:
            text = f"{self._machine.link.absence()}; gave up after {self._patience:g} s"
            raise ConnectTimeout(text, name=self.name, known=self._machine.link.known)

    def _ready(self, effect: Ready) -> None:
        self._until = None

    def _stopped(self, effect: Stopped) -> None:
        self._error = effect.error

    def _show(self, effect: Show) -> None:
        seen, now = effect.seen, time.time()
        if not seen.n:
            self._seen.append(Sighting(now, "", "", "", "", 0, skipped=seen.skipped))
        kinds = seen.kinds or bytes(seen.n)
        for at, (kind, payload) in enumerate(zip(kinds, effect.batch.payloads(), strict=True)):
            sighting = Sighting(
                now, seen.source, seen.target, seen.function, seen.job.hex(), seen.first + at
            )
            sighting.skipped = seen.skipped if at == 0 else 0
            _read(sighting, seen, kind, payload)
            self._seen.append(sighting)


def _read(sighting: Sighting, seen: Seen, kind: int, payload: Any) -> None:
    try:
        if kind == Kind.RESULT:
            sighting.value = decode_value(seen.codec, payload)
        elif kind == Kind.MANY:
            items = unpack_results(payload).items
            sighting.value = [decode_value(item.codec, item.payload) for item in items]
            sighting.several = True
        else:
            failure = decode_failure(payload)
            sighting.error = f"{failure.type}: {failure.text}"
    except Exception as error:  # noqa: BLE001 - whatever a pickle raises
        sighting.error = f"it cannot be read here: {type(error).__name__}: {error}"
