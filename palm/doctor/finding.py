"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "State", "ok", "problem", "warning"]

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and what to do about it; ``check`` is the name of the check."""

    state: State
    found: str
    advice: str = ""
    check: str = ""


def ok(found: str) -> Finding:
    """All is as it should be."""
    return Finding("ok", found)


def warning(found: str, advice: str) -> Finding:
    """It works, and may not for long, or not for all."""
    return Finding("warning", found, advice)


def problem(found: str, advice: str) -> Finding:
    """It does not work, or is not safe."""
    return Finding("problem", found, advice)
