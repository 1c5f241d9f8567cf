"""Check the documentation: links within the project lead somewhere, code samples are Python.

A sample whose first line is ``# examples/...`` has to be a part of that file.

``make docs``. Links to other sites are not followed.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/**/*.md", "examples/*/*.md")
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)")
QUOTED = re.compile(r"\A# (examples/\S+)\n")
SAMPLE = re.compile(r"^( *)```python\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def complaints(page: Path) -> Iterator[str]:
    """Yield what is wrong with one page, a line each."""
    text = page.read_text("utf-8")
    for path, anchor in LINK.findall(text):
        target = (page.parent / path) if path else page
        if not target.exists():
            yield f"{page.relative_to(ROOT)}: there is no {path}"
        elif anchor and anchor not in anchors(target):
            yield f"{page.relative_to(ROOT)}: {path} has no heading for #{anchor}"
    for sample in SAMPLE.finditer(text):
        line = text.count("\n", 0, sample.start()) + 2
        yield from bad_sample(page, line, textwrap.dedent(sample[2]))


def anchors(page: Path) -> set[str]:
    """Name the headings of a page as links to them do."""
    headings = HEADING.findall(page.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def bad_sample(page: Path, line: int, code: str) -> Iterator[str]:
    """Yield a complaint if a sample, its magics aside, is not Python."""
    lines = ["" if text.startswith("%") else text for text in code.splitlines()]
    try:
        ast.parse("\n".join(lines))
    except SyntaxError as error:
        at = line + (error.lineno or 1) - 1
        yield f"{page.relative_to(ROOT)}:{at}: {error.msg}"
    quoted = QUOTED.match(code)
    if quoted and not _is_part(code[quoted.end() :], ROOT / quoted[1]):
        yield f"{page.relative_to(ROOT)}:{line}: this is not in {quoted[1]}"


def _is_part(code: str, path: Path) -> bool:
    """Whether a file has these lines, maybe further in."""
    text = path.read_text("utf-8") if path.is_file() else ""
    shifted = (textwrap.indent(code, " " * n) for n in range(0, 16, 4))
    return any(f"\n{lines}" in f"\n{text}" for lines in shifted)


def main() -> int:
    """Print every complaint; 1 if there is one."""
    pages = sorted({page for pattern in PAGES for page in ROOT.glob(pattern)})
    found = [complaint for page in pages for complaint in complaints(page)]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(pages)} pages, {len(found)} complaints")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
