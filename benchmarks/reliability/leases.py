"""How many messages a lease has: a worker counts, another process reads."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Leases", "count_leases"]

_COUNTS = struct.Struct("QQ")


def count_leases(path: str) -> None:
    """Have this process, which is to be a worker, count its leases and their messages there."""
    from palm.protocol.effects import Invoke
    from palm.protocol.events import Completed
    from palm.runtime.executor import Executor

    with open(path, "w+b") as file:
        file.truncate(_COUNTS.size)
        shared = mmap.mmap(file.fileno(), _COUNTS.size)
    run, counts = Executor.run, [0, 0]

    def counted(self: Executor, invoke: Invoke) -> Completed:
        if invoke.start == 0:
            counts[0] += 1
            counts[1] += invoke.batch.n
            _COUNTS.pack_into(shared, 0, *counts)
        return run(self, invoke)

    Executor.run = counted  # type: ignore[method-assign]


class Leases:
    """The counts of some workers since this was made."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = list(paths)
        self._before = self._now()

    def mean(self) -> float:
        """Return the messages of a lease."""
        leases, messages = (a - b for a, b in zip(self._now(), self._before, strict=True))
        return messages / leases if leases else 0.0

    def _now(self) -> tuple[int, int]:
        rows = [_COUNTS.unpack(Path(path).read_bytes()) for path in self._paths]
        return sum(row[0] for row in rows), sum(row[1] for row in rows)
