"""What is wanted of one component: how it is started, how often, and where."""

from __future__ import annotations

from typing import Literal

import msgspec

from palm.spec.autoscale import Range
from palm.spec.limits import Limits
from palm.spec.process import Restart
from palm.spec.rollout import Rollout
from palm.spec.spool import QUOTA, SpoolPolicy

__all__ = [
    "MAX_REPLICAS",
    "ROLES",
    "SINGLE_ROLES",
    "STAGE_ROLES",
    "WAYS",
    "Code",
    "CodeFile",
    "ComponentSpec",
    "PalmRole",
    "Role",
    "replica_name",
]

PalmRole = Literal["master", "worker", "server", "hub", "pipeline", "sink"]
Role = Literal["master", "worker", "server", "hub", "pipeline", "sink", "process"]
ROLES: tuple[Role, ...] = ("master", "worker", "server", "hub", "pipeline", "sink", "process")

#: Roles that bind their addresses: a second replica of the same name could not be told apart.
SINGLE_ROLES: tuple[Role, ...] = ("master", "server", "hub", "pipeline", "sink")

#: Roles that take messages from other components, not from clients.
STAGE_ROLES: tuple[Role, ...] = ("hub", "pipeline", "sink")

#: Fields that say what to start; a component gives exactly one of them.
WAYS = ("argv", "script", "module", "entry", "command")

#: Replicas of one component; beyond it, a typing error is more likely.
MAX_REPLICAS = 1024


class CodeFile(msgspec.Struct, kw_only=True, frozen=True):
    """One file, by its content; ``size`` is in bytes."""

    sha256: str
    size: int
    executable: bool = False


class Code(msgspec.Struct, kw_only=True):
    """The files of a component, by their paths below ``folder``, where they were found.

    ``place`` is that folder as the machine that has it knows it: where it is the same, the files
    run where they
    are, unless a component asks for copies.
    """

    folder: str
    files: dict[str, CodeFile] = {}
    place: str = ""


class ComponentSpec(msgspec.Struct, kw_only=True):
    """One component of a cluster.

    What to start is exactly one of

    - ``argv``: a whole command line; nothing is added to it,
    - ``script``: the path of a Python file, ``module``: what ``python -m`` takes, ``entry``:
      ``pkg.mod:function``; ``python`` (the runner's if empty) runs it, with ``args`` added,
    - ``command``: any program with its arguments, with ``args`` added.

    An argument of ``argv``, ``command`` or ``args`` may be a placeholder, as a whole
    (`palm.spec.placeholder`). ``env`` is added to the runner's environment; ``cwd`` is the
    runner's if empty. ``needs`` names components to be ready first. ``grace`` and
    ``ready_timeout`` are seconds. ``ready`` says when it counts as ready: "palm" (it says so
    itself), "tcp:PORT", "http:URL", "log:RE" or "delay:SECONDS".

    ``previous`` says whose results it takes, each as ``NAME`` or ``NAME/TOPIC``; those of one
    that is ``pipelined`` go to the components behind it, not to the client. ``stages`` are those
    that take its own, each as ``NAME/TOPIC``: it waits for them, whoever comes first.

    It runs on nodes that have all of its ``labels``, and on the one called ``node`` if that is
    given.

    ``files`` are patterns of files that it needs beside its script, ``code`` is what they were when
    it was put in force. On a node that does not have them they are laid down in a folder of their
    own; with ``copy`` on every node.

    ``limits`` say what each replica may use. ``rollout`` says whether another version takes the
    place of a few replicas at a time, or of all at once.

    ``spool`` says what happens when more than ``spool_quota`` bytes of a process's output (None: no
    limit) wait for the registry: it is suspended, or its oldest output is dropped.

    With ``scales`` it has as many ``replicas`` as its load takes, within these bounds; ``replicas``
    is how many it has now.

    ``owner`` is the holder that asked for it, "" for a cluster file. ``master`` is that of a
    worker, where known. ``generation`` is set by the registry: a replica that runs with another
    one is to be replaced.
    """

    name: str
    role: Role = "process"
    replicas: int = 1
    argv: list[str] = []
    script: str = ""
    module: str = ""
    entry: str = ""
    command: list[str] = []
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str = ""
    python: str = ""
    kernel: bool = False
    restart: Restart = "on-failure"
    grace: float = 5.0
    ready_timeout: float = 30.0
    ready: str = "palm"
    needs: list[str] = []
    previous: list[str] = []
    pipelined: bool = False
    stages: list[str] = []
    labels: dict[str, str] = {}
    node: str = ""
    files: list[str] = []
    copy: bool = False
    code: Code | None = None
    limits: Limits = Limits()
    rollout: Rollout = "rolling"
    spool: SpoolPolicy = "block"
    spool_quota: int | None = QUOTA
    owner: str = ""
    master: str = ""
    generation: int = 0
    scales: Range | None = None

    @property
    def most(self) -> int:
        """How many replicas it may come to have."""
        return self.scales.most if self.scales is not None else self.replicas

    def carried_over(self, before: ComponentSpec | None) -> ComponentSpec:
        """Return what takes the place of one that runs: if it scales itself, with the same number.

        None: nothing runs, and it begins with what it says itself.
        """
        if self.scales is None:
            return self
        now = self if before is None else before
        return msgspec.structs.replace(self, replicas=self.scales.clamp(now.replicas))

    def replica_name(self, number: int) -> str:
        """Name of the process that is replica ``number`` (from 0)."""
        return replica_name(self.name, self.role, number)


def replica_name(component: str, role: str, number: int) -> str:
    """Name of replica ``number`` (from 0); scaling renames nobody.

    ``NAME-0``, ``NAME-1``, ... for workers; else ``NAME`` itself, then ``NAME-1`` and so on.
    """
    return component if role != "worker" and number == 0 else f"{component}-{number}"
