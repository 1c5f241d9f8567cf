"""The measurements of what the promises are worth, and of what they cost."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.reliability.detection import detection
from benchmarks.reliability.promises import promises
from benchmarks.reliability.recovery import recovery
from benchmarks.report import Report

__all__ = ["RELIABILITY"]

RELIABILITY: dict[str, Callable[[Report], None]] = {
    "recovery": recovery,
    "detection": detection,
    "promises": promises,
}
