"""The three scripts that were written for the ancestor, with the package's name changed."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from palm.runner.spool import find_spool
from tests.support.cluster import until
from tests.support.shell import Shell

__all__ = ["BOUND", "EXAMPLES", "KINDS", "PLAIN", "PORTS", "SCRIPTS", "Seed", "copy_scripts"]

BOUND = 60.0  # seconds; far beyond what any of this takes

EXAMPLES = Path(__file__).parents[2] / "examples" / "parallel"
SCRIPTS = ("master", "worker", "launcher")
#: The examples, and the ancestor's documentation page, which is not ours to include.
KINDS = ("examples", "document")
PORTS = ("pull", "pub", "wpush", "wpull", "db")
_DOCUMENT = os.environ.get("PALM_SEED_DOCUMENT", "")
_SEEDS = Path(__file__).parents[3] / "shared" / "seed"
_SCRIPT = r"^from pylm.*?^if __name__ == '__main__':\n    main\(\)\n"

#: As the description of the cluster file has it: the workers choose their names themselves.
PLAIN = """
[cluster]
name = "seed"

[components.foo]
role = "master"
script = "master.py"
args = ["--name", "foo", "--pull", "${socket:foo.pull}", "--pub", "${socket:foo.pub}",
        "--wpush", "${socket:foo.wpush}", "--wpull", "${socket:foo.wpull}",
        "--db", "${socket:foo.db}"]

[components.foo-worker]
role = "worker"
script = "worker.py"
args = ["--db", "${socket:foo.db}"]
replicas = 2
needs = ["foo"]
"""


class Seed(Shell):
    """A folder with the scripts and a cluster file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "seed")
        self.file = folder / "cluster.toml"

    def up(self, *args: str, code: int = 0) -> str:
        """Put the file in force."""
        return self.palm("up", "cluster.toml", *args, code=code)

    def change(self, old: str, new: str) -> None:
        """Edit the file."""
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def add(self, text: str) -> None:
        """Append to the file."""
        self.file.write_text(self.file.read_text() + text)

    def written(self, process: str) -> list[str]:
        """The lines that a process wrote to its stdout, by its spool."""
        spool = find_spool(self.folders.spool, process, "seed")
        assert spool is not None
        assert not spool.path("stderr").read_text()
        return spool.path("stdout").read_text().splitlines()

    def logs(self, process: str) -> list[str]:
        """What ``palm logs`` shows of a process, once all of it is there."""
        until(lambda: self.palm("logs", process).splitlines() == self.written(process),
              within=BOUND, what=f"the output of {process} is stored")  # fmt: skip
        return self.written(process)


def copy_scripts(kind: str, folder: Path) -> Path:
    """Put master.py, worker.py and launcher.py into a folder; skip where the page is missing."""
    if kind == "examples":
        for name in SCRIPTS:
            shutil.copy(EXAMPLES / f"{name}.py", folder)
        return folder
    document = _seed_document()
    if document is None:
        pytest.skip("the ancestor's page is not here: set PALM_SEED_DOCUMENT to its path")
    found = re.findall(_SCRIPT, document.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 3
    for name, text in zip(SCRIPTS, found, strict=True):
        (folder / f"{name}.py").write_text(text.replace("pylm", "palm"))
    return folder


def _seed_document() -> Path | None:
    if _DOCUMENT:
        return Path(_DOCUMENT)
    return next(iter(sorted(_SEEDS.glob("*.txt"))), None) if _SEEDS.is_dir() else None
