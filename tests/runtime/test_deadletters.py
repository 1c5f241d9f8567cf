"""The store of dead letters."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from palm.errors import PalmError
from palm.runtime.deadletters import DeadLetters, Letter
from palm.runtime.folders import Folders


def letter(index: int = 0) -> Letter:
    return Letter("foo", "f", "ab12", index, 3, 1, "client-1", "it ended 3 workers")


@pytest.fixture
def letters(tmp_path: Path) -> DeadLetters:
    return DeadLetters(tmp_path)


def test_letter_comes_back_as_it_was(letters: DeadLetters) -> None:
    payload = bytes(range(256)) + b"\n{}"
    kept = letter(7)
    assert letters.add(kept, memoryview(payload)) == []
    (found,) = letters.letters()
    assert found == kept == letters.find(kept.id)
    assert found.size == len(payload) and letters.payload(found) == payload


def test_letters_are_listed_in_the_order_in_which_they_came(letters: DeadLetters) -> None:
    for index in range(20):
        letters.add(letter(index), b"x")
    assert [found.index for found in letters.letters()] == list(range(20))


def test_file_is_for_its_owner_alone(palm_home: Path) -> None:
    letters = DeadLetters.of(Folders.find())
    letters.add(letter(), b"secret")
    (path,) = letters.folder.iterdir()
    assert letters.folder.parts[-2:] == ("default", "dead-letters")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(letters.folder.stat().st_mode) == 0o700


def test_oldest_makes_room_for_the_latest(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, most=3)
    first = letter(0)
    letters.add(first, b"x")
    assert [letters.add(letter(index), b"x") for index in range(1, 4)] == [[], [], [first.id]]
    assert [found.index for found in letters.letters()] == [1, 2, 3]


def test_bytes_are_bounded_too_and_the_latest_stays(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, most_bytes=2_000)
    for index in range(10):
        letters.add(letter(index), bytes(500))
    assert [found.index for found in letters.letters()] == [8, 9]
    letters.add(letter(10), bytes(5_000))
    assert [found.index for found in letters.letters()] == [10]


def test_letter_is_removed_once(letters: DeadLetters) -> None:
    kept = letter()
    letters.add(kept, b"x")
    assert letters.remove(kept.id) and not letters.remove(kept.id)
    assert letters.letters() == []
    with pytest.raises(PalmError, match=kept.id):
        letters.payload(kept)


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "", "x.letter"])
def test_what_is_no_id_finds_nothing(letters: DeadLetters, name: str) -> None:
    letters.add(letter(), b"x")
    assert letters.find(name) is None and not letters.remove(name)


def test_broken_files_are_left_out(letters: DeadLetters, tmp_path: Path) -> None:
    kept = letter()
    letters.add(kept, b"x" * 100)
    (tmp_path / "0-broken.letter").write_bytes(b"\xff\x00")
    (tmp_path / "0-empty.letter").touch()
    (tmp_path / "other.txt").touch()
    assert letters.letters() == [kept]
    path = tmp_path / f"{kept.id}.letter"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PalmError, match="99 of 100"):
        letters.payload(kept)


def test_nothing_is_left_where_a_letter_cannot_be_written(
    letters: DeadLetters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        letters.add(letter(), b"x")
    assert list(tmp_path.iterdir()) == []
