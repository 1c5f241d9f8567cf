"""A client process: job after job, and a line in its history for each thing that happens.

Started with the number of the process, the system and what that wants. SIGTERM: it ends after the
job that it has begun. Without an outcome for `HUNG_AFTER` seconds, in which no master was hit, it
gives its job up and ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Final

from tests.chaos.callers import CALLERS, Caller, Outcome
from tests.chaos.work import FOLDER, RESULT, Log, inputs_of, now

__all__ = ["HUNG_AFTER", "main"]

#: Seconds without an outcome after which a job counts as hanging. Nothing that is done here
#: stops a process for more than a few seconds, and a process is back within one or two; a master
#: waits 10 s for what workers did for the one before it.
HUNG_AFTER: Final = 20.0

#: Who must be there so that there are results, or that there are workers and a master.
_STARTERS: Final = ("master", "runner", "registry")

#: How many messages a job has, one of these.
_SIZES: Final = (1, 30, 500, 2000)

#: Jobs of one client object.
_JOBS: Final = 6

#: Jobs of one process are numbered below this.
_MOST_JOBS: Final = 1 << 20


class Client:
    """Runs jobs, and writes down what becomes of them."""

    def __init__(self, number: int, system: str, arguments: list[str]) -> None:
        self.leaving = False
        self._make = lambda: CALLERS[system](*arguments)
        self._job = number * _MOST_JOBS
        self._random = Random(number)
        self._log = Log(Path(os.environ[FOLDER]) / "clients" / f"{os.getpid()}-{now()}")
        self._last = time.monotonic()
        threading.Thread(target=self._watch, daemon=True).start()

    def run(self) -> None:
        """Run jobs until asked to leave."""
        while not self.leaving:
            caller = self._make()
            for _ in range(_JOBS):
                if not self.leaving:
                    self._run(caller)
            caller.close()

    def _run(self, caller: Caller) -> None:
        self._job += 1
        messages = list(inputs_of(self._job, self._random.choice(_SIZES)))
        mode = self._random.choice(caller.modes)
        self._log.write(f"submit {self._job} {len(messages)} {mode} {now()}")
        try:
            for outcome in caller.run(messages, mode):
                self._note(outcome)
        except Exception as error:
            self._log.write(f"failed {type(error).__name__} {now()}")
            raise
        self._log.write(f"done {now()}")

    def _note(self, outcome: Outcome) -> None:
        self._last = time.monotonic()
        at, value = outcome
        if isinstance(value, BaseException):
            self._log.write(f"error {at} {type(value).__name__} {now()}")
        else:
            job, index, answer = RESULT.unpack(value)
            self._log.write(f"result {at} {job} {index} {answer} {now()}")

    def _last_hit(self) -> float:
        """Return when a master was hit last, or what has to start another one."""
        faults = Path(os.environ[FOLDER]) / "faults"
        lines = [line for line in faults.read_text().splitlines() if line.split()[1] in _STARTERS]
        return int(lines[-1].rpartition(" ")[2]) / 1e6 if lines else 0.0

    def _watch(self) -> None:
        while time.monotonic() - max(self._last, self._last_hit()) < HUNG_AFTER:
            time.sleep(0.1)
        self._log.write(f"hung {now()}")
        os._exit(1)


def main() -> None:
    """Run jobs."""
    number, system, *arguments = sys.argv[1:]
    client = Client(int(number), system, arguments)
    signal.signal(signal.SIGTERM, lambda *_: setattr(client, "leaving", True))
    client.run()


if __name__ == "__main__":
    main()
