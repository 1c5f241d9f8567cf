"""Lines of what components wrote, and of what of it is lost."""

from __future__ import annotations

from palm.clusters.output import LineReader, last_lines
from palm.registry_api.schema import OutputRecord

TOLD = "[palm: 9 bytes of output were dropped here: the disk of its node was full]"


def record(offset: int, data: bytes = b"", lost: int = 0) -> OutputRecord:
    return OutputRecord(
        component="foo", replica=0, name="foo", instance="foo.1", stream="stdout", offset=offset,
        time=1.0, cursor="", data=None if lost else data, text=f"{TOLD}\n" if lost else None,
        lost=lost,
    )  # fmt: skip


def test_line_ends_where_bytes_are_lost_and_the_next_begins_after_them() -> None:
    reader = LineReader()
    records = [record(0, b"one\ntw\xc3"), record(7, lost=9), record(16, b"\xa4ree\nfour\n")]
    assert not any(reader.skips(each) for each in records[:1])
    found = [line.text for each in records for line in reader.read(each)]
    assert found == ["one", "tw", TOLD, "\\xa4ree", "four"]
    assert not reader.skips(record(26, b"x"))


def test_offsets_go_on_after_what_is_lost() -> None:
    gap = record(7, lost=9)
    assert (gap.raw, gap.end) == (b"", 16)


def test_last_lines_tell_of_what_is_lost() -> None:
    lines = last_lines([record(0, b"one\n"), record(4, lost=9), record(13, b"two\n")], 2)
    assert [line.text for line in lines] == [TOLD, "two"]
    unknown = OutputRecord(
        component="foo", replica=0, name="foo", instance="foo.1", stream="stdout", offset=0,
        time=1.0, cursor="", data=b"", lost=2_000,
    )  # fmt: skip
    assert last_lines([unknown], 1)[0].text == "[palm: 2,000 bytes of output are lost here]"
