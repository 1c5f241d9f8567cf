"""Components whose messages take steps: hooks, functions of their own, stages before and behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from logging import INFO
from typing import Any, Final, NamedTuple

from palm.errors import ConfigError
from palm.protocol.effects import Ready, Reconnect, Remember
from palm.protocol.entries import Joined
from palm.protocol.events import LookedUp
from palm.protocol.flow import GATHER, SCATTER, THE_FUNCTION, Way
from palm.protocol.link import Identity
from palm.protocol.master import MasterMachine
from palm.protocol.stage import StageMachine
from palm.protocol.timers import Timers
from palm.protocol.upstream import Upstream
from palm.runtime.connecting import Dialer
from palm.runtime.functions import FunctionTable
from palm.runtime.innerworker import InnerWorker
from palm.runtime.message import Hook, Message, gathering, routing, scattering
from palm.runtime.several import Several
from palm.runtime.stages import expected_stages, leave_stages, remember_stages
from palm.servers.listening import CacheSpec, Listening, new_link
from palm.servers.topology import Link, Topology, link, stages_behind
from palm.spec.component import STAGE_ROLES
from palm.spec.endpoint import Endpoint, parse_address
from palm.transport.base import Transport
from palm.transport.inner import InnerConnector
from palm.transport.keys import Keyring
from palm.transport.switchboard import Switchboard
from palm.transport.zmq import ZmqConnector, ZmqListener

__all__ = ["Previous", "Staged", "previous_of"]

#: Peer of the component's own worker.
INSIDE: Final = b"=0"


class Previous(NamedTuple):
    """A topic of a component before this one, which is found by its name or at an address."""

    where: str
    topic: str


class Staged(Listening):
    """Base of components with hooks, with functions of their own, or with stages around them.

    A subclass overrides the hooks that it wants, or they are given to the constructor. They run
    in one thread of the component, never at the same time.
    """

    #: A function that returns None has no result.
    drops_none = False

    def __init__(
        self,
        name: str,
        addresses: Mapping[str, str | None],
        cache: CacheSpec = None,
        log_level: int = INFO,
        *,
        pipelined: bool = False,
        previous: Iterable[Previous] = (),
        messages: int | None = None,
        hooks: Mapping[str, Hook | None] | None = None,
        durable: bool = False,
    ) -> None:
        super().__init__(name, addresses, cache, log_level, durable=durable)
        if messages is not None and messages < 1:
            raise ConfigError(f"messages={messages}", hint="a positive number, or None")
        for hook, given in (hooks or {}).items():
            if given is not None and not callable(given):
                raise ConfigError(f"{hook}={given!r}", hint="a function of one message")
        self.pipelined = pipelined or bool(os.environ.get("PALM_PIPELINED"))
        self.messages = messages
        self._previous = list(previous)
        #: Those of `>>`, in which it is either end.
        self._links: list[Link] = []
        self._given_hooks = dict(hooks or {})
        self._board: Switchboard | None = None
        self._inside: InnerConnector | None = None
        self._inner: InnerWorker | None = None
        self._dialers: dict[bytes, Dialer] = {}
        self._failure: BaseException | None = None

    # Hooks

    def scatter(self, message: Message) -> Iterable[Message]:
        """Override to yield the messages that one becomes before it is worked on."""
        yield message

    def gather(self, message: Message) -> Iterable[Message]:
        """Override to yield what a result becomes; it is called for each."""
        yield message

    def handle_stream(self, message: Message) -> tuple[str, Message]:
        """Override to return the topic of a result, and the message that goes there.

        Stages subscribe to topics. ``message.client`` is the topic of the client.
        """
        return "", message

    def change_payload(self, message: Message, new_payload: Any) -> Message:
        """Return a message with another payload."""
        return message.with_payload(new_payload)

    def _hook(self, name: str) -> Hook | None:
        """Return a hook that was overridden or given, None for one that does nothing."""
        given = self._given_hooks.get(name)
        if given is not None:
            return given
        own: Hook = getattr(self, name)
        return None if getattr(type(self), name) is getattr(Staged, name) else own

    # Links

    def __rshift__(self, behind: object) -> Topology:
        return link(self, behind)

    def __rrshift__(self, before: object) -> Topology:
        return link(before, self)

    def _has_topics(self) -> bool:
        """Whether its results may have topics of their own."""
        return self._hook("handle_stream") is not None

    def _take_from(self, name: str, topic: str) -> None:
        """Take what component ``name`` publishes under a topic, once it is opened."""
        if Previous(name, topic) not in self._previous:
            self._previous.append(Previous(name, topic))

    # What it serves itself

    def _functions(self) -> FunctionTable:
        """Return the functions that the component itself runs."""
        return FunctionTable({})

    def _table(self) -> FunctionTable:
        """Return all that its own worker runs."""
        functions, handle_stream = self._functions(), self._hook("handle_stream")
        if not len(functions):
            return FunctionTable({}, self._hooks())
        if handle_stream is None:
            return functions
        return FunctionTable(
            {},
            {
                name: routing(functions[name], handle_stream, drops_none=self.drops_none)
                for name in functions
            },
        )

    def _hooks(self) -> dict[str, Callable[[Any], Several]]:
        scatter, gather = self._hook("scatter"), self._hook("gather")
        handle_stream = self._hook("handle_stream")
        hooks = {}
        if scatter is not None:
            hooks[SCATTER] = scattering(scatter)
        if gather is not None or handle_stream is not None:
            hooks[GATHER] = gathering(gather, handle_stream)
        return hooks

    def _steps(self) -> list[str]:
        """Return the functions that messages go through, hooks included."""
        before = [SCATTER] if SCATTER in self._own else []
        return [*before, THE_FUNCTION, *([GATHER] if GATHER in self._own else [])]

    def _join_within(self) -> float | None:
        """Return for how long (seconds) parts are waited for, if there are any."""
        return None

    def _joined(self) -> list[Joined]:
        """Return what an earlier process of this name had joined."""
        return []

    # Its machine

    def _make_machine(self, **options: Any) -> MasterMachine:
        table = self._own = self._table()
        if not (self.pipelined or self._previous or len(table)):
            return super()._make_machine(**options)
        way = Way(self._steps(), self.pipelined, self._listens, self._join_within())
        return StageMachine(
            self.name,
            self.epoch,
            self.endpoints,
            new_link,
            self._store,
            way=way,
            upstreams=self._upstreams,
            expected=self._expected(),
            joined=self._joined(),
            **options,
        )

    def _expected(self) -> list[tuple[str, list[str]]]:
        """Return names and topics of the stages to wait for, whoever is there first."""
        if self._links:  # known better than by what was behind it in an earlier run
            return stages_behind(self)
        declared = os.environ.get("PALM_STAGES", "")
        if declared:
            split = [stage.partition("/") for stage in declared.split(",")]
            return [(name, [topic or self.name]) for name, _, topic in split]
        return expected_stages(self.folders, self.name) if self._named else []

    def _upstreams(self, timers: Timers) -> list[Upstream]:
        upstreams = []
        for number, previous in enumerate(self._previous):
            server = "" if isinstance(parse_address(previous.where), Endpoint) else previous.where
            session = os.urandom(16)
            topics, named = [previous.topic], self._named
            identity = Identity("stage", self.name, session, server, [], topics, named=named)
            upstreams.append(Upstream(_peer(number), previous.where, identity, timers))
        return upstreams

    def _make_transport(self, listener: ZmqListener, keyring: Keyring) -> Transport:
        if not self._previous and not len(self._own):
            return listener
        self._board = board = Switchboard(listener)
        for number, previous in enumerate(self._previous):
            connector = ZmqConnector(keyring.worker)
            target = parse_address(previous.where)
            self._dialers[_peer(number)] = Dialer(self.folders, target, connector)
            board.connect(_peer(number), connector)
        if len(self._own):
            self._inside = board.connect_inside(INSIDE)
        return board

    def _performers(self) -> dict[type, Callable[[Any], None]]:
        return {Reconnect: self._reconnect, Ready: self._ready, Remember: self._remember}

    def _recorded(self) -> dict[str, Any]:
        return {"functions": [name for name in self._own if not name.startswith("%")]}

    def _listens(self, address: str) -> bool:
        """Whether an address, as a client may know it, is one of ours."""
        wanted = parse_address(address)
        if not isinstance(wanted, Endpoint):
            return wanted == self.name
        own = [parse_address(endpoint) for endpoint in self.endpoints.values()]
        return any(isinstance(each, Endpoint) and each.is_reached_by(wanted) for each in own)

    # Serving

    def _open(self) -> None:
        if self.role in STAGE_ROLES and not self._previous:
            raise ConfigError(
                f"{self.role} '{self.name}' does not know what comes before it",
                key="previous",
                hint="give previous=NAME, or link them: first >> second",
            )
        super()._open()

    def _serve(self) -> None:
        if self._inside is None:
            super()._serve()
            return
        self._inner = InnerWorker(
            self.name,
            self._own,
            self._inside,
            self.logger,
            self.close,
            messages=self.messages,
            drops_none=self.drops_none,
        )
        loop = threading.Thread(target=self._run_beside, name="palm-machine", daemon=True)
        loop.start()
        try:
            self._inner.serve()
            if not self._over:  # it ran as many messages as it may
                self.stop()
        finally:
            loop.join()
        for error in (self._failure, self._error):
            if error is not None:
                raise error

    def _run_beside(self) -> None:
        """Run the machine in a thread of its own: functions may take as long as they like."""
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - it is raised where the component serves
            self._failure = error
        finally:
            self._over = True
            if self._inner is not None:
                self._inner.stop()

    def _close(self) -> None:
        if self._named and self._board is not None:
            leave_stages(self.folders, self.name)
        if self._board is not None:
            self._board.close()
            self._board = None
        super()._close()

    def _reconnect(self, effect: Reconnect) -> None:
        found, known = self._dialers[effect.peer].dial()
        self._tell(LookedUp(found, known, effect.peer))

    def _ready(self, effect: Ready) -> None:
        """Do nothing: the machine has said whom it takes messages from."""

    def _remember(self, effect: Remember) -> None:
        if self._named:
            remember_stages(self.folders, self.name, effect.stages)


def previous_of(
    given: str | Iterable[str] | None, addresses: str | Iterable[str] | None
) -> list[Previous]:
    """Return what a component takes from which components before it.

    ``given`` are their names, or ``NAME/TOPIC``; where an address is given for one, it is the
    topic alone. Without them the variable ``PALM_PREVIOUS`` counts.
    """
    names = _listed(given) or _listed(os.environ.get("PALM_PREVIOUS", "").split(","))
    where = _listed(addresses)
    if where and len(where) != len(names):
        raise ConfigError(
            f"{len(where)} addresses of {len(names)} components before this one",
            key="previous",
            hint="one address each, in the same order, or none",
        )
    if where:
        pairs = zip(where, names, strict=True)
        return [Previous(address, name.rpartition("/")[2]) for address, name in pairs]
    split = [name.partition("/") for name in names]
    return [Previous(name, topic or name) for name, _, topic in split]


def _listed(given: str | Iterable[str] | None) -> list[str]:
    if given is None:
        return []
    return [given] if isinstance(given, str) else [each for each in given if each]


def _peer(number: int) -> bytes:
    return b"^%d" % number
