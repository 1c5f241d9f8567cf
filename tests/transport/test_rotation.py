"""Keys that change while they are in use."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from palm.transport.keys import Keyring, ensure_keys, install_keys, read_keyring
from palm.transport.rotation import keys_to_try, rotated


@pytest.fixture
def keys(palm_home: Path) -> Path:
    folder = palm_home / "keys"
    folder.mkdir(mode=0o700)
    ensure_keys(folder)
    return folder


def rotate_keys(folder: Path, overlap: float) -> Keyring:
    assert install_keys(folder, rotated(read_keyring(folder), time.time() + overlap))
    return read_keyring(folder)


def test_47_keys_of_before_are_good_for_a_while_and_no_longer(keys: Path) -> None:
    old = read_keyring(keys)
    new = rotate_keys(keys, 60.0)
    now = time.time()
    for role in ("owner", "client", "worker"):
        before, after = getattr(old, role), getattr(new, role)
        assert before.curve_publickey != after.curve_publickey
        assert new.user_id_of(after.curve_publickey, now + 3600) == role
        assert new.user_id_of(before.curve_publickey, now) == role
        assert new.user_id_of(before.curve_publickey, now + 61) is None
    # Two changes: what was good before both is good no more.
    newest = rotate_keys(keys, 60.0)
    assert newest.user_id_of(old.client.curve_publickey, now) is None
    assert newest.user_id_of(new.client.curve_publickey, now) == "client"
    assert not install_keys(keys, newest)  # they are there already
    for path in keys.glob("*.json"):
        assert path.stat().st_mode & 0o077 == 0
        assert str(keys) not in path.read_text()


def test_47_without_an_overlap_those_of_before_end_at_once(keys: Path) -> None:
    old = read_keyring(keys)
    new = rotate_keys(keys, 0.0)
    assert new.user_id_of(old.client.curve_publickey, time.time()) is None


def test_who_has_the_keys_of_before_finds_those_of_now(keys: Path) -> None:
    old = read_keyring(keys)
    new = rotate_keys(keys, 60.0)
    tried = keys_to_try(old.worker)
    assert tried[0].curve_publickey == new.worker.curve_publickey
    assert [key.server_publickey for key in tried[:2]] == [
        new.owner.curve_publickey,
        old.owner.curve_publickey,
    ]
    assert old.again() == new


def test_keys_that_are_being_changed_are_read_whole(keys: Path) -> None:
    over = threading.Event()
    failures: list[Exception] = []

    def read() -> None:
        while not over.is_set():
            try:
                ring = ensure_keys(keys)
                assert ring.client.server_publickey == ring.owner.curve_publickey
            except Exception as error:  # noqa: BLE001 - told by the test
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(50):
        rotate_keys(keys, 60.0)
    over.set()
    for reader in readers:
        reader.join()
    assert failures == []
