"""The values that travel between the registry, runners, notebooks, commands and pages.

JSON over HTTP, field names as here; unknown fields are ignored, so that an older reader
understands a newer writer. Times are seconds since the epoch (UTC), durations seconds. Bytes are
base64 in JSON and raw in MessagePack (``Content-Type: application/msgpack``).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from palm.spec.component import ComponentSpec
from palm.spec.process import State

__all__ = [
    "TOPICS",
    "Assignment",
    "Assignments",
    "AuditEntry",
    "AuditPage",
    "ClusterCreate",
    "ClusterInfo",
    "ClusterState",
    "ClusterStatus",
    "ComponentSpec",
    "ComponentStatus",
    "ConfigCheck",
    "ConfigText",
    "ErrorBody",
    "ErrorDetail",
    "Event",
    "Frame",
    "Health",
    "Heartbeat",
    "Lease",
    "LeaseReply",
    "LoginCode",
    "Missing",
    "NodeInfo",
    "NodeJoin",
    "NodeJoined",
    "OutputAck",
    "OutputPage",
    "OutputPiece",
    "OutputRecord",
    "Problem",
    "ReplicaState",
    "ReplicaStatus",
    "Scale",
    "Scope",
    "Skipped",
    "Stop",
    "Stream",
    "TokenCreate",
    "TokenInfo",
    "TokenMade",
    "Topic",
    "UserCreate",
    "UserInfo",
    "read_frame",
]

Stream = Literal["stdout", "stderr"]
Topic = Literal["status", "events", "output", "skipped"]
#: What one may ask for; "skipped" comes by itself.
TOPICS: tuple[Topic, ...] = ("status", "events", "output")
#: "ending": its nodes are told to stop; "ended": they have.
ClusterState = Literal["alive", "ending", "ended"]
#: A supervisor's states; and of a process whose node is lost nobody knows.
ReplicaState = Literal[State, "unknown"]
#: What a token may do: read; change clusters, too; what runners call; everything.
Scope = Literal["viewer", "operator", "runner", "admin"]


class _Value(msgspec.Struct, kw_only=True):
    """Base: fields by name."""


# ---- clusters


class ClusterInfo(_Value):
    """One cluster. ``linger`` None: it never ends by itself; ``holders`` keep it alive.

    ``lease_until`` is when the last lease ends, None if nobody holds one. ``owner`` is the user
    whose it is.
    """

    key: str
    name: str
    created: float
    updated: float
    config_version: int = 0
    generation: int = 0
    state: ClusterState = "alive"
    linger: float | None = None
    lease_until: float | None = None
    holders: list[str] = []
    nodes: int = 0
    components: int = 0
    owner: str = "owner"


class ClusterCreate(_Value):
    """POST api/clusters; asking again for one that is there returns it."""

    name: str
    linger: float | msgspec.UnsetType | None = msgspec.UNSET


class ConfigText(_Value):
    """A cluster file, in TOML. ``file`` is for messages; ``folder`` resolves relative paths."""

    text: str
    file: str = "cluster.toml"
    folder: str = ""
    version: int = 0


class Problem(_Value):
    """Why a cluster file cannot be used; ``line`` counts from 1."""

    text: str
    file: str | None = None
    line: int | None = None
    key: str | None = None
    hint: str | None = None


class ConfigCheck(_Value):
    """What a cluster file would mean, or what is wrong with it."""

    valid: bool
    problems: list[Problem] = []
    components: list[ComponentSpec] = []


class Scale(_Value):
    """POST .../components/{name}/scale."""

    replicas: int


class Stop(_Value):
    """POST .../components/{name}/stop; ``grace`` None: that of the component."""

    grace: float | None = None


class Lease(_Value):
    """POST api/clusters/{key}/lease: ``holder`` keeps the cluster alive for ``ttl`` seconds.

    ``release`` gives the lease back. ``linger`` (left out: as it is) is how long the cluster
    goes on after its last lease, None for ever. ``end`` ends the cluster now, whoever holds it.
    A cluster that has ended goes on, unless ``revive`` is false: then it is 409 "cluster-ended".
    """

    holder: str
    ttl: float = 30.0
    release: bool = False
    linger: float | msgspec.UnsetType | None = msgspec.UNSET
    end: bool = False
    revive: bool = True


class LeaseReply(_Value):
    """When the last lease ends, None if nobody holds one."""

    lease_until: float | None
    linger: float | None = None
    holders: list[str] = []


# ---- status


class ReplicaStatus(_Value):
    """One process of a component, as its runner reports it.

    ``name`` is that of the process ("foo-worker-0"), ``instance`` that of this life of it, with
    output of its own. ``exit`` is a code, or minus the number of a signal. ``reason`` continues
    the word "it". ``generation`` is that of the ComponentSpec it was started with. ``written`` is
    how many bytes of each stream there are, once no process writes them: whoever wants to see the
    last words of one reads the output up to there.
    """

    name: str
    component: str
    replica: int = 0
    node: str = ""
    instance: str = ""
    generation: int = 0
    state: ReplicaState = "starting"
    pid: int | None = None
    restarts: int = 0
    exit: int | None = None
    reason: str = ""
    started: float | None = None
    functions: list[str] = []
    endpoints: dict[str, str] = {}
    master: str = ""
    kernel_file: str = ""
    written: dict[str, int] = {}
    updated: float = 0.0


class ComponentStatus(_Value):
    """A component: ``desired`` and ``actual`` (ready) replicas, and the state of each.

    ``done`` replicas ended by themselves with exit code 0, and are not missing.
    """

    name: str
    role: str
    desired: int
    actual: int
    state: str
    done: int = 0
    conditions: list[str] = []
    reason: str = ""
    replicas: list[ReplicaStatus] = []
    functions: list[str] = []
    owner: str = ""
    master: str = ""
    generation: int = 0
    kernel: bool = False


class Missing(_Value):
    """How many replicas of a component are wanted and not ready, and why."""

    component: str
    count: int
    why: str


class NodeInfo(_Value):
    """A machine with a runner; ``seen`` is when its runner was last heard of."""

    id: str
    name: str
    address: str = ""
    cores: int = 0
    labels: dict[str, str] = {}
    alive: bool = False
    seen: float = 0.0


class ClusterStatus(_Value):
    """The whole cluster at one moment; ``cursor`` is where a live feed goes on from here."""

    cluster: str
    ready: bool
    state: ClusterState = "alive"
    missing: list[Missing] = []
    components: list[ComponentStatus] = []
    nodes: list[NodeInfo] = []
    generation: int = 0
    cursor: str = ""
    time: float = 0.0


# ---- nodes


class NodeJoin(_Value):
    """POST .../nodes: a runner joins. The same ``name`` is the same node, also after a restart.

    The latest runner to join as a node is its only one: the one before gets 409 "replaced".
    """

    name: str
    address: str = ""
    cores: int = 0
    labels: dict[str, str] = {}


class NodeJoined(_Value):
    """``session`` goes into every heartbeat; ``lost_after`` seconds of silence lose the node."""

    id: str
    session: str
    generation: int = 0
    lost_after: float = 5.0


class Heartbeat(_Value):
    """POST .../nodes/{id}/heartbeat: what has changed there, and a question what to run.

    ``statuses`` holds the replicas that changed; with ``full`` all there are. The answer comes at
    once when the registry's generation is not ``known_generation``, else after at most ``wait``
    seconds. 404: join again; 409: another runner is this node now, end; 410: the node was
    removed, stop all and end.
    """

    session: str = ""
    known_generation: int = -1
    statuses: list[ReplicaStatus] = []
    full: bool = False
    wait: float = 0.0


class Assignment(_Value):
    """A component, and the ``numbers`` of its replicas that this node runs."""

    spec: ComponentSpec
    numbers: list[int]


class Assignments(_Value):
    """All that a node is to run: what is not in here is to be stopped.

    ``stop``: the cluster is at its end; stop everything, report once more, leave, and end.
    """

    generation: int
    components: list[Assignment] = []
    stop: bool = False


# ---- output and events


class OutputPiece(_Value):
    """Part of what an instance wrote; ``offset`` counts bytes from the start of its stream."""

    instance: str
    stream: Stream
    offset: int
    data: bytes = msgspec.field(name="bytes")
    time: float = 0.0
    component: str = ""
    replica: int = 0
    name: str = ""


class OutputAck(_Value):
    """All bytes of the stream below ``durable_offset`` are stored: go on from there."""

    instance: str
    stream: Stream
    durable_offset: int


class OutputRecord(_Value):
    """A stored piece: ``text`` if it is UTF-8 by itself, else its ``bytes`` (field ``data``).

    A character may be cut in two by the end of a piece, so who shows output decodes the `raw`
    bytes of a stream one after another, and takes `palm.spec.text.printable` of the result.
    """

    component: str
    replica: int
    name: str
    instance: str
    stream: Stream
    offset: int
    time: float
    cursor: str
    text: str | None = None
    data: bytes | None = msgspec.field(name="bytes", default=None)

    @property
    def raw(self) -> bytes:
        """What the component wrote."""
        return self.data if self.data is not None else (self.text or "").encode()

    @property
    def end(self) -> int:
        """The offset of what the component wrote next."""
        return self.offset + len(self.raw)


class OutputPage(_Value):
    """Records in the order they were stored; ``more``: ask again from ``cursor``."""

    records: list[OutputRecord]
    cursor: str
    more: bool = False


class Event(_Value):
    """Something that happened: ``kind`` is "component.ready", "node.lost", ..."""

    seq: int
    time: float
    kind: str
    text: str = ""
    component: str = ""
    replica: int | None = None
    node: str = ""
    data: dict[str, Any] = {}


class Skipped(_Value):
    """Data of a frame "skipped": what was left out, since the reader was too far behind."""

    topic: Topic
    count: int
    size: int = 0


class Frame(_Value):
    """One frame of the live feed; ``since=cursor`` goes on after it.

    ``data`` is a ClusterStatus, an Event, a list of OutputRecord or a Skipped.
    """

    topic: Topic
    cursor: str
    data: Any


_FRAME_DATA: dict[str, Any] = {
    "status": ClusterStatus,
    "events": Event,
    "output": list[OutputRecord],
    "skipped": Skipped,
}


def read_frame(text: str | bytes) -> Frame:
    """Return a frame of the live feed, its data of the type that its topic says.

    Raises
    ------
    msgspec.DecodeError
        The text is not a frame.
    """
    frame = msgspec.json.decode(text, type=Frame)
    frame.data = msgspec.convert(frame.data, _FRAME_DATA[frame.topic])
    return frame


# ---- access


class TokenCreate(_Value):
    """POST api/tokens. ``cluster``: the only one it is for; ``ttl``: seconds, None for ever.

    ``user`` is whose clusters it is for; left out, those of whoever asks.
    """

    name: str
    scope: str
    user: str = ""
    cluster: str = ""
    ttl: float | None = None


class TokenInfo(_Value):
    """What is known of a token, but for the token itself. ``used`` is right to a minute.

    ``creator`` is the name of the token by which it was made. ``expires`` None: never.
    """

    name: str
    scope: Scope
    user: str
    created: float
    cluster: str = ""
    expires: float | None = None
    used: float | None = None
    creator: str = ""


class TokenMade(TokenInfo, kw_only=True):
    """The answer to TokenCreate: the only one that has the ``token`` itself."""

    token: str


class UserCreate(_Value):
    """POST api/users."""

    name: str


class UserInfo(_Value):
    """Somebody who has clusters of its own; ``tokens`` and ``clusters`` are their names."""

    name: str
    created: float
    creator: str = ""
    tokens: list[str] = []
    clusters: list[str] = []


class AuditEntry(_Value):
    """Something that somebody did, or tried to do.

    ``what`` is method and path, ``status`` that of the answer (below 400: it was done), ``code``
    that of a refusal. ``token`` is the name of the one that was used, "" if there was none.
    """

    time: float
    what: str
    seq: int = 0
    token: str = ""
    user: str = ""
    address: str = ""
    cluster: str = ""
    status: int = 0
    code: str = ""
    details: dict[str, Any] = {}


class AuditPage(_Value):
    """GET api/audit: entries in order; ``more``: ask again with ``since=cursor``."""

    entries: list[AuditEntry]
    cursor: str
    more: bool = False


# ---- the service itself


class Health(_Value):
    """GET health, open to all: says nothing about clusters."""

    status: str
    version: str


class LoginCode(_Value):
    """POST login: a path that logs a browser in, once, within ``ttl`` seconds."""

    code: str
    path: str
    ttl: float


class ErrorDetail(_Value):
    """``code`` is for programs, ``text`` and ``hint`` are for people."""

    code: str
    text: str
    hint: str = ""
    data: dict[str, Any] = {}


class ErrorBody(_Value):
    """The body of every answer from 400 on."""

    error: ErrorDetail
