from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palm.errors import ConfigError
from palm.runner import spool as spool_module
from palm.runner.spool import KEPT_PER_NAME, Spool, find_spool, list_spools, make_spool
from palm.runtime.records import process_identity, process_start_time


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def write(spool: Spool, stream: spool_module.Stream, data: bytes) -> None:
    fd = spool.open(stream)
    os.write(fd, data)
    os.close(fd)


def end(spool: Spool, started: float) -> None:
    state = spool.read_state()
    assert state is not None
    state.started, state.exit = started, 0
    spool.write_state(state)


def test_only_the_owner_can_look_at_output(root: Path) -> None:
    spool = make_spool(root, "foo")
    write(spool, "stdout", b"secret\n")
    for path in (root, spool.folder):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in spool.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_instances_of_a_name_do_not_share_output(root: Path) -> None:
    one, two = make_spool(root, "foo"), make_spool(root, "foo")
    assert one.instance != two.instance
    assert one.instance.startswith("foo.")


def test_output_is_appended(root: Path) -> None:
    spool = make_spool(root, "foo")
    write(spool, "stdout", b"one\n")
    write(spool, "stdout", b"two\n")
    assert spool.tail("stdout", 10) == "one\ntwo\n"
    assert spool.size("stdout") == 8
    assert spool.read("stdout", 4, 2) == b"tw"
    assert spool.read("stdout", 100, 2) == b""


def test_streams_that_were_never_written_are_empty(root: Path) -> None:
    spool = make_spool(root, "foo")
    assert spool.tail("stderr", 10) == ""
    assert spool.read("stderr", 0, 10) == b""
    assert spool.size("stderr") == 0
    assert spool.logs() == ""


def test_unknown_stream_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="no such stream"):
        make_spool(root, "foo").tail("../state.json", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "n", "shown"),
    [
        (b"", 5, ""),
        (b"no newline", 5, "no newline\n"),
        (b"a\nb\nc\n", 2, "b\nc\n"),
        (b"a\nb\nc", 2, "b\nc\n"),
        (b"a\n\n\n", 2, "\n\n"),
        (b"\n", 5, "\n"),
        (b"\na\n", 5, "\na\n"),
        (b"a\nb\n", 0, ""),
        (b"bad \xff byte\n", 5, "bad \\xff byte\n"),
        (b"\x1b[31mred\x1b[0m\n", 5, "red\n"),
        (b"10%\r100%\n", 5, "100%\n"),
    ],
)
def test_tail(root: Path, data: bytes, n: int, shown: str) -> None:
    spool = make_spool(root, "foo")
    write(spool, "stdout", data)
    assert spool.tail("stdout", n) == shown


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lines=st.lists(st.text(alphabet="ab ", max_size=12), max_size=30),
    n=st.integers(0, 40),
    block=st.integers(1, 16),
)
def test_tail_is_the_end_of_the_lines_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], n: int, block: int
) -> None:
    monkeypatch.setattr(spool_module, "_BLOCK", block)
    spool = Spool(tmp_path)
    (tmp_path / "stdout").write_text("".join(f"{line}\n" for line in lines))
    expected = lines[len(lines) - n :] if n < len(lines) else lines
    assert spool.tail("stdout", n) == "".join(f"{line}\n" for line in expected)


def test_tail_of_a_large_file_reads_its_end_only(root: Path) -> None:
    spool = make_spool(root, "foo")
    with (spool.folder / "stdout").open("wb") as file:
        file.truncate(50 * 2**30)  # sparse
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b"".join(b"line %d\n" % i for i in range(10_000)))
    start = time.monotonic()
    assert spool.tail("stdout", 2) == "line 9998\nline 9999\n"
    assert time.monotonic() - start < 2.0


