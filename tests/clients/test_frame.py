"""DataFrames in and out of jobs, as the interface has them."""

from __future__ import annotations

import datetime as dt
import time
from collections import namedtuple
from collections.abc import Callable
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_index_equal

import palm.clients.frame as frame
from palm.clients import Client
from palm.errors import ConfigError, TaskError
from tests.support.cluster import ThreadCluster

OURS = ["worker", "started", "duration", "attempts", "error"]
NOON = dt.datetime(2024, 1, 1, 12)
Serve = Callable[..., Client]
Point = namedtuple("Point", ["x", "y"])


class Colour(Enum):
    RED = 1


class Level(IntEnum):
    LOW = 1


def identity(value: Any) -> Any:
    return value


def divide(value: int) -> float:
    return 12 / value


def frame_of(serve: Serve, results: list[Any], **options: Any) -> pd.DataFrame:
    """The frame of a job whose results are these."""
    return serve(identity).job("foo.identity", results, **options).to_frame()


# Rows, order and index


@pytest.mark.parametrize("ordered", [False, True])
def test_rows_are_in_the_order_of_the_input(cluster: ThreadCluster, ordered: bool) -> None:
    def uneven(value: int) -> int:
        time.sleep(0.002 if value % 3 else 0)
        return value

    cluster.master()
    for name in ("w0", "w1", "w2"):
        cluster.worker({"uneven": uneven}, name)
    job = cluster.client().job("foo.uneven", range(200), ordered=ordered)
    result = job.to_frame()
    assert result["result"].tolist() == list(range(200))
    assert set(result["worker"]) > {"w0"}


def test_an_iterable_gives_a_range_index(foo: Serve) -> None:
    result = foo(identity).job("foo.identity", (n for n in range(3000))).to_frame()
    assert_index_equal(result.index, pd.RangeIndex(3000), exact=True)


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(["c", "a", "b"], name="key"),
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["k", "n"]),
        pd.Index([7, 7, 5]),
        pd.date_range("2024-03-01", periods=3, freq="D", tz="Europe/Berlin"),
        pd.RangeIndex(10, 40, 10),
        pd.CategoricalIndex(["x", "y", "x"]),
        pd.Index([1.5, np.nan, 2.5]),
    ],
    ids=["text", "multi", "duplicate", "date", "range", "category", "missing"],
)
@pytest.mark.parametrize("kind", ["frame", "series"])
def test_the_index_is_that_of_the_input(foo: Serve, index: pd.Index, kind: str) -> None:
    data = pd.DataFrame({"a": [1, 2, 3]}, index=index)
    result = foo(identity).job("foo.identity", data if kind == "frame" else data["a"]).to_frame()
    assert_index_equal(result.index, index, exact=True)
    assert result.iloc[:, 0].tolist() == [1, 2, 3]


def test_messages_bound_the_rows_and_their_index(foo: Serve) -> None:
    data = pd.Series([1, 2, 3, 4], index=list("dcba"))
    result = foo(identity).job("foo.identity", data, messages=3).to_frame()
    assert result.index.tolist() == ["d", "c", "b"]


def test_an_input_that_is_changed_later_is_taken_as_it_was(foo: Serve) -> None:
    if int(pd.__version__.partition(".")[0]) < 3:
        pytest.skip("pandas before 3 has no copy-on-write by default")
    data = pd.DataFrame({"a": range(20_000)})
    job = foo(identity).job("foo.identity", data)
    data["a"] = -1
    data.loc[:, "b"] = 0
    data.index = data.index[::-1]
    assert job.to_frame()["a"].tolist() == list(range(20_000))


@pytest.mark.parametrize(
    ("items", "index"),
    [
        ([], pd.RangeIndex(0)),
        (pd.Series([], dtype="int64", index=pd.Index([], dtype="str", name="k")), None),
        (pd.DataFrame({"a": []}, index=pd.DatetimeIndex([], name="day")), None),
        (pd.DataFrame(), None),
    ],
    ids=["list", "series", "frame", "nothing"],
)
def test_an_empty_input_gives_an_empty_frame(foo: Serve, items: Any, index: Any) -> None:
    result = foo(identity).job("foo.identity", items).to_frame()
    assert list(result.columns) == ["result", *OURS]
    assert len(result) == 0
    assert_index_equal(result.index, items.index if index is None else index)
    assert_our_types(result)


