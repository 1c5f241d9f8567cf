"""What reads bytes that somebody else wrote, each as a function of arbitrary bytes.

A target returns, or it raises: then there is a bug. ``examples`` gives bytes that are read to the
end; what is almost like them goes further than what is not.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import msgspec

from palm.errors import ConfigError, PalmError, WireError
from palm.gateways import body
from palm.gateways.answers import Refused, answer_of, function_named, parse_json
from palm.runner.registry import RegistryRecord, read_registry
from palm.runtime.folders import Folders
from palm.runtime.namelock import NameLock
from palm.runtime.records import ComponentRecord, last_record, live_records
from palm.spec.endpoint import parse_address
from palm.spec.names import check_name
from palm.transport.keys import ensure_keys, load_key
from palm.wire import codec, framing
from palm.wire.batch import Batch
from palm.wire.codec import Codec, decode_values, encode_value, encode_values
from palm.wire.message import MAX_HEADER, Hello, Keep, Result, Submit, Task, decode, encode
from palm.wire.outcome import Failure, Kind, decode_failure, encode_failure

__all__ = ["TARGETS", "Target", "framed", "frames_of"]


@dataclass(frozen=True)
class Target:
    """Something that reads bytes."""

    read: Callable[[bytes], object]
    examples: Callable[[], list[bytes]]


# -- frames -----------------------------------------------------------------------------------


def framed(frames: list[bytes]) -> bytes:
    """Return frames as one string of bytes: each after its length (16 bits)."""
    return b"".join(struct.pack("<H", len(frame)) + frame for frame in frames)


def frames_of(data: bytes) -> list[bytes]:
    """Return the frames in a string of bytes; the last one may be shorter than it says."""
    frames, at = [], 0
    while at + 2 <= len(data):
        (size,) = struct.unpack_from("<H", data, at)
        frames.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return frames


def read_header(data: bytes) -> None:
    """A header is a message, or a `WireError`; what was read can be written."""
    try:
        message = decode(data)
    except WireError:
        return
    again = encode(message)
    assert encode(decode(again)) == again
    assert len(data) <= MAX_HEADER


def read_frames(data: bytes) -> None:
    """Frames are a message with a batch that can be cut anywhere, or a `WireError`."""
    try:
        message, batch = framing.unpack(frames_of(data))
    except WireError:
        return
    if batch is not None:
        payloads = [bytes(payload) for payload in batch.payloads()]
        half = batch.n // 2
        parts = [batch.cut(0, half), batch.cut(half, batch.n)]
        assert [bytes(p) for part in parts for p in part.payloads()] == payloads
        assert batch.size == sum(map(len, payloads))
    framing.unpack([bytes(frame) for frame in framing.pack(message, batch)])


def _messages() -> list[list[bytes]]:
    batch = Batch.pack([b"a", b"", b"x" * 20_000])
    hello = Hello(0, 1, "worker", "w", b"s" * 16, "foo", ["f", "g"], [1, 2], b"epoch")
    submit = Submit(3, b"job", 0, 3, "foo.f", 0, last=True)
    pairs = [(hello, None), (submit, batch), (Keep(3, 1, "key", 1), Batch.pack([b"\xc0"]))]
    return [[bytes(frame) for frame in framing.pack(*pair)] for pair in pairs]


def read_posted(data: bytes) -> None:
    """The body of a post is a task, or results, or a `WireError`; what was read can be packed."""
    with suppress(WireError):
        task, batch = body.unpack_task(data)
        assert task.n == batch.n == len(batch.payloads()) > 0
        body.unpack_task(body.pack([(task, batch)]))
    with suppress(WireError):
        results = body.unpack_results(data, _TASK)
        assert sum(result.n for result, _ in results) == _TASK.n


_TASK = Task(0, 1, b"", b"job", 0, 3, 1, "f", 0)


def _posted() -> list[bytes]:
    batch = Batch.pack([b"a", b"", b"x" * 20_000])
    result = Result(0, 1, b"", b"job", 0, 3, 1, 0, 1.0, bytes(12), b"")
    return [body.pack([(_TASK, batch)]), body.pack([(result, batch)])]


def read_path(data: bytes) -> None:
    """A path names a function that could be served, or is refused."""
    with suppress(Refused):
        server, function = function_named(data.decode("latin-1"))
        assert function.isidentifier() and not function.startswith("_")
        assert not server or check_name(server)


def read_json(data: bytes) -> None:
    """JSON is a value that can be sent back, or is refused."""
    with suppress(Refused):
        assert answer_of(parse_json(data), "f").status in (200, 500)  # 500: half a surrogate pair


# -- values -----------------------------------------------------------------------------------


def read_value(data: bytes) -> None:
    """A payload has a value in the codec that it is said to be of, or is a `WireError`."""
    if not data or data[0] == Codec.PICKLE:  # see `read_envelope`
        return
    try:
        (value,) = decode_values(data[0], [memoryview(data)[1:]])
    except WireError:
        return
    encode_value(value)


def read_envelope(data: bytes) -> None:
    """What is around a pickle gives each byte to one part of it, or is a `WireError`.

    The pickle itself is not read: it may do anything, and only peers of the same user send any.
    """

    def loads(pickled: bytes, *, buffers: list[bytearray] | tuple[()] = ()) -> int:
        return len(pickled) + sum(map(len, buffers)) + 4 * (1 + len(buffers) + bool(buffers))

    unread = SimpleNamespace(loads=loads, UnpicklingError=ValueError)
    try:
        with mock.patch.object(codec, "pickle", unread):
            (size,) = decode_values(Codec.PICKLE, [data])
    except WireError:
        return
    assert size in (len(data), len(data) - 4)  # a count of no buffers needs no size


def read_failure(data: bytes) -> None:
    """A failure is an error that can be shown, or a `WireError`."""
    try:
        failure = decode_failure(data[1:])
        where = {"function": "f", "worker": "w", "attempts": 1, "index": 0}
        error = failure.to_error(data[0], **where)  # type: ignore[arg-type]
    except WireError:
        return
    except IndexError:
        assert not data
        return
    assert str(error) and error.summary


def _failures() -> list[bytes]:
    payload = encode_failure(Failure("ValueError", "no", "Traceback ...", 7))
    later = b"\x95" + payload[1:]  # a later version may add a field, such as these
    fields = b"\xc0", b"\x91" * 5000 + b"\xc0"
    return [bytes([kind]) + payload for kind in Kind] + [b"\1" + later + more for more in fields]


# -- files ------------------------------------------------------------------------------------


@cache
def _folders() -> Folders:
    home = tempfile.TemporaryDirectory(prefix="fuzz-", dir="/tmp")
    _kept.append(home)
    folders = Folders(Path(home.name) / "run", Path(home.name) / "state")
    folders.state.mkdir(mode=0o700)  # whichever target comes first
    return folders


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _file(path: Path, data: bytes) -> Path:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
    return path


def read_key(data: bytes) -> None:
    """A key file holds a pair, or is a `ConfigError`."""
    try:
        key = load_key(_file(_folders().state / "key.json", data))
    except ConfigError:
        return
    assert key.curve_secretkey not in repr(key)


def read_record(data: bytes) -> None:
    """A record of a component is one, or as good as none."""
    folders = _folders()
    _file(folders.components / "foo.json", data)
    record = last_record(folders, "foo")
    assert record is None or record.name == "foo"
    live_records(folders)


def read_registry_record(data: bytes) -> None:
    """The record of a registry is one, or as good as none."""
    folders = _folders()
    _file(folders.run / "registry.json", data)
    record = read_registry(folders)
    if record is not None:
        assert record.is_running in (True, False)


def read_lock(data: bytes) -> None:
    """A name whose lock nobody holds can be had, whatever is in the file."""
    lock = NameLock(_folders(), "bar")
    _file(_folders().components / "bar.lock", data)
    lock.acquire()
    other = NameLock(_folders(), "bar")
    _file(_folders().components / "bar.lock", data)  # and what another one says is not believed
    try:
        other.acquire()
    except PalmError:
        pass
    finally:
        lock.release()
        other.release()


def read_address(data: bytes) -> None:
    """Text is an address, which reads as it is written, or a `ConfigError`."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = parse_address(text)
    except ConfigError:
        return
    assert parse_address(str(found)) == found


