"""Components: how each is, and what may be asked of one."""

from __future__ import annotations

from typing import Literal

from palm.registry_api.schema.base import Count, Large, Value
from palm.spec.process import State

__all__ = [
    "ComponentStatus",
    "Missing",
    "ReplicaState",
    "ReplicaStatus",
    "Scale",
    "Scaling",
    "SignalRequest",
    "SignalSent",
    "Stop",
]

#: A supervisor's states; and of a process whose node is lost nobody knows.
ReplicaState = Literal[State, "unknown"]


class ReplicaStatus(Value):
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


class Scaling(Value):
    """A component that scales itself from ``least`` to ``most`` replicas.

    ``wants`` is how many the load of this moment takes, ``waiting`` how many messages have not
    begun; None: not known. ``text`` says all of it.
    """

    least: Count
    most: Count
    wants: Count | None = None
    waiting: Large | None = None
    text: str = ""


class ComponentStatus(Value):
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


class Missing(Value):
    """How many replicas of a component are wanted and not ready, and why."""

    component: str
    count: int
    why: str


class Scale(Value):
    """POST .../components/{name}/scale."""

    replicas: int


class Stop(Value):
    """POST .../components/{name}/stop; ``grace`` None: that of the component."""

    grace: float | None = None


class SignalRequest(Value):
    """POST .../components/{name}/signal: "HUP" or "SIGHUP" for its processes, or for one of them.

    ``id`` is made up by who asks: the same request again, after a lost answer, sends nothing twice.
    """

    signal: str
    replica: Count | None = None
    id: str = ""


class SignalSent(Value):
    """``processes`` are those that get the signal, soon and once at most; events say if they did.

    A signal that its runner does not take within 60 seconds is not sent any more.
    """

    id: str
    signal: str
    processes: list[str] = []
