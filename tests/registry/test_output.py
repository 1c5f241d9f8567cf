"""Output is stored once, in order, as it was written: F27, F29, F40, F42."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.registry_api.client import Refused, RegistryClient
from palm_registry.output import SEGMENT, Gap, fresh_loss, fresh_parts
from tests.support.registry import Browser, RegistryThread, piece

pytestmark = pytest.mark.both_databases


def everything(client: RegistryClient, **which: str) -> bytes:
    """All bytes of a selection, page by page."""
    page = client.output("c", limit=3, **which)
    found = [record.raw for record in page.records]
    while page.more:
        page = client.output("c", cursor=page.cursor, limit=3, **which)
        found += [record.raw for record in page.records]
    return b"".join(found)


def test_pieces_that_repeat_or_overlap_are_stored_once(client: RegistryClient) -> None:
    assert client.send_output("c", [piece(0, b"hello ")])[0].durable_offset == 6
    assert client.send_output("c", [piece(0, b"hello ")])[0].durable_offset == 6
    assert (
        client.send_output("c", [piece(3, b"lo wor"), piece(8, b"rld\n")])[0].durable_offset == 12
    )
    assert client.send_output("c", [piece(12, b"")])[0].durable_offset == 12
    assert everything(client) == b"hello world\n"


def test_what_begins_after_the_end_is_refused_with_the_end(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    client.send_output("c", [piece(0, b"abc")])
    acks = client.send_output("c", [piece(4, b"x"), piece(0, b"other", "bar.1")])
    assert {ack.instance: ack.durable_offset for ack in acks} == {"foo.1": 3, "bar.1": 5}
    assert client.send_output("c", [piece(9, b"x", "new.1")])[0].durable_offset == 0
    body = [{"instance": "foo.1", "stream": "stdout", "offset": 9, "bytes": "eA==", "time": 0,
             "component": "foo", "replica": 0}]  # fmt: skip
    headers = {"Authorization": f"Bearer {registry.token}"}
    answer = browser.ask("POST", "/api/clusters/c/output", body, headers)
    assert (answer.status, answer.code) == (409, "gap")
    assert b'"durable_offset":3' in answer.body


def test_streams_and_instances_have_offsets_of_their_own(client: RegistryClient) -> None:
    pieces = [piece(0, b"out"), piece(0, b"error", stream="stderr"), piece(0, b"later", "foo.2")]
    acks = client.send_output("c", pieces)
    assert [(a.instance, a.stream, a.durable_offset) for a in acks] == [
        ("foo.1", "stdout", 3),
        ("foo.1", "stderr", 5),
        ("foo.2", "stdout", 5),
    ]
    assert everything(client, stream="stderr") == b"error"


def test_any_order_of_uploads_gives_the_bytes_that_were_written(client: RegistryClient) -> None:
    chance = random.Random(3)
    written = {f"foo.{n}": chance.randbytes(200_000) for n in range(3)}
    durable = dict.fromkeys(written, 0)
    while any(durable[name] < len(data) for name, data in written.items()):
        pieces = []
        for name, data in written.items():
            # Before, at or after the end of what is known: repeats, overlaps, gaps.
            start = max(0, durable[name] + chance.choice([-5000, -1, 0, 0, 0, 7]))
            pieces.append(piece(start, data[start : start + chance.randrange(60_000)], name))
        for ack in client.send_output("c", pieces):
            durable[ack.instance] = ack.durable_offset
    found: dict[str, list[bytes]] = {name: [] for name in written}
    page = client.output("c")
    while True:
        for record in page.records:
            found[record.instance].append(record.raw)
        if not page.more:
            break
        page = client.output("c", cursor=page.cursor)
    for name, data in written.items():
        assert hashlib.sha256(b"".join(found[name])).digest() == hashlib.sha256(data).digest()


def test_raw_bytes_are_kept_and_text_is_text(client: RegistryClient) -> None:
    raw = b"\x00\xff\xc3 10%\r20%\r\x1b]0;title\x07<img onerror=x>\n"
    client.send_output("c", [piece(0, raw), piece(len(raw), "grün\n".encode())])
    first, second = client.output("c").records
    assert (first.text, first.data) == (None, raw)
    assert (second.text, second.data) == ("grün\n", None)


def test_a_large_piece_is_cut_and_a_page_stays_small(client: RegistryClient) -> None:
    data = b"x" * (3 * 1024 * 1024)
    client.send_output("c", [piece(0, data)])
    page = client.output("c")
    assert page.more
    assert sum(len(record.raw) for record in page.records) <= 1024 * 1024
    assert max(len(record.raw) for record in page.records) == SEGMENT
    assert everything(client) == data


def test_output_is_selected_by_component_process_stream_and_time(client: RegistryClient) -> None:
    client.send_output(
        "c",
        [
            piece(0, b"a", "w-0.1", component="w", name="w-0", replica=0, time=10.0),
            piece(0, b"b", "w-1.1", component="w", name="w-1", replica=1, time=20.0),
            piece(0, b"c", "foo.1", time=30.0),
            piece(0, b"d", "foo.1", stream="stderr", time=40.0),
        ],
    )

    def found(**which: object) -> bytes:
        page = client.output("c", **which)  # type: ignore[arg-type]
        return b"".join(record.raw for record in page.records)

    assert found(component="w") == b"ab"
    assert found(component="w", replica=1) == b"b"
    assert found(name="w-0") == b"a"
    assert found(stream="stderr") == b"d"
    assert found(since=20.0) == b"bcd"
    assert found(since=20.0, until=40.0) == b"bc"
    assert found(component="ww") == b""


def test_the_last_lines_are_whole_lines_of_the_whole_selection(client: RegistryClient) -> None:
    text = b"".join(b"line %d\n" % n for n in range(1000))
    for start in range(0, len(text), 777):
        client.send_output("c", [piece(start, text[start : start + 777])])
    assert [r.raw for r in client.output("c", lines=3).records] == [
        b"line 997\n",
        b"line 998\n",
        b"line 999\n",
    ]
    assert len(client.output("c", lines=5000).records) == 1000
    assert client.output("c", lines=0).records == []
    found = client.output("c", grep="e 12", lines=2).records
    assert [record.raw for record in found] == [b"line 128\n", b"line 129\n"]
    assert client.output("c", grep="nothing of it").records == []
    assert client.output("c", lines=1).records[0].offset == len(text) - len(b"line 999\n")


def test_after_the_last_lines_a_reader_goes_on_from_their_cursor(client: RegistryClient) -> None:
    client.send_output("c", [piece(0, b"one\ntwo\n")])
    cursor = client.output("c", lines=1).cursor
    client.send_output("c", [piece(8, b"three\n")])
    assert [record.raw for record in client.output("c", cursor=cursor).records] == [b"three\n"]


def test_a_download_is_a_file_and_never_a_page(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    data = b"<script>alert(1)</script>\xff\n" * 100_000
    client.send_output("c", [piece(0, data)])
    headers = {"Authorization": f"Bearer {registry.token}"}
    path = "/api/clusters/c/output/download?component=foo&stream=stdout"
    answer = browser.ask("GET", path, headers=headers)
    assert answer.body == data
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="c-foo-stdout.log"'
    path = "/api/clusters/c/output/download?component=a%22%0d%0ax:y"
    assert browser.ask("GET", path, headers=headers).headers["x"] is None


def test_there_is_no_output_of_a_cluster_that_is_not_there(client: RegistryClient) -> None:
    with pytest.raises(Refused, match="no cluster") as caught:
        client.output("d")
    assert caught.value.status == 404
    with pytest.raises(Refused):
        client.send_output("d", [piece(0, b"x")])


def test_what_is_lost_is_a_record_of_its_own_and_offsets_go_on(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    """F30: never silence."""
    client.send_output("c", [piece(0, b"one\ntw")])
    gap = piece(6, b"", lost=12_300_000, reason="quota", time=5.0)
    assert client.send_output("c", [gap])[0].durable_offset == 12_300_006
    client.send_output("c", [gap, piece(12_300_006, b"o\nthree\n")])
    first, lost, second = client.output("c").records
    assert (first.raw, first.end) == (b"one\ntw", 6)
    assert (lost.offset, lost.lost, lost.end, lost.reason) == (6, 12_300_000, 12_300_006, "quota")
    assert (lost.raw, lost.time) == (b"", 5.0)
    assert second.offset == 12_300_006
    told = (
        "[palm: 12.3 MB of output were dropped here: more than the quota of its spool waited for"
        " the registry]\n"
    )
    assert lost.text == told
    assert [record.text for record in client.output("c", lines=9).records] == [
        "one\n", "tw", told, "o\n", "three\n",
    ]  # fmt: skip
    assert [record.lost for record in client.output("c", grep="palm").records] == [12_300_000]
    assert client.output("c", lines=3).records[0].text == told
    before = client.output("c", lines=2)
    assert client.output("c", lines=1, before=before.first).records[0].text == told
    headers = {"Authorization": f"Bearer {registry.token}"}
    answer = browser.ask("GET", "/api/clusters/c/output/download?component=foo", headers=headers)
    assert answer.body == f"one\ntw\n{told}o\nthree\n".encode()


def test_of_what_is_said_to_be_lost_what_is_stored_is_not(client: RegistryClient) -> None:
    client.send_output("c", [piece(0, b"0123456789")])
    assert client.send_output("c", [piece(4, b"", lost=3)])[0].durable_offset == 10
    assert client.send_output("c", [piece(4, b"", lost=8)])[0].durable_offset == 12
    assert client.send_output("c", [piece(20, b"", lost=8)])[0].durable_offset == 12
    assert client.send_output("c", [piece(8, b"89xxyz")])[0].durable_offset == 14
    assert [(r.offset, r.lost, r.raw) for r in client.output("c").records] == [
        (0, 0, b"0123456789"), (10, 2, b""), (12, 0, b"yz"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [{"lost": -1}, {"lost": 2**62}, {"lost": 3, "data": b"x"}, {"lost": 3, "reason": "<b>"}],
)
def test_a_gap_that_cannot_be_is_refused(client: RegistryClient, values: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        client.send_output("c", [piece(0, **{"data": b""} | values)])
    assert caught.value.status == 400


# ---- the rules alone


@given(st.integers(0, 50), st.integers(0, 50), st.binary(max_size=50))
def test_what_is_new_of_a_piece_joins_what_is_stored(
    durable: int, offset: int, data: bytes
) -> None:
    new = piece(offset, data)
    if offset > durable:
        with pytest.raises(Gap):
            list(fresh_parts(new, durable))
        return
    parts = list(fresh_parts(new, durable))
    joined = b"".join(part for _, part in parts)
    assert joined == data[durable - offset :]
    if parts:
        assert parts[0][0] == durable


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_what_is_new_of_a_loss_joins_what_is_stored(durable: int, offset: int, lost: int) -> None:
    gap = piece(offset, b"", lost=lost)
    if offset > durable:
        with pytest.raises(Gap):
            fresh_loss(gap, durable)
        return
    start, new = fresh_loss(gap, durable)
    assert start == durable
    assert durable + new == max(durable, offset + lost)
