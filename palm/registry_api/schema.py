"""The values that travel between the registry, runners, notebooks, commands and pages.

JSON over HTTP, field names as here; unknown fields are ignored, so that an older reader
understands a newer writer. Times are seconds since the epoch (UTC), durations seconds. Bytes are
base64 in JSON and raw in MessagePack (``Content-Type: application/msgpack``).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec

from palm.spec.component import Code, CodeFile, ComponentSpec
from palm.spec.diff import Diff
from palm.spec.process import State

__all__ = [
    "API",
    "API_HEADER",
    "API_OLDEST",
    "TOPICS",
    "USUAL_TOPICS",
    "Assignment",
    "Assignments",
    "AuditEntry",
    "AuditPage",
    "Caller",
    "ClusterCreate",
    "ClusterInfo",
    "ClusterMetrics",
    "ClusterState",
    "ClusterStatus",
    "ClusterUpdate",
    "Code",
    "CodeFile",
    "CodePiece",
    "ComponentSpec",
    "ComponentStatus",
    "ConfigApplied",
    "ConfigCheck",
    "ConfigCompare",
    "ConfigDiff",
    "ConfigFile",
    "ConfigPut",
    "ConfigRollback",
    "ConfigText",
    "ConfigVersion",
    "EdgeSample",
    "ErrorBody",
    "ErrorDetail",
    "Event",
    "EventPage",
    "Frame",
    "FunctionSample",
    "Health",
    "Heartbeat",
    "Invitation",
    "InvitationCreate",
    "KeyPair",
    "Lease",
    "LeaseReply",
    "LoginCode",
    "Missing",
    "NodeAccept",
    "NodeAccepted",
    "NodeInfo",
    "NodeJoin",
    "NodeJoined",
    "NodeSamples",
    "OutputAck",
    "OutputPage",
    "OutputPiece",
    "OutputRecord",
    "Point",
    "Problem",
    "RegistryInfo",
    "ReplicaState",
    "ReplicaStatus",
    "Sample",
    "Scale",
    "Scope",
    "Series",
    "SignalDone",
    "SignalOrder",
    "SignalRequest",
    "SignalSent",
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
    "version_problem",
]

#: Version of what is said here; it goes up with each release that changes what a request means.
API = 2
#: The oldest version of a client or a runner that is understood: the one before.
API_OLDEST = API - 1
#: Says in a request, and in every answer, which version whoever has sent it speaks.
API_HEADER = "Palm-Api"

Stream = Literal["stdout", "stderr"]
Topic = Literal["status", "metrics", "events", "output", "skipped"]
#: What one may ask for; "skipped" comes by itself.
TOPICS: tuple[Topic, ...] = ("status", "metrics", "events", "output")
#: What one gets who does not say: samples would be sent even if nothing happens.
USUAL_TOPICS: tuple[Topic, ...] = ("status", "events", "output")
#: "ending": its nodes are told to stop; "ended": they have.
ClusterState = Literal["alive", "ending", "ended"]
#: A supervisor's states; and of a process whose node is lost nobody knows.
ReplicaState = Literal[State, "unknown"]
#: A whole number that any database can keep.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
#: One that counts messages or bytes, and something that is measured: finite, so JSON can say it.
Large = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Measure = Annotated[float, msgspec.Meta(ge=0, le=1e18)]
#: Of one report: samples, functions of each, and buckets of a histogram.
MAX_SAMPLES, MAX_FUNCTIONS, MAX_BUCKETS = 1024, 65, 64
#: Likewise: neighbours of one process that are told.
MAX_EDGES = 64
#: What a token may do: read; change clusters, too; what runners call; everything.
Scope = Literal["viewer", "operator", "runner", "admin"]


class _Value(msgspec.Struct, kw_only=True):
    """Base: fields by name."""


# ---- clusters


class ClusterInfo(_Value):
    """One cluster. ``linger`` None: it never ends by itself; ``holders`` keep it alive.

    ``lease_until`` is when the last lease ends, None if nobody holds one. ``owner`` is the user
    whose it is. Only who asks with ``status=1`` is told whether it is ``ready`` and how many
    processes are ``missing``; None: not asked for.
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
    ready: bool | None = None
    missing: int | None = None


