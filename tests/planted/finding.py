"""The worlds in which a bug shows: a seed of a simulation, or a test of the machines."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import palm
from tests.support import worlds

__all__ = ["Finding", "hunt", "shows"]

#: Each kind of world by its name.
WORLDS: dict[str, Callable[[int], object]] = {
    "sim": worlds.run_seed,
    "unsteady": worlds.run_unsteady,
    "restless": worlds.run_restless,
    "partitioned": worlds.run_partitioned,
}

#: Seeds of the shortest one for each of the others: it is over as fast.
UNSTEADY = 6


@dataclass(frozen=True)
class Finding:
    """Where a bug shows: ``sim 17`` (see `WORLDS`), or ``test FILE::NAME``."""

    kind: str
    where: str

    @classmethod
    def parse(cls, text: str) -> Finding:
        """Read one from its text."""
        kind, _, where = text.partition(" ")
        return cls(kind, where)

    def __str__(self) -> str:
        return f"{self.kind} {self.where}"


def shows(finding: Finding) -> str:
    """Return what is wrong there with the palm that is imported; empty if nothing is."""
    if finding.kind == "test":
        command = [sys.executable, "-m", "pytest", "-qq", "-p", "no:cacheprovider", finding.where]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        failed = "\n".join(line for line in done.stdout.splitlines() if line.startswith("FAILED"))
        if done.returncode not in (0, 1) or bool(failed) != bool(done.returncode):
            raise RuntimeError(f"{finding} cannot be run:\n{done.stdout}{done.stderr}")
        return failed
    try:
        WORLDS[finding.kind](int(finding.where))
    except Exception as error:  # noqa: BLE001 - whatever a bug leads to
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def hunt(seconds: float) -> Finding | None:
    """Look for a bug from the first seed on; None: none was found within ``seconds``."""
    until = time.monotonic() + seconds
    for finding in _all():
        if time.monotonic() > until:
            return None
        if shows(finding):
            return finding
    return None


def _all() -> Iterator[Finding]:
    seed = 0
    while True:
        yield Finding("sim", str(seed))
        for at in range(UNSTEADY):
            yield Finding("unsteady", str(seed * UNSTEADY + at))
        if seed % 4 == 0:
            yield Finding("restless", str(seed))
        seed += 1


def main() -> None:
    """``FINDING...`` or ``--hunt SECONDS``: print what shows, a line each."""
    if not Path("palm").resolve().samefile(Path(_palm_folder())):
        raise SystemExit(f"this is the palm of {_palm_folder()}")
    if sys.argv[1] == "--hunt":
        print(hunt(float(sys.argv[2])) or "")
        return
    for text in sys.argv[1:]:
        print(shows(Finding.parse(text)).replace("\n", " "))


def _palm_folder() -> Path:
    return Path(palm.__file__).parent


if __name__ == "__main__":
    main()
