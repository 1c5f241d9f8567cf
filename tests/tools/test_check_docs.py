"""The check of the documentation finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import check_docs


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(check_docs, "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# A heading, with: signs\n")
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "a.py").write_text("if True:\n    x = 1\n\n    y = 2\n")
    return tmp_path / "page.md"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](gone.md)", "there is no gone.md"),
        ("[a](other.md#elsewhere)", "no heading for #elsewhere"),
        ("# x\n\n```python\nx = 1\nif x\n```\n", "page.md:5: expected ':'"),
        ("```python\n# examples/a.py\nx = 2\n```\n", "page.md:2: this is not in examples/a.py"),
        ("```python\n# examples/b.py\nx = 1\n```\n", "page.md:2: this is not in examples/b.py"),
    ],
)
def test_fault_is_found(page: Path, text: str, said: str) -> None:
    page.write_text(text)
    found = list(check_docs.complaints(page))
    assert len(found) == 1
    assert said in found[0]


def test_good_page_is_clean(page: Path) -> None:
    page.write_text(
        "[a](other.md#a-heading-with-signs) [b](https://example.org/gone) [c](#here)\n\n# Here\n\n"
        "```python\n%load_ext palm_jupyter\nx = 1\n```\n```\nnot python\n```\n"
        "```python\n# examples/a.py\nx = 1\n\ny = 2\n```\n"
    )
    assert list(check_docs.complaints(page)) == []