def test_a_frame_without_columns_still_has_its_rows(foo: Serve) -> None:
    result = foo(identity).job("foo.identity", pd.DataFrame(index=["a", "b"])).to_frame()
    assert result.index.tolist() == ["a", "b"]
    assert list(result.columns) == OURS


# Our columns


def assert_our_types(result: pd.DataFrame, prefix: str = "") -> None:
    assert pd.api.types.is_string_dtype(result[prefix + "worker"])
    assert isinstance(result[prefix + "started"].dtype, pd.DatetimeTZDtype)
    assert str(result[prefix + "started"].dtype.tz) == "UTC"
    assert result[prefix + "duration"].dtype == np.dtype("float64")
    assert result[prefix + "attempts"].dtype == np.dtype("int64")
    assert result[prefix + "error"].dtype == pd.StringDtype()


def test_our_columns_follow_the_results(foo: Serve) -> None:
    def nap(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    before = pd.Timestamp.now(tz="UTC")
    result = foo(nap).job("foo.nap", [0.01, 0.03]).to_frame()
    after = pd.Timestamp.now(tz="UTC")
    assert list(result.columns) == ["result", *OURS]
    assert_our_types(result)
    assert result["worker"].tolist() == ["w", "w"]
    assert result["attempts"].tolist() == [1, 1]
    assert result["error"].isna().all()
    assert 0.01 <= result["duration"].iloc[0] < 0.03 <= result["duration"].iloc[1] < 0.2
    assert before <= result["started"].iloc[0] < result["started"].iloc[1] <= after


def test_an_error_is_its_type_and_text(foo: Serve) -> None:
    job = foo(divide).job("foo.divide", [3, 0, 4], errors="return")
    result = job.to_frame()
    assert_our_types(result)
    assert result["error"].iloc[1] == "ZeroDivisionError: division by zero"
    assert result["error"].isna().tolist() == [True, False, True]
    assert result["result"].tolist()[::2] == [4.0, 3.0]
    assert pd.isna(result["result"].iloc[1])
    assert result["worker"].tolist() == ["w"] * 3


def test_a_key_of_the_result_moves_ours(foo: Serve) -> None:
    given = [{"worker": "Ada", "error": 3, "n": 1}, {"worker": "Bob", "error": 4, "n": 2}]
    result = frame_of(foo, given)
    expected = ["worker", "error", "n", "palm_worker", "started", "duration", "attempts"]
    assert list(result.columns) == [*expected, "palm_error"]
    assert result["worker"].tolist() == ["Ada", "Bob"]
    assert result["palm_worker"].tolist() == ["w", "w"]
    assert result["error"].tolist() == [3, 4]
    assert result["palm_error"].isna().all()


def test_a_key_called_as_what_ours_moves_to_is_kept_too(foo: Serve) -> None:
    result = frame_of(foo, [{"worker": 1, "palm_worker": 2}])
    assert result.loc[0, ["worker", "palm_worker"]].tolist() == [1, 2]
    assert result["palm_palm_worker"].tolist() == ["w"]


def test_attributes_name_the_job_and_its_function(foo: Serve) -> None:
    job = foo(identity).job("foo.identity", [1])
    assert job.to_frame().attrs["palm"] == {"job": job.id, "function": "foo.identity"}


# Results


def results_of(result: pd.DataFrame) -> pd.DataFrame:
    return result.drop(columns=OURS)


def test_dicts_spread_over_their_keys(foo: Serve) -> None:
    result = results_of(frame_of(foo, [{"a": 1, "b": "x"}, {"b": "y", "c": [1, 2]}]))
    assert list(result.columns) == ["a", "b", "c"]
    assert result["b"].tolist() == ["x", "y"]
    assert result["a"].iloc[0] == 1
    assert pd.isna(result["a"].iloc[1])
    assert result["c"].iloc[1] == [1, 2]


def test_keys_of_dicts_may_be_of_any_kind(foo: Serve) -> None:
    result = results_of(frame_of(foo, [{1: "a", ("x", "y"): "b", None: "c"}]))
    assert list(result.columns) == [1, ("x", "y"), None]
    assert result.iloc[0].tolist() == ["a", "b", "c"]


def test_tuples_as_keys_do_not_make_levels(foo: Serve) -> None:
    result = frame_of(foo, [{("x", "y"): 1, ("x", "z"): 2}])
    assert list(result.columns) == [("x", "y"), ("x", "z"), *OURS]


def test_namedtuples_spread_over_their_fields(foo: Serve) -> None:
    result = results_of(frame_of(foo, [Point(1, 2), None, Point(3, "z")]))
    assert list(result.columns) == ["x", "y"]
    assert result["y"].tolist()[::2] == [2, "z"]
    assert result.iloc[1].isna().all()


def test_tuples_spread_over_their_places(foo: Serve) -> None:
    result = results_of(frame_of(foo, [(1, "a"), (2, "b", 2.5), ()]))
    assert list(result.columns) == [0, 1, 2]
    assert result[0].tolist()[:2] == [1, 2]
    assert result[1].tolist()[:2] == ["a", "b"]
    assert result.iloc[2].isna().all()


@pytest.mark.parametrize("empty", [{}, ()], ids=["dicts", "tuples"])
def test_empty_results_keep_their_rows(foo: Serve, empty: Any) -> None:
    result = frame_of(foo, [empty] * 3)
    assert list(result.columns) == OURS
    assert result.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("results", "dtype"),
    [
        ([1, 2], "int64"),
        ([1.5, 2], "float64"),
        ([True, False], "bool"),
        ([np.int64(1), np.int64(2)], "int64"),
        ([np.float32(1.5), np.float32(2)], "float32"),
        ([np.bool_(True)], "bool"),
        ([b"a", b"b"], "object"),
        ([NOON, NOON], "datetime"),
        ([pd.Timestamp("2024", tz="UTC"), pd.Timestamp("2025", tz="UTC")], "datetimetz"),
        ([dt.timedelta(seconds=1)], "timedelta"),
        ([dt.date(2024, 1, 1)], "object"),
        ([Decimal("1.5")], "object"),
        ([2**70, 1], "object"),
        ([None, None], "object"),
        ([Colour.RED], "object"),
        ([Level.LOW], "object"),
        ([1 + 2j], "complex128"),
    ],
)
def test_scalars_are_in_one_column_of_their_type(
    foo: Serve, results: list[Any], dtype: str
) -> None:
    column = frame_of(foo, results)["result"]
    assert column.tolist() == results
    selected = pd.DataFrame({"c": column}).select_dtypes(include=[dtype])
    assert list(selected.columns) == ["c"], column.dtype


