"""``python -m palm`` is the command ``palm``."""

from __future__ import annotations

from palm.cli import main

if __name__ == "__main__":  # a worker's processes (multiprocessing) import this module again
    raise SystemExit(main())