class ClusterCreate(_Value):
    """POST api/clusters; asking again for one that is there returns it."""

    name: str
    linger: float | msgspec.UnsetType | None = msgspec.UNSET


class ClusterUpdate(_Value):
    """PATCH api/clusters/{key}: what is left out stays. ``name`` is for people; the key stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    linger: float | msgspec.UnsetType | None = msgspec.UNSET


class ConfigText(_Value):
    """A cluster file, in TOML. ``file`` is for messages; ``folder`` resolves relative paths."""

    text: str
    file: str = "cluster.toml"
    folder: str = ""


class ConfigPut(ConfigText):
    """PUT .../config. ``expected_version`` is the one in force that the caller has seen, 0: none.

    If another is in force, nothing is done, and the answer is 409 "version". ``note`` says why.
    ``code`` are the files of its components, which POST .../code has taken before; who leaves it
    out keeps those of the version in force.
    """

    expected_version: int | None = None
    note: str = ""
    code: dict[str, Code] | msgspec.UnsetType = msgspec.UNSET


class ConfigRollback(_Value):
    """POST .../config/rollback: ``version`` None is the one before that in force."""

    version: int | None = None
    expected_version: int | None = None
    note: str = ""


class ConfigVersion(_Value):
    """A version of the cluster file, from 1; ``size`` is in bytes, ``by`` is who put it there."""

    version: int
    file: str = "cluster.toml"
    folder: str = ""
    created: float = 0.0
    by: str = ""
    note: str = ""
    size: int = 0
    sha256: str = ""
    in_force: bool = False


class ConfigFile(ConfigVersion):
    """A version of the cluster file with its text, and the files of its components."""

    text: str = ""
    code: dict[str, Code] = {}


class ConfigApplied(ConfigFile):
    """What is in force by now. ``changed``: it is another version than before.

    ``diff`` is what became of the components.
    """

    changed: bool = False
    diff: Diff = msgspec.field(default_factory=Diff)


class ConfigCompare(_Value):
    """POST .../config/diff: what putting a file in force would do, without any effect.

    The file is ``text`` (with ``file`` and ``folder``), or else ``version``, the one in force if
    both are left out. It is compared with what is wanted now; with ``against``, with that version.
    """

    text: str | None = None
    file: str = "cluster.toml"
    folder: str = ""
    version: int | None = None
    against: int | None = None
    code: dict[str, Code] | msgspec.UnsetType = msgspec.UNSET


class CodePiece(_Value):
    """What is in one file of a component."""

    sha256: str
    data: bytes


class ConfigDiff(_Value):
    """``unified`` compares the texts of two files; ``before`` and ``after`` are their versions.

    Version 0: there is no such file, or it is no version yet.
    """

    diff: Diff
    before: int = 0
    after: int = 0
    unified: str = ""


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


class SignalRequest(_Value):
    """POST .../components/{name}/signal: "HUP" or "SIGHUP" for its processes, or for one of them.

    ``id`` is made up by who asks: the same request again, after a lost answer, sends nothing twice.
    """

    signal: str
    replica: Count | None = None
    id: str = ""


class SignalSent(_Value):
    """``processes`` are those that get the signal, soon and once at most; events say if they did.

    A signal that its runner does not take within 60 seconds is not sent any more.
    """

    id: str
    signal: str
    processes: list[str] = []


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
    last words of one reads the output up to there. ``last_lines`` are those of its error output,
    a few, after it ended or failed to start. ``sockets`` are the tcp addresses of its ports, for
    those on other nodes.
    """

    name: str
    component: str
    replica: Count = 0
    node: str = ""
    instance: str = ""
    generation: int = 0
    state: ReplicaState = "starting"
    pid: Count | None = None
    restarts: Count = 0
    exit: int | None = None
    reason: str = ""
    started: float | None = None
    functions: list[str] = []
    endpoints: dict[str, str] = {}
    master: str = ""
    kernel_file: str = ""
    written: dict[str, int] = {}
    last_lines: str = ""
    sockets: dict[str, str] = {}
    updated: float = 0.0


