"""``python -m benchmarks [PART ...] [--quick] [--json FILE] [--markdown FILE]``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.parts import PARTS
from benchmarks.report import Report


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table; 1 if something broke, 0 also when goals are missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="about a minute, more noise")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--markdown", type=Path, help="write the table there")
    args = parser.parse_args(argv)
    unknown = [part for part in args.parts if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)} (there is {', '.join(PARTS)})")
    logging.getLogger("palm").addHandler(logging.NullHandler())
    console = Console()
    report, broken = Report(args.quick), []
    for name in args.parts or PARTS:
        console.print(f"{name}: {(PARTS[name].__doc__ or '').strip()}", style="dim")
        try:
            PARTS[name](report)
        except Exception:  # noqa: BLE001 - the other parts are measured all the same
            console.print_exception()
            broken.append(name)
    report.show(console)
    if args.json:
        args.json.write_text(json.dumps(report.as_dict(), indent=2) + "\n")
    if args.markdown:
        args.markdown.write_text(report.markdown())
    if broken:
        console.print(f"broken: {', '.join(broken)}", style="bold red")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
