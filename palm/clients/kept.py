"""The outcomes of a job that are kept for its frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from palm.clients.outcomes import Chunk, Failed

__all__ = ["KEEP_BYTES", "Kept", "raise_first"]

#: Bytes of consumed outcomes that a job keeps for `Job.to_frame`.
KEEP_BYTES: Final = 32 * 1024 * 1024


class Kept:
    """Outcomes, whoever has had them; of those that were consumed not too many bytes.

    It is not thread-safe by itself.
    """

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []
        self._consumed_bytes = 0
        #: Outcomes that are kept no longer.
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._chunks)

    def add(self, chunk: Chunk) -> None:
        """Keep outcomes that have come."""
        self._chunks.append(chunk)

    def consume(self, chunk: Chunk, waiting: Iterable[Chunk], *, all_wanted: bool) -> None:
        """Note that the caller has had outcomes, and forget what is too much.

        That is not what is ``waiting`` for its caller, no failures, and nothing if all are wanted.
        """
        self._consumed_bytes += chunk.size
        if self._consumed_bytes > KEEP_BYTES and not all_wanted:
            here = {id(c) for c in waiting}
            kept = [c for c in self._chunks if id(c) in here or c.failed]
            self.forgotten += sum(c.n for c in self._chunks) - sum(c.n for c in kept)
            self._chunks, self._consumed_bytes = kept, 0

    def in_order(self) -> list[Chunk]:
        """Return them in the order of the input."""
        return sorted(self._chunks, key=lambda chunk: chunk.first)

    def failed(self) -> list[Chunk]:
        """Return those with a failure, likewise."""
        return sorted((c for c in self._chunks if c.failed), key=lambda chunk: chunk.first)


def raise_first(chunks: list[Chunk], answered: int) -> None:
    """Raise the first failure, if there is one; it says how many of ``answered`` failed."""
    failed = [chunk for chunk in chunks if chunk.failed]
    if not failed:
        return
    first = failed[0].errors()[0]
    count = sum(chunk.failed for chunk in failed)
    if count > 1:
        kinds = Counter(_kind(error) for chunk in failed for error in chunk.errors())
        counts = ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common(5))
        first.add_note(
            f"{count:,} of {answered:,} messages failed: {counts}. "
            'See job.failures, or job.to_frame(errors="return").'
        )
    raise first


def _kind(error: Failed) -> str:
    return getattr(error, "type", type(error).__name__)
