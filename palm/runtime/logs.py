"""Where components log: on stdout in a plain script, else wherever the host wants it."""

from __future__ import annotations

import logging
import sys

__all__ = ["COMPONENT_FORMAT", "CLIENT_FORMAT", "is_interactive", "new_logger"]

COMPONENT_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
CLIENT_FORMAT = "%(asctime)s - %(levelname)s - %(message)s"


def new_logger(name: str, level: int, line_format: str) -> logging.Logger:
    """Return a logger of its own for one component.

    It is not registered under its name, which is the user's and may be that of a module; its
    records go to the loggers `palm` and root. Only where nobody listens there, and in a plain
    script, it writes to stdout.
    """
    logger = logging.Logger(name, level)  # noqa: LOG001 - see above
    logger.parent = logging.getLogger("palm")
    if not is_interactive() and not logger.parent.hasHandlers():
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter(line_format))
        logger.addHandler(handler)
        logger.propagate = False
    return logger


def is_interactive() -> bool:
    """Whether this is IPython, whose user did not ask for our lines."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
