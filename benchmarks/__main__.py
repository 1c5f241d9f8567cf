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

from benchmarks.crowd import crowd_of_10000
from benchmarks.curve import curve
from benchmarks.executors import executors
from benchmarks.nodes.parts import nodes, nodes_postgresql
from benchmarks.panel.parts import panel
from benchmarks.parts import PARTS
from benchmarks.peers.parts import peers
from benchmarks.plots import draw
from benchmarks.processes import BrokenError
from benchmarks.reliability.parts import RELIABILITY
from benchmarks.report import WIDE, Report
from benchmarks.shards import shards

#: Those that are measured when they are named: they take long, or need a package index.
NAMED = {
    "peers": peers,
    "curve": curve,
    "crowd-10000": crowd_of_10000,
    "nodes": nodes,
    "nodes-postgresql": nodes_postgresql,
    "shards": shards,
    "executors": executors,
    "panel": panel,
} | RELIABILITY

ALL = PARTS | NAMED


def main(argv: list[str] | None = None) -> int:
    """Measure, and print the table."""
    args = _arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    # Where nobody looks at a terminal there is room for all columns.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    if args.earlier:
        report, broken = Report.from_dict(json.loads(args.earlier.read_text())), []
    else:
        report = Report(args.quick)
        broken = _measure(report, [*(args.parts or PARTS), *args.also], console)
        report.end()
    report.show(console)
    if args.json:
        args.json.write_text(json.dumps(report.as_dict(), indent=2) + "\n")
    pictures = draw(report, args.plots) if args.plots else {}
    for path in pictures:
        console.print(f"drawn: {path}", style="dim")
    if args.markdown:
        report.write_markdown(args.markdown, pictures)
    if broken:
        console.print(f"broken: {', '.join(broken)}", style="bold red")
    return 1 if broken else 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"of {', '.join(PARTS)} (these are the default), {', '.join(NAMED)}",
    )
    parser.add_argument(
        "--also", nargs="+", default=[], metavar="PART", help="parts to measure after those"
    )
    parser.add_argument("--quick", action="store_true", help="about a minute, with more noise")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all runs there")
    parser.add_argument(
        "--from",
        dest="earlier",
        type=Path,
        metavar="FILE",
        help="measure nothing: show the runs that --json wrote there",
    )
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="write the table there; in a page that has a place for it, only there",
    )
    parser.add_argument(
        "--plots",
        type=Path,
        metavar="FOLDER",
        help="draw the figures there, as SVG, and show them in the page of --markdown",
    )
    args = parser.parse_args(argv)
    unknown = [part for part in (*args.parts, *args.also) if part not in ALL]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)} (there is {', '.join(ALL)})")
    if args.earlier and (args.parts or args.also or args.quick):
        parser.error("--from measures nothing: name no part with it")
    return args


def _measure(report: Report, names: list[str], console: Console) -> list[str]:
    """Measure parts; return those that broke."""
    broken = []
    for name in names:
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
    return broken


if __name__ == "__main__":
    sys.exit(main())