class Scaling(_Value):
    """A component that scales itself from ``least`` to ``most`` replicas.

    ``wants`` is how many the load of this moment takes, ``waiting`` how many messages have not
    begun; None: not known. ``text`` says all of it.
    """

    least: Count
    most: Count
    wants: Count | None = None
    waiting: Large | None = None
    text: str = ""


class ComponentStatus(_Value):
    """A component: ``desired`` and ``actual`` (ready) replicas, and the state of each.

    ``done`` replicas ended by themselves with exit code 0, and are not missing. ``needs`` are those
    that must be ready before it, and end after it. ``scaling`` is there if it scales itself. It
    runs on nodes of these ``labels``, and on the one called ``node`` if that is given.
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
    needs: list[str] = []
    scaling: Scaling | None = None
    labels: dict[str, str] = {}
    node: str = ""


class Missing(_Value):
    """How many replicas of a component are wanted and not ready, and why."""

    component: str
    count: int
    why: str


class NodeInfo(_Value):
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
    ``places`` is how many processes it takes at most, 0: any number.
    """

    name: str
    address: str = ""
    cores: Count = 0
    labels: dict[str, str] = {}
    places: Count = 0


class NodeJoined(_Value):
    """``session`` goes into every heartbeat; ``lost_after`` seconds of silence lose the node."""

    id: str
    session: str
    generation: int = 0
    lost_after: float = 5.0


class InvitationCreate(_Value):
    """POST .../invitations: who has the answer may join as a node, once.

    ``ttl`` is in seconds; ``node`` is the name that it is to have, "" for any.
    """

    ttl: float = 3600.0
    node: str = ""


class Invitation(_Value):
    """The only answer that has the ``secret``; with ``fingerprint``, of the certificate, it is TLS.

    ``fingerprint`` is the SHA-256 of it, "" where the registry speaks no TLS.
    """

    secret: str
    cluster: str
    expires: float
    url: str
    node: str = ""
    fingerprint: str = ""


class NodeAccept(_Value):
    """POST api/join: the secret of an invitation, for a token of a node of this ``name``."""

    secret: str
    name: str


class NodeAccepted(_Value):
    """The only answer that has the ``token``."""

    cluster: str
    node: str
    token: str


class SignalOrder(_Value):
    """A signal for the process ``name``, if it still is of this ``instance``.

    It is told again until the runner has said what became of it; who knows its ``id`` leaves it.
    """

    id: str
    name: str
    signal: str
    instance: str = ""


class SignalDone(_Value):
    """What became of a `SignalOrder`.

    ``reason`` says why it was not ``sent``, or how sure it is that it was.
    """

    id: str
    name: str
    sent: bool = True
    reason: str = ""


class Heartbeat(_Value):
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


class Assignment(_Value):
    """A component, and the ``numbers`` of its replicas that this node runs.

    ``reached``: components on other nodes have its sockets in their arguments. ``keep`` are those
    of ``numbers`` that go on in the version before, if they still run in it: their turn comes.
    """

    spec: ComponentSpec
    numbers: list[int]
    reached: bool = False
    keep: list[int] = []


class Assignments(_Value):
    """All that a node is to run: what is not in here is to be stopped.

    ``stop``: the cluster is at its end; stop everything, report once more, leave, and end.
    ``sockets`` are the addresses of sockets ("foo.pull") that arguments name and that are bound
    on other nodes, "" where that is not known yet. ``peers`` are the addresses of components that
    run on other nodes, by name, "" of one that cannot be reached from another machine. ``signals``
    are to be sent once. ``keys`` is another whenever the keys of the cluster are, "" if the
    registry does not have them.
    """

    generation: int
    components: list[Assignment] = []
    stop: bool = False
    sockets: dict[str, str] = {}
    peers: dict[str, str] = {}
    signals: list[SignalOrder] = []
    keys: str = ""


