"""``python -m palm`` is the command ``palm``."""

from __future__ import annotations

if __name__ == "__main__":  # a worker's processes (multiprocessing) import this module again
    try:
        from palm.cli import main

        code = main()
    except KeyboardInterrupt:  # while modules are loaded
        code = 130
    raise SystemExit(code)
