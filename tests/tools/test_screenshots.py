"""The pictures of the panel that the documentation has."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

PICTURES = Path(__file__).parents[2] / "docs" / "images" / "panel"
PARTS = ("dashboard", "details", "job", "output", "topology")


def size_of(picture: bytes) -> tuple[int, int]:
    """Width and height, as a PNG begins with them."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


def test_each_part_of_the_panel_has_a_small_picture_in_both_themes() -> None:
    names = {f"{part}-{theme}" for part, theme in itertools.product(PARTS, ("dark", "light"))}
    pictures = {path.stem: path.read_bytes() for path in PICTURES.glob("*.png")}
    assert set(pictures) == names, "run python tools/screenshots.py"
    for name, picture in pictures.items():
        width, height = size_of(picture)
        assert len(picture) < 200_000 and 800 <= width <= 1300 and height <= 800, name
    assert len(set(pictures.values())) == len(names), "no two are the same"
