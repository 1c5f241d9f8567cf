"""Look for bytes that break a reader, led by the code that they reach (atheris).

Each target gets its share of the seconds, in a process of its own. Exit code 1 if one broke; the
bytes are in a file then, and ``--replay FILE TARGET`` reads them again.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import TARGETS

#: What a line at the end of a run says.
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERED = re.compile(r"cov: (\d+) .*corp: (\d+)")

#: Seconds beyond its time after which a target counts as hanging.
_GRACE = 60


def main(argv: list[str] | None = None) -> int:
    """Look at each target."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--replay", type=Path, help="read this file once")
    args = parser.parse_args(argv)
    unknown = [name for name in args.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)} (there is {', '.join(TARGETS)})")
    names = args.targets or list(TARGETS)
    if args.replay:
        for name in names:
            TARGETS[name].read(args.replay.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        parser.error("this needs atheris: pip install atheris")
    share = max(1, round(args.seconds / len(names)))
    fine = [_look_at(name, share) for name in names]
    return int(not all(fine))


def _look_at(name: str, seconds: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/tmp") as folder:
        command = [sys.executable, "-m", "tests.fuzz.one", name, folder, str(seconds)]
        try:
            done = subprocess.run(
                command, text=True, capture_output=True, check=False, timeout=seconds + _GRACE
            )
        except subprocess.TimeoutExpired:
            print(f"{name:<10} hangs")
            return False
    executed, covered = _EXECUTED.search(done.stderr), _COVERED.findall(done.stderr)
    count = int(executed[1]) if executed else 0
    reached = "{} edges, {} inputs kept".format(*covered[-1]) if covered else "nothing reached"
    print(f"{name:<10} {count:>10,} inputs in {seconds} s, {reached}", flush=True)
    if done.returncode or not executed:
        print(done.stdout[-2000:], done.stderr[-3000:], sep="\n")
    return done.returncode == 0 and executed is not None


if __name__ == "__main__":
    sys.exit(main())
