from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from palm.errors import ConfigError
from palm.runtime.folders import Folders
from palm.runtime.namelock import NameLock, NameTaken
from palm.runtime.records import process_start_time


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders.find(
        {"PALM_RUN_DIR": str(tmp_path / "run"), "PALM_STATE_DIR": str(tmp_path / "state")}
    )


@pytest.fixture
def env(folders: Folders) -> dict[str, str]:
    return os.environ | {"PALM_RUN_DIR": str(folders.run), "PALM_STATE_DIR": str(folders.state)}


def test_a_name_is_held_once_also_within_one_process(folders: Folders) -> None:
    first, second = NameLock(folders, "foo"), NameLock(folders, "foo")
    first.acquire()
    first.acquire()  # holding is no reason to refuse oneself
    with pytest.raises(NameTaken) as caught:
        second.acquire()
    assert caught.value.pid == os.getpid()
    assert caught.value.start_time == process_start_time(os.getpid())
    assert (first.is_held, second.is_held) == (True, False)
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_other_names_are_free(folders: Folders) -> None:
    foo, bar = NameLock(folders, "foo"), NameLock(folders, "bar")
    foo.acquire()
    bar.acquire()
    foo.release()
    bar.release()


def test_the_refusal_says_who_and_what_to_do() -> None:
    error = NameTaken("foo", 123, 1795507201.0)
    assert str(error).startswith(
        "a component named 'foo' already runs: pid 123, since 2026-11-24 08:00:01 UTC"
    )
    assert "palm stop foo" in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.pid, copy.start_time, str(copy)) == (123, 1795507201.0, str(error))
    assert isinstance(error, ConfigError)


@pytest.mark.parametrize("data", [b"", b'{"pid": 4194305, "start_time": 1.0}', b"{", b"\xff"])
def test_a_holder_that_has_not_yet_written_is_not_misnamed(folders: Folders, data: bytes) -> None:
    lock = NameLock(folders, "foo")
    lock.acquire()
    (folders.components / "foo.lock").write_bytes(data)
    with pytest.raises(NameTaken, match="already runs") as caught:
        NameLock(folders, "foo").acquire()
    assert caught.value.pid == 0
    lock.release()


def test_the_file_is_private_and_stays(folders: Folders) -> None:
    lock = NameLock(folders, "foo")
    lock.acquire()
    path = folders.components / "foo.lock"
    assert path.stat().st_mode & 0o777 == 0o600
    inode = path.stat().st_ino
    lock.release()
    lock.acquire()
    assert path.stat().st_ino == inode
    lock.release()


HOLD = """
import sys, time
from palm.runtime.folders import Folders
from palm.runtime.namelock import NameLock
NameLock(Folders.find(), "foo").acquire()
print("held", flush=True)
sys.stdin.read()
"""


def hold(env: dict[str, str], source: str = HOLD) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", source],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_a_name_is_free_again_after_kill_9(folders: Folders, env: dict[str, str]) -> None:
    with hold(env) as child:
        with pytest.raises(NameTaken) as caught:
            NameLock(folders, "foo").acquire()
        assert caught.value.pid == child.pid
        assert abs(caught.value.start_time - time.time()) < 60
        child.kill()
        child.wait()
        lock = NameLock(folders, "foo")
        lock.acquire()
        lock.release()


FORK = """
import os, sys
from palm.runtime.folders import Folders
from palm.runtime.namelock import NameLock
lock = NameLock(Folders.find(), "foo")
lock.acquire()
if os.fork() == 0:
    lock.release()  # not the child's to give
    print("held", flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""


def test_a_forked_child_neither_frees_nor_keeps_a_name(
    folders: Folders, env: dict[str, str]
) -> None:
    with hold(env, FORK) as parent:
        with pytest.raises(NameTaken):
            NameLock(folders, "foo").acquire()
        parent.kill()  # its child lives on until the pipe closes
        parent.wait()
        lock = NameLock(folders, "foo")
        lock.acquire()
        lock.release()


RACE = """
import sys
from palm.runtime.folders import Folders
from palm.runtime.namelock import NameLock, NameTaken
folders = Folders.find()
print("ready", flush=True)
sys.stdin.readline()
try:
    NameLock(folders, "foo").acquire()
    print("won", flush=True)
except NameTaken:
    print("lost", flush=True)
sys.stdin.readline()
"""


def test_of_four_that_start_at_once_one_gets_the_name(env: dict[str, str]) -> None:
    for _ in range(3):
        children = [
            subprocess.Popen(
                [sys.executable, "-c", RACE],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        answers = sorted(child.stdout.readline() for child in children if child.stdout)
        for child in children:
            child.communicate("end\n", timeout=60)
        assert answers == ["lost\n", "lost\n", "lost\n", "won\n"]
