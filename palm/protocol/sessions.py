"""Who is with a master: greetings, the sessions behind connections, and who is away.

A session is one life of a client or a worker. Its connection may break; what it has belongs to
the session and moves to the next connection, which begins with a greeting of its own. A worker on
the master's host that is away loses its work to others at once, one on another host after a
while. Whether it died is known when it is back, when another greets under its name, or when it
was away for too long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from palm.errors import ConfigError
from palm.protocol.dispatch import Dispatcher
from palm.protocol.effects import Effect, Log, Send
from palm.protocol.events import Received
from palm.protocol.jobs import ClientSession, Fate
from palm.protocol.pool import Lease, WorkerSession, asked_seconds
from palm.protocol.publishing import Publisher, StageSession
from palm.protocol.shown import LINE, shown
from palm.protocol.taps import ObserverSession, Taps
from palm.protocol.timers import Timer, Timers
from palm.spec.names import check_name
from palm.wire.message import VERSION, Bye, Fault, Hello, Message, Reset, Welcome

__all__ = ["REMOTE_GRACE", "RETURN_WITHIN", "SESSION_TTL", "Host", "Session", "Sessions"]

#: Seconds for which a client that vanished is remembered.
SESSION_TTL: Final = 60.0

#: Seconds for which a worker on another host may be away before its work is given to others.
REMOTE_GRACE: Final = 2.0

#: Seconds for which a worker on this host may be away before it counts as dead.
RETURN_WITHIN: Final = 2.0

#: Broken messages after which a peer is not listened to before it greets again.
MAX_STRIKES: Final = 3

Session = ClientSession | WorkerSession | StageSession | ObserverSession

#: Who may connect; an ``inner`` worker is part of the component itself.
ROLES: Final = ("client", "worker", "inner", "stage", "observer")


@dataclass(slots=True)
class Host:
    """What a master says of itself in WELCOME, and how long (seconds) it waits for whom."""

    name: str
    epoch: bytes
    endpoints: dict[str, str]
    new_link: Callable[[], int]
    remote_grace: float = REMOTE_GRACE
    session_ttl: float = SESSION_TTL


@dataclass(slots=True)
class _Absence:
    """A worker that is away, with what it was running; it died, or it comes back."""

    worker: WorkerSession
    lease: Lease | None
    fate: Fate
    expiry: Timer | None = None


class Sessions:
    """The sessions of a master; effects are added to the list of the machine it serves.

    ``detach(client, now)`` is called when it is not known what a client has of its jobs in the
    journal: it is away, or has a new link.
    """

    def __init__(
        self,
        host: Host,
        clients: dict[bytes, ClientSession],
        dispatcher: Dispatcher,
        timers: Timers,
        effects: list[Effect],
        detach: Callable[[ClientSession, float], None],
        taps: Taps,
        publisher: Publisher | None = None,
    ) -> None:
        self.clients = clients
        self.stages: dict[bytes, StageSession] = {}
        #: Those that may hold leases; see `away` for the others.
        self.workers: dict[bytes, WorkerSession] = {}
        #: Workers of which it is not known whether they died.
        self.away: dict[bytes, _Absence] = {}
        #: Those with a connection, by its routing id.
        self.peers: dict[bytes, Session] = {}
        #: The links over which others were last told to greet, by routing id.
        self.strangers: dict[bytes, int] = {}
        #: How often those who did not greet since broke the protocol, by routing id.
        self._strikes: dict[bytes, int] = {}
        self._host = host
        self._dispatcher = dispatcher
        self._timers = timers
        self._effects = effects
        self._detach = detach
        self._taps = taps
        self._publisher = publisher

    # Those who are there

    def find(self, peer: bytes, message: Message) -> Session | None:
        """Return whose message it is; who did not greet over this link is told to, once."""
        session = self.peers.get(peer)
        if session is not None and message.link == session.link:
            return session
        if self.strangers.get(peer) != message.link:
            self.strangers[peer] = message.link
            self._send(peer, Reset(message.link))
        return None

    def strike(self, peer: bytes, reason: str) -> None:
        """Note that a peer broke the protocol, and tell it so; one that goes on is not listened to.

        Else who floods us would have us flood our log, and the memory of its connection.
        """
        strikes = self._strikes.get(peer, 0) + 1
        if strikes > MAX_STRIKES:
            return
        self._strikes[peer] = strikes
        reason = shown(reason, LINE)
        self._send(peer, Fault(0, "broken", reason))
        session = self.peers.get(peer)
        name = session.name if session is not None else "a stranger"
        self._log(logging.WARNING, f"broken message from {name}: {reason}")
        if session is not None and strikes == MAX_STRIKES:
            session.link = self._host.new_link()  # what follows is a stranger's

    # Greetings

    def greet(self, event: Received, hello: Hello, now: float) -> Session | None:
        """Answer a greeting; return the session that has a new link."""
        refusal = self._refusal(event, hello)
        if refusal is not None:
            self._send(event.peer, refusal)
            return None
        self.strangers.pop(event.peer, None)
        session = self._session(hello, now)
        self._connect(session, event.peer, now)
        if isinstance(session, WorkerSession):
            session.local = event.local
            self._welcome_worker(session, hello, now)
        elif isinstance(session, StageSession):
            self._welcome(session, [])
            if self._publisher is not None:
                self._publisher.connected(session, now)
        else:
            if isinstance(session, ClientSession):
                self._detach(session, now)
            self._welcome(session, [])
        return session

    def _refusal(self, event: Received, hello: Hello) -> Fault | None:
        if hello.version != VERSION:
            name = self._host.name
            text = f"'{name}' speaks version {VERSION} of the protocol, you {hello.version}"
            return Fault(0, "version", text)
        if hello.role not in ROLES or hello.role not in event.roles:
            text = f"your key does not allow you to be a {shown(hello.role)} here"
            return Fault(0, "role", text)
        if hello.role == "stage" and self._publisher is None:
            text = f"'{self._host.name}' passes nothing on: it is not pipelined"
            return Fault(0, "role", text)
        if not hello.session:
            return Fault(0, "role", "a session without an id")
        if not _is_name(hello.name):
            text = f"'{shown(hello.name)}' cannot be the name of a {hello.role}"
            return Fault(0, "name", text)
        if self._role_of(hello.session) not in ("", hello.role):
            return Fault(0, "role", "this session has another role")
        return None

    def _role_of(self, session: bytes) -> str:
        absence = self.away.get(session)
        if absence is not None:
            return absence.worker.role
        known: Session | None = (
            self.clients.get(session)
            or self.workers.get(session)
            or self.stages.get(session)
            or self._taps.observers.get(session)
        )
        return known.role if known is not None else ""

    def _session(self, hello: Hello, now: float) -> Session:
        if hello.role == "client":
            return self._client(hello)
        if hello.role == "stage":
            return self._stage(hello, now)
        if hello.role == "observer":
            observer = ObserverSession(hello.session, hello.name)
            return self._taps.observers.setdefault(hello.session, observer)
        return self._worker(hello, now)

    def _stage(self, hello: Hello, now: float) -> StageSession:
        stage = self.stages.get(hello.session)
        if stage is None and self._publisher is not None:
            stage = self._publisher.subscribe(hello, now)
            self.stages[hello.session] = stage
        return cast(StageSession, stage)

    def _client(self, hello: Hello) -> ClientSession:
        client = self.clients.get(hello.session)
        if client is None:
            client = ClientSession(hello.session, hello.name, hello.server)
            self.clients[hello.session] = client
        return client

    def _worker(self, hello: Hello, now: float) -> WorkerSession:
        worker = self.workers.get(hello.session)
        if worker is not None:
            return worker
        absence = self.away.get(hello.session)
        return self._new_worker(hello, now) if absence is None else self._back(absence, hello, now)

    def _new_worker(self, hello: Hello, now: float) -> WorkerSession:
        for absence in [a for a in self.away.values() if a.worker.name == hello.name]:
            self._give_up(absence, now)  # it was started anew
        functions = tuple(dict.fromkeys(hello.functions))
        worker = WorkerSession(hello.session, hello.name, functions, role=hello.role)
        worker.process = hello.process
        self._add(worker)
        if hello.role == "inner":
            return worker
        served = shown(", ".join(functions), LINE) or "nothing"
        self._log(logging.INFO, f"worker {worker.name} joined, serves {served}")
        return worker

    def _connect(self, session: Session, peer: bytes, now: float) -> None:
        if self.peers.get(peer, session) is not session:
            self.lose(peer, now)  # a session has a connection of its own
        if session.peer is not None:
            self.peers.pop(session.peer, None)
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        session.peer, session.link = peer, self._host.new_link()
        self._strikes.pop(peer, None)
        session.birth = session.birth or session.link
        self.peers[peer] = session

    def _welcome(self, session: Session, keep: list[int]) -> None:
        host = self._host
        if session.peer is not None:
            welcome = Welcome(
                session.link, VERSION, host.epoch, host.name, host.endpoints, keep, session.birth
            )
            self._send(session.peer, welcome)

    def _welcome_worker(self, worker: WorkerSession, hello: Hello, now: float) -> None:
        self._dispatcher.workers_changed(now)
        worker.lease_seconds = asked_seconds(hello.lease_seconds)
        held = self._held(hello)
        leases = worker.leases.values()
        kept = [lease for lease in leases if lease.id in held and not lease.job.dropped]
        for lease in kept:
            lease.kept = True
        self._welcome(worker, [lease.id for lease in kept])
        # What was on its way when the connection broke never began, or its answer was lost.
        lost = [lease for lease in leases if lease not in kept]
        for lease in lost:
            self._dispatcher.end(worker, lease)
        self._dispatcher.requeue(lost, now, unsure=lost)
        self._dispatcher.resumed(worker, now)
        self._dispatcher.feed(worker, now)
        self._dispatcher.fate_known(now)

    def _held(self, hello: Hello) -> set[int]:
        """Return the leases that a worker still has, none if they are another master's."""
        return set(hello.holds) if hello.epoch == self._host.epoch else set()

    # Those who are lost, or leave

    def lose(self, peer: bytes, now: float) -> None:
        """Note that a connection is gone."""
        self._strikes.pop(peer, None)
        self.strangers.pop(peer, None)
        session = self.peers.pop(peer, None)
        if session is None:
            return
        session.peer = None
        if isinstance(session, ClientSession):
            due = now + self._host.session_ttl
            session.expiry = self._timers.at(due, self.forget_client, session)
            self._detach(session, now)
        elif isinstance(session, StageSession):
            self._lose_stage(session, now)
        elif isinstance(session, ObserverSession):
            self._taps.observers.pop(session.id, None)
        elif session.local or not self._host.remote_grace:
            self._miss(session, now)
        else:
            self._dispatcher.pool.set_hungry(session, False)
            due = now + self._host.remote_grace
            session.expiry = self._timers.at(due, self._lose_worker, session)

    def _lose_stage(self, stage: StageSession, now: float, *, leaves: bool = False) -> None:
        due = now + self._host.session_ttl
        stage.expiry = self._timers.at(due, self._forget_stage, stage)
        if self._publisher is not None:
            self._publisher.lost(stage, now, leaves=leaves)

    def _forget_stage(self, stage: StageSession, now: float) -> None:
        self.stages.pop(stage.id, None)

    def dismiss_stage(self, stage: StageSession, now: float) -> None:
        """Let go of the process of a stage, which leaves on purpose; another may come for it."""
        if stage.peer is not None:
            self.peers.pop(stage.peer, None)
            stage.peer = None
        self._lose_stage(stage, now, leaves=True)

    def forget_client(self, client: ClientSession, now: float) -> None:
        """Let go of a client and of its jobs."""
        self.clients.pop(client.id, None)
        if client.peer is not None:
            self.peers.pop(client.peer, None)
            client.peer = None
        self._detach(client, now)
        for job in list(client.jobs.values()):
            self._dispatcher.close(job)

    def dismiss_worker(self, worker: WorkerSession, bye: Bye, now: float) -> None:
        """Let go of a worker that leaves on purpose, or because it lost what ran its functions."""
        if bye.lost:
            self._log(logging.WARNING, f"worker {worker.name}: {shown(bye.reason, LINE)}")
            self._lose_worker(worker, now)
            return
        leases = self._remove(worker)
        self._log(logging.INFO, f"worker {worker.name} left: {shown(bye.reason, LINE)}")
        unsure = leases if bye.begun is None else [le for le in leases if le.id in bye.begun]
        self._dispatcher.requeue(leases, now, unsure=unsure)
        self._dispatcher.workers_changed(now)

    def _lose_worker(self, worker: WorkerSession, now: float, fate: Fate | None = None) -> None:
        leases = self._remove(worker)
        self._dispatcher.blame_hung(worker, leases, now)
        left = sum(lease.left for lease in leases)
        what = f"; {left} of its messages go to others" if left else ""
        self._log(logging.WARNING, f"worker {worker.name} was lost{what}")
        self._dispatcher.requeue(leases, now, fate or Fate(died=True))
        self._dispatcher.workers_changed(now)

    def _add(self, worker: WorkerSession) -> None:
        self.workers[worker.id] = worker
        self._dispatcher.pool.add(worker)

    def _remove(self, worker: WorkerSession) -> list[Lease]:
        del self.workers[worker.id]
        self._dispatcher.pool.remove(worker)
        if worker.peer is not None:
            self.peers.pop(worker.peer, None)
        if worker.expiry is not None:
            worker.expiry.cancel()
        return self._dispatcher.end_all(worker)

    # Those who are away

    def _miss(self, worker: WorkerSession, now: float) -> None:
        """Give the work of a worker to others at once; whether it died is known later."""
        absence = _Absence(worker, next(iter(worker.leases.values()), None), Fate())
        absence.expiry = self._timers.at(now + RETURN_WITHIN, self._give_up, absence)
        self.away[worker.id] = absence
        self._distrust(worker, now)
        self._lose_worker(worker, now, absence.fate)

    def _distrust(self, lost: WorkerSession, now: float) -> None:
        """Give no more to workers of the same process for a while: they may be gone as well."""
        for worker in self._dispatcher.pool.of_process(lost.process) if lost.process else ():
            if worker is not lost and not worker.doubted:
                worker.doubted = True
                self._dispatcher.pool.set_hungry(worker, False)
                self._timers.at(now + RETURN_WITHIN, self._trust, worker)

    def _trust(self, worker: WorkerSession, now: float) -> None:
        worker.doubted = False
        if worker.peer is not None and worker.id in self.workers:
            self._dispatcher.feed(worker, now)

    def _give_up(self, absence: _Absence, now: float) -> None:
        """Take a worker that is away for dead."""
        self._end_absence(absence, died=True)
        self._dispatcher.fate_known(now)

    def _back(self, absence: _Absence, hello: Hello, now: float) -> WorkerSession:
        """Let a worker that did not die go on where it was."""
        self._end_absence(absence, died=False)
        worker, lease = absence.worker, absence.lease
        self._add(worker)
        self._log(logging.INFO, f"worker {worker.name} is back")
        if lease is not None and lease.id in self._held(hello):
            self._dispatcher.restore(worker, lease, now)
        return worker

    def _end_absence(self, absence: _Absence, *, died: bool) -> None:
        absence.fate.died = died
        del self.away[absence.worker.id]
        if absence.expiry is not None:
            absence.expiry.cancel()

    def _send(self, peer: bytes, message: Message) -> None:
        self._effects.append(Send(peer, message))

    def _log(self, level: int, text: str) -> None:
        self._effects.append(Log(level, text))


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except ConfigError:
        return False
    return True
