"""Nodes: how a machine becomes one, and what it and the registry say to each other."""

from __future__ import annotations

from palm.registry_api.schema.base import Count, Value
from palm.registry_api.schema.components import ReplicaStatus
from palm.spec.component import ComponentSpec

__all__ = [
    "Assignment",
    "Assignments",
    "Heartbeat",
    "Invitation",
    "InvitationCreate",
    "NodeAccept",
    "NodeAccepted",
    "NodeInfo",
    "NodeJoin",
    "NodeJoined",
    "SignalDone",
    "SignalOrder",
]


class NodeInfo(Value):
    """A machine with a runner; ``seen`` is when its runner was last heard of.

    ``overdue``: it is lost for so long that what it had may go to other nodes. ``places`` is how
    many processes it takes at most, 0: any number.
    """

    id: str
    name: str
    address: str = ""
    cores: int = 0
    labels: dict[str, str] = {}
    alive: bool = False
    seen: float = 0.0
    overdue: bool = False
    places: int = 0


class NodeJoin(Value):
    """POST .../nodes: a runner joins. The same ``name`` is the same node, also after a restart.

    The latest runner to join as a node is its only one: the one before gets 409 "replaced".
    ``places`` is how many processes it takes at most, 0: any number.
    """

    name: str
    address: str = ""
    cores: Count = 0
    labels: dict[str, str] = {}
    places: Count = 0


class NodeJoined(Value):
    """``session`` goes into every heartbeat; ``lost_after`` seconds of silence lose the node."""

    id: str
    session: str
    generation: int = 0
    lost_after: float = 5.0


class InvitationCreate(Value):
    """POST .../invitations: who has the answer may join as a node, once.

    ``ttl`` is in seconds; ``node`` is the name that it is to have, "" for any.
    """

    ttl: float = 3600.0
    node: str = ""


class Invitation(Value):
    """The only answer that has the ``secret``; with ``fingerprint``, of the certificate, it is TLS.

    ``fingerprint`` is the SHA-256 of it, "" where the registry speaks no TLS.
    """

    secret: str
    cluster: str
    expires: float
    url: str
    node: str = ""
    fingerprint: str = ""


class NodeAccept(Value):
    """POST api/join: the secret of an invitation, for a token of a node of this ``name``."""

    secret: str
    name: str


class NodeAccepted(Value):
    """The only answer that has the ``token``."""

    cluster: str
    node: str
    token: str


class SignalOrder(Value):
    """A signal for the process ``name``, if it still is of this ``instance``.

    It is told again until the runner has said what became of it; who knows its ``id`` leaves it.
    """

    id: str
    name: str
    signal: str
    instance: str = ""


class SignalDone(Value):
    """What became of a `SignalOrder`.

    ``reason`` says why it was not ``sent``, or how sure it is that it was.
    """

    id: str
    name: str
    sent: bool = True
    reason: str = ""


class Heartbeat(Value):
    """POST .../nodes/{id}/heartbeat: what has changed there, and a question what to run.

    ``statuses`` holds the replicas that changed; with ``full`` all there are. The answer comes at
    once when the registry's generation is not ``known_generation``, else after at most ``wait``
    seconds. 404: join again; 409: another runner is this node now, end; 410: the node was
    removed, stop all and end. ``signals`` says what became of those that it was told to send.
    """

    session: str = ""
    known_generation: int = -1
    statuses: list[ReplicaStatus] = []
    full: bool = False
    wait: float = 0.0
    signals: list[SignalDone] = []


class Assignment(Value):
    """A component, and the ``numbers`` of its replicas that this node runs.

    ``reached``: components on other nodes have its sockets in their arguments. ``keep`` are those
    of ``numbers`` that go on in the version before, if they still run in it: their turn comes.
    """

    spec: ComponentSpec
    numbers: list[int]
    reached: bool = False
    keep: list[int] = []


class Assignments(Value):
    """All that a node is to run: what is not in here is to be stopped.

    ``stop``: the cluster is at its end; stop everything, report once more, leave, and end.
    ``sockets`` are the addresses of sockets ("foo.pull") that arguments name and that are bound
    on other nodes, "" where that is not known yet. ``peers`` are the addresses of components that
    run on other nodes, by name, "" of one that cannot be reached from another machine. ``signals``
    are to be sent once. ``keys`` is another whenever the keys of the cluster are, "" if the
    registry does not have them. ``sample_every``: seconds between two samples of the node's
    processes.
    """

    generation: int
    components: list[Assignment] = []
    stop: bool = False
    sockets: dict[str, str] = {}
    peers: dict[str, str] = {}
    signals: list[SignalOrder] = []
    keys: str = ""
    sample_every: float = 1.0
