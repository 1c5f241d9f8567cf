"""Exit codes that a process and its supervisor agree on."""

from __future__ import annotations

from typing import Final

__all__ = ["START_AGAIN"]

#: Of a process that is well and wants to be started again, as a worker that has grown too large.
#: Neither shells, nor signals, nor ``sysexits.h`` give it a meaning.
START_AGAIN: Final = 83
