"""Values of every kind that people send, as Hypothesis strategies."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from tests.wire.kinds import (
    Access,
    Colour,
    Complaint,
    Fixed,
    Level,
    Name,
    Point,
    Raw,
    Reading,
    Real,
    Text,
    Whole,
)

#: With lone surrogates, which UTF-8 cannot hold.
texts = st.text(st.characters(exclude_categories=()), max_size=20)

integers = (
    st.integers()
    | st.integers(-(1 << 70), 1 << 70)
    | st.sampled_from(
        [(1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 63), -(1 << 63) - 1, 1 << 5000]
    )
)

#: What MessagePack keeps.
plain_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
)

plain = st.recursive(
    plain_leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)

times = (
    st.datetimes(timezones=st.none() | st.timezones())
    | st.dates()
    | st.times(timezones=st.none() | st.timezones())
    | st.timedeltas()
)

#: Values that are equal to no other value but of their own type, and can be keys.
keys = (
    st.none()
    | st.booleans()
    | integers
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=20)
    | times
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.sampled_from([*Colour, *Level, *Name, Access.READ | Access.WRITE])
    | st.builds(Fixed, st.integers())
    | st.builds(Point, st.integers(), texts)
    | st.builds(Text, texts)
    | st.builds(Whole, integers)
    | st.tuples(st.integers(), texts)
    | st.frozensets(st.integers(), max_size=3)
)

_dtypes = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes()
    | hnp.unsigned_integer_dtypes()
    | hnp.floating_dtypes()
    | hnp.complex_number_dtypes()
    | hnp.byte_string_dtypes()
    | hnp.unicode_string_dtypes()
)

#: NumPy itself forgets the byte order of pickled dates, and who may write to their arrays.
_dates = hnp.datetime64_dtypes(endianness="=") | hnp.timedelta64_dtypes(endianness="=")

numpy_scalars = (_dtypes | _dates).flatmap(
    lambda dtype: hnp.arrays(dtype, ()).map(lambda array: array[()])
)

_shapes = hnp.array_shapes(min_dims=0, min_side=0, max_side=5)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


arrays = hnp.arrays(_dtypes | _dates | hnp.array_dtypes(_dtypes), _shapes) | hnp.arrays(
    _dtypes, _shapes
).map(_frozen)

leaves = (
    keys
    | st.floats()
    | st.complex_numbers()
    | st.decimals()
    | st.fractions()
    | st.binary(max_size=20).map(bytearray)
    | st.builds(Real, st.floats())
    | st.builds(Raw, st.binary(max_size=9))
    | st.builds(Complaint, texts, st.integers())
    | numpy_scalars
    | arrays
    | st.sampled_from([range(2, 9, 3), slice(1, None), Ellipsis, NotImplemented, int, Colour])
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(keys, max_size=4)
        | st.frozensets(keys, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4).map(OrderedDict)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.lists(inner, max_size=4).map(deque)
        | st.lists(keys, max_size=4).map(Counter)
        | st.builds(Point, inner, inner)
        | st.builds(Reading, inner, st.lists(inner, max_size=2))
    )


#: Anything.
values = st.recursive(leaves, _containers, max_leaves=8)
