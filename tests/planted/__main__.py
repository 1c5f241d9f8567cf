"""Look for the planted bugs: ``python -m tests.planted [--seconds S] [BUG...]``.

Prints where each shows first; that is what `found.json` is to say, and ``--write`` makes it say so.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor

from tests.planted.copies import BUGS, FOUND, bugs, planted, run


def main() -> int:
    """Hunt; exit code 1 if a bug was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted", description=__doc__)
    parser.add_argument("bugs", nargs="*", metavar="BUG", help=f"of {BUGS} (all)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each of them (60)")
    parser.add_argument("--write", action="store_true", help="note what was found")
    arguments = parser.parse_args()
    names = arguments.bugs or bugs()

    def hunt(bug: str) -> str:
        with planted(bug) as copy:
            where = run(copy, "--hunt", str(arguments.seconds)).strip()
        print(f"{bug}: {where or 'NOT FOUND'}", flush=True)
        return where

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(names, pool.map(hunt, names), strict=True))
    if arguments.write:
        known = json.loads(FOUND.read_text()) | {
            bug: where for bug, where in found.items() if where
        }
        FOUND.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