# ---- keys and names


class KeyPair(_Value, kw_only=True):
    """The key pair of a role, and the public key of its servers (z85 text).

    ``expires`` is until when it is good, in seconds since the epoch, 0: for ever.
    """

    schema: int = 1
    role: str
    curve_publickey: str
    curve_secretkey: str
    server_publickey: str
    created: str = ""
    expires: float = 0.0

    def __repr__(self) -> str:
        # A repr ends up in logs.
        return f"<{type(self).__name__} {self.role} {self.curve_publickey}>"


class ClusterKey(KeyPair, kw_only=True):
    """The key of one role of a cluster; that of ``before`` is good beside it for a while."""

    before: KeyPair | None = None

    @property
    def pairs(self) -> tuple[KeyPair, ...]:
        """The pair, and that of before."""
        return (self,) if self.before is None else (self, self.before)


class ClusterKeys(_Value):
    """All keys of a cluster: what a node needs, on which any component may run."""

    owner: ClusterKey
    client: ClusterKey
    worker: ClusterKey

    @property
    def digest(self) -> str:
        """What is another whenever any of them is; it gives nothing of them away."""
        pairs = (*self.owner.pairs, *self.client.pairs, *self.worker.pairs)
        told = "".join(f"{p.role} {p.curve_publickey} {p.expires!r}\n" for p in pairs)
        return sha256(told.encode()).hexdigest()[:16]

    def follows(self, others: ClusterKeys) -> bool:
        """Whether these took the place of others, or are the same."""
        ours = (each.curve_publickey for each in self.owner.pairs)
        return others.owner.curve_publickey in ours


class KeysOffer(_Value):
    """A node's question for the keys of a cluster; if there are none yet, it offers ``keys``."""

    keys: ClusterKeys | None = None


class NamedAddress(_Value):
    """Where a component that is found by its name listens; ``node`` is where it runs.

    ``address`` is "" while it does not run, or if no other machine can reach it; ``runs`` says
    which of the two.
    """

    name: str
    role: str
    node: str = ""
    address: str = ""
    runs: bool = False


# ---- metrics


class _Counted(_Value):
    """What was counted since a process started.

    ``received`` messages are ``done``, ``failed``, ``dropped`` or open; of the open ones ``queued``
    wait here and ``running`` are at work. ``seconds`` is the time that functions took. The rates
    are messages a second, ``mean`` is the time that a function takes, ``p50`` and ``p99`` are
    from arrival to outcome, in seconds and of what is new; None: not known yet.
    """

    received: Large = 0
    done: Large = 0
    failed: Large = 0
    dropped: Large = 0
    queued: Large = 0
    running: Large = 0
    seconds: Measure = 0.0
    rate_in: Measure | None = None
    rate_out: Measure | None = None
    mean: Measure | None = None
    p50: Measure | None = None
    p99: Measure | None = None


class FunctionSample(_Counted, kw_only=True):
    """What a component has counted of one function.

    ``part`` names the component where a process has several.
    """

    name: Annotated[str, msgspec.Meta(max_length=200)]
    part: Annotated[str, msgspec.Meta(max_length=64)] = ""


class EdgeSample(_Value):
    """Messages from one component or process to the next: to a worker, or to a later stage.

    ``role`` is that of the end that did not count them: "client", "worker", "stage", "stage
    before". ``rate`` is messages a second, None: not known yet; ``open`` have no outcome.
    """

    source: Annotated[str, msgspec.Meta(max_length=200)]
    target: Annotated[str, msgspec.Meta(max_length=200)]
    role: Annotated[str, msgspec.Meta(max_length=32)] = ""
    rate: Measure | None = None
    messages: Large = 0
    open: Large = 0


