"""The pictures of the documentation are as their script draws them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tools import draw_patterns

PICTURES = draw_patterns.pictures()


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_drawn_anew_when_its_script_changes(name: str) -> None:
    kept = (draw_patterns.FOLDER / f"{name}.svg").read_text("utf-8")
    assert kept == PICTURES[name].draw(), "run python tools/draw_patterns.py"
    assert ElementTree.fromstring(kept).tag.endswith("svg")


def test_every_picture_is_drawn() -> None:
    assert {path.stem for path in draw_patterns.FOLDER.glob("*.svg")} == set(PICTURES)
