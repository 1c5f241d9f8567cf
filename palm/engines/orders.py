"""What an engine's worker is told to be, and what it says of that; sent in pickles of Dask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from palm.runtime.hosts import boot_id

__all__ = ["RECORD", "Beside", "NodeOrder", "NodeReport"]

#: File in the run folder that says where the registry is.
RECORD = "registry.json"


@dataclass(frozen=True, slots=True)
class Beside:
    """The run folder of a cluster, on the machine of this boot, with this record of its registry.

    Where a worker finds just that, it is on the machine of the registry, and components there are
    found in the run folder, as by all others of that machine.
    """

    run: str
    boot: str
    record: bytes

    def is_here(self) -> bool:
        """Whether this machine is the one that is meant, and the folder there is ours."""
        if not self.boot or self.boot != boot_id():
            return False
        try:
            return (Path(self.run) / RECORD).read_bytes() == self.record
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """Be ``node`` of ``cluster``: ``join`` is the join string, ``options`` are for the command.

    ``address`` is where other nodes reach this one, if it is not ``beside`` all of them.
    """

    cluster: str
    node: str
    join: str
    options: tuple[str, ...] = ()
    address: str = ""
    beside: Beside | None = None

    def __repr__(self) -> str:
        return f"<NodeOrder {self.node} of {self.cluster}>"


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A worker is ``node``, and whether its runner runs; ``problem`` is why it does not."""

    node: str
    running: bool
    problem: str = ""
