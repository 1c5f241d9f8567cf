"""What every component does that others connect to: names, addresses, the loop, the journal."""

from __future__ import annotations

import os
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from logging import INFO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from palm.errors import ConfigError, PalmError, TransportError
from palm.protocol.effects import DeadLetter, LoadInputs, LoadOutcomes, Log, Stopped, Write
from palm.protocol.entries import Recovered
from palm.protocol.events import Event, JournalFailed, StopRequested
from palm.protocol.master import MasterMachine
from palm.protocol.shown import shown
from palm.protocol.store import Store
from palm.runtime.cache import Cache, LocalValues, store_of
from palm.runtime.component import Component
from palm.runtime.deadletters import DeadLetters, Letter
from palm.runtime.driver import MAX_WAIT, Driver
from palm.runtime.folders import cache_path, journal_path, socket_path
from palm.runtime.lifeline import notify_ready
from palm.runtime.metrics import Reporter
from palm.runtime.namelock import NameLock, NameTaken
from palm.runtime.records import last_record
from palm.spec.endpoint import Endpoint, parse_address
from palm.spec.sockets import NODE_PORT
from palm.transport.base import Transport
from palm.transport.descriptors import Overflow, raise_limit
from palm.transport.keys import Keyring, ensure_keys
from palm.transport.zmq import ZmqListener

if TYPE_CHECKING:
    from palm.runtime.journal import Journal

__all__ = ["CacheSpec", "Listening", "new_link"]

#: Where shared values may be kept; see `palm.Master`.
CacheSpec = MutableMapping[str, bytes] | Store | str | Path | None

#: Seconds between two log lines about peers that there is no room for.
LOG_EVERY: Final = 10.0


