"""Options of a job: what is refused, and what travels."""

from __future__ import annotations

from typing import Any

import pytest

from palm.clients.terms import terms_of
from palm.errors import ConfigError
from palm.wire.message import Terms


def test_job_without_options_has_no_terms() -> None:
    assert terms_of() is None


def test_options_travel() -> None:
    terms = terms_of(timeout=2, retries=3, retry_on=(OSError, KeyError), priority=-1)
    assert terms == Terms(
        timeout=2.0, retries=3, retry_on=["builtins.OSError", "builtins.KeyError"], priority=-1
    )


def test_one_class_need_not_be_in_a_tuple() -> None:
    terms = terms_of(retries=1, retry_on=ValueError)
    assert terms is not None and terms.retry_on == ["builtins.ValueError"]


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1.0},
        {"timeout": float("inf")},
        {"timeout": "1"},
        {"timeout": True},
        {"retries": -1},
        {"retries": 1.5},
        {"retries": True},
        {"retry_on": (ValueError,)},
        {"retries": 1, "retry_on": ("ValueError",)},
        {"retries": 1, "retry_on": (int,)},
        {"retries": 1, "retry_on": (ValueError,) * 33},
        {"priority": "high"},
        {"deadline": 0},
        {"deadline": float("nan")},
        {"at_most_once": True, "retries": 1},
        {"priority": 1 << 40},
    ],
    ids=str,
)
def test_option_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        terms_of(**options)