@cache
def _key_file() -> bytes:
    folders = _folders()
    ensure_keys(folders.keys)
    return (folders.keys / "client.json").read_bytes()


def _record(**changes: object) -> bytes:
    record = ComponentRecord(
        name="foo", role="master", instance="i", pid=os.getpid(), start_time=1.0,
        endpoints={"db": "tcp://127.0.0.1:5555"}, functions=["f"],
    )  # fmt: skip
    return msgspec.json.encode(msgspec.structs.replace(record, **changes))


def _registry_record() -> bytes:
    return msgspec.json.encode(RegistryRecord(url="http://127.0.0.1:1", token_file="t", pid=1))


TARGETS: dict[str, Target] = {
    "header": Target(read_header, lambda: [frames[0] for frames in _messages()]),
    "frames": Target(read_frames, lambda: [framed(frames) for frames in _messages()]),
    "posted": Target(read_posted, _posted),
    "path": Target(read_path, lambda: [b"/f", b"/foo.f", b"/%C3%BC", b"/a-b.c_1"]),
    "json": Target(read_json, lambda: [b'{"a": [1, -2.5e3, null, true]}', b'"\\ud83d\\ude00"']),
    "value": Target(read_value, lambda: [b"\0abc", b"\1" + _msgpack({"a": [1, None, 2.5, b"b"]})]),
    "envelope": Target(read_envelope, lambda: [bytes(p) for p in encode_values([{1}, (b"",)])[1]]),
    "failure": Target(read_failure, _failures),
    "key": Target(read_key, lambda: [_key_file()]),
    "record": Target(read_record, lambda: [_record(), _record(pid=-1, endpoints={})]),
    "registry": Target(read_registry_record, lambda: [_registry_record()]),
    "lock": Target(read_lock, lambda: [b'{"pid": 1, "start_time": 2.0, "identity": "x"}', b""]),
    "address": Target(
        read_address, lambda: [b"tcp://[::1]:80", b"tcp://h:0", b"ipc:///tmp/x", b"foo"]
    ),
}


def _msgpack(value: object) -> bytes:
    return bytes(encode_values([value])[1][0])


def near(examples: Iterator[bytes] | list[bytes]) -> Iterator[bytes]:
    """Yield what is known to go wrong in readers: bytes cut off, doubled, nested."""
    for example in examples:
        yield from (example[:at] for at in range(len(example)) if at < 200)
        yield example + example
        yield example + b"\xff"
        yield example.replace(b"1", b"9" * 400)
        quotes = [at for at, byte in enumerate(example) if byte == ord('"')]
        yield from (example[: at + 1] + b"\x80" + example[at + 1 :] for at in quotes)
        yield from (example[: at + 1] + b"\\ud800" + example[at + 1 :] for at in quotes)
    for opening in (b"[", b'{"a":', b"\x91", b"\x81\xa1a"):
        yield opening * 5000
