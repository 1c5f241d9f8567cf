"""Equality that sees what ``==`` does not: types, signs of zero, order, who may write."""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import datetime, time
from decimal import Decimal
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd


def assert_same(arrived: Any, sent: Any) -> None:
    """Fail unless a value arrived as it was sent."""
    assert type(arrived) is type(sent), f"{sent!r} arrived as {arrived!r}"
    if isinstance(sent, np.generic):
        assert arrived.dtype == sent.dtype and arrived.tobytes() == sent.tobytes()
    elif isinstance(sent, float | complex):
        assert _bits(arrived) == _bits(sent)
    elif isinstance(sent, Decimal):
        assert arrived.as_tuple() == sent.as_tuple()
    elif isinstance(sent, np.ndarray):
        _assert_same_array(arrived, sent)
    elif isinstance(sent, pd.DataFrame):
        pd.testing.assert_frame_equal(arrived, sent, check_exact=True, check_freq=True)
    elif isinstance(sent, pd.Series):
        pd.testing.assert_series_equal(arrived, sent, check_exact=True)
    elif isinstance(sent, Mapping):
        _assert_same_items(list(arrived.items()), list(sent.items()))
    elif isinstance(sent, Set):
        assert arrived == sent
        assert Counter(map(_typed, arrived)) == Counter(map(_typed, sent))
    elif isinstance(sent, list | tuple | deque):
        _assert_same_items(arrived, sent)
    elif isinstance(sent, datetime | time):
        assert arrived.isoformat() == sent.isoformat()
        assert arrived.fold == sent.fold
        assert type(arrived.tzinfo) is type(sent.tzinfo) and arrived.tzname() == sent.tzname()
    elif is_dataclass(sent) and not isinstance(sent, type):
        names = [field.name for field in fields(sent)]
        _assert_same_items([getattr(arrived, n) for n in names], [getattr(sent, n) for n in names])
    else:
        assert arrived == sent


def _assert_same_items(arrived: Any, sent: Any) -> None:
    missing = object()
    for a, b in zip_longest(arrived, sent, fillvalue=missing):
        assert_same(a, b)


def _assert_same_array(arrived: np.ndarray, sent: np.ndarray) -> None:
    assert (arrived.dtype, arrived.shape) == (sent.dtype, sent.shape)
    assert arrived.flags.writeable == sent.flags.writeable
    if sent.dtype.hasobject:
        _assert_same_items(arrived.ravel().tolist(), sent.ravel().tolist())
    else:
        assert arrived.tobytes() == sent.tobytes()


def _bits(value: float | complex) -> bytes:
    if isinstance(value, complex):
        return struct.pack("dd", value.real, value.imag)
    return struct.pack("d", value)


def _typed(value: Any) -> tuple[str, Any]:
    """A key that tells True from 1 and -0.0 from 0.0, whatever order a nested set has."""
    if isinstance(value, Set):
        return type(value).__name__, frozenset(map(_typed, value))
    return type(value).__name__, repr(value)
