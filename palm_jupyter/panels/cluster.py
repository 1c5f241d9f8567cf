"""The live panel of a cluster, in a notebook's output."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any
from uuid import uuid4

import anywidget
import traitlets
from IPython.display import display

from palm_jupyter.render import card_html, panel_html, panel_text
from palm_jupyter.viewmodels import ClusterView, Output, Unchanged, Update
from palm_jupyter.viewmodels.cluster import KEPT_LINES

__all__ = ["ClusterPanel", "show_card", "show_html"]

_VIEW = "application/vnd.jupyter.widget-view+json"
_NOTHING = {"text/html": "", "text/plain": ""}


@cache
def _asset(name: str) -> str:
    return (files("palm_registry") / "static" / name).read_text("utf-8")


@cache
def _widget_class() -> type[anywidget.AnyWidget]:
    # Made when first shown: the module's text becomes part of the class.
    class PalmPanel(anywidget.AnyWidget):
        """Model of the panel: everything in ``snapshot``, new output in messages."""

        _esm = _asset("panel.js")
        _css = _asset("panel.css")
        snapshot = traitlets.Dict().tag(sync=True)

    return PalmPanel


class ClusterPanel:
    """Shows a view model in one cell's output, live until it is frozen.

    There are two outputs. One is a snapshot as HTML and text, which a saved notebook keeps and
    shows anywhere; the other is the widget, whose style sheet hides the first. Both in one output
    would do while the kernel lives. But JupyterLab then takes the widget, and shows an error in
    its place in a notebook that is opened again. A frozen panel is its snapshot alone.
    """

    def __init__(self, view: ClusterView) -> None:
        self.view = view
        self.widget = _widget_class()(snapshot=view.snapshot())
        self.widget.on_msg(self._on_message)
        self._unsubscribe = view.subscribe(self._on_update)
        self._still = f"palm-{uuid4().hex}"
        self._live = f"palm-{uuid4().hex}"
        self._shown: list[dict[str, Any]] | None = None

    def show(self) -> None:
        """Put the panel into the output of the running cell."""
        self._show_still(update=False)
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        display({_VIEW: view, "text/plain": ""}, raw=True, display_id=self._live)

    def refresh(self) -> None:
        """Bring the snapshot up to date, if components have changed."""
        if self._shown is not None and self.view.snapshot(0)["components"] != self._shown:
            self._show_still(update=True)

    def freeze(self) -> None:
        """Leave the state as it is now, for good."""
        self._unsubscribe()
        if self._shown is not None:
            self._show_still(update=True)
            display(_NOTHING, raw=True, display_id=self._live, update=True)
            self._shown = None
        self.widget.close()

    def _show_still(self, *, update: bool) -> None:
        snapshot = self.view.snapshot()
        self._shown = snapshot["components"]
        bundle = {"text/plain": panel_text(snapshot), "text/html": panel_html(snapshot)}
        display(bundle, raw=True, display_id=self._still, update=update)

    def _on_update(self, update: Update) -> None:
        if isinstance(update, Output):
            entries = [
                {"process": entry.process, "fresh": entry.fresh, "lines": entry.shown()}
                for entry in update.entries
            ]
            self.widget.send({"type": "output", "entries": entries})
        elif isinstance(update, Unchanged):
            self.widget.send({"type": "alive", "time": update.time})
        else:
            self.widget.snapshot = self.view.snapshot()

    def _on_message(self, widget: Any, content: dict[str, Any], buffers: Any) -> None:
        # A new view, as after the page was loaded again: it missed the messages.
        if content.get("type") == "ready":
            widget.send({"type": "reset", "snapshot": self.view.snapshot(KEPT_LINES)})


def show_card(state: str, text: str, detail: str) -> None:
    """One line with a dot."""
    plain = f"{text} ({detail})" if detail else text
    display({"text/plain": plain, "text/html": card_html(state, text, detail)}, raw=True)


def show_html(html: str, text: str) -> None:
    """Something that does not change."""
    display({"text/plain": text, "text/html": html}, raw=True)
