"""The journal: what it was told to keep is there, whatever becomes of its process or its disk."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from palm.errors import ConfigError
from palm.protocol.effects import LoadInputs, LoadOutcomes, Write
from palm.protocol.entries import Begun, Entry, Inputs, JobBegun, JobEnded, Outcomes, Recovered
from palm.protocol.events import InputsLoaded, JournalFailed, OutcomesLoaded, Written
from palm.runtime import journal as module
from palm.runtime.journal import LOAD_BYTES, LOAD_MESSAGES, MAX_GROUP, Journal
from palm.wire.batch import INLINE_LIMIT, MAX_MESSAGES, Batch
from palm.wire.message import Outcome, Route, Terms
from palm.wire.outcome import Failure, Kind, encode_failure
from tests.support.cluster import ROOT, until
from tests.support.messages import durations
from tests.support.smalldisk import fill, small_disk

__all__ = ["small_disk"]

DURABLE = Terms(durable=True)


class Desk:
    """Puts commands into a journal and keeps what it tells."""

    def __init__(self, path: Path) -> None:
        self.events: list[Any] = []
        self.journal = Journal(path, self.events.append)
        self._tickets = count(1)
        self.last = 0

    def put(self, *entries: Entry, sync: bool = True) -> None:
        """Have entries written, and wait for nothing."""
        for entry in entries:
            self.last = next(self._tickets)
            self.journal.put(Write(self.last, entry, sync))

    def write(self, *entries: Entry, sync: bool = True) -> None:
        """Have entries written, and wait until they are."""
        self.put(*entries, sync=sync)
        until(lambda: self.written >= self.last, what="it is written")

    @property
    def written(self) -> int:
        """The last ticket that is known to be written."""
        return max((event.ticket for event in self.told(Written)), default=0)

    def told(self, kind: type) -> list[Any]:
        """Return the events of a kind."""
        return [event for event in list(self.events) if isinstance(event, kind)]

    def inputs(self, job: bytes, first: int = 0) -> list[Inputs]:
        """Read messages back, once."""
        return self._read(LoadInputs(job, first), InputsLoaded)

    def outcomes(self, job: bytes, position: int = 0) -> list[Outcomes]:
        """Read outcomes back, once."""
        return self._read(LoadOutcomes(job, position), OutcomesLoaded)

    def _read(self, command: Any, kind: type) -> list[Any]:
        before = len(self.told(kind))
        self.journal.put(command)
        event = until(lambda: self.told(kind)[before:])[0]
        assert event.job == command.job
        return event.entries


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "foo.db"


@pytest.fixture
def desk(path: Path) -> Iterator[Desk]:
    desk = Desk(path)
    yield desk
    desk.journal.close()


def begun(job: bytes = b"job", terms: Terms = DURABLE) -> JobBegun:
    return JobBegun(job, "f", "client-1", terms)


def inputs(
    job: bytes, first: int, payloads: list[bytes], *, last: bool = False, **marks: bytes
) -> Inputs:
    return Inputs(job, first, Batch.pack(payloads), 1, last, **marks)


def outcomes(
    job: bytes, position: int, first: int, payloads: list[bytes], kinds: bytes = b""
) -> Outcomes:
    n = len(payloads)
    outcome = Outcome(7, 0, job, first, n, 2, 1, "w0", 1.5, durations(n), kinds, position)
    return Outcomes(job, outcome, Batch.pack(payloads))


def plain(entry: Any) -> Any:
    """An entry in a form that can be compared: the slices of frames do not count."""
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    batch = fields.pop("batch", None)
    payloads = None if batch is None else [bytes(payload) for payload in batch.payloads()]
    return type(entry), fields, payloads


def rows(path: Path) -> dict[str, int]:
    """Count the rows of each table; of a job that has ended, only that is kept."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = [name for (name,) in tables.fetchall()]
        where = {"jobs": "WHERE ended IS NULL"}
        query = "SELECT COUNT(*) FROM {} {}"
        return {
            name: connection.execute(query.format(name, where.get(name, ""))).fetchone()[0]
            for name in names
        }


# Written and read back

LARGE = [bytes([at]) * (INLINE_LIMIT + at) for at in range(3)]
FAILED = encode_failure(Failure("ValueError", "no", "Traceback"))


