"""A batch: 1..N payloads of one job as three or more frames, which can be cut without a copy.

``lengths`` holds one little-endian unsigned 32-bit number (bytes) for each payload, ``body`` the
payloads below `INLINE_LIMIT` one after the other, and each larger payload follows as frames of
its own. How those are sliced does not matter: their lengths add up.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from palm.errors import WireError

__all__ = ["INLINE_LIMIT", "MAX_BODY", "MAX_MESSAGES", "MAX_PAYLOAD", "Batch", "Buffer"]

#: What a frame may be: anything with the buffer protocol (bytes, memoryview, a transport's frame).
Buffer = Any

#: Payloads of this size (bytes) and more travel as frames of their own: joining them would copy.
INLINE_LIMIT: Final = 16 * 1024

#: Most payloads in one batch: what a batch costs on its way is shared by so many.
MAX_MESSAGES: Final = 4096

#: Most bytes in a body: whoever packs what is not bounded otherwise cuts it there.
MAX_BODY: Final = 16 << 20

#: Largest payload, bytes.
MAX_PAYLOAD: Final = 1 << 30

#: More sizes than this are compared at once, fewer one by one.
MANY: Final = 16

_SWAP = sys.byteorder == "big"


class Batch:
    """``n`` payloads, packed.

    Made by `pack` or, from received frames, by `unpack`; never changed afterwards.
    """

    __slots__ = ("_sizes", "body", "large", "lengths", "n")

    def __init__(self, n: int, lengths: Buffer, body: Buffer, large: list[Buffer]) -> None:
        self.n = n
        self.lengths = lengths
        self.body = body
        self.large = large
        self._sizes: array[int] | None = None

    @classmethod
    def pack(cls, payloads: Sequence[Buffer]) -> Batch:
        """Pack payloads that are bytes-like and contiguous."""
        sizes = _sizes(payloads)
        if _largest(sizes) >= INLINE_LIMIT:
            body = b"".join([p for p in payloads if len(p) < INLINE_LIMIT])
            large = [p for p in payloads if len(p) >= INLINE_LIMIT]
        else:
            body, large = b"".join(payloads), []
        batch = cls(len(payloads), _to_wire(sizes), body, large)
        batch._sizes = sizes
        return batch

    @classmethod
    def unpack(cls, n: int, frames: Sequence[Buffer]) -> Batch:
        """Check received frames; raises `WireError` where they do not hold ``n`` payloads."""
        if len(frames) < 2:
            raise WireError(f"a batch of {len(frames)} frames")
        if not 0 <= n <= MAX_MESSAGES or len(frames[0]) != 4 * n:
            raise WireError(f"{len(frames[0])} bytes of lengths for {n} payloads")
        batch = cls(n, frames[0], frames[1], list(frames[2:]))
        batch._check()
        return batch

    @property
    def sizes(self) -> array[int]:
        """Size of each payload, bytes."""
        if self._sizes is None:
            self._sizes = _from_wire(self.lengths)
        return self._sizes

    @property
    def size(self) -> int:
        """Bytes of all payloads."""
        if self.large:
            return len(self.body) + sum(map(len, self.large))
        return len(self.body)

    @property
    def largest(self) -> int:
        """Size of the largest payload, bytes."""
        return _largest(self.sizes)

    def frames(self) -> list[Buffer]:
        """Return the frames that follow the header."""
        return [self.lengths, self.body, *self.large]

    def payloads(self) -> list[Buffer]:
        """Return each payload: bytes for small ones, maybe a memoryview for large ones."""
        body = bytes(self.body)
        sizes = self.sizes
        if self.large:
            return self._mixed_payloads(body)
        if self.n > 1 and sizes[0] and _are_equal(sizes):  # as many are; it is far quicker
            return list(_splitter(sizes[0], self.n).unpack(body))
        stops = list(accumulate(sizes))
        return [body[stop - size : stop] for stop, size in zip(stops, sizes, strict=True)]

    def cut(self, start: int, stop: int) -> Batch:
        """Return payloads ``start .. stop-1`` as a batch that shares this one's memory."""
        if start == 0 and stop == self.n:
            return self
        sizes = self.sizes
        small_before, large_before = _split_sum(sizes[:start])
        small, large = _split_sum(sizes[start:stop])
        body = memoryview(self.body)[small_before : small_before + small]
        frames = _slice_frames(self.large, large_before, large) if self.large else []
        batch = Batch(stop - start, _to_wire(sizes[start:stop]), body, frames)
        batch._sizes = sizes[start:stop]
        return batch

    def fitting(self) -> int:
        """Return how many payloads, from the first on, fit in one batch; all, as a rule."""
        if len(self.body) <= MAX_BODY:
            return self.n
        inline = (size if size < INLINE_LIMIT else 0 for size in self.sizes)
        return bisect_right(list(accumulate(inline)), MAX_BODY)

    def _check(self) -> None:
        sizes = self.sizes
        largest = _largest(sizes)
        if largest < INLINE_LIMIT and not self.large and _total(sizes) == len(self.body):
            return  # as it is with most
        if largest > MAX_PAYLOAD:
            raise WireError(f"a payload of {largest} bytes, more than {MAX_PAYLOAD}")
        small, large = _split_sum(sizes)
        if small != len(self.body) or large != sum(map(len, self.large)):
            raise WireError("the lengths of a batch do not add up to its frames")

    def _mixed_payloads(self, body: bytes) -> list[Buffer]:
        result: list[Buffer] = []
        at = at_large = 0
        for size in self.sizes:
            if size < INLINE_LIMIT:
                result.append(body[at : at + size])
                at += size
            else:
                pieces = _slice_frames(self.large, at_large, size)
                result.append(pieces[0] if len(pieces) == 1 else b"".join(pieces))
                at_large += size
        return result


