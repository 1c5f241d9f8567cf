"""What a cell shows of something that lives: a widget, and a snapshot that is saved with it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any
from uuid import uuid4

from IPython.display import display

__all__ = ["Outputs", "asset", "in_its_own_shell"]

_VIEW = "application/vnd.jupyter.widget-view+json"
_NOTHING = {"text/html": "", "text/plain": ""}


@cache
def asset(name: str) -> str:
    """A file of the panel's module."""
    return (files("palm_registry") / "static" / name).read_text("utf-8")


class Outputs:
    """Two outputs of one cell.

    One is a snapshot as HTML and text, which a saved notebook keeps and shows anywhere; the other
    is the widget, whose style sheet hides the first. Both in one output would do while the kernel
    lives. But JupyterLab then takes the widget, and shows an error in its place in a notebook that
    is opened again.
    """

    def __init__(self) -> None:
        self._still = f"palm-{uuid4().hex}"
        self._live = f"palm-{uuid4().hex}"

    def show(self, model_id: str, html: str, text: str) -> None:
        """Put both into the output of the running cell."""
        self.show_still(html, text, update=False)
        view = {"version_major": 2, "version_minor": 0, "model_id": model_id}
        display({_VIEW: view, "text/plain": ""}, raw=True, display_id=self._live)

    def show_still(self, html: str, text: str, *, update: bool = True) -> None:
        """Show another snapshot."""
        bundle = {"text/plain": text, "text/html": html}
        display(bundle, raw=True, display_id=self._still, update=update)

    def end_live(self) -> None:
        """Leave the snapshot alone."""
        display(_NOTHING, raw=True, display_id=self._live, update=True)


def in_its_own_shell(widget: Any) -> None:
    """Have a widget's messages handled while a cell runs, where the page asks for that.

    JupyterLab sends the messages of widgets to a subshell. ipykernel 7.4 sends each on to the shell
    that last sent something over the same comm, which is meant for a cell that waits for a widget's
    answer; what a thread sends counts as the main shell's, and there a running cell is waited for.
    Ours are answered by threads, so any shell will do, and the page's choice is the best. Other
    versions of ipykernel do as the page says.
    """
    if hasattr(widget.comm, "_reply_subshell_for"):
        widget.comm._reply_subshell_for = _as_asked


def _as_asked(data: Any, asked: str | None) -> str | None:
    return asked
