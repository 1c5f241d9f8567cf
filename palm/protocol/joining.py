"""Messages that belong together: each waits for the others, and they go on as one.

Who gave them to us has custody of parts that wait. When all are there, the last one carries the
result, and the others have none. Their outcomes leave one by one: a process that dies in between
would wait for parts that never come again. So what was joined is kept on disk until all of its
outcomes are safe; a part that comes again finds there what it had become a part of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from palm.errors import WireError
from palm.protocol.effects import Effect, ForgetJoined, KeepJoined
from palm.protocol.entries import Joined, PartOf
from palm.protocol.passage import Passage, route_of
from palm.protocol.timers import Timer, Timers
from palm.wire.batch import Batch, Buffer
from palm.wire.codec import Codec
from palm.wire.message import Outcome
from palm.wire.outcome import Failure, Kind, encode_failure
from palm.wire.results import NOTHING, Item, pack_results, unpack_results

__all__ = ["Joiner", "KeyOf"]


class KeyOf(msgspec.Struct, array_like=True):
    """What a hook says of one part: its ``key``, hashed, as text, and of how many parts it is.

    Parts of other jobs are others, unless they go ``across`` jobs.
    """

    key: bytes
    text: str
    parts: int
    across: bool = False


@dataclass(slots=True)
class _Part:
    passage: Passage
    outcome: Outcome
    item: Item


@dataclass(slots=True)
class _Waiting:
    """The parts of one key that are there; ``timer`` runs while others are missing."""

    text: str
    wanted: int
    parts: list[_Part] = field(default_factory=list)
    timer: Timer | None = None


#: Function, job and key of parts that belong together.
_Belongs = tuple[str, bytes, bytes]

_decoder = msgspec.msgpack.Decoder(KeyOf)


class Joiner:
    """The parts that wait at one component; ``within`` is how long, seconds (None: for ever).

    ``order(passage)`` tells where in the row of parts those of a job stand. ``recovered`` is what
    an earlier life had joined, whose outcomes may not all be safe. Effects are added to the list
    of the machine that it serves.
    """

    def __init__(
        self,
        timers: Timers,
        effects: list[Effect],
        within: float | None,
        order: Callable[[Passage], int],
        recovered: Iterable[Joined],
    ) -> None:
        self._timers = timers
        self._effects = effects
        self._within = within
        self._order = order
        self._waiting: dict[_Belongs, _Waiting] = {}
        #: Parts that have their outcome with the last one of them, by that.
        self._with: dict[tuple[int, int], list[_Part]] = {}
        #: What was joined, by the job and number of each of its parts that is not safe.
        self._joined: dict[bytes, dict[int, Joined]] = {}
        #: How many of its parts are not safe.
        self._unsafe: dict[int, int] = {}
        self._next = 1
        for joined in recovered:
            self._note(joined)
        #: Those whose last one nobody wants any more.
        self._left: list[_Part] = []
        self.finish: Callable[[Passage, Outcome, Batch, float], None] = _drop

    def run(self, now: float) -> None:
        """Give those their outcome that were joined to what nobody wants any more."""
        left, self._left = self._left, []
        for part in left:
            self.finish(part.passage, *_without_result(part.outcome), now)

    def add(self, passage: Passage, outcome: Outcome, payload: Buffer, now: float) -> bytes | None:
        """Take a part as the hook gave it; return all of them as one payload if it was the last."""
        before = self._joined.get(passage.id, {}).get(outcome.first)
        if before is not None:
            return self._again(before, passage, outcome, now)
        try:
            said, item = unpack_results(payload).items
            key = _decoder.decode(said.payload)
        except (WireError, ValueError, msgspec.DecodeError) as error:
            failure = Failure("WireError", f"not a part with its key: {error}")
            self._fail(_Part(passage, outcome, Item(0, b"")), failure, now)
            return None
        job = b"" if key.across else route_of(passage.root).job
        belongs = (passage.root.function, job, key.key)
        waiting = self._waiting.get(belongs)
        if waiting is None:
            waiting = self._waiting[belongs] = _Waiting(key.text, key.parts)
            if self._within is not None and key.parts > 1:
                due = now + self._within
                waiting.timer = self._timers.at(due, self._give_up, belongs)
        last = _Part(passage, outcome, item)
        waiting.parts.append(last)
        if len(waiting.parts) < waiting.wanted:
            return None
        self._stop_waiting(belongs)
        return self._join(last, waiting.parts)

    def _join(self, last: _Part, parts: list[_Part]) -> bytes:
        in_order = sorted(parts, key=lambda part: self._order(part.passage))
        whole = pack_results(part.item for part in in_order)
        others = [part for part in parts if part is not last]
        if others:
            of = [PartOf(part.passage.id, part.outcome.first) for part in [last, *others]]
            joined = Joined(self._next, of, whole)
            self._note(joined)
            self._effects.append(KeepJoined(joined))
            self._with[id(last.passage), last.outcome.first] = others
        return whole

    def _note(self, joined: Joined) -> None:
        self._next = max(self._next, joined.id + 1)
        self._unsafe[joined.id] = len(joined.parts)
        for part in joined.parts:
            self._joined.setdefault(part.job, {})[part.number] = joined

    def _again(
        self, joined: Joined, passage: Passage, outcome: Outcome, now: float
    ) -> bytes | None:
        """Let a part that came again have what it had: the result, or none."""
        last = joined.parts[0]
        if (last.job, last.number) == (passage.id, outcome.first):
            return joined.whole
        self.finish(passage, *_without_result(outcome), now)
        return None

    def concluded(
        self, passage: Passage, outcome: Outcome
    ) -> Iterator[tuple[Passage, Outcome, Batch]]:
        """Yield the other parts of messages that have their outcome now: they have no result."""
        if not self._with:
            return
        for number in range(outcome.first, outcome.first + outcome.n):
            for part in self._with.pop((id(passage), number), ()):
                yield part.passage, *_without_result(part.outcome)

    # What is over

    def release(self, job: bytes, first: int, n: int) -> None:
        """Note that the outcomes of parts are safe."""
        numbers = self._joined.get(job)
        if numbers:
            for number in [each for each in numbers if first <= each < first + n]:
                self._let_go(numbers.pop(number))
            if not numbers:
                del self._joined[job]

    def leave(self, passage: Passage) -> None:
        """Forget the parts of a passage that nobody wants any more."""
        self.forget(passage.id)
        for belongs, waiting in list(self._waiting.items()):
            waiting.parts = [part for part in waiting.parts if part.passage is not passage]
            if not waiting.parts:
                self._stop_waiting(belongs)
        for last in [last for last in self._with if last[0] == id(passage)]:
            self._left += self._with.pop(last)
        for last, parts in self._with.items():
            self._with[last] = [part for part in parts if part.passage is not passage]
        self._left = [part for part in self._left if part.passage is not passage]

    def forget(self, job: bytes) -> None:
        """Forget what parts of a job had become parts of."""
        for joined in self._joined.pop(job, {}).values():
            self._let_go(joined)

    def forget_all_but(self, jobs: Collection[bytes]) -> None:
        """Forget what parts of other jobs had become parts of: they did not come again."""
        for job in [job for job in self._joined if job not in jobs]:
            self.forget(job)

    def _let_go(self, joined: Joined) -> None:
        self._unsafe[joined.id] -= 1
        if not self._unsafe[joined.id]:
            del self._unsafe[joined.id]
            self._effects.append(ForgetJoined(joined.id))

    def _stop_waiting(self, belongs: _Belongs) -> None:
        timer = self._waiting.pop(belongs).timer
        if timer is not None:
            timer.cancel()

    def _give_up(self, belongs: _Belongs, now: float) -> None:
        """Fail parts whose others did not come."""
        waiting = self._waiting.pop(belongs)
        text = (
            f"{len(waiting.parts)} of {waiting.wanted} parts of {waiting.text} came within"
            f" {self._within:g} s"
        )
        for part in waiting.parts:
            self._fail(part, Failure("JoinIncomplete", text), now)

    def _fail(self, part: _Part, failure: Failure, now: float) -> None:
        part.outcome.kinds, part.outcome.codec = bytes([Kind.TASK_ERROR]), Codec.MSGPACK
        self.finish(part.passage, part.outcome, Batch.pack([encode_failure(failure)]), now)

    # For tests

    @property
    def kept(self) -> int:
        """Count of what was joined and may be asked for again."""
        return len(self._unsafe)

    def numbers(self, passage: Passage) -> set[int]:
        """Return the messages of a passage that wait here."""
        parts = [part for waiting in self._waiting.values() for part in waiting.parts]
        parts += [part for joined in self._with.values() for part in joined]
        return {part.outcome.first for part in parts if part.passage is passage}


def _without_result(outcome: Outcome) -> tuple[Outcome, Batch]:
    outcome.kinds, outcome.codec = bytes([Kind.MANY]), Codec.RAW
    return outcome, Batch.pack([NOTHING])


def _drop(passage: Passage, outcome: Outcome, batch: Batch, now: float) -> None:
    """Do nothing: nobody has said where outcomes go."""