@pytest.mark.parametrize(
    "written",
    [
        inputs(b"job", 0, [b"a", b"", b"ccc"]),
        inputs(b"job", 0, [b"a", *LARGE, b"b"]),
        inputs(b"job", 0, LARGE, partitions=bytes([0, 255, 7])),
        inputs(b"job", 0, [FAILED, FAILED], kinds=bytes([Kind.TASK_ERROR] * 2)),
        inputs(b"job", 0, [b"x" * 100] * MAX_MESSAGES),
        Inputs(b"job", 0, Batch.pack([b"a", *LARGE, b"b"]).cut(1, 4), 2, False),
    ],
    ids=["small", "large", "partitions", "failed", "many", "cut"],
)
def test_messages_come_back_as_they_were(desk: Desk, written: Inputs) -> None:
    desk.write(begun(), written)
    (found,) = desk.inputs(b"job")
    assert plain(found) == plain(written)


@pytest.mark.parametrize(
    "written",
    [
        outcomes(b"job", 0, 0, [b"a", b"", b"ccc"]),
        outcomes(b"job", 0, 5, [b"a", *LARGE, b"b"]),
        outcomes(b"job", 0, 0, [b"a", FAILED], bytes([Kind.RESULT, Kind.TASK_ERROR])),
        outcomes(b"job", 0, 0, [b"x"] * MAX_MESSAGES),
    ],
    ids=["small", "large", "failed", "many"],
)
def test_outcomes_come_back_as_they_were(desk: Desk, written: Outcomes) -> None:
    desk.write(begun(), inputs(b"job", 0, [b"x"] * 10), written)
    (found,) = desk.outcomes(b"job")
    assert plain(found) == plain(written)


def test_frames_that_are_too_large_for_a_row_are_cut(
    desk: Desk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FRAME", 10_000)
    payloads = [b"small", os.urandom(45_000), os.urandom(20_000)]
    desk.write(begun(), inputs(b"job", 0, payloads), outcomes(b"job", 0, 0, payloads))
    (found,), (outcome,) = desk.inputs(b"job"), desk.outcomes(b"job")
    for entry in (found, outcome):
        assert list(map(bytes, entry.batch.payloads())) == payloads
    with closing(sqlite3.connect(path)) as connection:
        (longest,) = connection.execute("SELECT MAX(LENGTH(frame)) FROM input_frames").fetchone()
    assert longest == 10_000
    assert rows(path)["input_frames"] == rows(path)["outcome_frames"] == 5 + 2


def test_largest_payload_fits_into_the_rows_of_sqlite() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) // 2 > module.MAX_FRAME


def test_they_come_in_order_and_job_by_job(desk: Desk) -> None:
    jobs = (b"a", b"b")
    desk.write(*map(begun, jobs))
    for first in range(0, 40, 4):
        for job in jobs:
            desk.put(inputs(job, first, [b"%d" % at for at in range(first, first + 4)]))
    for position, first in enumerate(reversed(range(0, 40, 4))):
        for job in jobs:
            desk.put(outcomes(job, position, first, [job] * 4))
    desk.write()
    for job in jobs:
        found = desk.inputs(job)
        assert [entry.first for entry in found] == list(range(0, 40, 4))
        assert [int(bytes(p)) for e in found for p in e.batch.payloads()] == list(range(40))
        ended = desk.outcomes(job)
        assert [entry.outcome.position for entry in ended] == list(range(10))
        assert {bytes(p) for e in ended for p in e.batch.payloads()} == {job}
        assert [e.outcome.position for e in desk.outcomes(job, 7)] == [7, 8, 9]
        assert desk.outcomes(job, 10) == []
    assert desk.inputs(b"unknown") == desk.outcomes(b"unknown") == []


@pytest.mark.parametrize(("first", "found"), [(0, 0), (1, 0), (3, 0), (4, 4), (6, 4), (99, 8)])
def test_from_the_middle_of_an_entry_it_comes_whole(desk: Desk, first: int, found: int) -> None:
    desk.write(begun(), *(inputs(b"job", at, [b"x"] * 4) for at in (0, 4, 8)))
    assert desk.inputs(b"job", first)[0].first == found


