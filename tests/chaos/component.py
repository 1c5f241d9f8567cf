"""A master or a worker of the cluster, started by its runner: ``component.py master``.

Each process leaves two things behind in the folder of the run, whatever ends it. In ``lives`` is a
file that says which process it is. In ``said`` is one with all lines that it wrote to its stdout,
each written there just before: all of them, but perhaps the very last, must be in the registry.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from palm.runtime.records import process_identity, process_start_time
from tests.chaos.work import FOLDER, INPUT, Log, now, work

__all__ = ["MASTER", "Voice", "main"]

MASTER: Final = "foo"

#: Bytes of the longest line: some lines go over the end of a page, where kill -9 may cut them.
_LONGEST: Final = 300


class Voice:
    """Says who we are, and lines that can be told from those of all others."""

    def __init__(self, folder: Path, name: str) -> None:
        pid = os.getpid()
        self._key = f"{name}-{pid}-{now()}"
        self._number = 0
        self._said = Log(folder / "said" / self._key)
        # The line of one that was killed here may lack its end.
        os.write(sys.stdout.fileno(), b"\n")
        Log(folder / "lives" / self._key).write(
            f"{name} {pid} {process_start_time(pid)} {process_identity(pid)}"
        )

    def say(self, text: str) -> None:
        """Write a line to stdout, of which nothing is kept back."""
        line = f"said {self._key} {self._number} {text}"
        self._number += 1
        self._said.write(line)
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


def main() -> None:
    """Serve until SIGTERM."""
    name = os.environ["PALM_COMPONENT"]
    voice = Voice(Path(os.environ[FOLDER]), name)
    from palm.servers import Master, Worker  # what takes time comes after the file is there

    def say_and_work(message: bytes) -> bytes:
        job, index, _ = INPUT.unpack(message)
        voice.say(f"{job} {index} {'x' * ((job * 31 + index * 7) % _LONGEST)}")
        return work(message)

    if sys.argv[1] == "master":
        Master(MASTER).start()
    else:
        Worker(name, master=MASTER, functions={"work": say_and_work}).start()


if __name__ == "__main__":
    main()