@lru_cache(maxsize=4)  # those of full batches come again; each takes 100 KiB
def _splitter(size: int, n: int) -> struct.Struct:
    """Return what splits ``n`` payloads of equal size in one call."""
    return struct.Struct(f"{size}s" * n)


def _sizes(payloads: Sequence[Buffer]) -> array[int]:
    different = set(map(len, payloads))
    if len(different) == 1:  # quicker than to convert each
        return array("I", different) * len(payloads)
    return array("I", map(len, payloads))


def _are_equal(sizes: array[int]) -> bool:
    """Tell whether all sizes are the same, without making an object of each."""
    return sizes.tobytes() == sizes[:1].tobytes() * len(sizes)


def _are_many_equal(sizes: array[int]) -> bool:
    """Tell whether all sizes are the same, where it is not quicker to look at each."""
    return len(sizes) > MANY and _are_equal(sizes)


def _largest(sizes: array[int]) -> int:
    return sizes[0] if _are_many_equal(sizes) else max(sizes, default=0)


def _total(sizes: array[int]) -> int:
    return sizes[0] * len(sizes) if _are_many_equal(sizes) else sum(sizes)


def _split_sum(sizes: array[int]) -> tuple[int, int]:
    """Return the bytes that stand in the body and those that stand in frames of their own."""
    total = _total(sizes)
    if _largest(sizes) < INLINE_LIMIT:
        return total, 0
    small = sum(size for size in sizes if size < INLINE_LIMIT)
    return small, total - small


def _slice_frames(frames: Sequence[Buffer], start: int, length: int) -> list[Buffer]:
    """Return bytes ``start .. start+length-1`` of ``frames`` laid end to end, as frames."""
    result: list[Buffer] = []
    stop, at = start + length, 0
    for frame in frames:
        size = len(frame)
        low, high = max(start - at, 0), min(stop - at, size)
        if low < high:
            whole = low == 0 and high == size
            result.append(frame if whole else memoryview(frame)[low:high])
        at += size
        if at >= stop:
            break
    return result


def _to_wire(sizes: array[int]) -> bytes:
    if _SWAP:
        sizes = array("I", sizes)
        sizes.byteswap()
    return sizes.tobytes()


def _from_wire(lengths: Buffer) -> array[int]:
    sizes = array("I")
    sizes.frombytes(lengths)
    if _SWAP:
        sizes.byteswap()
    return sizes
