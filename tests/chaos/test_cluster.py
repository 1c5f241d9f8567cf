"""The eyes of the chaos around a whole cluster see what is not as promised, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.runtime.records import process_identity, process_start_time
from tests.chaos.lives import Lives
from tests.chaos.members import Member, Seen
from tests.chaos.said import compare, is_complete, stored_lines

A, B = "foo-worker-0-11-5", "foo-worker-0-12-9"


def lines(process: str, *numbers: int) -> list[bytes]:
    return [f"said {process} {number} 7 3 xx\n".encode() for number in numbers]


def stored(*parts: list[bytes] | bytes) -> dict[str, list[bytes]]:
    """What a stream has in which these follow one another, with what palm logs between them."""
    noise = b"\n2026-01-01 00:00:00,000 - w - INFO - ready\n"
    data = [part if isinstance(part, bytes) else b"".join(part) for part in parts]
    return stored_lines([noise.join(data)])


def complaint(said: dict[str, list[bytes]], found: dict[str, list[bytes]]) -> str:
    (text,) = compare(said, found)
    return text


def test_output_that_is_as_it_was_written_raises_no_complaint() -> None:
    said = {A: lines(A, 0, 1, 2), B: lines(B, 0)}
    found = stored(lines(A, 0, 1, 2), lines(B, 0))
    assert not compare(said, found)
    assert is_complete(said, found)


def test_last_line_of_a_killed_process_may_lack_its_end_or_be_missing() -> None:
    said = {A: lines(A, 0, 1, 2), B: lines(B, 0)}
    assert not compare(said, stored(lines(A, 0, 1), lines(B, 0)))
    torn = stored(lines(A, 0, 1), lines(A, 2)[0][:-3], lines(B, 0))
    assert len(torn[A]) == 3
    assert not compare(said, torn)
    assert not compare(said, stored(lines(A, 0, 1), lines(A, 2)[0][:9], lines(B, 0)))


def test_line_that_is_missing_doubled_changed_or_out_of_order_is_found() -> None:
    said = {A: lines(A, 0, 1, 2)}
    assert complaint(said, stored(lines(A, 0))) == f"{A}: 1 of 2 lines are missing"
    assert not is_complete(said, stored(lines(A, 0)))
    assert complaint(said, stored(lines(A, 0, 1, 2, 2))) == f"{A}: 1 lines too many"
    assert "line 1 is" in complaint(said, stored(lines(A, 0, 2)))
    assert "line 1 is" in complaint(said, stored(lines(A, 0, 0, 1)))
    assert "line 0 is" in complaint(said, stored(lines(A, 1, 0, 2)))
    changed = [*lines(A, 0), lines(A, 1)[0].replace(b"xx", b"xy"), *lines(A, 2)]
    assert "line 1 is" in complaint(said, stored(changed))
    assert "its last line" in complaint(said, stored([*lines(A, 0, 1), *lines(A, 3)]))


def test_lines_that_nobody_wrote_are_found() -> None:
    assert complaint({}, stored(lines(B, 0))) == f"lines of {B}, which wrote none"


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def note(folder: Path, name: str, pid: int) -> None:
    text = f"{name} {pid} {process_start_time(pid)} {process_identity(pid)}\n"
    (folder / f"{name}-{pid}").write_text(text)


def test_two_processes_of_one_name_are_found(
    tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    lives = Lives(tmp_path)
    for process in sleepers:
        note(tmp_path, "foo", process.pid)
    lives.look()
    (said,) = lives.complaints
    assert said.startswith("foo has 2 processes at once: ")
    assert all(str(process.pid) in said for process in sleepers)


def test_process_that_follows_one_that_has_ended_is_none_too_many(
    tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    lives = Lives(tmp_path)
    note(tmp_path, "foo", sleepers[0].pid)
    lives.look()
    sleepers[0].kill()
    sleepers[0].wait()
    note(tmp_path, "foo", sleepers[1].pid)
    note(tmp_path, "bar", os.getpid())
    (tmp_path / "baz-1").write_text("baz 1")  # it is still at it
    lives.look()
    assert not lives.complaints
    assert lives.now_by_name() == {"foo": sleepers[1].pid, "bar": os.getpid()}


def test_recovery_lasts_until_another_process_is_ready(
    sleepers: list[subprocess.Popen[bytes]],
) -> None:
    first, second = sleepers
    seen: Seen | None = Seen(first.pid, True)
    member = Member("worker", "w", lambda: seen)
    member.look()
    assert (member.is_there, member.pid) == (True, first.pid)
    member.send(signal.SIGKILL)
    first.wait()
    seen = None
    member.look()
    assert not member.is_there
    seen = Seen(second.pid, False)
    member.look()
    assert not member.recoveries
    seen = Seen(second.pid, True)
    member.look()
    assert len(member.recoveries) == 1
