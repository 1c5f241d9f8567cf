"""Output on its way to a registry: each byte once and in order, whatever is away or dies."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from palm.registry_api.client import Refused, Unreachable
from palm.registry_api.schema import ErrorDetail, OutputAck, OutputPiece
from palm.runner import upload
from palm.runner.backlog import PIECE, REQUEST, Chunk, UploadState
from palm.runner.freed import Freed
from palm.runner.spool import STREAMS, Spool, Stream, make_spool
from palm.runner.upload import Uploader
from palm.spec.process import ProcessSpec


class Store:
    """A registry's output: takes what is new, refuses gaps, and may be away."""

    def __init__(self) -> None:
        self.data: dict[tuple[str, str], bytearray] = {}
        self.requests: list[list[OutputPiece]] = []
        self.away = False
        self.loses_answers = False
        self.unwanted = ""

    def send(self, pieces: list[OutputPiece]) -> list[OutputAck]:
        if self.away:
            raise Unreachable("away")
        if any(piece.instance == self.unwanted for piece in pieces):
            raise Refused(400, ErrorDetail(code="name", text="unwanted"))
        self.requests.append(list(pieces))
        acks = [OutputAck(instance=piece.instance, stream=piece.stream,
                          durable_offset=self.take(piece)) for piece in pieces]  # fmt: skip
        if self.loses_answers:
            self.loses_answers = False
            raise Unreachable("the answer is lost")
        return acks

    def take(self, piece: OutputPiece) -> int:
        stored = self.data.setdefault((piece.instance, piece.stream), bytearray())
        if piece.offset <= len(stored):
            stored += (piece.data or b"?" * piece.lost)[len(stored) - piece.offset :]
        return len(stored)

    def of(self, spool: Spool, stream: Stream = "stdout") -> bytes:
        return bytes(self.data.get((spool.instance, stream), b""))


