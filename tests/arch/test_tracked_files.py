"""What is published names no machine and no package index."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Put together here, so that this file does not hold what it looks for.
INDEX = re.compile(
    "|".join(["--(extra-)?index" + "-url", "pypi[.]org/" + "simple", "files[.]python" + "hosted"])
    + '|"resolved": *"' + "http|^registry *= *\"http"
)  # fmt: skip


def tracked_files(root: Path) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("this is no git checkout")
    return [root / name for name in listed.stdout.split("\0") if name]


def addresses_in(files: list[Path], places: list[Path]) -> Iterator[str]:
    """Lines that name one of the folders, or a package index."""
    machine = [f"{place}/" for place in places if len(place.parts) > 1]
    for path in files:
        try:
            lines = path.read_text("utf-8").splitlines()
        except (
            UnicodeDecodeError,
            FileNotFoundError,
        ):  # a picture; a file removed but not yet staged
            continue
        for number, line in enumerate(lines, 1):
            if INDEX.search(line) or any(place in line for place in machine):
                yield f"{path.name}:{number}: {line.strip()[:100]}"


def test_no_tracked_file_names_this_machine_or_an_index() -> None:
    found = list(addresses_in(tracked_files(ROOT), [ROOT, Path.home()]))
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "line", ["see /home/someone/palm/x.py", "pip install --index" + "-url https://example.org palm"]
)
def test_planted_address_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "page.md").write_text(f"fine\n{line}\n")
    found = list(addresses_in([tmp_path / "page.md"], [Path("/home/someone"), Path("/")]))
    assert found == [f"page.md:2: {line}"]


@pytest.mark.parametrize("package", ["palm", "palm_jupyter", "registry/palm_registry"])
def test_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
