"""The rules by which output that waits for the registry stays within bounds. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from palm.spec.spool import SpoolPolicy

__all__ = ["LOW_QUOTA", "Disk", "Quota", "Verdict", "is_low"]

#: Bytes that may wait of a process while the disk is almost full.
LOW_QUOTA = 1024 * 1024
#: Bytes below the quota at which a process goes on, at most: the shorter a pause, the better its
#: peers bear it. It is an eighth of smaller quotas.
_SLACK = 16 * 1024 * 1024
#: A disk is almost full with so many bytes left, or this part of it if it is small.
_LOW, _PART = 64 * 1024 * 1024, 16


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes of a file system, and how many of them are free."""

    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a process: ``pause`` says why it is to be suspended, "" that it goes on.

    ``drop`` is how many bytes of what waits are to be dropped, for a ``reason``.
    """

    pause: str = ""
    drop: int = 0
    reason: str = ""


class Quota:
    """The bounds of one process: more than that may not wait, for long."""

    def __init__(self, policy: SpoolPolicy, quota: int | None) -> None:
        self._policy = policy
        self._quota = quota
        self._over = False

    def judge(self, waiting: int, *, low: bool, can_free: bool) -> Verdict:
        """Decide by how many bytes wait, whether the disk is almost full, and can be freed.

        Where nothing can be freed dropping would help nobody: "drop-oldest" is "block" there.
        """
        limit = self._limit(low=low)
        if limit is None or waiting <= limit - _slack(limit):
            self._over = False
        elif waiting > limit:
            self._over = True
        if not self._over or limit is None:
            return Verdict()
        if self._policy == "drop-oldest" and can_free:
            self._over = False
            reason = "disk" if low else "quota"
            return Verdict(drop=waiting - limit + _slack(limit), reason=reason)
        return Verdict(pause=_why(waiting, low=low))

    def _limit(self, *, low: bool) -> int | None:
        if not low:
            return self._quota
        return LOW_QUOTA if self._quota is None else min(LOW_QUOTA, self._quota)


def is_low(disk: Disk, was_low: bool) -> bool:
    """Whether a disk is almost full; once it was, it is until there is twice the room."""
    low = min(_LOW, disk.total // _PART)
    return disk.free < (2 * low if was_low else low)


def _slack(limit: int) -> int:
    return min(_SLACK, limit // 8)


def _why(waiting: int, *, low: bool) -> str:
    size = f"{waiting / 2**30:.1f} GiB" if waiting >= 2**30 else f"{waiting / 2**20:.1f} MiB"
    disk = "the disk is almost full, and " if low else ""
    return f"paused: {disk}{size} of its output wait for the registry"
