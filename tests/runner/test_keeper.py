"""Spools stay within bounds: what is stored is freed, what is too much dropped or held back."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palm.registry_api.schema import OutputAck, OutputPiece
from palm.runner import holes, keeper
from palm.runner.backlog import KEPT, STEP
from palm.runner.keeper import Keeper
from palm.runner.spool import Spool, make_spool
from palm.runner.upload import Uploader
from palm.spec.process import ProcessSpec, ProcessState, State
from tests.runner.test_upload import Store, eventually, write

MIB = 1024 * 1024


class Processes:
    """What the keeper has to do with a supervisor."""

    def __init__(self) -> None:
        self.state: State = "ready"
        self.paused: dict[str, str] = {}

    def states(self) -> list[ProcessState]:
        return [
            ProcessState("foo", "", self.state, 1, None, 0, instance, None, "")
            for instance in self.instances
        ]

    instances: tuple[str, ...] = ()

    def pause(self, name: str, instance: str, reason: str) -> None:
        self.paused.setdefault(instance, reason)

    def resume(self, name: str, instance: str) -> None:
        self.paused.pop(instance, None)


class House:
    """A keeper, an uploader, and what they work for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store()
        self.processes = Processes()
        self.uploader = Uploader(root, self.store.send)
        self.keeper = Keeper(root, self.uploader, self.processes)

    def spool(self, **spec: Any) -> Spool:
        process = ProcessSpec("foo", ("true",), component="foo", **spec)
        spool = make_spool(self.root, "foo", node="here", spec=process)
        self.processes.instances += (spool.instance,)
        self.uploader.add(spool, process)
        return spool

    def start(self) -> None:
        self.uploader.start("default", "here")
        self.keeper.start()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "spool")
    yield house
    house.store.away = False
    house.keeper.stop()
    house.uploader.stop()


def blocks(spool: Spool) -> int:
    return spool.path("stdout").stat().st_blocks * 512


def is_freed(spool: Spool, size: int) -> bool:
    """Whether of so many bytes, all stored, only the last are left.

    How many these are depends on how much was stored at the looks before: what is left to free is
    less than a step.
    """
    return size - KEPT - STEP < spool.begin("stdout") <= size - KEPT


