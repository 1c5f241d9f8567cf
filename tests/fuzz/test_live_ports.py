"""Garbage at the ports of a master that serves others meanwhile: F34, F35 and F36."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import psutil
import pytest
import zmq

from palm.clients import Client
from palm.errors import PalmError, PayloadTooLarge
from palm.runtime.folders import Folders
from palm.runtime.records import read_record
from palm.spec.endpoint import Endpoint, parse_address
from palm.transport.keys import ensure_keys
from palm.transport.monitored import MAX_FRAME
from palm.wire import framing
from palm.wire.batch import INLINE_LIMIT, MAX_PAYLOAD, Batch
from palm.wire.codec import Codec
from palm.wire.message import Fault, Keep, Outcome, Submit
from tests.fuzz.peers import (
    Stranger,
    greet,
    greeting,
    hostile_starts,
    key_holder,
    odd_frames,
    zmtp_frame,
)
from tests.support.cluster import ProcessCluster, until
from tests.support.fixtures import processes

__all__ = ["processes"]

pytestmark = pytest.mark.slow

#: Bytes by which a master may have grown for good.
GROWTH = 64 << 20

#: Seconds within which a connection is cut for what came over it; a heartbeat that gets no answer
#: ends it, too, but later.
AT_ONCE = 1.0

WORKER = """
import os
def f(value):
    return value, os.getpid()
"""


class Served:
    """A master with a worker and a client, which is served however others behave."""

    def __init__(self, processes: ProcessCluster) -> None:
        self.master = processes.master("foo", "db_address='tcp://127.0.0.1:0'")
        start = "Worker('w', master='foo', functions={'f': f})"
        self.worker = processes.worker(WORKER, start)
        self.client = Client("foo", logging_level=30)
        self.keys = ensure_keys(Folders.find().keys)
        self.check()
        self._size = self.size

    def endpoint(self, scheme: str) -> Endpoint:
        record = read_record(Folders.find(), "foo")
        assert record is not None
        found = parse_address(record.endpoints["db" if scheme == "tcp" else "ipc"])
        assert isinstance(found, Endpoint)
        return found

    @property
    def size(self) -> int:
        return int(psutil.Process(self.master.process.pid).memory_info().rss)

    def check(self) -> None:
        """It serves, it is the process that it was, and it has complained of nothing of its own."""
        assert self.client.eval("foo.f", 1, timeout=20.0) == (1, self.worker.process.pid)
        for script in (self.master, self.worker):
            assert script.process.poll() is None
            assert "Traceback" not in script.output

    def check_size(self) -> None:
        """It has not grown, or only for the moment."""
        until(lambda: self.size < self._size + GROWTH, within=20, what="it has its size again")


@pytest.fixture
def served(processes: ProcessCluster) -> Iterator[Served]:
    served = Served(processes)
    with served.client:
        yield served
        served.check()


both_ports = pytest.mark.parametrize("scheme", ["ipc", "tcp"])


# F34: malformed frames


@both_ports
def test_f34_garbage_before_authentication_harms_nobody(served: Served, scheme: str) -> None:
    endpoint, random = served.endpoint(scheme), Random(34)
    open_: list[Stranger] = []
    try:
        for number, start in enumerate(islice(hostile_starts(random), 400)):
            stranger = Stranger(endpoint)
            open_.append(stranger)
            stranger.send(start)
            if number % 3:
                open_.pop().close()
            if number % 50 == 0:
                served.check()
    finally:
        for stranger in open_:
            stranger.close()
    served.check_size()


@both_ports
@pytest.mark.parametrize("role", ["client", "worker"])
def test_f34_malformed_frames_of_a_peer_with_a_key_harm_nobody(
    served: Served, scheme: str, role: str
) -> None:
    random = Random(f"{scheme} {role}")
    key = getattr(served.keys, role)
    for number in range(40):
        with key_holder(served.endpoint(scheme), key) as dealer:
            link = greet(dealer, role, random.randbytes(16)) if number % 4 else 0
            for _ in range(100):
                dealer.send_multipart(odd_frames(random, link))
        if number % 10 == 0:
            served.check()
    served.check_size()


@both_ports
def test_f34_peer_is_told_and_after_three_strikes_not_listened_to(
    served: Served, scheme: str
) -> None:
    with key_holder(served.endpoint(scheme), served.keys.client) as dealer:
        link = greet(dealer, "client", b"s" * 16)
        for _ in range(3):
            dealer.send_multipart([b"no header"])
        keep = framing.pack(Keep(link, 1, "struck", Codec.RAW), Batch.pack([b"x"]))
        dealer.send_multipart(keep)
        faults = [framing.unpack(dealer.recv_multipart())[0] for _ in range(3)]
        assert all(isinstance(fault, Fault) and fault.code == "broken" for fault in faults)
        assert served.client.get("struck") is None
        link = greet(dealer, "client", b"s" * 16)
        dealer.send_multipart(framing.pack(Keep(link, 2, "struck", Codec.RAW), Batch.pack([b"x"])))
        until(lambda: served.client.get("struck") == b"x", what="it may greet again")


def test_f34_flood_of_garbage_is_answered_and_logged_a_few_times(served: Served) -> None:
    stranger = Stranger(served.endpoint("ipc"))
    try:
        stranger.shake_hands()
        for _ in range(20):
            stranger.send(zmtp_frame(b"\xff" * 40) * 1000)
        served.check()
        answers = stranger.read_all(within=20.0)
    finally:
        stranger.close()
    served.check_size()
    assert len(answers) < 10_000
    assert served.master.output.count("broken message") < 100


# F35: too large


def test_f35_payload_that_is_too_large_is_refused_at_the_caller(served: Served) -> None:
    with pytest.raises(PayloadTooLarge, match=f"{MAX_PAYLOAD:,}") as caught:
        served.client.eval("foo.f", bytes(MAX_PAYLOAD + 1))
    assert caught.value.limit == MAX_PAYLOAD
    served.check_size()


@pytest.mark.parametrize("size", [MAX_FRAME + 1, 1 << 40, 1 << 62])
def test_f35_frame_that_is_too_large_ends_its_connection(served: Served, size: int) -> None:
    stranger = Stranger(served.endpoint("ipc"))
    try:
        stranger.shake_hands()
        stranger.send(zmtp_frame(b"x" * 1000, size=size))
        assert stranger.is_cut(AT_ONCE)
    finally:
        stranger.close()
    served.check_size()


def test_f35_frame_before_authentication_is_not_waited_for(served: Served) -> None:
    stranger = Stranger(served.endpoint("tcp"))
    try:
        assert stranger.send(greeting(b"CURVE"))
        stranger.send(zmtp_frame(b"x" * 1000, size=1 << 40))
        assert stranger.is_cut(AT_ONCE)
    finally:
        stranger.close()


@both_ports
def test_f35_largest_frame_of_palm_itself_passes(served: Served, scheme: str) -> None:
    with key_holder(served.endpoint(scheme), served.keys.client) as dealer:
        link = greet(dealer, "client", b"s" * 16)
        most = Batch.pack([b"x" * (INLINE_LIMIT - 1)] * (MAX_FRAME // INLINE_LIMIT))
        submit = Submit(link, b"job", 0, most.n, "foo.f", Codec.RAW, last=True)
        dealer.send_multipart(framing.pack(submit, most))
        done = 0
        while done < most.n:
            outcome = wait_for_outcome(dealer)
            assert not outcome.kinds
            done += outcome.n


# F36: payloads that cannot be read, or do something when they are


class Spy:
    """Writes down which process unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        code = f"with open({str(self.path)!r}, 'a') as file: print(os.getpid(), file=file)"
        return exec, (f"import os\n{code}",)


