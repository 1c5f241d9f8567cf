"""Freeing the beginning of a stream that goes on: what is left can be read, and nothing else."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.runner import holes
from palm.runner.freed import Freed, first_data, read_freed, write_freed
from palm.runner.readiness import look_for
from palm.runner.spool import Spool, make_spool
from tests.support.smalldisk import fill, small_disk

__all__ = ["small_disk"]

KIB = 1024


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return make_spool(tmp_path / "spool", "foo")


def write(spool: Spool, data: bytes) -> None:
    fd = spool.open("stdout")
    assert os.write(fd, data) == len(data)
    os.close(fd)


def free(spool: Spool, end: int) -> None:
    spool.write_freed({"stdout": Freed(begin=end)})
    holes.free(spool.path("stdout"), 0, end)


def lines(count: int) -> bytes:
    return b"".join(b"line %06d\n" % n for n in range(count))


def test_what_is_freed_takes_no_room_and_offsets_stay(spool: Spool) -> None:
    data = lines(50_000)
    write(spool, data)
    before = spool.path("stdout").stat()
    free(spool, 512 * KIB)
    after = spool.path("stdout").stat()
    assert after.st_size == before.st_size == len(data)
    assert before.st_blocks - after.st_blocks == 512 * KIB // 512
    write(spool, b"more\n")
    assert spool.read("stdout", len(data), 100) == b"more\n"
    assert spool.read("stdout", 512 * KIB, 100) == data[512 * KIB :][:100]


def test_nobody_is_shown_a_hole(spool: Spool) -> None:
    data = lines(50_000)
    write(spool, data)
    free(spool, 512 * KIB)
    shown = spool.tail("stdout", 10**6)
    assert shown == data[512 * KIB :].decode()
    assert spool.read("stdout", 0, 100) == spool.read("stdout", 512 * KIB - 1, 100) == b""
    assert spool.tail("stdout", 10**6, since=3) == shown
    assert spool.complete("stdout") == len(data)


def test_readers_see_no_hole_while_it_is_made(spool: Spool) -> None:
    data = lines(400_000)
    write(spool, data)
    looked, over = threading.Event(), threading.Event()

    def cut() -> None:
        for end in range(64 * KIB, 4000 * KIB, 64 * KIB):
            free(spool, end)
            if end % (512 * KIB) == 0:  # else it may be through before anybody has looked
                looked.clear()
                looked.wait(30)
        over.set()

    cutter = threading.Thread(target=cut)
    cutter.start()
    looks = 0
    while not over.is_set():
        assert "\0" not in spool.tail("stdout", 10**6).replace("\\x00", "\0")
        begin = spool.begin("stdout")
        assert spool.read("stdout", begin, 300 * KIB) in (b"", data[begin : begin + 300 * KIB])
        looks += 1
        looked.set()
    cutter.join()
    assert looks > 1


def test_one_who_waits_for_a_line_goes_on_where_the_bytes_begin(spool: Spool) -> None:
    look = look_for("log:^here it is$", spool)
    assert look is not None
    write(spool, b"x" * 256 * KIB)
    free(spool, 128 * KIB)
    assert not look()
    write(spool, b"\nhere it is\n")
    assert look()


def test_file_system_without_holes_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert holes.can_free(tmp_path)
    assert list(tmp_path.iterdir()) == []

    def refuse(*_arguments: object) -> int:
        holes.ctypes.set_errno(errno.EOPNOTSUPP)
        return -1

    monkeypatch.setattr(holes, "_fallocate", lambda: refuse)
    assert not holes.can_free(tmp_path)
    monkeypatch.setattr(holes, "_fallocate", lambda: None)
    assert not holes.can_free(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="not implemented"):
        holes.free(tmp_path / "file", 0, 1)


FREED = st.builds(
    Freed,
    begin=st.integers(0, 2**62),
    lost_from=st.integers(0, 2**62),
    reason=st.sampled_from(["", "quota", "disk"]),
    since=st.floats(0, 2**40),
)


@given(FREED, FREED)
def test_record_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, out: Freed, err: Freed
) -> None:
    path = tmp_path_factory.mktemp("record") / "freed"
    assert read_freed(path) == {}
    write_freed(path, {"stdout": Freed(begin=2**60), "stderr": err})
    size = path.stat().st_size
    write_freed(path, {"stdout": out, "stderr": err})
    assert read_freed(path) == {"stdout": out, "stderr": err}
    assert path.stat().st_size == size
    assert path.stat().st_mode & 0o777 == 0o600


def test_damaged_record_leaves_the_file_system_to_say_where_bytes_begin(spool: Spool) -> None:
    data = lines(50_000)
    write(spool, data)
    free(spool, 256 * KIB)
    record = spool.folder / "freed"
    record.write_bytes(b"\0" * record.stat().st_size)
    assert spool.begin("stdout") == 256 * KIB
    assert spool.tail("stdout", 10**6) == data[256 * KIB :].decode()
    assert first_data(spool.path("stderr")) == 0


def test_record_can_be_written_on_a_full_disk(small_disk: Path) -> None:
    spool = make_spool(small_disk / "spool", "foo")
    write(spool, b"x" * KIB * KIB)
    ballast = fill(small_disk)
    with pytest.raises(OSError, match="No space left"):
        spool.write_acked({"stdout": 5})
    free(spool, KIB * KIB)
    assert spool.begin("stdout") == KIB * KIB
    spool.write_acked({"stdout": KIB * KIB})
    ballast.unlink()