class Sample(_Counted, kw_only=True):
    """One process at one ``time``: what it uses, and what its functions did, all together.

    ``cpu`` is in percent of a processor, ``cpu_seconds`` since its start, ``rss`` in bytes,
    ``files`` counts all that is open, sockets too; None: not known. ``latency`` counts outcomes by
    the time since arrival, in the buckets of `ClusterMetrics`. ``functions`` are those with most
    messages; others are counted together as "(others)". ``edges`` are its busiest neighbours.
    """

    name: str
    component: str
    replica: Count = 0
    node: str = ""
    instance: Annotated[str, msgspec.Meta(max_length=128)] = ""
    state: ReplicaState = "ready"
    pid: Count | None = None
    time: Measure = 0.0
    cpu: Measure | None = None
    cpu_seconds: Measure | None = None
    rss: Large | None = None
    threads: Count | None = None
    files: Count | None = None
    restarts: Count = 0
    latency: Annotated[list[Large], msgspec.Meta(max_length=MAX_BUCKETS)] = []
    functions: Annotated[list[FunctionSample], msgspec.Meta(max_length=MAX_FUNCTIONS)] = []
    edges: Annotated[list[EdgeSample], msgspec.Meta(max_length=MAX_EDGES)] = []


class NodeSamples(_Value):
    """POST .../nodes/{id}/metrics: all processes of a node as they are now.

    ``session`` is that of the heartbeats. ``bounds`` are the upper bounds, in seconds, of the
    buckets of each ``latency``; the last bucket has none.
    """

    session: str = ""
    bounds: Annotated[list[Measure], msgspec.Meta(max_length=MAX_BUCKETS)] = []
    samples: Annotated[list[Sample], msgspec.Meta(max_length=MAX_SAMPLES)] = []


class Point(_Value):
    """One sample of a series: the numbers that make a curve."""

    time: float
    cpu: float | None = None
    rss: int | None = None
    rate_in: float | None = None
    rate_out: float | None = None
    queued: int = 0
    running: int = 0
    failed: int = 0
    mean: float | None = None
    p50: float | None = None
    p99: float | None = None


class Series(_Value):
    """What was kept of one process, oldest first."""

    name: str
    component: str
    replica: int = 0
    node: str = ""
    points: list[Point] = []


class ClusterMetrics(_Value):
    """GET .../metrics: the newest sample of each process; with ``history=1`` the last minutes too.

    It is kept in memory only. ``bounds`` are those of `NodeSamples`.
    """

    cluster: str
    time: float
    bounds: list[float] = []
    samples: list[Sample] = []
    series: list[Series] = []


# ---- output and events


class OutputPiece(_Value):
    """Part of what an instance wrote; ``offset`` counts bytes from the start of its stream.

    A *gap record* has no bytes: ``lost`` says how many were written there and are nowhere any more,
    ``reason`` why ("quota", "disk", "freed"), and ``time`` since when.
    """

    instance: str
    stream: Stream
    offset: int
    data: bytes = msgspec.field(name="bytes")
    time: float = 0.0
    component: str = ""
    replica: int = 0
    name: str = ""
    lost: int = 0
    reason: str = ""


class OutputAck(_Value):
    """All bytes of the stream below ``durable_offset`` are stored: go on from there."""

    instance: str
    stream: Stream
    durable_offset: int