def test_text_is_in_a_text_column(foo: Serve) -> None:
    column = frame_of(foo, ["a", "b"])["result"]
    assert column.dtype == pd.Series(["a", "b"]).dtype


@pytest.mark.parametrize("large", [2**60 + 1, -(2**53) - 1])
@pytest.mark.parametrize("wrap", [identity, lambda n: {"n": n}, lambda n: (n,)])
def test_a_large_number_survives_a_missing_neighbour(
    foo: Serve, large: int, wrap: Callable[[Any], Any]
) -> None:
    def odd(value: int) -> Any:
        if value == 0:
            raise ValueError
        return wrap(value)

    result = foo(odd).job("foo.odd", [large, 0, 3], errors="coerce").to_frame()
    assert int(result.iloc[0, 0]) == large
    assert pd.isna(result.iloc[1, 0])
    assert result.iloc[2, 0] == 3


@pytest.mark.parametrize(
    "results",
    [
        [[1, 2], [3, 4]],
        [{1, 2}, set()],
        [Point(1, 2), (1, 2)],
        [{"a": 1}, 2, None, (1, 2), "x"],
        [1, "a", None, 2.5, [1]],
        [range(3), range(3)],
        [ValueError("a value"), TaskError("Of", "the function")],
    ],
    ids=["lists", "sets", "two kinds of tuples", "mixed", "scalars", "ranges", "errors"],
)
def test_anything_else_is_whole_in_one_column(foo: Serve, results: list[Any]) -> None:
    column = frame_of(foo, results)["result"]
    assert [type(value) for value in column] == [type(value) for value in results]
    assert [repr(value) for value in column] == [repr(value) for value in results]


