"""Kill, stop and restart the processes of a cluster under load, and check what became of its work.

For so many seconds, and on until there were enough faults (200 a minute; at most three times as
long), processes are hit as a seed says: kill -9 of workers, of the master and of clients, SIGTERM
of workers, SIGSTOP and later SIGCONT of workers and of the master. Then all jobs are let end.
Exit code 1 if a message of palm was lost or doubled, had a false result, or ended in an error that
nothing explains - or if no kill hit a worker in the middle of a message, so that nothing was
shown. What other systems lose is a figure, not a failure.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tests.chaos.client import HUNG_AFTER
from tests.chaos.histories import Verdict, judge, read_all
from tests.chaos.processes import Place, Slot
from tests.chaos.schedule import KINDS, schedule
from tests.chaos.systems import MODULES, SYSTEMS
from tests.chaos.tormentor import Tormentor

#: Faults that there are to be in a minute, and by how much longer it may take.
FAULTS_A_MINUTE = 200
LONGER = 3

#: Kills of workers that there are to be: of so many, one is in the middle of a message.
FEWEST_KILLS = 8

#: What is measured of a cluster.
UNITS = {
    "ready again": "ms after the last job",
    "output": "lines, in the registry as they were written",
    "complete": "ms after that",
    "down": "ms for all to end",
}

#: Complaints that are printed.
SHOWN = 20


def main(argv: list[str] | None = None) -> int:
    """Run, and print what it came to."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--system", choices=SYSTEMS, default="palm")
    parser.add_argument(
        "--only", choices=KINDS, nargs="+", default=(), metavar="KIND",
        help=f"faults of these kinds: {', '.join(map(repr, KINDS))}",
    )  # fmt: skip
    parser.add_argument(
        "--pause", type=float, default=0.0, help="seconds between faults, however few that makes"
    )
    parser.add_argument("--folder", type=Path, help="a new one, which is kept (else a temporary)")
    parser.add_argument("--json", type=Path, help="write all figures there")
    args = parser.parse_args(argv)
    if importlib.util.find_spec(MODULES[args.system]) is None:
        parser.error(f"{args.system} is not here: pip install {MODULES[args.system]}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    folder = args.folder or Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    print(f"{args.system}, {args.seconds:g} s, seed {args.seed}", flush=True)
    options = {"only": args.only, "pause": args.pause}
    figures, verdict = run(args.system, folder, args.seed, args.seconds, **options)
    report(figures, verdict)
    if args.json:
        args.json.write_text(json.dumps(figures | verdict.as_dict(), indent=2) + "\n")
    failed = args.system == "palm" and bool(verdict.complaints)
    if not failed and not args.folder:
        shutil.rmtree(folder, ignore_errors=True)
    elif failed:
        print(f"what they wrote is in {folder}")
    return int(failed)


def run(
    system: str,
    folder: Path,
    seed: int,
    seconds: float,
    *,
    only: Collection[str] = (),
    pause: float = 0.0,
) -> tuple[dict[str, Any], Verdict]:
    """Torment a system; return what was done to it, and what came of that."""
    place = Place(folder)
    try:
        with SYSTEMS[system](place) as tormented:
            tormentor = Tormentor(place, tormented.slots, tormented.victims, tormented.look)
            tormentor.start()
            wanted = {"": int(FAULTS_A_MINUTE * seconds / 60 / tormented.pace)}
            if not only:
                wanted["kill worker"] = FEWEST_KILLS
            faults = schedule(seed, tormented.roles, only, pause, tormented.pace)
            spent = tormentor.run(faults, seconds, {} if pause else wanted, LONGER * seconds)
            let_end(tormentor, [slot for slot in tormented.slots if slot.role == "client"])
            tormented.end()
    finally:
        left = place.end_rest()
    figures = {
        "system": system,
        "seed": seed,
        "seconds": spent,
        "faults": dict(tormentor.faults),
        "ended by themselves": {
            role: sum(slot.ended for slot in tormented.slots if slot.role == role)
            for role in sorted(tormented.roles)
        },
        "not ended by SIGTERM": dict(tormentor.stubborn),
        "left behind": left,
    }
    verdict = judge(*read_all(folder))
    verdict.complaints += tormented.complaints
    if not verdict.killed_in_the_middle and (not only or "kill worker" in only):
        verdict.complaints.append("no kill hit a worker in the middle of a message")
    return figures | tormented.figures, verdict


def let_end(tormentor: Tormentor, clients: list[Slot]) -> None:
    """Let the clients end their last jobs, while all others are there."""
    for client in clients:
        tormentor.slots = [slot for slot in tormentor.slots if slot is not client]
        client.send(signal.SIGTERM)
    until = time.monotonic() + 3 * HUNG_AFTER
    while any(client.is_there for client in clients) and time.monotonic() < until:
        tormentor.pass_time(0.05)


def report(figures: dict[str, Any], verdict: Verdict) -> None:
    """Print what was done and what came of it."""
    faults = figures["faults"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(faults.items()))
    ended = {role: n for role, n in figures["ended by themselves"].items() if n}
    errors = ", ".join(f"{n} {name}" for name, n in verdict.errors.most_common())
    jobs = ", ".join(f"{n} {end}" for end, n in verdict.jobs.most_common())
    lines = [
        f"faults         {sum(faults.values())} in {figures['seconds']:.0f} s: {kinds}",
        f"in the middle  {verdict.killed_in_the_middle} kills hit a worker that ran a message",
        f"jobs           {jobs}",
        f"messages       {verdict.messages}: {verdict.results} results"
        + (f", {errors}" if errors else ""),
        f"lost           {verdict.lost}; {verdict.hung} hung, {verdict.failed} in jobs that failed",
        f"doubled        {verdict.doubled} outcomes",
        f"false          {verdict.wrong} results, {verdict.misplaced} out of place",
        f"executions     {verdict.executions}, {verdict.again} of them again",
        f"begun again    {quantiles(verdict.begun_again_after)}",
        *(f"{kind:<14} {quantiles(gaps, 'a result')}" for kind, gaps in verdict.gaps.items()),
        *of_cluster(figures),
        f"processes      {figures['left behind']} left behind",
        f"               {ended or 0} ended by themselves",
        f"               {figures['not ended by SIGTERM'] or 0} did not end by SIGTERM",
    ]
    print("\n".join(lines))
    for complaint in verdict.complaints[:SHOWN]:
        print(f"! {complaint}")
    if len(verdict.complaints) > SHOWN:
        print(f"! and {len(verdict.complaints) - SHOWN} more")
    sys.stdout.flush()


def of_cluster(figures: dict[str, Any]) -> Iterator[str]:
    """Yield what is measured of a cluster alone: nothing of the others."""
    for role, took in figures.get("recoveries", {}).items():
        yield f"{role:<14} {quantiles(took, 'another one')}"
    for what, unit in UNITS.items():
        if what in figures:
            yield f"{what:<14} {figures[what]:,.0f} {unit}"


def quantiles(milliseconds: list[float], what: str = "") -> str:
    """Say how long something took."""
    if not milliseconds:
        return "-"
    row = sorted(milliseconds)
    most, p99 = row[-1], row[len(row) * 99 // 100]
    figures = f"{median(row):.0f} ms (median), {p99:.0f} ms (p99), {most:.0f} ms (most)"
    return f"{what or 'that'} after {figures}, {len(row)} times"


if __name__ == "__main__":
    sys.exit(main())
