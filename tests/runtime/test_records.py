from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from palm.errors import ConfigError
from palm.runtime import records
from palm.runtime.folders import Folders
from palm.runtime.records import (
    ComponentRecord,
    is_running,
    live_records,
    process_identity,
    process_start_time,
    publish_record,
    read_record,
    remove_record,
)

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders.find(
        {"PALM_RUN_DIR": str(tmp_path / "run"), "PALM_STATE_DIR": str(tmp_path / "state")}
    )


def started(pid: int) -> float:
    start_time = process_start_time(pid)
    assert start_time is not None
    return start_time


def record(name: str = "foo", instance: str = "i1", pid: int | None = None) -> ComponentRecord:
    pid = os.getpid() if pid is None else pid
    return ComponentRecord(
        name=name,
        role="master",
        instance=instance,
        pid=pid,
        start_time=started(pid),
        endpoints={"pull": "ipc:///x"},
        functions=["f", "g"],
    )


def dead_record(name: str = "foo", instance: str = "dead") -> ComponentRecord:
    child = subprocess.Popen(["sleep", "60"])
    try:
        return msgspec.structs.replace(
            record(name, instance, child.pid), identity=process_identity(child.pid)
        )
    finally:
        child.kill()
        child.wait()


# -- records ----------------------------------------------------------------------------------


def test_a_record_is_read_as_it_was_published(folders: Folders) -> None:
    path = publish_record(folders, record())
    assert path == folders.components / "foo.json"
    found = read_record(folders, "foo")
    assert found is not None
    assert msgspec.structs.replace(found, identity="") == record()
    assert [r.name for r in live_records(folders)] == ["foo"]


def test_the_file_has_the_fields_that_other_programs_read(folders: Folders) -> None:
    data = msgspec.json.decode(publish_record(folders, record()).read_bytes())
    assert data["schema"] == 1
    assert data.keys() >= {
        "schema", "name", "role", "instance", "pid", "start_time", "epoch", "endpoints",
        "public_key", "functions", "version", "started",
    }  # fmt: skip


def test_a_record_is_private_whatever_the_umask(folders: Folders) -> None:
    before = os.umask(0)
    try:
        path = publish_record(folders, record())
    finally:
        os.umask(before)
    for entry in path.parent.iterdir():
        assert entry.stat().st_mode & 0o777 == 0o600, entry


def test_nobody_there_is_none(folders: Folders) -> None:
    assert read_record(folders, "foo") is None
    assert live_records(folders) == []
    assert remove_record(folders, "foo", "i1") is False


@pytest.mark.parametrize("name", ["../foo", "a/b", ""])
def test_a_name_cannot_lead_out_of_the_folder(folders: Folders, name: str) -> None:
    with pytest.raises(ConfigError):
        read_record(folders, name)


def test_a_record_outlives_its_process_in_no_answer(folders: Folders) -> None:
    path = publish_record(folders, dead_record())
    assert read_record(folders, "foo") is None
    assert path.exists()  # reading changes nothing
    assert live_records(folders) == []
    assert not path.exists()


def test_a_component_removes_its_own_record_only(folders: Folders) -> None:
    publish_record(folders, record(instance="new"))
    assert remove_record(folders, "foo", "old") is False
    assert read_record(folders, "foo") is not None
    assert remove_record(folders, "foo", "new") is True
    assert read_record(folders, "foo") is None


@pytest.mark.parametrize("keep", [0, 1, 10, 100])
def test_a_part_of_a_record_is_no_record(folders: Folders, keep: int) -> None:
    path = publish_record(folders, record())
    path.write_bytes(path.read_bytes()[:keep])
    assert read_record(folders, "foo") is None
    assert live_records(folders) == []
    assert not path.exists()
    publish_record(folders, record())
    assert read_record(folders, "foo") is not None


@pytest.mark.parametrize("data", [b"{}", b"[]", b"null", b'{"name": 5}', b"\xff\xfe", b"{" * 5000])
def test_anything_else_is_no_record(folders: Folders, data: bytes) -> None:
    path = folders.components / "foo.json"
    path.write_bytes(data)
    path.chmod(0o600)
    assert read_record(folders, "foo") is None


def test_a_record_of_a_later_version_is_read(folders: Folders) -> None:
    path = publish_record(folders, record())
    data = msgspec.json.decode(path.read_bytes()) | {"schema": 2, "colour": "blue"}
    path.write_bytes(msgspec.json.encode(data))
    found = read_record(folders, "foo")
    assert found is not None
    assert found.schema == 2


def test_a_record_under_another_name_is_no_record(folders: Folders) -> None:
    publish_record(folders, record()).rename(folders.components / "bar.json")
    assert read_record(folders, "bar") is None


def test_a_record_that_is_a_link_or_open_to_others_is_no_record(folders: Folders) -> None:
    path = publish_record(folders, record())
    path.chmod(0o644)
    assert read_record(folders, "foo") is None
    path.chmod(0o600)
    moved = path.rename(folders.run / "elsewhere")
    path.symlink_to(moved)
    assert read_record(folders, "foo") is None


def test_a_pipe_in_the_place_of_a_record_blocks_nobody(folders: Folders) -> None:
    os.mkfifo(folders.components / "foo.json", 0o600)
    assert read_record(folders, "foo") is None
    assert live_records(folders) == []