def test_arrays_and_frames_are_whole_in_one_column(foo: Serve) -> None:
    given = [np.arange(3), np.eye(2), pd.Series([1, 2]), pd.DataFrame({"a": [1]}), np.array(5)]
    column = frame_of(foo, given)["result"]
    assert column.dtype == object
    for value, expected in zip(column, given, strict=True):
        assert type(value) is type(expected)
        assert np.array_equal(value, expected)


def test_something_with_fields_that_is_no_tuple_is_whole(foo: Serve) -> None:
    import ast

    result = frame_of(foo, [ast.Name("a"), ast.Name("b")])
    assert [value.id for value in result["result"]] == ["a", "b"]


def test_dicts_with_arrays_keep_them_whole(foo: Serve) -> None:
    result = frame_of(foo, [{"a": np.arange(2), "n": np.int64(1)}] * 2)
    assert result["a"].iloc[1].tolist() == [0, 1]
    assert result["n"].dtype == np.dtype("int64")


def test_rows_that_failed_have_no_values(foo: Serve) -> None:
    def odd(value: int) -> dict[str, int]:
        if value % 2:
            raise ValueError(f"{value} is odd")
        return {"half": value // 2, "twice": 2 * value}

    result = foo(odd).job("foo.odd", range(4), errors="coerce").to_frame()
    assert list(result.columns) == ["half", "twice", *OURS]
    assert result.loc[[1, 3], ["half", "twice"]].isna().all(axis=None)
    assert result.loc[[0, 2], "twice"].tolist() == [0, 4]
    assert result["error"].tolist()[1::2] == ["ValueError: 1 is odd", "ValueError: 3 is odd"]


def test_a_frame_where_all_failed_has_the_errors(foo: Serve) -> None:
    result = foo(divide).job("foo.divide", [0, 0], errors="return").to_frame()
    assert list(result.columns) == ["result", *OURS]
    assert result["error"].tolist() == ["ZeroDivisionError: division by zero"] * 2


# What functions get


def rows_of(data: Any) -> list[Any]:
    return list(frame.items(data))


def only(column: Any) -> list[Any]:
    """What becomes of the values of a column, in a Series and in a frame alike."""
    series = pd.Series(column) if not isinstance(column, pd.Series) else column
    values = rows_of(series)
    assert repr([row["c"] for row in rows_of(series.to_frame("c"))]) == repr(values)
    return values


def test_a_row_reaches_its_function_as_a_dict_of_plain_values(foo: Serve) -> None:
    data = pd.DataFrame(
        {
            "n": np.array([1, 2], dtype="int32"),
            "x": [0.5, np.nan],
            "ok": [True, False],
            "at": pd.to_datetime(["2024-01-01 12:00", None]),
            "text": ["a", None],
        }
    )
    seen: list[dict[str, Any]] = []
    foo(look := seen_by(seen)).job(f"foo.{look.__name__}", data).collect()
    types = {name: type(value) for name, value in seen[0].items()}
    assert types == {"n": int, "x": float, "ok": bool, "at": dt.datetime, "text": str}
    assert seen[0]["at"] == NOON
    assert seen[1]["x"] != seen[1]["x"]
    assert (seen[1]["at"], seen[1]["text"]) == (None, None)


def seen_by(seen: list[Any]) -> Callable[[Any], None]:
    def look(row: Any) -> None:
        seen.append(row)

    return look


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.array([1, 2], dtype="uint8"), [1, 2]),
        (np.array([2**63], dtype="uint64"), [2**63]),
        (np.array([1.5], dtype="float32"), [1.5]),
        (np.array([1 + 2j]), [1 + 2j]),
        (np.array([True, False]), [True, False]),
        (pd.array([1, None], dtype="Int64"), [1, None]),
        (pd.array([True, None], dtype="boolean"), [True, None]),
        (pd.array([1.5, None], dtype="Float64"), [1.5, None]),
        (pd.array(["a", None], dtype="string"), ["a", None]),
        (pd.array(["a", None], dtype="str"), ["a", None]),
        (pd.Categorical(["a", None, "a"]), ["a", None, "a"]),
        (pd.Categorical([2, None]), [2, None]),
        (pd.to_datetime(["2024-01-01 12:00", None]), [NOON, None]),
        (pd.to_timedelta([1, None], unit="s"), [dt.timedelta(seconds=1), None]),
        (pd.Series(["a", None, np.nan, pd.NA, pd.NaT], dtype=object), ["a", *[None] * 4]),
        (pd.Series([np.int64(3), np.str_("b")], dtype=object), [3, "b"]),
        (pd.Series([dt.date(2024, 1, 1)]), [dt.date(2024, 1, 1)]),
        (pd.Series([Decimal("1.5"), None]), [Decimal("1.5"), None]),
        (pd.Series([[1, 2], {"a": 1}]), [[1, 2], {"a": 1}]),
        (pd.arrays.SparseArray([0, 0, 2]), [0, 0, 2]),
        (pd.period_range("2024-01", periods=1, freq="M"), [pd.Period("2024-01", "M")]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_values_are_plain(column: Any, expected: list[Any]) -> None:
    values = only(column)
    assert values == expected
    assert [type(value) for value in values] == [type(value) for value in expected]


def test_what_is_missing_in_a_column_of_floats_stays_nan() -> None:
    values = only([1.5, np.nan])
    assert [type(value) for value in values] == [float, float]
    assert np.isnan(values[1])


def test_a_time_keeps_its_zone() -> None:
    (value,) = only(pd.to_datetime(["2024-06-01 12:00"]).tz_localize("Europe/Berlin"))
    assert type(value) is dt.datetime
    assert value.utcoffset() == dt.timedelta(hours=2)


def test_a_time_that_python_cannot_hold_stays_as_it_is() -> None:
    (value,) = only(pd.Series(np.array(["20000-01-01"], dtype="M8[s]")))
    assert value == pd.Timestamp(np.datetime64("20000-01-01", "s"))


def test_arrays_in_cells_stay_arrays() -> None:
    (value, _) = only(pd.Series([np.arange(3), None]))
    assert type(value) is np.ndarray


def test_the_keys_of_a_row_are_text() -> None:
    assert rows_of(pd.DataFrame([[1, 2]], columns=[0, "a"])) == [{"0": 1, "a": 2}]
    levels = pd.MultiIndex.from_tuples([("x", "y"), ("x", "z")])
    assert rows_of(pd.DataFrame([[1, 2]], columns=levels)) == [{"('x', 'y')": 1, "('x', 'z')": 2}]


@pytest.mark.parametrize(("columns", "twice"), [(["a", "b", "a"], "'a'"), ([1, "1", 2], "'1'")])
def test_two_columns_of_one_name_are_refused(foo: Serve, columns: list[Any], twice: str) -> None:
    data = pd.DataFrame([[1, 2, 3]], columns=columns)
    with pytest.raises(ConfigError, match=f"two columns are called {twice}"):
        foo(identity).job("foo.identity", data)


def test_more_rows_than_are_turned_at_a_time_come_in_order() -> None:
    data = pd.DataFrame({"a": range(2500), "b": np.arange(2500) / 2})
    assert rows_of(data) == data.to_dict("records")
    assert rows_of(data["b"]) == data["b"].tolist()


def test_rows_that_travel_and_come_back_are_the_frame(foo: Serve) -> None:
    data = pd.DataFrame(
        {"n": range(5000), "x": np.arange(5000) / 3, "t": [f"t{n}" for n in range(5000)]},
        index=pd.date_range("2024", periods=5000, freq="h"),
    )
    result = foo(identity).job("foo.identity", data).to_frame()
    pd.testing.assert_frame_equal(results_of(result), data, check_freq=True)


def test_what_was_never_begun_has_no_start_and_no_duration(cluster: ThreadCluster) -> None:
    with Client("nobody") as client:
        frame = client.job("nobody.f", [1, 2], deadline=0.2, errors="return").to_frame()
    assert list(frame["attempts"]) == [0, 0]
    assert frame["error"].str.startswith("DeadlineExceeded").all()
    assert frame[["started", "duration"]].isna().all(axis=None)
    assert isinstance(frame["started"].dtype, pd.DatetimeTZDtype)
