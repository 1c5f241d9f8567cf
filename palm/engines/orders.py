"""What an engine's worker is told to be, and what it says of that; sent in pickles of Dask."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NodeReport", "NodeOrder"]


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """Be ``node`` of ``cluster``: ``join`` is the join string, ``options`` are for the command."""

    cluster: str
    node: str
    join: str
    options: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<NodeOrder {self.node} of {self.cluster}>"


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A worker is ``node``, and whether its runner runs; ``problem`` is why it does not."""

    node: str
    running: bool
    problem: str = ""