def test_tail_can_start_at_an_offset(root: Path) -> None:
    spool = make_spool(root, "foo")
    write(spool, "stderr", b"earlier run\n")
    since = spool.size("stderr")
    write(spool, "stderr", b"this run\n")
    assert spool.tail("stderr", 10, since=since) == "this run\n"
    assert spool.tail("stderr", 10, since=spool.size("stderr")) == ""


def test_grep_finds_the_last_matches(root: Path) -> None:
    spool = make_spool(root, "foo")
    write(spool, "stdout", b"".join(b"line %d\n" % i for i in range(100)))
    assert spool.tail("stdout", 2, grep=r"[05]$") == "line 90\nline 95\n"
    with pytest.raises(ConfigError, match="not a regular expression"):
        spool.tail("stdout", 2, grep="(")


def test_logs_show_both_streams_and_say_which_is_which(root: Path) -> None:
    spool = make_spool(root, "foo")
    write(spool, "stdout", b"out\n")
    assert spool.logs() == "out\n"
    write(spool, "stderr", b"err\n")
    assert spool.logs() == "out\n--- stderr ---\nerr\n"
    assert spool.logs(stream="stderr") == "err\n"


def test_state_of_a_new_spool_is_complete_and_a_broken_one_is_none(root: Path) -> None:
    spool = make_spool(root, "foo", role="master", cluster="c")
    state = spool.read_state()
    assert state is not None
    assert (state.name, state.role, state.cluster, state.exit) == ("foo", "master", "c", None)
    assert not state.is_running
    (spool.folder / "state.json").write_text("{")
    assert spool.read_state() is None
    assert list_spools(root) == []


def test_only_the_newest_spools_of_a_name_are_kept(root: Path) -> None:
    other = make_spool(root, "foobar")
    end(other, 0.0)
    elsewhere = make_spool(root, "foo", cluster="elsewhere")
    end(elsewhere, 0.0)
    spools = []
    for i in range(KEPT_PER_NAME + 3):
        spools.append(make_spool(root, "foo"))
        end(spools[-1], float(i))
    kept = [spool.folder for spool in (other, elsewhere, *spools[3:])]
    assert sorted(root.iterdir()) == sorted(kept)


def test_spool_of_a_running_process_is_never_removed(root: Path) -> None:
    spool = make_spool(root, "foo")
    state = spool.read_state()
    assert state is not None
    state.pid, state.started = os.getpid(), 0.0
    state.start_time = process_start_time(os.getpid()) or 0.0
    state.identity = process_identity(os.getpid())
    spool.write_state(state)
    for i in range(KEPT_PER_NAME + 2):
        end(make_spool(root, "foo"), float(i))
    assert spool.folder.exists()
    found = find_spool(root, "foo", "default")
    assert found is not None
    assert found.instance == spool.instance


def test_find_gives_the_latest_of_the_name_and_cluster(root: Path) -> None:
    old, new = make_spool(root, "foo"), make_spool(root, "foo")
    end(old, 1.0)
    end(new, 2.0)
    end(make_spool(root, "foo", cluster="elsewhere"), 3.0)
    end(make_spool(root, "foo-1"), 3.0)
    found = find_spool(root, "foo", "default")
    assert found is not None
    assert found.instance == new.instance
    assert find_spool(root, "bar", "default") is None
    assert find_spool(root / "absent", "foo", "default") is None


@pytest.mark.parametrize(
    ("data", "complete"), [(b"", 0), (b"abc", 0), (b"a\nb", 2), (b"a\nb\n", 4), (b"\n", 1)]
)
def test_complete_is_the_end_of_the_last_whole_line(root: Path, data: bytes, complete: int) -> None:
    spool = make_spool(root, "foo")
    write(spool, "stdout", data)
    assert spool.complete("stdout") == complete
    assert spool.tail("stdout", 9, until=complete) == data[:complete].decode()


def test_complete_does_not_wait_for_a_line_without_end(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_BLOCK", 4)
    spool = make_spool(root, "foo")
    write(spool, "stdout", b"a\nbbbbbbbbb")
    assert spool.complete("stdout") == 11