def test_no_more_messages_are_read_at_a_time_than_agreed(desk: Desk) -> None:
    batches = 2 * LOAD_MESSAGES // MAX_MESSAGES + 1
    desk.write(begun())
    for at in range(batches):
        payloads = [b"x"] * MAX_MESSAGES
        desk.put(inputs(b"job", at * MAX_MESSAGES, payloads))
        desk.put(outcomes(b"job", at, at * MAX_MESSAGES, payloads))
    desk.write()
    sizes = []
    first = position = 0
    while found := [entry for entry in desk.inputs(b"job", first) if entry.first >= first]:
        again = desk.outcomes(b"job", position)
        assert sum(e.batch.n for e in found) == sum(e.batch.n for e in again)
        sizes.append(sum(e.batch.n for e in found))
        first, position = first + sizes[-1], position + len(again)
    assert sizes == [LOAD_MESSAGES, LOAD_MESSAGES, MAX_MESSAGES]


def test_no_more_bytes_are_read_at_a_time_than_agreed(desk: Desk) -> None:
    size = LOAD_BYTES * 2 // 5
    desk.write(begun())
    for at in range(5):
        desk.put(inputs(b"job", at, [bytes(size)]), outcomes(b"job", at, at, [bytes(size)]))
    desk.write()
    assert [entry.first for entry in desk.inputs(b"job")] == [0, 1, 2]
    assert [entry.first for entry in desk.inputs(b"job", 3)] == [3, 4]
    assert [entry.outcome.position for entry in desk.outcomes(b"job", 1)] == [1, 2, 3]


def test_entry_that_is_larger_than_agreed_comes_alone(desk: Desk) -> None:
    desk.write(begun(), inputs(b"job", 0, [bytes(LOAD_BYTES + 1)]), inputs(b"job", 1, [b"x"]))
    assert [entry.first for entry in desk.inputs(b"job")] == [0]


# What a new master is told


def test_new_master_is_told_how_far_each_job_is(path: Path) -> None:
    desk = Desk(path)
    terms = Terms(3.0, 60.0, 50.0, 2, ["a.B"], -1, True, True, False)
    failed = outcomes(b"b", 1, 5, [b"x", FAILED, FAILED], bytes([0, 1, 1]))
    desk.write(
        begun(b"a", terms),
        begun(b"b"),
        inputs(b"b", 0, [b"x"] * 6),
        inputs(b"b", 6, [b"x"] * 4, last=True),
        Begun(b"b", 4),
        Begun(b"b", 8),
        outcomes(b"b", 0, 0, [b"x"] * 2),
        failed,
        begun(b"c"),
        inputs(b"c", 0, [], last=True),
    )
    desk.journal.close()
    a, b, c = Journal(path, print).recover()
    for found in (a, b, c):
        assert 0 <= found.age < 60
        found.age = 0.0
    assert a == Recovered(b"a", "f", "client-1", terms, 0, False, 0, 0, 0, [], 0.0)
    assert b == Recovered(b"b", "f", "client-1", DURABLE, 10, True, 8, 2, 2, [(0, 2), (5, 8)], 0.0)
    assert c == Recovered(b"c", "f", "client-1", DURABLE, 0, True, 0, 0, 0, [], 0.0)


def test_the_way_of_a_job_through_stages_is_kept(desk: Desk, path: Path) -> None:
    route = Route(client="me", cache="said", only="last")
    entry = begun(b"a")
    entry.chain, entry.route = "first.f second.g", route
    desk.write(entry)
    desk.journal.close()
    (found,) = Journal(path, print).recover()
    assert (found.function, found.chain, found.route) == ("f", "first.f second.g", route)


def test_a_journal_of_version_1_is_taken_over(desk: Desk, path: Path) -> None:
    desk.write(begun(b"a"), inputs(b"a", 0, [b"x"] * 3))
    desk.journal.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE jobs DROP COLUMN way")
        connection.execute("PRAGMA user_version = 1")
    (found,) = Journal(path, print).recover()
    assert (found.accepted, found.chain, found.route) == (3, "", None)


def test_there_is_no_file_before_it_is_needed(path: Path) -> None:
    journal = Journal(path, print)
    assert journal.recover() == []
    journal.close()
    assert list(path.parent.iterdir()) == []
    assert journal.recover(create=True) == []
    assert path.exists()


def test_job_goes_on_in_the_same_file(path: Path) -> None:
    for part in range(3):
        desk = Desk(path)
        assert len(desk.journal.recover()) == (part > 0)
        desk.write(*[begun()] * (part == 0), inputs(b"job", part, [b"%d" % part]))
        desk.journal.close()
    desk = Desk(path)
    assert [bytes(e.batch.payloads()[0]) for e in desk.inputs(b"job")] == [b"0", b"1", b"2"]
    desk.journal.close()


# The end of jobs