class OutputRecord(_Value):
    """A stored piece: ``text`` if it is UTF-8 by itself, else its ``bytes`` (field ``data``).

    A character may be cut in two by the end of a piece, so who shows output decodes the `raw`
    bytes of a stream one after another, and takes `palm.spec.text.printable` of the result.

    A *gap record* stands for ``lost`` bytes that nobody has any more, for a ``reason``; its
    ``text`` says so, as a line of its own.
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
    lost: int = 0
    reason: str = ""

    @property
    def raw(self) -> bytes:
        """What the component wrote; nothing of what is lost."""
        if self.lost:
            return b""
        return self.data if self.data is not None else (self.text or "").encode()

    @property
    def end(self) -> int:
        """The offset of what the component wrote next."""
        return self.offset + self.lost + len(self.raw)


class OutputPage(_Value):
    """Records in the order they were stored; ``more``: ask again from ``cursor``.

    Of lines, which are looked for backwards: ``more`` are before the place ``first``. ``dropped``:
    some output after the cursor that was given is gone, for its age or for want of room.
    """

    records: list[OutputRecord]
    cursor: str
    more: bool = False
    first: str = ""
    dropped: bool = False


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


class EventPage(_Value):
    """Events in the order they happened; ``since=cursor`` goes on after them.

    Of the ``latest`` ones, which are looked for backwards: ``more`` are before the first of them.
    """

    events: list[Event]
    cursor: str
    more: bool = False


class Skipped(_Value):
    """Data of a frame "skipped": what was left out.

    Either the reader was too far behind ("backlog"), or it came too late: what it would have read
    was "dropped" for its age or for want of room, and nobody knows how much that was.
    """

    topic: Topic
    count: int
    size: int = 0
    reason: Literal["backlog", "dropped"] = "backlog"


class Frame(_Value):
    """One frame of the live feed; ``since=cursor`` goes on after it.

    ``data`` is a ClusterStatus, a ClusterMetrics, an Event, a list of OutputRecord or a Skipped.
    """

    topic: Topic
    cursor: str
    data: Any


_FRAME_DATA: dict[str, Any] = {
    "status": ClusterStatus,
    "metrics": ClusterMetrics,
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

    ``creator`` is the name of the token by which it was made. ``expires`` None: never. ``node``:
    the only node that it is for, "" for any.
    """

    name: str
    scope: Scope
    user: str
    created: float
    cluster: str = ""
    expires: float | None = None
    used: float | None = None
    creator: str = ""
    node: str = ""


class TokenMade(TokenInfo, kw_only=True):
    """The answer to TokenCreate: the only one that has the ``token`` itself."""

    token: str


class Caller(_Value):
    """GET api/caller: who asks, and what it may do; ``cluster`` is the only one, "" for all.

    ``browser``: it is the session of a browser. ``expires`` None: the token never does.
    """

    token: str
    user: str
    scope: Scope
    cluster: str = ""
    browser: bool = False
    expires: float | None = None


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
    """GET api/audit: entries in order; ``more``: ask again with ``since=cursor``.

    Of the ``latest`` ones, which are looked for backwards: ``more`` are before the first of them.
    """

    entries: list[AuditEntry]
    cursor: str
    more: bool = False


# ---- the service itself


class Health(_Value):
    """GET health, open to all: says nothing about clusters."""

    status: str
    version: str
    api: int = 1
    api_oldest: int = 1


class RegistryInfo(_Value):
    """GET api/registry: what the registry is, and how it was told to run.

    ``run`` is another after each start. Sizes are bytes, ``None`` is no limit. ``database`` is
    its kind, ``fingerprint`` that of the certificate, "" without TLS.
    """

    version: str
    api: int
    api_oldest: int
    run: str
    pid: int
    started: float
    url: str
    database: str
    database_size: int
    retain_size: int | None = None
    retain_age: float | None = None
    linger: float | None = None
    fingerprint: str = ""
    connections: int = 0
    most_connections: int = 0


def version_problem(client: int, registry: int) -> tuple[str, str] | None:
    """Say why two versions of the API do not go together, and what to do; None if they do.

    A registry serves clients and runners of its own version and of the one before.
    """
    speak = f"the client speaks version {client} of the API, the registry version {registry}"
    if client > registry:
        way = "start the registry anew with the newer palm: palm registry restart"
        return f"the registry is older than its client: {speak}", way
    if client < registry - 1:
        way = "install the palm of the registry where the client, or the runner, is"
        return f"the client is older than the registry: {speak}", way
    return None


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
