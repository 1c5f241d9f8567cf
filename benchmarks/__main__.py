"""Measure palm beside its neighbours and print figures, ratios, and which goals are reached.

Exit code 1 if something broke or gave wrong results, 0 also when goals are missed.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.parts import PARTS
from benchmarks.processes import BrokenError
from benchmarks.reliability.parts import RELIABILITY
from benchmarks.report import WIDE, Report

#: Without a name those of `PARTS` are measured: the others take long.
ALL = PARTS | RELIABILITY


def main(argv: list[str] | None = None) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"of {', '.join(PARTS)} (these are the default), {', '.join(RELIABILITY)}",
    )
    parser.add_argument("--quick", action="store_true", help="about a minute, with more noise")
    parser.add_argument("--json", type=Path, help="write all runs there")
    parser.add_argument(
        "--markdown",
        type=Path,
        help="write the table there; in a page that has a place for it, only there",
    )
    args = parser.parse_args(argv)
    unknown = [part for part in args.parts if part not in ALL]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)} (there is {', '.join(ALL)})")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    # Where nobody looks at a terminal there is room for all columns.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    report, broken = Report(args.quick), []
    for name in args.parts or PARTS:
        console.print(f"{name}: {ALL[name].__doc__}", style="dim", end="")
        begun = time.monotonic()
        try:
            ALL[name](report)
        except BrokenError as error:
            console.print(f"\n{error}", style="red", markup=False)
            broken.append(name)
        except Exception:  # noqa: BLE001 - the other parts are measured all the same
            console.print_exception()
            broken.append(name)
        console.print(f" ({time.monotonic() - begun:.0f} s)", style="dim")
    report.end()
    report.show(console)
    if args.json:
        args.json.write_text(json.dumps(report.as_dict(), indent=2) + "\n")
    if args.markdown:
        report.write_markdown(args.markdown)
    if broken:
        console.print(f"broken: {', '.join(broken)}", style="bold red")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
