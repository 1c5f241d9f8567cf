"""What does not live."""

from __future__ import annotations

from IPython.display import display

from palm_jupyter.render import card_html

__all__ = ["show_card", "show_html"]


def show_card(state: str, text: str, detail: str) -> None:
    """One line with a dot."""
    plain = f"{text} ({detail})" if detail else text
    display({"text/plain": plain, "text/html": card_html(state, text, detail)}, raw=True)


def show_html(html: str, text: str) -> None:
    """Something that does not change."""
    display({"text/plain": text, "text/html": html}, raw=True)
