"""What the commands have in common that are a component."""

from __future__ import annotations

import logging
import os
import signal

from palm.errors import ConfigError
from palm.runtime.lifeline import tie_to_supervisor
from palm.spec.names import nearest

__all__ = ["log_level", "tie"]

#: Seconds to stop in, once the supervisor is gone.
_GRACE = 5.0
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def tie() -> None:
    """End with our supervisor, if we have one, from now on: loading code may take long."""
    tie_to_supervisor(lambda: os.kill(os.getpid(), signal.SIGTERM), _GRACE)


def log_level() -> int:
    """The level that ``PALM_LOG_LEVEL`` asks for, as `logging` has it."""
    text = os.environ.get("PALM_LOG_LEVEL", "").strip().upper()
    if not text:
        return logging.INFO
    if text not in _LEVELS:
        meant = nearest(text, _LEVELS)
        hint = f"did you mean {meant}?" if meant else f"one of {', '.join(_LEVELS)}"
        raise ConfigError(f"no such level: {text!r}", key="PALM_LOG_LEVEL", hint=hint)
    return logging.getLevelNamesMapping()[text]
