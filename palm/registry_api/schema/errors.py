"""How the registry says no."""

from __future__ import annotations

from typing import Any

from palm.registry_api.schema.base import Value

__all__ = ["ErrorBody", "ErrorDetail"]


class ErrorDetail(Value):
    """``code`` is for programs, ``text`` and ``hint`` are for people."""

    code: str
    text: str
    hint: str = ""
    data: dict[str, Any] = {}


class ErrorBody(Value):
    """The body of every answer from 400 on."""

    error: ErrorDetail
