"""The three scripts that were written for the ancestor, with the package's name changed."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

__all__ = ["EXAMPLES", "KINDS", "SCRIPTS", "copy_scripts"]

EXAMPLES = Path(__file__).parents[2] / "examples" / "parallel"
SCRIPTS = ("master", "worker", "launcher")
#: The examples, and the ancestor's documentation page, which is not ours to include.
KINDS = ("examples", "document")
_DOCUMENT = os.environ.get("PALM_SEED_DOCUMENT", "")
_SEEDS = Path(__file__).parents[3] / "shared" / "seed"
_SCRIPT = r"^from pylm.*?^if __name__ == '__main__':\n    main\(\)\n"


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
