"""What a client has submitted of a job: each input is kept until somebody else answers for it."""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass

from msgspec.structs import replace

from palm.errors import PalmError
from palm.protocol.ranges import RangeSet
from palm.protocol.timers import Timer
from palm.wire.batch import Batch
from palm.wire.message import Route, Submit, Terms

__all__ = ["Sent", "Submissions"]


@dataclass(slots=True)
class Sent:
    """Inputs without an outcome: ``left`` counts them.

    ``birth`` is the master's session to which they were sent first (0: they were not), ``lost_at``
    when they were first sent to another one.
    """

    submit: Submit
    batch: Batch
    left: int
    birth: int = 0
    lost_at: float | None = None


class Submissions:
    """Inputs and outcomes of one job, by number.

    Of a job in the master's journal, inputs are kept until they are ``accepted`` there (a count:
    all before it are); outcomes come in the order of their ``position``, and the caller has room
    for more than those before ``taken``.
    """

    __slots__ = (
        "accepted",
        "answered",
        "closed",
        "confirmed",
        "expired",
        "expiry",
        "firsts",
        "function",
        "id",
        "journaled",
        "number",
        "position",
        "route",
        "sent",
        "submitted",
        "taken",
        "terms",
    )

    def __init__(self, job: bytes, function: str, terms: Terms | None) -> None:
        self.id = job
        self.function = function
        self.terms = terms
        self.journaled = terms is not None and terms.journaled
        self.route: Route | None = None
        self.accepted = 0
        #: Of the latest message by which it is wanted.
        self.number = 0
        #: The journal has it that no more will come.
        self.confirmed = not self.journaled
        self.position = 0
        self.taken = 0
        #: Runs while it has time left, if that is limited.
        self.expiry: Timer | None = None
        self.expired = False
        self.answered = RangeSet()
        self.submitted = RangeSet()
        self.closed = False
        self.firsts: list[int] = []
        self.sent: dict[int, Sent] = {}

    @property
    def finished(self) -> bool:
        """Whether no more inputs come, and each has its outcome."""
        answered = self.answered.total == self.submitted.total
        return self.closed and answered and self.confirmed

    def add(self, submit: Submit, batch: Batch) -> Sent:
        """Take inputs."""
        self.submitted.add(submit.first, submit.first + batch.n)
        self.closed = self.closed or submit.last
        sent = Sent(submit, batch, batch.n)
        if batch.n:
            insort(self.firsts, submit.first)  # workers side by side are done in any order
            self.sent[submit.first] = sent
        return sent

    def open(self) -> list[Sent]:
        """Return what is to be sent again, in its order, without what has its outcome."""
        if not self.journaled:  # else inputs leave in their order, as `accept` says
            self._trim()
        return [self.sent[first] for first in self.firsts]

    def _trim(self) -> None:
        for first, sent in list(self.sent.items()):
            if sent.left == sent.batch.n:
                continue
            self.firsts.remove(first)
            del self.sent[first]
            for start, stop in self.answered.missing(first, first + sent.batch.n):
                a, b = start - first, stop - first
                submit = replace(
                    sent.submit,
                    first=start,
                    n=stop - start,
                    partitions=sent.submit.partitions[a:b],
                    kinds=sent.submit.kinds[a:b],
                )
                insort(self.firsts, start)
                batch = sent.batch.cut(a, b)
                self.sent[start] = Sent(submit, batch, batch.n, sent.birth, sent.lost_at)

    def check(self) -> None:
        """Raise `PalmError` where inputs are lost, or kept beyond their outcome; for tests.

        Those in the master's journal are kept by other rules.
        """
        if self.firsts != sorted(self.sent):
            raise PalmError(f"not in their order: {self.firsts} of {sorted(self.sent)}")
        for first, sent in self.sent.items():
            missing = self.answered.missing(first, first + sent.batch.n)
            if not missing or sent.left != sum(stop - start for start, stop in missing):
                raise PalmError(f"{sent.left} of {first}+{sent.batch.n} are kept, not {missing}")
        kept = sum(sent.left for sent in self.sent.values())
        if kept != self.submitted.total - self.answered.total:
            raise PalmError(f"{kept} kept, {self.answered.total}/{self.submitted.total} answered")

    def accept(self, upto: int) -> bool:
        """Let go of inputs that are in the journal; return whether that was not known."""
        if upto <= self.accepted:
            return False
        self.settle(self.accepted, upto, keep=False)
        self.accepted = upto
        return True

    def settle(self, start: int, stop: int, *, keep: bool) -> list[tuple[int, int, Batch]]:
        """Let go of inputs whose outcome is there; return them if they are to be kept."""
        inputs = []
        at = bisect_right(self.firsts, start) - 1
        while start < stop and 0 <= at < len(self.firsts):
            sent = self.sent[self.firsts[at]]
            first = sent.submit.first
            upto = min(stop, first + sent.batch.n)
            if keep:
                part = sent.batch.cut(start - first, upto - first)
                inputs.append((start, sent.submit.codec, part))
            sent.left -= upto - start
            start = upto
            if sent.left:
                at += 1
            else:
                del self.sent[self.firsts.pop(at)]
        return inputs