class Listening(Component):
    """Base of every component that others connect to.

    Without an address it is found by its name by this user's processes on this host. Each
    address given is bound as well, and every role may connect to any of them.
    """

    def __init__(
        self,
        name: str,
        addresses: Mapping[str, str | None],
        cache: CacheSpec = None,
        log_level: int = INFO,
        *,
        durable: bool = False,
    ) -> None:
        super().__init__(name, log_level)
        self._addresses = dict(addresses)
        self._store = store_of(cache, lambda: cache_path(self.folders, self.name))
        self._opened: Store | None = None
        self.cache = Cache(LocalValues(self._store))
        self.epoch = os.urandom(8)
        self._locks: list[NameLock] = []
        self._listener: ZmqListener | None = None
        self._driver: Driver | None = None
        self._reporter: Reporter | None = None
        self._durable = durable
        self._journal: Journal | None = None
        self._inbox: deque[Event] = deque()
        self._stop_grace: float | None = None
        self._over = False
        #: Why it ended, if nobody asked it to.
        self._error: PalmError | None = None
        self._turned_away = 0
        self._log_again_at = 0.0
        #: Others find it by its name.
        self._named = False

    # What subclasses add

    def _make_machine(self, **options: Any) -> MasterMachine:
        """Return the machine of this component; ``options`` are those of every one."""
        return MasterMachine(
            self.name, self.epoch, self.endpoints, new_link, self._store, **options
        )

    def _make_transport(self, listener: ZmqListener, keyring: Keyring) -> Transport:
        """Return what the machine's driver sends and receives by."""
        return listener

    def _performers(self) -> dict[type, Callable[[Any], None]]:
        """Return what to do for effects that only this component's machine has."""
        return {}

    def _recorded(self) -> dict[str, Any]:
        """Return what its record says beyond what every one does."""
        return {}

    # What all do

    def _open(self) -> None:
        given = {port: _endpoint(port, a) for port, a in self._addresses.items() if a}
        keyring = ensure_keys(self.folders.keys)
        named = self._take_name(given)
        given |= self._for_other_nodes() if named else {}
        raise_limit()
        self._listener = listener = ZmqListener(keyring)
        bound = self._bind(listener, given, named)
        default = bound.get("ipc") or next(iter(bound.values()))
        self.endpoints = {port: bound.get(port, default) for port in self._addresses} | bound
        self._named = named
        self._store.open(time.monotonic())
        self._opened = self._store
        machine = self._make_machine(
            jitter=random.random,
            recovered=self._open_journal() if named else [],
            no_journal="" if named else "another component has its name",
        )
        perform: dict[type, Callable[[Any], None]] = {
            Log: self._log,
            DeadLetter: self._bury,
            **dict.fromkeys((Write, LoadInputs, LoadOutcomes), self._use_journal),
            Stopped: self._stopped,
            **self._performers(),
        }
        transport = self._make_transport(listener, keyring)
        self._driver = driver = Driver(machine, transport, perform)
        driver.perform(machine.start(driver.clock()))
        for address in dict.fromkeys(self.endpoints.values()):
            self.logger.info("Listening at %s", address)
        self.logger.info("ready")
        if named:
            key = keyring.owner.curve_publickey
            self._reporter = Reporter(
                self.folders, self.name, self.role, self.instance, machine.counts, self.logger
            )
            self.publish(epoch=self.epoch.hex(), public_key=key, **self._recorded())
        else:
            notify_ready()

    def _for_other_nodes(self) -> dict[str, Endpoint]:
        """Where our runner wants us to be found by those on other machines."""
        address = os.environ.get("PALM_BIND")
        ours = os.environ.get("PALM_COMPONENT") == self.name
        return {NODE_PORT: _endpoint(NODE_PORT, address)} if address and ours else {}

    def _take_name(self, given: dict[str, Endpoint]) -> bool:
        """Lock the name, so that no other master serves under it; False: do without."""
        lock = NameLock(self.folders, self.name)
        try:
            lock.acquire()
        except NameTaken as error:
            local = not given or any(endpoint.scheme != "tcp" for endpoint in given.values())
            if local or self._durable:  # the journal is of who has the name
                raise
            self.logger.warning("%s; it cannot be found by name, only at its addresses", error)
            return False
        self._locks.append(lock)
        return True

    def _open_journal(self) -> list[Recovered]:
        """Return what an earlier master of this name left in its journal."""
        path = journal_path(self.folders, self.name)
        if not self._durable and not path.exists():
            return []
        recovered = self._new_journal(path).recover(create=self._durable)
        jobs = sum(not each.ended for each in recovered)
        if jobs:
            self.logger.info("%d jobs in the journal", jobs)
        return recovered

    def _new_journal(self, path: Path) -> Journal:
        from palm.runtime.journal import Journal  # SQLite: for those who have durable jobs

        self._journal = Journal(path, self._tell)
        return self._journal

    def _use_journal(self, command: Write | LoadInputs | LoadOutcomes) -> None:
        journal = self._journal or self._new_journal(journal_path(self.folders, self.name))
        journal.put(command)

    def _tell(self, event: Event) -> None:
        """Let the machine hear of the journal, from its thread."""
        self._inbox.append(event)
        if self._listener is not None:
            self._listener.wake()

    def _bind(
        self, listener: ZmqListener, given: dict[str, Endpoint], named: bool
    ) -> dict[str, str]:
        """Bind each distinct address once: tcp first, since ipc changes the socket's options."""
        bound: dict[str, str] = {}
        known: dict[Endpoint, str] = {}
        for port, endpoint in sorted(given.items(), key=lambda item: item[1].scheme != "tcp"):
            if endpoint.scheme == "ipc" and endpoint not in known:
                self._lock_path(endpoint)
            if endpoint.scheme == "tcp" and endpoint.port == 0:
                known[endpoint] = self._bind_any(listener, port, endpoint)
            elif endpoint not in known:
                known[endpoint] = listener.bind(endpoint)
            bound[port] = known[endpoint]
        if named:
            path = socket_path(self.folders, self.name, "")
            bound["ipc"] = listener.bind(Endpoint("ipc", path=str(path)))
        return bound

    def _bind_any(self, listener: ZmqListener, port: str, endpoint: Endpoint) -> str:
        """Bind a free port: that of a master of this name which died, if it is free."""
        record = last_record(self.folders, self.name)
        address = record.endpoints.get(port) if record is not None else None
        old = parse_address(address) if address else None
        if isinstance(old, Endpoint) and (old.scheme, old.host) == ("tcp", endpoint.host):
            try:
                return listener.bind(old)
            except TransportError:
                self.logger.info("%s is not free any more", old)
        return listener.bind(endpoint)

    def _lock_path(self, endpoint: Endpoint) -> None:
        """Refuse the path of a living socket: binding it would silently split the cluster."""
        lock = NameLock(self.folders, f"ipc-{_digest(endpoint.path)}")
        lock.acquire()
        self._locks.append(lock)

    def _serve(self) -> None:
        self._run()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        """Let events happen until the machine has stopped."""
        driver, reporter = self._driver, self._reporter
        wait = MAX_WAIT
        while driver is not None and not self._over:
            grace, self._stop_grace = self._stop_grace, None
            if grace is not None:
                driver.handle(StopRequested(grace))
            else:
                driver.step(wait)
            self._log_turned_away()
            while self._inbox and not self._over:
                event = self._inbox.popleft()
                if isinstance(event, JournalFailed):
                    self.logger.error("the journal cannot be written: %s", event.text)
                driver.handle(event)
            if reporter is not None:
                wait = min(MAX_WAIT, reporter.look(driver.events))

    def _wakeup_fd(self) -> int:
        return self._listener.wakeup_fd if self._listener is not None else -1

    def _request_stop(self, grace: float) -> None:
        self._stop_grace = grace
        if self._listener is not None:
            self._listener.wake()

    def _close(self) -> None:
        if self._opened is not None:  # else it may be another component's
            self._opened.close()
            self._opened = None
        if self._reporter is not None:
            self._reporter.close()
            self._reporter = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for lock in self._locks:
            lock.release()
        self._locks.clear()

    def _log(self, effect: Log) -> None:
        self.logger.log(effect.level, effect.text)

    def _log_turned_away(self) -> None:
        """Say now and then that there was no room for peers."""
        if self._listener is None or self._listener.turned_away == self._turned_away:
            return
        now = time.monotonic()
        if now >= self._log_again_at:
            self._log_again_at = now + LOG_EVERY
            count = self._listener.turned_away - self._turned_away
            self._turned_away += count
            self.logger.warning("no room for peers, turned away %d: %s", count, Overflow.reason())

    def _bury(self, effect: DeadLetter) -> None:
        """Keep a message that ended its workers; that it cannot be kept stops nobody."""
        letter = Letter(
            master=self.name,
            function=effect.function,
            job=effect.job.hex(),
            index=effect.index,
            attempts=effect.attempts,
            codec=effect.codec,
            client=effect.client,
            text=effect.text,
        )
        what = f"message {effect.index} of {shown(effect.function)}"
        try:
            dropped = DeadLetters.of(self.folders).add(letter, effect.batch.payloads()[0])
        except (OSError, ConfigError) as error:
            self.logger.error("%s ended its workers and cannot be kept: %s", what, error)
            return
        self.logger.error("%s ended its workers; it is kept as dead letter %s", what, letter.id)
        if dropped:
            self.logger.warning("dropped the oldest dead letters: %s", ", ".join(dropped))

    def _stopped(self, effect: Stopped) -> None:
        self._over, self._error = True, effect.error
        self.logger.info("stopped")


def new_link() -> int:
    """Return an id for a link, a positive integer of up to 63 bits that nobody can guess."""
    return int.from_bytes(os.urandom(8), "big") >> 1 or 1


def _endpoint(port: str, address: str) -> Endpoint:
    endpoint = parse_address(address)
    if isinstance(endpoint, str):
        raise ConfigError(
            f"{address!r} is no address to listen at",
            key=f"{port}_address",
            hint="tcp://HOST:PORT or ipc://PATH",
        )
    return endpoint


def _digest(text: str) -> str:
    import hashlib  # only for explicit ipc paths: a start without them need not pay for it

    return hashlib.sha256(text.encode()).hexdigest()[:12]