def test_end_of_a_job_removes_all_of_it_and_nothing_else(desk: Desk, path: Path) -> None:
    def write(job: bytes) -> None:
        desk.write(begun(job), inputs(job, 0, [b"x", *LARGE]), outcomes(job, 0, 0, [b"y", *LARGE]))

    write(b"other")
    before = rows(path)
    assert all(before.values())
    write(b"job")
    assert rows(path) == {name: 2 * n for name, n in before.items()}
    desk.write(JobEnded(b"job"), JobEnded(b"unknown"))
    assert rows(path) == before
    assert [list(map(bytes, e.batch.payloads())) for e in desk.inputs(b"other")] == [[b"x", *LARGE]]
    desk.write(JobEnded(b"other"))
    assert not any(rows(path).values())


def test_what_comes_after_the_end_of_its_job_leaves_nothing(desk: Desk, path: Path) -> None:
    desk.write(begun(b"other"), inputs(b"other", 0, LARGE), outcomes(b"other", 0, 0, LARGE))
    before = rows(path)
    desk.write(begun(b"job"), JobEnded(b"job"))
    desk.write(
        inputs(b"job", 0, [b"x", *LARGE], last=True),
        outcomes(b"job", 0, 0, LARGE),
        Begun(b"job", 1),
    )
    assert rows(path) == before
    assert [e.batch.n for e in desk.inputs(b"other")] == [3]
    assert not desk.told(JournalFailed)