@both_ports
def test_f36_master_never_unpickles(served: Served, scheme: str, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    pickled = bytes(4) + pickle.dumps(Spy(seen))
    with key_holder(served.endpoint(scheme), served.keys.client) as dealer:
        link = greet(dealer, "client", b"s" * 16)
        value = Batch.pack([pickled])
        dealer.send_multipart(framing.pack(Keep(link, 1, "spy", Codec.PICKLE), value))
        submit = Submit(link, b"job", 0, 1, "foo.f", Codec.PICKLE, last=True)
        dealer.send_multipart(framing.pack(submit, value))
        assert not wait_for_outcome(dealer).kinds
    unpickled_by = {int(line) for line in seen.read_text().split()}
    assert unpickled_by == {served.worker.process.pid}
    served.client.get("spy")  # its reader does
    assert {int(line) for line in seen.read_text().split()} - unpickled_by == {os.getpid()}


@both_ports
@pytest.mark.parametrize("codec", [Codec.MSGPACK, Codec.PICKLE, 99])
def test_f36_payload_that_cannot_be_read_fails_alone(
    served: Served, scheme: str, codec: int
) -> None:
    payloads = [b"\xc1", b"\x01\x00\x00\x00\xff\xff\xff\xff", b"\x00\x00\x00\x00garbage"]
    with key_holder(served.endpoint(scheme), served.keys.client) as dealer:
        link = greet(dealer, "client", b"s" * 16)
        submit = Submit(link, b"job", 0, 3, "foo.f", codec, last=True)
        dealer.send_multipart(framing.pack(submit, Batch.pack(payloads)))
        kinds = b""
        while len(kinds) < 3:
            kinds += wait_for_outcome(dealer).kinds
    assert kinds == b"\1\1\1"


def test_f36_value_that_cannot_be_read_is_an_error_of_its_reader(served: Served) -> None:
    with key_holder(served.endpoint("ipc"), served.keys.client) as dealer:
        link = greet(dealer, "client", b"s" * 16)
        for number, codec in enumerate((Codec.MSGPACK, Codec.PICKLE, 99), 1):
            keep = Keep(link, number, f"bad{number}", codec)
            dealer.send_multipart(framing.pack(keep, Batch.pack([b"\xc1\xc1\xc1\xc1\xc1"])))
            dealer.recv_multipart()
    for number in (1, 2, 3):
        with pytest.raises(PalmError):
            served.client.get(f"bad{number}")


def wait_for_outcome(dealer: zmq.Socket[bytes]) -> Outcome:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        frames = dealer.recv_multipart()
        if frames != [b""]:
            message, _ = framing.unpack(frames)
            if isinstance(message, Outcome):
                return message
    raise AssertionError("no outcome")
