"""The tables of ``palm top``: what fits, in units that people read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from palm.cli.loadtable import cut, headline, megabytes, number, size, span, tables
from palm.clusters import ComponentLoad, EdgeLoad, FunctionLoad, Load

FUNCTION = FunctionLoad("foo", "double", 1.2e6, 1.1e6, 8192, 96, 1e-6, 0.07, 0.2, 9**9, 8**9, 12)
EDGE = EdgeLoad("clients", "foo", "client", 1.2e6, 6.5e6, 8288, 0, None, 9**9, 9**10, 8**9, 12)


def component(name: str, **changes: object) -> ComponentLoad:
    foo = ComponentLoad(
        name, "foo", "master", "ready", 4194303, 99.6, 48 << 20, 1.2e6, 1.1e6, 8192, 96, 1e-6,
        0.07, 0.2, 9**9, 8**9, 12, (FUNCTION,), (EDGE,),
    )  # fmt: skip
    return replace(foo, **changes)  # type: ignore[arg-type]


NAMES = [
    "foo",
    "a-long-name-of-many-words-for-a-worker-0",
    "a-long-name-of-many-words-for-a-worker-1",
]
LOAD = Load("default", 0.0, tuple(component(name) for name in NAMES))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 140, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for table in tables(LOAD, width, functions=True, edges=True):
        for line in (table.head, *table.rows):
            assert len(line) <= width or width < 60
        for title in ("NAME", "IN/s", "P99", "FAILED"):
            assert title in tables(LOAD, width)[0].head


def test_wide_terminals_show_all() -> None:
    head = tables(LOAD, 140)[0].head.split()
    assert head == [
        "NAME", "ROLE", "STATE", "PID", "CPU%", "RSS", "IN/s", "OUT/s", "QUEUED", "RUNNING",
        "MEAN", "P50", "P99", "DONE", "FAILED",
    ]  # fmt: skip


def test_where_there_is_no_column_for_it_the_state_stands_behind_the_name() -> None:
    load = Load("c", 0.0, (component("foo", state="backing-off"), component("bar")))
    narrow = tables(load, 80)[0]
    assert "STATE" not in narrow.head
    assert narrow.rows[0].startswith("foo (backing-off)")
    assert narrow.rows[1].startswith("bar ")
    assert "backing-off" in tables(load, 140)[0].rows[0]


def test_names_that_are_cut_can_be_told_apart() -> None:
    rows = [row.split()[0] for row in tables(LOAD, 80)[0].rows]
    assert len(set(rows)) == 3
    assert cut("a-long-name-0", 9) == "a-lo~me-0"
    assert cut("short", 5) == "short"


def test_rows_are_in_the_order_of_the_cluster_or_sorted() -> None:
    load = Load(
        "c", 0.0, (component("b", cpu=1.0), component("a", cpu=None), component("c", cpu=9.0))
    )

    def order(sort: str | None) -> str:
        return "".join(row[0] for row in tables(load, 140, sort=sort)[0].rows)

    assert order(None) == "bac"
    assert order("name") == "abc"
    assert order("cpu") == "cba"


def test_an_edge_that_both_ends_count_has_one_line() -> None:
    behind = replace(EDGE, source="foo", target="bar", role="stage")
    before = replace(behind, role="stage before")
    elsewhere = replace(before, source="far", target="foo")
    unused = replace(EDGE, target="bar", messages=0)
    load = Load("c", 0.0, (component("foo", edges=(elsewhere, behind)),
                           component("bar", edges=(unused, before))))  # fmt: skip
    rows = tables(load, 140, edges=True)[1].rows
    assert [row.split()[:2] for row in rows] == [["far", "foo"], ["foo", "bar"]]


def test_headline_sums_up_what_clients_want() -> None:
    load = Load("default", 0.0, (component("foo"),))
    assert headline(load) == "default: 1 process, clients 1.2M/s, open 8288, failed 12"
    assert headline(Load("default", 0.0)) == "default: 0 processes"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number(None), "-"), (number(0), "0"), (number(0.04), "0"), (number(2.5), "2.5"),
        (number(9999), "9999"), (number(12_345), "12.3k"), (number(999_600), "1.0M"),
        (number(123_456), "123k"), (number(5e9), "5.0G"), (number(3e18), "3000P"),
        (megabytes(0), "0"), (megabytes(1.24e6), "1.24"), (megabytes(2.5e8), "250"),
        (size(48 << 20), "48M"), (size(3 << 30), "3.0G"), (size(None), "-"),
        (span(None), "-"), (span(0), "0"), (span(4e-7), "0.4us"), (span(5.5e-4), "550us"),
        (span(0.00512), "5.1ms"), (span(0.0712), "71ms"), (span(0.9996), "1.0s"),
        (span(103.4), "103s"), (span(7200), "120min"),
    ],
)  # fmt: skip
def test_units(text: str, expected: str) -> None:
    assert text == expected