def test_new_master_is_told_for_a_while_that_a_job_has_ended(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(path)
    desk.write(begun(b"a"), begun(b"b"), inputs(b"b", 0, LARGE), JobEnded(b"b"))
    desk.journal.close()
    found = Journal(path, print).recover()
    assert [(each.job, each.ended) for each in found] == [(b"a", False), (b"b", True)]
    monkeypatch.setattr(module, "KNOW_ENDED", -1.0)
    desk = Desk(path)
    desk.write(JobEnded(b"a"))
    desk.journal.close()
    assert Journal(path, print).recover() == []


def test_space_of_an_ended_job_counts_as_free(desk: Desk) -> None:
    desk.write(begun())
    empty = desk.told(Written)[-1].size
    desk.write(inputs(b"job", 0, [bytes(1_000_000)]))
    assert desk.told(Written)[-1].size > empty + 900_000
    desk.write(JobEnded(b"job"))
    assert desk.told(Written)[-1].size < empty + 100_000


# Group commit


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep everybody else from writing, as a slow disk does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is asked of the database from now on."""
    found: list[str] = []
    opened = Journal._open

    def traced(self: Journal) -> sqlite3.Connection:
        connection = opened(self)
        connection.set_trace_callback(found.append)
        return connection

    monkeypatch.setattr(Journal, "_open", traced)
    return found


def test_what_comes_while_the_disk_is_busy_is_written_together(
    desk: Desk, path: Path, statements: list[str]
) -> None:
    desk.write(begun())
    commits, told = statements.count("COMMIT"), len(desk.told(Written))
    with locked(path):
        desk.put(inputs(b"job", 0, [b"x"]))
        until(lambda: not desk.journal._commands, what="the first is on its way")
        desk.put(*(inputs(b"job", at, [b"x"]) for at in range(1, 500)))
    desk.write()
    assert statements.count("COMMIT") - commits == 2
    assert [event.ticket for event in desk.told(Written)[told:]] == [2, 501]
    assert sum(entry.batch.n for entry in desk.inputs(b"job")) == 500


def test_group_has_a_bound(desk: Desk, path: Path) -> None:
    desk.write(begun())
    with locked(path):
        desk.put(Begun(b"job", 0))
        until(lambda: not desk.journal._commands, what="the first is on its way")
        desk.put(*(Begun(b"job", at) for at in range(2 * MAX_GROUP)))
    desk.write()
    tickets = [event.ticket for event in desk.told(Written)[1:]]
    assert tickets == [2, 2 + MAX_GROUP, 2 + 2 * MAX_GROUP]


def test_what_is_read_has_all_that_was_written_before(desk: Desk, path: Path) -> None:
    desk.write(begun())
    with locked(path):
        for at in range(5):
            desk.put(inputs(b"job", at, [b"x"]))
            desk.journal.put(LoadInputs(b"job", 0))
    until(lambda: len(desk.told(InputsLoaded)) == 5)
    assert [len(event.entries) for event in desk.told(InputsLoaded)] == [1, 2, 3, 4, 5]


# What waits for the disk

FULL, NORMAL = 2, 1


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How the database waits for the disk, at each entry."""
    found: list[int] = []
    insert = module._insert

    def noted(connection: sqlite3.Connection, entry: Entry) -> None:
        (mode,) = connection.execute("PRAGMA synchronous").fetchone()
        found.append(mode)
        insert(connection, entry)

    monkeypatch.setattr(module, "_insert", noted)
    return found


def test_only_what_is_durable_waits_for_the_disk(desk: Desk, modes: list[int]) -> None:
    desk.write(begun(), sync=False)
    desk.write(Begun(b"job", 1), sync=True)
    desk.write(Begun(b"job", 2), sync=False)
    assert modes == [NORMAL, FULL, NORMAL]


def test_group_waits_for_the_disk_if_one_of_it_does(
    desk: Desk, path: Path, modes: list[int]
) -> None:
    desk.write(begun(), sync=False)
    with locked(path):
        desk.put(Begun(b"job", 0), sync=False)
        until(lambda: not desk.journal._commands, what="the first is on its way")
        for sync in (False, True, False):
            desk.put(Begun(b"job", 1), sync=sync)
    desk.write(sync=False)
    assert modes == [NORMAL, NORMAL, FULL, FULL, FULL]


# A process that is killed

WRITER = """
import sys
from pathlib import Path
from palm.protocol.effects import Write
from palm.protocol.entries import Inputs, JobBegun, Outcomes
from palm.protocol.events import Written
from palm.runtime.journal import Journal
from palm.wire.batch import Batch
from palm.wire.message import Outcome, Route, Terms

def tell(event):
    assert isinstance(event, Written), event
    print(event.ticket, flush=True)

journal = Journal(Path(sys.argv[1]), tell)
durable = Terms(durable=True)
journal.put(Write(1, JobBegun(b"job", "f", "client", durable), durable.durable))
for at in range(10**9):
    batch = Batch.pack([b"%d" % at, bytes([at % 251]) * 20_000])
    outcome = Outcome(0, 0, b"job", 2 * at, 2, 1, 1, "w", 0.0, bytes(8), b"", at)
    journal.put(Write(2 * at + 2, Inputs(b"job", 2 * at, batch, 1, False), True))
    journal.put(Write(2 * at + 3, Outcomes(b"job", outcome, batch), True))
    while len(journal._commands) > 200:
        pass
"""


@pytest.mark.parametrize("enough", [1, 300])
def test_all_that_was_told_survives_a_kill_and_nothing_half(path: Path, enough: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= enough:
                break
        process.kill()
        told = max([int(line) for line in process.stdout if line.endswith("\n")] or [int(line)])
    desk = Desk(path)
    (found,) = desk.journal.recover()
    assert 2 * found.outcomes >= told - 2
    assert found.accepted >= told // 2 * 2
    assert found.done == [(2 * at, 2 * at + 2) for at in range(found.outcomes)]
    written = all_of(desk.inputs)
    assert [first for first, _ in written] == list(range(0, found.accepted, 2))
    assert len(all_of(desk.outcomes)) == found.outcomes <= len(written)
    for first, payloads in [*written, *all_of(desk.outcomes)]:
        at = first // 2
        assert payloads == [b"%d" % at, bytes([at % 251]) * 20_000]
    desk.journal.close()


def all_of(load: Callable[[bytes, int], list[Any]]) -> list[tuple[int, list[bytes]]]:
    """Read all entries of the job, piece by piece: the first message of each, and payloads."""
    found: list[tuple[int, list[bytes]]] = []
    at = 0
    while entries := [entry for entry in load(b"job", at) if start_of(entry) >= at]:
        for entry in entries:
            first = entry.first if isinstance(entry, Inputs) else entry.outcome.first
            found.append((first, list(map(bytes, entry.batch.payloads()))))
        at = start_of(entries[-1]) + 1
    return found


def start_of(entry: Any) -> int:
    """Where it is asked for: by its first message, or by its position."""
    return entry.first if isinstance(entry, Inputs) else entry.outcome.position


# A disk that is full


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the journal tried to do; it does not wait long before it tries again."""
    found: list[Any] = []
    carry_out = Journal._carry_out

    def noted(self: Journal, connection: sqlite3.Connection, command: Any) -> None:
        found.append(command)
        carry_out(self, connection, command)

    monkeypatch.setattr(Journal, "_carry_out", noted)
    monkeypatch.setattr(module, "RETRY_AFTER", 0.01)
    return found


def test_full_disk_is_told_once_and_nothing_is_lost(small_disk: Path, tries: list[Any]) -> None:
    desk = Desk(small_disk / "foo.db")
    desk.write(begun())
    for trouble in range(2):
        ballast = fill(small_disk)
        written = desk.written
        until(lambda trouble=trouble: put_more(desk, trouble), what="the disk is full")
        before = len(tries)
        until(lambda before=before: len(tries) > before + 5, what="it tries again")
        assert len(desk.told(JournalFailed)) == trouble + 1
        assert "full" in desk.told(JournalFailed)[-1].text
        ballast.unlink()
        desk.write()
        assert desk.written > written
    assert len(desk.told(JournalFailed)) == 2
    expected = [(at, [b"%d" % at * 10_000]) for at in range(desk.last - 1)]
    assert all_of(desk.inputs) == expected
    desk.journal.close()


def put_more(desk: Desk, troubles: int) -> bool:
    at = desk.last - 1
    desk.put(inputs(b"job", at, [b"%d" % at * 10_000]))
    return len(desk.told(JournalFailed)) > troubles


def test_close_does_not_wait_for_a_full_disk(small_disk: Path, tries: list[Any]) -> None:
    desk = Desk(small_disk / "foo.db")
    desk.write(begun(), inputs(b"job", 0, [b"0" * 10_000]))
    fill(small_disk)
    until(lambda: put_more(desk, 0), what="the disk is full")
    written = desk.written
    desk.journal.close()
    (small_disk / "ballast").unlink()
    (found,) = Journal(desk.journal.path, print).recover()
    assert found.accepted >= written - 1


def test_disk_that_is_full_from_the_beginning_is_waited_for(
    small_disk: Path, tries: list[Any]
) -> None:
    ballast = fill(small_disk)
    desk = Desk(small_disk / "foo.db")
    desk.put(begun(), inputs(b"job", 0, [b"x"]))
    until(lambda: desk.told(JournalFailed))
    ballast.unlink()
    desk.write()
    assert [entry.batch.n for entry in desk.inputs(b"job")] == [1]
    assert len(desk.told(JournalFailed)) == 1
    desk.journal.close()


# Files that are none of its own


def filled(path: Path) -> None:
    desk = Desk(path)
    desk.write(begun(), *(inputs(b"job", at, [bytes(5000)]) for at in range(200)))
    desk.journal.close()


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all\n" * 1000)


def cut_short(path: Path) -> None:
    filled(path)
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    filled(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(60_000))


def of_another_version(path: Path) -> None:
    filled(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("PRAGMA journal_mode = DELETE")


def of_somebody_else(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")


def folder(path: Path) -> None:
    path.mkdir()


def link(path: Path) -> None:
    filled(path.with_name("elsewhere.db"))
    path.symlink_to("elsewhere.db")


def link_to_nothing(path: Path) -> None:
    path.symlink_to("elsewhere.db")


@pytest.mark.parametrize(
    "make",
    [
        garbage,
        cut_short,
        overwritten,
        of_another_version,
        of_somebody_else,
        folder,
        link,
        link_to_nothing,
    ],
)
@pytest.mark.parametrize("create", [False, True])
def test_file_that_is_no_journal_is_refused_and_left_alone(
    path: Path, make: Callable[[Path], None], create: bool
) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ConfigError, match="the journal cannot be read") as caught:
        Journal(path, print).recover(create=create)
    assert str(path) in str(caught.value) and "move it away" in str(caught.value)
    if before is not None:
        assert path.read_bytes() == before
    assert not (make is link_to_nothing and path.exists()), "it was made through a link"


def test_another_version_is_named(path: Path) -> None:
    of_another_version(path)
    with pytest.raises(ConfigError, match="its version is 99, not 2"):
        Journal(path, print).recover()


def test_its_files_are_for_their_owner_alone(desk: Desk, path: Path) -> None:
    before = os.umask(0)
    try:
        desk.write(begun())
        found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert found == dict.fromkeys(("foo.db", "foo.db-wal", "foo.db-shm"), 0o600)


# Its end


def test_close_writes_what_is_left(path: Path) -> None:
    desk = Desk(path)
    desk.put(begun(), *(inputs(b"job", at, [b"x"]) for at in range(3000)))
    desk.journal.close()
    assert desk.written == 3001
    assert Journal(path, print).recover()[0].accepted == 3000
    desk.journal.close()
