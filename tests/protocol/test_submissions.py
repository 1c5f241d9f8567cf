"""What was submitted and has no outcome is kept, in whatever order it comes and goes."""

from __future__ import annotations

from random import Random

import pytest

from palm.protocol.submissions import Submissions
from palm.wire.batch import Batch
from palm.wire.message import Submit

Parts = list[tuple[int, Batch]]


def batches(random: Random) -> Parts:
    """Return batches that follow one another, with their first numbers, in any order."""
    found, first = [], 0
    for n in random.choices(range(1, 6), k=random.randint(1, 12)):
        found.append((first, Batch.pack([b"%d" % at for at in range(first, first + n)])))
        first += n
    random.shuffle(found)
    return found


def numbers(parts: Parts) -> list[int]:
    """Return the numbers of inputs, which are their payloads, too."""
    found = [first + at for first, batch in parts for at in range(batch.n)]
    assert found == [int(payload) for _, batch in parts for payload in batch.payloads()]
    return found


def some_of(open_: set[int], random: Random) -> tuple[int, int]:
    """Return a range of open numbers, which may go over several batches."""
    first = random.choice(sorted(open_))
    stop = first + 1
    while stop in open_ and random.random() < 0.7:
        stop += 1
    return first, stop


@pytest.mark.parametrize("seed", range(100))
def test_inputs_are_kept_until_their_outcome_in_any_order(seed: int) -> None:
    random = Random(seed)
    waiting, open_ = batches(random), set[int]()
    submissions = Submissions(b"job", "f", None)
    while waiting or open_:
        what = random.choice(["give", "answer", "answer", "again"])
        if what == "give" and waiting:
            first, batch = waiting.pop()
            submissions.add(Submit(0, b"job", first, batch.n, "f", 0, False), batch)
            open_ |= set(range(first, first + batch.n))
        elif what == "answer" and open_:
            first, stop = some_of(open_, random)
            assert submissions.answered.add(first, stop) == [(first, stop)]
            settled = submissions.settle(first, stop, keep=True)
            assert numbers([(at, batch) for at, _, batch in settled]) == list(range(first, stop))
            open_ -= set(range(first, stop))
        elif what == "again":
            again = submissions.open()
            assert numbers([(sent.submit.first, sent.batch) for sent in again]) == sorted(open_)
        submissions.check()
    assert not submissions.sent