def test_what_a_crash_left_half_written_is_swept(folders: Folders) -> None:
    leftover = folders.components / ".foo.0123456789ab.tmp"
    leftover.write_bytes(b'{"na')
    publish_record(folders, record())
    assert [r.name for r in live_records(folders)] == ["foo"]
    assert not leftover.exists()


def test_pruning_spares_the_record_that_took_the_place(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_record(folders, dead_record())
    prune = records.prune_records

    def prune_late(components: Path, paths: list[Path]) -> None:
        publish_record(folders, record(instance="new"))  # between the look and the removal
        prune(components, paths)

    monkeypatch.setattr(records, "prune_records", prune_late)
    assert live_records(folders) == []
    found = read_record(folders, "foo")
    assert found is not None
    assert found.instance == "new"


PUBLISH = """
import os, sys
from palm.runtime.folders import Folders
from palm.runtime.records import *
folders = Folders.find()
pid = os.getpid()
for round in range(100):
    me = f"{pid}-{round}"
    publish_record(folders, ComponentRecord(name="foo", role="master", instance=me, pid=pid,
                   start_time=process_start_time(pid), functions=["f" * 50] * 200))
    live_records(folders)
    found = read_record(folders, "foo")
    # Another's, who has ended since, may have been in the place of ours, and been removed.
    assert found is None or len(found.functions) == 200, found
    if sys.argv[1] == "removes":
        remove_record(folders, "bar", me)
"""


def test_readers_and_writers_at_once_see_whole_records(folders: Folders) -> None:
    env = os.environ | {"PALM_RUN_DIR": str(folders.run), "PALM_STATE_DIR": str(folders.state)}
    publish_record(folders, dead_record())
    children = [
        subprocess.Popen([sys.executable, "-c", PUBLISH, how], env=env)
        for how in ("keeps", "removes", "keeps", "removes")
    ]
    assert [child.wait(timeout=60) for child in children] == [0, 0, 0, 0]
    assert live_records(folders) == []
    left = sorted(entry.name for entry in folders.components.iterdir())
    assert left == [".records.lock"]


def test_a_writer_killed_anywhere_leaves_nothing_in_the_way(folders: Folders) -> None:
    env = os.environ | {"PALM_RUN_DIR": str(folders.run), "PALM_STATE_DIR": str(folders.state)}
    source = PUBLISH.replace("range(100)", "range(10**9)").replace("found is not None", "True")
    child = subprocess.Popen([sys.executable, "-c", source, "keeps"], env=env)
    try:
        deadline = time.monotonic() + 30
        while not (folders.components / "foo.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    publish_record(folders, record("bar"))
    assert [r.name for r in live_records(folders)] == ["bar"]
    left = sorted(entry.name for entry in folders.components.iterdir())
    assert left == [".records.lock", "bar.json"]


# -- processes --------------------------------------------------------------------------------


def test_this_process_runs_since_a_moment_ago() -> None:
    pid = os.getpid()
    assert is_running(pid, started(pid))
    assert 0 <= time.time() - started(pid) + 2 < 24 * 3600


def test_the_start_time_is_the_one_that_psutil_gives() -> None:
    psutil = pytest.importorskip("psutil")
    assert started(os.getpid()) == pytest.approx(psutil.Process().create_time(), abs=1.5)


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_no_process_runs_under_an_impossible_pid(pid: int) -> None:
    assert not is_running(pid, time.time())
    assert process_start_time(2**22 + 1) is None


def test_a_later_process_with_the_pid_is_another_one() -> None:
    pid = os.getpid()
    assert not is_running(pid, started(pid) - 10)
    assert not is_running(pid, started(pid) + 10)


@linux
def test_identity_tells_processes_apart_that_start_together() -> None:
    pid = os.getpid()
    boot, ticks = process_identity(pid).split("/")
    assert is_running(pid, started(pid), f"{boot}/{ticks}")
    assert not is_running(pid, started(pid), f"{boot}/{int(ticks) - 1}")
    assert not is_running(pid, started(pid), f"another-boot/{ticks}")


@linux
def test_a_clock_that_is_set_ends_no_component(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_record(folders, record())
    boot = records._boot_time()
    monkeypatch.setattr(records, "_boot_time", lambda: boot + 7200)
    assert read_record(folders, "foo") is not None


def test_a_zombie_does_not_run() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        start_time, identity = started(child.pid), process_identity(child.pid)
        assert is_running(child.pid, start_time, identity)
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
        assert not is_running(child.pid, start_time)
        assert not is_running(child.pid, start_time, identity)
    finally:
        child.kill()
        child.wait()


@linux
def test_the_name_of_a_program_may_hold_anything(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([program, "60"])
    try:
        assert is_running(child.pid, started(child.pid), process_identity(child.pid))
        assert abs(started(child.pid) - time.time()) < 30
    finally:
        child.kill()
        child.wait()


def test_without_proc_the_answers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    monkeypatch.setattr(records, "_HAS_PROC", False)
    pid = os.getpid()
    assert process_identity(pid) == ""
    assert is_running(pid, started(pid))
    assert not is_running(pid, started(pid) - 10)
    assert not is_running(2**22 + 1, 0.0)


def test_looking_up_names_loads_nothing_heavy() -> None:
    source = (
        "import sys, palm.runtime.namelock; "
        "print(*({'psutil', 'zmq', 'asyncio', 'logging', 'socket', 'hashlib'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True)
    assert loaded.stdout.split() == []
