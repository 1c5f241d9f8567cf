"""Looking for lines: whole lines, each once, wherever segments, windows and pages are cut."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm.registry_api.client import Refused, RegistryClient
from palm_registry.failures import Invalid
from palm_registry.matching import Matcher
from palm_registry.output import LONGEST_LINE, notice
from palm_registry.search import look_through, windows
from palm_registry.store.output import Segment
from tests.support.registry import piece

pytestmark = pytest.mark.both_databases

WORDS = [b"a\n", b"\n", b"bb", b"ab", b"\r", b"\xff\n", b"err 7\n"]
#: What two processes write, by turns; some of it is lost.
WRITTEN = st.lists(
    st.tuples(st.sampled_from("xy"), st.lists(st.sampled_from(WORDS)).map(b"".join)),
    max_size=12,
)
LOST = 5
CUTS = st.lists(st.integers(0, 12), max_size=4)
MATCHERS = st.sampled_from(
    [Matcher(), Matcher("b"), Matcher(regex="^a"), Matcher(regex=r"err \d$"), Matcher("a", "b$"),
     Matcher(regex=r"\Aa"), Matcher(regex="^$")]
)  # fmt: skip


def segments_of(written: list[tuple[str, bytes]]) -> list[Segment]:
    """Segments of what was written; what is empty is lost."""
    found, offsets = [], {"x": 0, "y": 0}
    for number, (who, data) in enumerate(written, 1):
        found.append(
            Segment(id=number, component=who, replica=0, name=who, instance=who, stream="stdout",
                    offset=offsets[who], time=0.0, data=data, lost=0 if data else LOST)
        )  # fmt: skip
        offsets[who] = found[-1].end
    return found


def lines_of(segments: list[Segment]) -> list[tuple[int, int, bytes]]:
    """All lines: the segment that completed each, its offset, and its bytes."""
    found = []
    for who in ("x", "y"):
        mine = [s for s in segments if s.instance == who]
        for start, end in pairwise([0, *(n for n, s in enumerate(mine, 1) if s.lost), len(mine)]):
            found += _lines_of_run(mine[start:end])
    return sorted(found)


def _lines_of_run(mine: list[Segment]) -> list[tuple[int, int, bytes]]:
    """The lines of segments of which only the last may be lost."""
    found = []
    data = b"".join(s.data for s in mine)
    begin = mine[0].offset if mine else 0
    for match in re.finditer(rb"[^\n]*\n|[^\n]+$", data):
        # One without a newline ends where it is seen that what follows is lost.
        short = 0 if match[0].endswith(b"\n") or not mine[-1].lost else 1
        last = next(s for s in mine if s.end - begin >= match.end() + short)
        found.append((last.id, begin + match.start(), match[0]))
    if mine and mine[-1].lost:
        found.append((mine[-1].id, mine[-1].offset, notice(LOST, "").encode()))
    return found


def begun_in(segments: list[Segment]) -> Callable[[Segment], bytes]:
    def before(segment: Segment) -> bytes:
        mine = [s for s in segments if s.instance == segment.instance and s.id < segment.id]
        mine = mine[max((n for n, s in enumerate(mine, 1) if s.lost), default=0) :]
        return b"".join(s.data for s in mine).rpartition(b"\n")[2]

    return before


@given(WRITTEN, CUTS, MATCHERS)
def test_lines_do_not_depend_on_segments_and_windows(
    written: list[tuple[str, bytes]], cuts: list[int], matcher: Matcher
) -> None:
    segments = segments_of(written)
    ends = sorted({0, *(min(cut, len(segments)) for cut in cuts), len(segments)})
    found = []
    for start, end in pairwise(ends):
        window = look_through(segments[start:end], matcher, 10**6, begun_in(segments))
        found += [(line.id, line.offset, line.data) for line in window.lines]
        for line in window.open.values():
            last = [s for s in segments if s.instance == line.instance][-1]
            if last.id == line.id and matcher.line(line.data):
                found.append((line.id, line.offset, line.data))
    assert sorted(found) == [line for line in lines_of(segments) if matcher.line(line[2])]


@given(WRITTEN, st.integers(1, 5))
def test_a_window_has_its_last_lines(written: list[tuple[str, bytes]], count: int) -> None:
    segments = segments_of(written)
    open_ = {s.id: s for s in segments}
    whole = [line for line in lines_of(segments)
             if line[2].endswith(b"\n") or open_[line[0]].lost]  # fmt: skip
    found = look_through(segments, Matcher(), count, begun_in(segments))
    ids = [(line.id, line.offset, line.data) for line in found.lines]
    assert ids == whole[-count:]


@given(st.lists(st.integers(1, 10**6), max_size=60))
def test_windows_have_all_segments_once(sizes: list[int]) -> None:
    ids = [(len(sizes) - n, size) for n, size in enumerate(sizes)]
    found = list(windows(ids))
    covered = [n for first, last in found for n in range(last, first - 1, -1)]
    assert covered == [number for number, _ in ids]


def test_a_line_that_never_ends_is_cut() -> None:
    data = b"x" * (2 * LONGEST_LINE + 10) + b"\n"
    found = look_through(segments_of([("x", data)]), Matcher("x"), 10, lambda _: b"")
    assert [len(line.data) for line in found.lines] == [LONGEST_LINE, LONGEST_LINE, 11]


@given(st.text(st.sampled_from("ab.\\$^*\n("), max_size=6), st.sampled_from(WORDS))
def test_many_lines_at_once_are_never_left_out_wrongly(regex: str, line: bytes) -> None:
    try:
        matcher = Matcher(regex=regex)
    except Invalid:
        return
    lines = b"zz\n" + line.removesuffix(b"\n") + b"\n" + b"zz\n"
    if matcher.line(line):
        assert matcher.lines(lines)


# ---- in a registry


def written(client: RegistryClient) -> list[bytes]:
    """Have two processes write lines, in pieces that end anywhere; return them in order."""
    text = {who: b"".join(b"%s line %d\n" % (who.encode(), n) for n in range(300)) for who in "xy"}
    at = {"x": 0, "y": 0}
    order: list[bytes] = []
    turn = 0
    while any(at[who] < len(text[who]) for who in "xy"):
        who, size = "xy"[turn % 2], 37 + 61 * (turn % 7)
        data = text[who][at[who] : at[who] + size]
        turn += 1
        if not data:
            continue
        client.send_output("c", [piece(at[who], data, instance=who, component=who, name=who)])
        done = text[who][: at[who]].count(b"\n")
        at[who] += len(data)
        order += text[who].splitlines(True)[done : text[who][: at[who]].count(b"\n")]
    return order


def test_pages_of_lines_lead_to_the_beginning(client: RegistryClient) -> None:
    order = written(client)
    found: list[bytes] = []
    before = ""
    while True:
        page = client.output("c", lines=47, before=before)
        found = [record.raw for record in page.records] + found
        before = page.first
        if not page.more:
            break
    assert found == order


def test_what_is_looked_for_is_found_in_all_output(client: RegistryClient) -> None:
    order = written(client)
    wanted = [line for line in order if re.search(rb"^x.*[27]$", line.strip())]
    found = client.output("c", regex="^x.*[27]$", lines=1000)
    assert [record.raw for record in found.records] == wanted
    assert not found.more
    page = client.output("c", regex="^x.*[27]$", lines=5)
    assert [record.raw for record in page.records] == wanted[-5:]
    assert page.more
    page = client.output("c", regex="^x.*[27]$", lines=5, before=page.first)
    assert [record.raw for record in page.records] == wanted[-10:-5]
    only = client.output("c", component="y", grep="line 29", lines=3)
    assert [record.text for record in only.records] == [f"y line {n}\n" for n in (297, 298, 299)]


def test_many_who_search_everything_hold_up_nobody_else(client: RegistryClient) -> None:
    data = b"nothing of interest\n" * 12_000
    for number in range(60):
        client.send_output("c", [piece(0, data, f"i.{number}")])
    found: list[int] = []

    def search() -> None:
        page = client.output("c", regex="of [^i]nterest$", lines=5)
        found.append(len(page.records) + page.more)

    searchers = [threading.Thread(target=search) for _ in range(12)]
    for searcher in searchers:
        searcher.start()
    try:
        for _ in range(20):
            began = time.monotonic()
            assert client.cluster_status("c").cluster == "c"
            assert len(client.output("c", lines=3).records) == 3
            assert time.monotonic() - began < 5.0
    finally:
        for searcher in searchers:
            searcher.join(60)
    assert found == [0] * 12


def test_a_line_is_open_until_it_ends(client: RegistryClient) -> None:
    client.send_output("c", [piece(0, b"one\ntw")])
    page = client.output("c", lines=10)
    assert [record.text for record in page.records] == ["one\n", "tw"]
    client.send_output("c", [piece(6, b"o\nthree")])
    page = client.output("c", lines=10)
    assert [record.text for record in page.records] == ["one\n", "two\n", "three"]
    page = client.output("c", lines=1, before=page.first)
    assert not page.records
    last = client.output("c", lines=1)
    assert [r.text for r in client.output("c", lines=1, before=last.first).records] == ["two\n"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"regex": "("}, "missing )"),
        ({"regex": "(?=a)"}, "looks neither ahead nor behind"),
        ({"regex": "a{9999}"}, "regular expression"),
        ({"lines": 1, "before": "e1.o1.aa"}, "is no place"),
    ],
)
def test_what_cannot_be_looked_for_is_told(
    client: RegistryClient, query: dict[str, str], text: str
) -> None:
    with pytest.raises(Refused, match=re.escape(text)) as caught:
        client.output("c", **query)  # type: ignore[arg-type]
    assert caught.value.status == 400


@settings(deadline=None)
@given(st.sampled_from(["(a+)+$", "(a|a)*b", "(.*)*x", "^(([a-z])+.)+[A-Z]([a-z])+$"]))
def test_no_expression_takes_for_ever(regex: str) -> None:
    """What hangs a backtracking engine."""
    matcher = Matcher(regex=regex)
    matcher.line(b"a" * 20_000)
    assert list(islice((matcher.lines(b"a" * 5000) for _ in range(3)), 3))
