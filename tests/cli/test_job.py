"""``palm job``: items of files and of stdin, results as they come, and what fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palm.cli.items import Items
from palm.cli.results import CsvRows, JsonLines
from palm.errors import ConfigError
from tests.cli.conftest import Shell
from tests.support.cluster import ThreadCluster
from tests.support.fixtures import cluster

__all__ = ["cluster"]


def double(x: Any) -> Any:
    return 2 * x


def invert(x: float) -> float:
    return 1 / x


def taste(row: dict[str, str]) -> dict[str, Any]:
    return {"name": row["name"], "length": len(row["name"])}


@pytest.fixture
def shell(tmp_path: Path, cluster: ThreadCluster) -> Iterator[Shell]:
    """One with a server foo, which runs here."""
    cluster.master("foo")
    cluster.worker({"double": double, "invert": invert, "taste": taste}, "w")
    shell = Shell(tmp_path)
    yield shell
    shell.close()


def feed(shell: Shell, *args: str) -> subprocess.Popen[str]:
    """Start ``palm job`` with stdin open."""
    return subprocess.Popen(
        [sys.executable, "-m", "palm", "job", *args], text=True, env=shell.env, cwd=shell.folder,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0,
    )  # fmt: skip


def test_results_are_lines_of_json_in_the_order_of_the_items(shell: Shell) -> None:
    shell.write("n.jsonl", "".join(f"{number}\n" for number in range(2000)))
    done = shell.palm("job", "foo.double", "n.jsonl")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        2 * number for number in range(2000)
    ]
    assert done.stderr == ""
    done = shell.palm("job", "foo.double", "n.jsonl", "--unordered", "-o", "out.jsonl")
    assert done.stdout == ""
    found = (shell.folder / "out.jsonl").read_text().splitlines()
    assert sorted(map(int, found)) == [2 * number for number in range(2000)]


def test_rows_of_csv_are_objects_and_become_rows(shell: Shell) -> None:
    shell.write("t.csv", 'name,age\n"a, b",1\nüü,2\n')
    done = shell.palm("job", "foo.taste", "t.csv")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"name": "a, b", "length": 4}, {"name": "üü", "length": 2},
    ]  # fmt: skip
    done = shell.palm("job", "foo.taste", "t.csv", "--csv", "--key", "age")
    assert done.stdout == 'name,length\n"a, b",4\nüü,2\n'


def test_what_failed_is_told_and_the_rest_done(shell: Shell) -> None:
    shell.write("n.json", "[1, 0, 4]")
    done = shell.palm("job", "foo.invert", "n.json", code=1)
    assert done.stdout == "1.0\n0.25\n"
    assert done.stderr == (
        "palm: item 2: ZeroDivisionError: division by zero\npalm: 3 of 3 items done, 1 failed\n"
    )
    done = shell.palm("job", "foo.invert", "n.json", "--errors", "return", code=1)
    error = {"type": "ZeroDivisionError", "text": "division by zero", "item": 2}
    assert [json.loads(line) for line in done.stdout.splitlines()] == [1.0, {"error": error}, 0.25]
    done = shell.palm("job", "foo.invert", "n.json", "--errors", "raise", code=1)
    assert done.stdout == "1.0\n"
    assert "palm: item 2: ZeroDivisionError" in done.stderr
    assert "return 1 / x" in done.stderr, "the traceback of the worker"


def test_results_flow_while_stdin_goes_on_and_an_interrupt_says_how_far(shell: Shell) -> None:
    job = feed(shell, "foo.double", "--lines")
    assert job.stdin is not None and job.stdout is not None and job.stderr is not None
    for text in ("a", "b"):
        job.stdin.write(f"{text}\n")
        job.stdin.flush()
        assert json.loads(job.stdout.readline()) == 2 * text, "before stdin ends"
    os.killpg(job.pid, signal.SIGINT)
    assert job.wait(30) == 130
    assert job.stderr.read() == "palm: interrupted: 2 items done; the rest is cancelled\n"
    for stream in (job.stdin, job.stdout, job.stderr):
        stream.close()


def test_names_that_are_not_there_are_told_at_once(shell: Shell) -> None:
    done = shell.palm("job", "fo.double", "--item", "1", code=3)
    assert done.stderr == "palm: no server named 'fo' in cluster 'default'; did you mean foo?\n"
    done = shell.palm("job", "foo.dobule", "--item", "1", code=3)
    assert "no worker of 'foo' serves 'dobule'; did you mean 'double'?" in done.stderr
    done = shell.palm("job", "w.double", "--item", "1", code=3)
    assert done.stderr == "palm: w is a worker, and takes no calls; call its master: foo.double\n"
    done = shell.palm("job", "double", "--item", "1", code=1)
    assert "'double' is no function (SERVER.FUNCTION" in done.stderr
    for each in (done, shell.palm("job", "foo.double", "absent.csv", code=1)):
        assert "Traceback" not in each.stderr


def test_items_of_the_command_line(shell: Shell) -> None:
    assert shell.palm("job", "foo.double", "--item", "[1]", "--item", '"a"').stdout == (
        '[1,1]\n"aa"\n'
    )
    done = shell.palm("job", "foo.double", "--item", "a", code=1)
    assert "--item: this is not JSON" in done.stderr


def test_reader_that_has_enough_ends_the_job(shell: Shell) -> None:
    job = feed(shell, "foo.double", "--lines")
    assert job.stdin is not None and job.stdout is not None and job.stderr is not None
    job.stdin.write("a\n")
    job.stdin.flush()
    job.stdout.readline()
    job.stdout.close()
    with suppress(BrokenPipeError):  # it has ended before it took all of them
        job.stdin.write("b\n" * 100_000)
    with suppress(BrokenPipeError):  # closed all the same, without what was not taken
        job.stdin.close()
    assert job.wait(30) == 1
    assert job.stderr.read() == ""
    job.stderr.close()


# Reading


def read(tmp_path: Path, name: str, text: str | bytes, kind: str | None = None) -> list[Any]:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(Items(str(path), kind))


def test_forms_of_json(tmp_path: Path) -> None:
    assert read(tmp_path, "a.json", "[1,\n[2]]") == [1, [2]]
    assert read(tmp_path, "a.json", '{"a":\n1}') == [{"a": 1}]
    assert read(tmp_path, "a.json", "1\n[2]\n") == [1, [2]]
    assert read(tmp_path, "a.jsonl", "[1, 2]\n\n3") == [[1, 2], 3], "a line is an item"
    assert read(tmp_path, "a.txt", "\ufeffa\r\nb\n\nc", "lines") == ["a", "b", "", "c"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", "1\n{\n", "a.jsonl:2: this is not JSON"),
        ("a.jsonl", "1\nword\n", "--lines takes each line as a text"),
        ("a.jsonl", b"1\n\xff\n", "a.jsonl:2: this is not UTF-8 text"),
        ("a.csv", "a,b\n1,2\n1,2,3\n", "a.csv:3: this row has more than 2 values"),
        ("a.csv", 'a\n"x', "a.csv:2: this is not CSV"),
        ("a.txt", "x", "its name does not say what it is (--format json"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(
    tmp_path: Path, name: str, text: str | bytes, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, name, text)
    assert said in str(caught.value)


def test_parquet_is_read_or_what_is_missing_is_told(tmp_path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        with pytest.raises(ConfigError, match="pyarrow is not installed here"):
            read(tmp_path, "a.parquet", b"PAR1")
    else:
        pyarrow.parquet.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
        assert list(Items(str(tmp_path / "a.parquet"), None)) == [{"a": 1}, {"a": 2}]
        with pytest.raises(ConfigError, match="this is not Parquet"):
            read(tmp_path, "b.parquet", b"not that, and long enough to be looked at")


# Writing


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "null"),
        ({"a": (1, 2)}, '{"a":[1,2]}'),
        ({1: 2}, '{"1":2}'),
        (np.float64(0.5), "0.5"),
        (np.arange(3), "[0,1,2]"),
        (Point(1), '{"x":1}'),
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00Z"'),
        ({(1, 2): 3}, '{"(1, 2)":3}'),
        (1 + 2j, '"(1+2j)"'),
    ],
)
def test_what_json_has_for_a_value(value: Any, line: str) -> None:
    assert JsonLines().line(value) == line.encode() + b"\n"


def test_first_result_says_which_columns_there_are() -> None:
    rows = CsvRows()
    assert rows.line({"a": 1, "b": None}) == b"a,b\n1,\n"
    assert rows.line({"b": 'x"y', "a": "ü"}) == 'ü,"x""y"\n'.encode()
    assert rows.line({"a": '"q"', "b": datetime(2026, 1, 2, tzinfo=UTC)}) == (
        b'"""q""",2026-01-02T00:00:00Z\n'
    )
    assert rows.line({"a": [1, "z"]}) == b'"[1,""z""]",\n'
    with pytest.raises(Exception, match="a result has c, which the first has not"):
        rows.line({"c": 1})
    assert CsvRows().line(4) == b"result\n4\n"