def numbered(size: int) -> bytes:
    return b"".join(b"%015d\n" % n for n in range(size // 16))


def test_what_is_stored_is_freed_but_for_the_last_of_it(house: House) -> None:
    spool = house.spool()
    house.start()
    data = numbered(8 * MIB)
    write(spool, data)
    assert eventually(lambda: house.store.of(spool) == data)
    assert eventually(lambda: is_freed(spool, len(data)))
    left = len(data) - spool.begin("stdout")
    assert eventually(lambda: blocks(spool) <= left + 64 * 1024)
    assert spool.tail("stdout", 1) == data[-16:].decode()
    write(spool, b"more\n")
    assert eventually(lambda: house.store.of(spool) == data + b"more\n")


def test_nothing_is_freed_that_is_not_stored(house: House) -> None:
    spool = house.spool()
    house.store.away = True
    house.start()
    write(spool, numbered(8 * MIB))
    assert not eventually(lambda: spool.begin("stdout") > 0, timeout=0.5)
    assert blocks(spool) >= 8 * MIB


def test_output_is_kept_until_it_is_seen_whether_the_process_is_ready(house: House) -> None:
    spool = house.spool()
    house.processes.state = "starting"
    house.start()
    write(spool, numbered(4 * MIB))
    assert eventually(lambda: len(house.store.of(spool)) == 4 * MIB)
    assert not eventually(lambda: spool.begin("stdout") > 0, timeout=0.3)
    house.processes.state = "ready"
    assert eventually(lambda: spool.begin("stdout") == 3 * MIB)


def test_oldest_is_dropped_and_a_gap_takes_its_place(house: House) -> None:
    """F30, drop-oldest."""
    spool = house.spool(spool="drop-oldest", spool_quota=2 * MIB)
    house.store.away = True
    house.start()
    data = numbered(8 * MIB)
    write(spool, data)
    assert eventually(lambda: spool.begin("stdout") > 6 * MIB)
    assert eventually(lambda: blocks(spool) <= 2 * MIB)
    begin = spool.begin("stdout")
    house.store.away = False
    assert eventually(lambda: len(house.store.of(spool)) == len(data))
    gap = next(p for request in house.store.requests for p in request if p.lost)
    assert (gap.offset, gap.lost, gap.reason) == (0, begin, "quota")
    assert gap.time > 0
    assert house.store.of(spool)[begin:] == data[begin:]
    assert house.processes.paused == {}


def test_process_is_suspended_until_the_registry_has_taken_enough(house: House) -> None:
    """F30, block."""
    spool = house.spool(spool="block", spool_quota=2 * MIB)
    house.store.away = True
    house.start()
    data = numbered(3 * MIB)
    write(spool, data)
    assert eventually(lambda: spool.instance in house.processes.paused)
    assert "3.0 MiB of its output wait for the registry" in house.processes.paused[spool.instance]
    house.store.away = False
    assert eventually(lambda: not house.processes.paused)
    assert house.uploader.flush(10)
    assert house.store.of(spool) == data


def test_registry_that_hangs_does_not_keep_the_keeper_from_its_work(house: House) -> None:
    spool = house.spool(spool="block", spool_quota=MIB)
    inside, go_on = threading.Event(), threading.Event()

    def hang(pieces: list[OutputPiece]) -> list[OutputAck]:
        inside.set()
        go_on.wait(30)
        return house.store.send(pieces)

    house.uploader._send = hang
    house.start()
    write(spool, b"x")
    assert inside.wait(10)
    write(spool, numbered(2 * MIB))
    assert eventually(lambda: spool.instance in house.processes.paused)
    go_on.set()
    assert eventually(lambda: not house.processes.paused)


def test_output_of_earlier_lives_counts_too(house: House) -> None:
    old = house.spool(spool="block", spool_quota=2 * MIB)
    write(old, numbered(MIB))
    house.store.away = True
    house.start()
    house.uploader.over(old.instance)
    new = house.spool(spool="block", spool_quota=2 * MIB)
    write(new, numbered(MIB + 16))
    assert eventually(lambda: new.instance in house.processes.paused)
    assert old.instance not in house.processes.paused


def test_what_is_dropped_while_it_is_read_is_not_sent_as_nuls(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = house.spool(spool="drop-oldest", spool_quota=MIB)
    data = numbered(4 * MIB)
    write(spool, data)
    read = spool.read

    def read_late(stream: Any, offset: int, limit: int) -> bytes:
        """Read, and have all be dropped before anybody can look whether it was there."""
        house.uploader.drop(spool.instance, MIB, "quota")
        holes.free(spool.path("stdout"), 0, house.uploader.freed(spool.instance)["stdout"].begin)
        with spool.path("stdout").open("rb") as file:
            file.seek(offset)
            found = file.read(limit)
        monkeypatch.setattr(spool, "read", read)
        return found

    monkeypatch.setattr(spool, "read", read_late)
    while len(house.store.of(spool)) < len(data):
        house.uploader._work()
    assert house.store.of(spool)[MIB:] == data[MIB:]
    assert [p.lost for request in house.store.requests for p in request if p.lost] == [MIB]


def test_registry_that_lost_its_data_is_told_what_is_gone(house: House) -> None:
    spool = house.spool()
    house.start()
    data = numbered(4 * MIB)
    write(spool, data)
    assert eventually(lambda: len(house.store.of(spool)) == len(data))
    assert eventually(lambda: is_freed(spool, len(data)))
    begin = spool.begin("stdout")
    house.store.data.clear()
    write(spool, b"more\n")
    assert eventually(lambda: len(house.store.of(spool)) == len(data) + 5)
    gap = next(p for request in house.store.requests for p in request if p.lost)
    assert (gap.offset, gap.lost, gap.reason) == (0, begin, "freed")
    assert house.store.of(spool)[begin:] == data[begin:] + b"more\n"


def test_next_runner_tells_what_the_one_before_dropped(house: House) -> None:
    spool = house.spool(spool="drop-oldest", spool_quota=MIB)
    house.store.away = True
    house.start()
    data = numbered(4 * MIB)
    write(spool, data)
    assert eventually(lambda: spool.begin("stdout") > 3 * MIB)
    house.keeper.stop()
    house.uploader.stop()
    begin = spool.begin("stdout")
    house.store.away = False
    following = Uploader(house.root, house.store.send)
    following.start("default", "here")
    assert following.flush(10)
    following.stop()
    gap = next(p for request in house.store.requests for p in request if p.lost)
    assert (gap.offset, gap.lost, gap.reason) == (0, begin, "quota")
    assert house.store.of(spool)[begin:] == data[begin:]


def test_older_registry_that_knows_no_gaps_is_not_asked_without_end(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    spool = house.spool(spool="drop-oldest", spool_quota=MIB)
    write(spool, numbered(4 * MIB))
    asked = []

    def send(pieces: list[OutputPiece]) -> list[OutputAck]:
        asked.append(pieces)
        return house.store.send([msgspec.structs.replace(piece, lost=0) for piece in pieces])

    house.uploader.look()
    assert house.uploader.drop(spool.instance, MIB, "quota") == MIB
    house.uploader._send = send
    house.uploader.start("default", "here")
    assert eventually(lambda: "too old" in caplog.text)
    assert not eventually(lambda: len(asked) > 2, timeout=0.5)


def test_where_nothing_can_be_freed_it_is_said_once_and_all_are_suspended(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(holes, "can_free", lambda _folder: False)
    spool = house.spool(spool="drop-oldest", spool_quota=MIB)
    house.store.away = True
    house.start()
    data = numbered(2 * MIB)
    write(spool, data)
    assert eventually(lambda: spool.instance in house.processes.paused)
    house.store.away = False
    assert eventually(lambda: not house.processes.paused)
    assert house.uploader.flush(10)
    assert house.store.of(spool) == data
    assert spool.begin("stdout") == 0
    assert caplog.text.count("cannot free parts of a file") == 1


def test_disk_that_fails_ends_no_thread(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    spool = house.spool()
    failing = threading.Event()
    free = holes.free

    def fail(*arguments: Any) -> None:
        if failing.is_set():
            free(*arguments)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(keeper.holes, "free", fail)
    house.start()
    write(spool, numbered(4 * MIB))
    assert eventually(lambda: "nothing can be freed" in caplog.text)
    monkeypatch.setattr(keeper.holes, "free", free)
    assert eventually(lambda: blocks(spool) < KEPT + STEP + 64 * 1024)
