"""One target under atheris, in a process that ends with it: NAME FOLDER SECONDS."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["palm"]):
    from tests.fuzz.targets import TARGETS, near

#: Megabytes, and seconds for one input, beyond which a target is broken.
MEMORY, SLOW = 2048, 10


def main() -> None:
    """Look until the time is over, or something breaks."""
    name, folder, seconds = sys.argv[1:]
    target = TARGETS[name]
    corpus = Path(folder) / "corpus"
    corpus.mkdir()
    for number, data in enumerate([*target.examples(), *near(target.examples())]):
        (corpus / str(number)).write_bytes(data)
    options = [
        f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY}", f"-timeout={SLOW}",
        "-print_final_stats=1", f"-artifact_prefix={tempfile.gettempdir()}/fuzz-{name}-",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