class UploadModel(RuleBasedStateMachine):
    """The rules beside files that grow, a registry that forgets, drops, and deaths."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[tuple[str, Stream], bytes] = {}
        #: Where the bytes of a file begin, and which of them were dropped by policy.
        self.begin: dict[tuple[str, Stream], int] = {}
        self.dropped: set[tuple[str, Stream, int]] = set()
        self.registry: dict[tuple[str, Stream], list[tuple[int, bytes, int]]] = {}
        self.ever_lost = False
        self.kept: dict[str, dict[Stream, int]] = {}
        self.freed: dict[str, dict[Stream, Freed]] = {}
        self.start()

    def start(self) -> None:
        self.state = UploadState(align=2)
        for instance in {key[0] for key in self.files}:
            freed = self.freed.get(instance, {})
            self.state.add(instance, self.kept.get(instance, {}), freed)

    def durable(self, key: tuple[str, Stream]) -> int:
        rows = self.registry.get(key, [])
        return rows[-1][0] + len(rows[-1][1]) + rows[-1][2] if rows else 0

    def take(self, chunk: Chunk) -> int:
        """What the registry does with a piece."""
        key = (chunk.instance, chunk.stream)
        durable, data = self.durable(key), b""
        if not chunk.lost:
            assert self.begin.get(key, 0) <= chunk.offset, "a hole is sent as output"
            data = self.files[key][chunk.offset : chunk.offset + chunk.size]
            assert len(data) == chunk.size
        new = chunk.offset + chunk.size - durable
        if chunk.offset <= durable and new > 0:
            assert self.ever_lost or chunk.reason == ("quota" if chunk.lost else "")
            row = (durable, b"", new) if chunk.lost else (durable, data[-new:], 0)
            self.registry.setdefault(key, []).append(row)
        return self.durable(key)

    @rule(
        instance=st.sampled_from(["a.1", "b.1"]),
        stream=st.sampled_from(STREAMS),
        data=st.binary(min_size=1, max_size=9),
    )
    def write(self, instance: str, stream: Stream, data: bytes) -> None:
        self.files[instance, stream] = self.files.get((instance, stream), b"") + data
        self.state.add(instance, {})

    @rule(answers=st.booleans(), kept=st.booleans())
    def send(self, answers: bool, kept: bool) -> None:
        """Send; the answer may be lost, and so may be what the runner notes of it."""
        self.look()
        for chunk in self.state.next_chunks(0.0):
            durable = self.take(chunk)
            news = answers and self.state.acked(chunk.instance, chunk.stream, durable)
            if news and kept:
                self.kept[chunk.instance] = self.state.offsets(chunk.instance)

    def look(self) -> None:
        for (instance, stream), data in self.files.items():
            self.state.grown(instance, stream, len(data))

    @rule(kept=st.integers(0, 6), noted=st.booleans())
    def free(self, kept: int, noted: bool) -> None:
        self.look()
        for instance in {key[0] for key in self.files}:
            self.state.free(instance, kept, step=1)
            self.cut(instance, noted, {})

    @rule(excess=st.integers(1, 12), noted=st.booleans())
    def drop(self, excess: int, noted: bool) -> None:
        self.look()
        for instance in {key[0] for key in self.files}:
            before = self.state.waiting(instance)
            waited = {s: max(self.begin_of(instance, s), self.state.offsets(instance)[s])
                      for s in STREAMS}  # fmt: skip
            dropped = self.state.drop(instance, excess, "quota", 7.0)
            assert self.state.waiting(instance) == before - dropped
            assert dropped >= min(excess, before - 2 * (self.state.align - 1))
            self.cut(instance, noted, waited)

    def begin_of(self, instance: str, stream: Stream) -> int:
        return self.state.freed(instance)[stream].begin

    def cut(self, instance: str, noted: bool, waited: dict[Stream, int]) -> None:
        """Make the holes, if it could be noted; else the next look tries again."""
        for stream, freed in self.state.freed(instance).items():
            first = waited.get(stream, freed.begin)
            self.dropped |= {(instance, stream, at) for at in range(first, freed.begin)}
            if noted:
                self.freed.setdefault(instance, {})[stream] = freed
                self.begin[instance, stream] = freed.begin

    @rule()
    def die(self) -> None:
        self.start()

    @precondition(lambda self: self.registry)
    @rule()
    def registry_loses_all(self) -> None:
        self.registry.clear()
        self.ever_lost = True

    @invariant()
    def each_byte_is_stored_once_at_its_offset_or_lies_in_one_gap(self) -> None:
        for key, rows in self.registry.items():
            at = 0
            for offset, data, lost in rows:
                assert offset == at
                assert data == self.files[key][at : at + len(data)]
                at += len(data) + lost

    @invariant()
    def only_what_was_dropped_or_had_been_stored_is_lost(self) -> None:
        if self.ever_lost:
            return
        for (instance, stream), rows in self.registry.items():
            for offset, _, lost in rows:
                told = {(instance, stream, at) for at in range(offset, offset + lost)}
                assert told <= self.dropped

    @invariant()
    def only_what_is_stored_or_dropped_is_freed(self) -> None:
        if self.ever_lost:
            return
        for key, begin in self.begin.items():
            free = set(range(self.durable(key), begin))
            assert {(*key, at) for at in free} <= self.dropped

    def teardown(self) -> None:
        for instance, stream in list(self.files):
            # Of a registry that lost its data one hears with the next answer.
            self.write(instance, stream, b"end")
        for _ in range(6):
            self.send(answers=True, kept=True)
        for key, data in self.files.items():
            assert self.durable(key) == len(data)
            assert self.state.is_done(key[0])
        self.each_byte_is_stored_once_at_its_offset_or_lies_in_one_gap()
        assert self.state.pending == 0


TestUploadModel = UploadModel.TestCase
TestUploadModel.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_one_that_floods_takes_its_turn() -> None:
    state = UploadState()
    for name in ("flood.1", "quiet.1"):
        state.add(name, {})
    state.grown("flood.1", "stdout", 100 * REQUEST)
    state.grown("flood.1", "stderr", 100 * REQUEST)
    assert {chunk.size for chunk in state.next_chunks(0.0)} == {PIECE}
    state.grown("quiet.1", "stdout", 5)
    assert state.next_chunks(0.0)[0] == Chunk("quiet.1", "stdout", 0, 5)


def test_request_has_a_limit() -> None:
    state = UploadState()
    for i in range(20):
        state.add(f"a.{i}", {})
        state.grown(f"a.{i}", "stdout", 10 * PIECE)
    sent: set[str] = set()
    for _ in range(5):
        chunks = state.next_chunks(0.0)
        assert sum(chunk.size for chunk in chunks) <= REQUEST
        sent |= {chunk.instance for chunk in chunks}
    assert len(sent) == 20


def write(spool: Spool, data: bytes, stream: Stream = "stdout") -> None:
    with spool.path(stream).open("ab") as file:
        file.write(data)


def eventually(condition: Callable[[], bool], timeout: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


SPEC = ProcessSpec("foo-1", ("true",), component="foo", replica=1)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(root: Path) -> Spool:
    return make_spool(root, "foo-1", node="here", spec=SPEC)


@pytest.fixture
def uploader(root: Path, store: Store) -> Iterator[Uploader]:
    uploader = Uploader(root, store.send)
    yield uploader
    uploader.stop()


def test_output_is_sent_as_it_is_written(uploader: Uploader, spool: Spool, store: Store) -> None:
    uploader.start("default", "here")
    uploader.add(spool, SPEC)
    write(spool, b"one\n")
    assert eventually(lambda: store.of(spool) == b"one\n")
    write(spool, b"two\n")
    write(spool, b"oh\n", "stderr")
    assert eventually(lambda: store.of(spool) == b"one\ntwo\n")
    assert eventually(lambda: store.of(spool, "stderr") == b"oh\n")
    piece = store.requests[0][0]
    assert (piece.component, piece.replica, piece.name) == ("foo", 1, "foo-1")
    assert abs(piece.time - time.time()) < 60
    assert eventually(lambda: spool.read_acked() == {"stdout": 8, "stderr": 3})


def test_large_output_goes_in_pieces(uploader: Uploader, spool: Spool, store: Store) -> None:
    data = bytes(range(256)) * (5 * PIECE // 256) + b"end"
    write(spool, data)
    uploader.add(spool, SPEC)
    uploader.start("default", "here")
    assert uploader.flush(10)
    assert hashlib.sha256(store.of(spool)).digest() == hashlib.sha256(data).digest()
    assert max(len(p.data) for request in store.requests for p in request) == PIECE


def test_next_runner_goes_on_exactly_where_the_registry_is(
    root: Path, spool: Spool, store: Store
) -> None:
    write(spool, b"before ")
    first = Uploader(root, store.send)
    first.start("default", "here")
    assert first.flush(10)
    first.stop()
    write(spool, b"after")
    store.requests.clear()
    second = Uploader(root, store.send)
    second.start("default", "here")
    assert second.flush(10)
    second.stop()
    assert [(p.offset, p.data) for request in store.requests for p in request] == [(7, b"after")]
    assert store.of(spool) == b"before after"


def test_only_the_output_of_its_own_node_is_sent(root: Path, spool: Spool, store: Store) -> None:
    elsewhere = make_spool(root, "bar", node="elsewhere", spec=SPEC)
    other = make_spool(root, "bar", cluster="other", node="here", spec=SPEC)
    unkept = make_spool(root, "bar")
    for each in (spool, elsewhere, other, unkept):
        write(each, b"x")
    uploader = Uploader(root, store.send)
    uploader.start("default", "here")
    assert uploader.flush(10)
    uploader.stop()
    assert store.data.keys() == {(spool.instance, "stdout")}


def test_lost_answer_doubles_nothing(uploader: Uploader, spool: Spool, store: Store) -> None:
    store.loses_answers = True
    write(spool, b"once\n")
    uploader.add(spool, SPEC)
    uploader.start("default", "here")
    assert uploader.flush(10)
    assert len(store.requests) == 2
    assert store.of(spool) == b"once\n"


def test_registry_that_is_away_costs_delay_alone(
    uploader: Uploader, spool: Spool, store: Store
) -> None:
    store.away = True
    uploader.add(spool, SPEC)
    uploader.start("default", "here")
    lines = [b"line %d\n" % i for i in range(200)]
    for line in lines:
        write(spool, line)
    assert not uploader.flush(0.2)
    store.away = False
    assert uploader.flush(10)
    assert store.of(spool) == b"".join(lines)


def test_registry_that_lost_its_data_gets_all_again(
    uploader: Uploader, spool: Spool, store: Store
) -> None:
    uploader.add(spool, SPEC)
    uploader.start("default", "here")
    write(spool, b"old ")
    assert uploader.flush(10)
    store.data.clear()
    write(spool, b"new")
    assert eventually(lambda: store.of(spool) == b"old new")


def test_piece_that_is_refused_does_not_hold_up_others(
    root: Path, spool: Spool, store: Store, uploader: Uploader
) -> None:
    bad = make_spool(root, "bad", node="here", spec=SPEC)
    store.unwanted = bad.instance
    write(bad, b"bad")
    write(spool, b"good")
    uploader.start("default", "here")
    uploader.add(spool, SPEC)
    assert eventually(lambda: store.of(spool) == b"good")
    assert store.of(bad) == b""
    write(spool, b" again")
    assert eventually(lambda: store.of(spool) == b"good again")


def test_instance_is_forgotten_when_it_is_over_and_stored(
    uploader: Uploader, spool: Spool, store: Store
) -> None:
    uploader.add(spool, SPEC)
    uploader.start("default", "here")
    write(spool, b"last words")
    uploader.over(spool.instance)
    assert uploader.flush(10)
    assert eventually(lambda: not uploader._sources)
    assert store.of(spool) == b"last words"


def test_spool_is_kept_until_the_registry_has_it(root: Path, spool: Spool) -> None:
    write(spool, b"nobody has this")
    for _ in range(8):
        make_spool(root, "foo-1", node="here", spec=SPEC)
    assert spool.folder.is_dir()
    spool.write_acked({"stdout": spool.size("stdout")})
    make_spool(root, "foo-1", node="here", spec=SPEC)
    assert not spool.folder.is_dir()


def test_disk_that_cannot_be_read_ends_nothing(
    uploader: Uploader, spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "RETRY_LIMIT", 0.05)
    failed = threading.Event()

    def fail(stream: Stream, offset: int, limit: int) -> bytes:
        failed.set()
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(spool, "read", fail)
        uploader.add(spool, SPEC)
        uploader.start("default", "here")
        write(spool, b"kept")
        assert failed.wait(10)
    assert eventually(lambda: store.of(spool) == b"kept")
