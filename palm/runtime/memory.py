"""How much memory this process uses."""

from __future__ import annotations

import os
import sys

__all__ = ["resident_size"]

_STATM = "/proc/self/statm"


def resident_size() -> int:
    """Return the bytes of memory that this process has now; where that is not told, at most had."""
    try:
        with open(_STATM, "rb", buffering=0) as file:
            return int(file.read(128).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource  # only where there is no /proc

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
