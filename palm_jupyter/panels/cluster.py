"""The live panel of a cluster, in a notebook's output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import anywidget
import msgspec
import traitlets

from palm.errors import PalmError
from palm_jupyter.panels.outputs import Outputs, asset, in_its_own_shell
from palm_jupyter.panels.source import Source
from palm_jupyter.render import panel_html, panel_text
from palm_jupyter.viewmodels import Frames, Frozen, Update

__all__ = ["ClusterPanel"]

#: Actions that are done at the same time; a stop may take as long as its grace.
AT_ONCE = 4


@cache
def _widget_class() -> type[anywidget.AnyWidget]:
    # Made when first shown: the module's text becomes part of the class.
    class PalmPanel(anywidget.AnyWidget):
        """Model of the panel; what it begins with is asked of the view whenever it is sent."""

        _esm = asset("panel.js")
        _css = asset("panel.css")
        kind = traitlets.Unicode("cluster").tag(sync=True)
        snapshot = traitlets.Any().tag(sync=True, to_json=lambda value, _widget: value())

    return PalmPanel


class ClusterPanel:
    """Shows a view model in one cell's output, live until it is frozen.

    A frozen panel is its snapshot alone. Parameters: whom to ask, and the name of the component, or
    process, that is chosen to begin with.
    """

    def __init__(self, source: Source, chosen: str = "") -> None:
        self.view = source.view
        self._source = source
        self._chosen = chosen
        self._actions = ThreadPoolExecutor(AT_ONCE, "palm-action")
        self.widget = _widget_class()(snapshot=self._begin)
        in_its_own_shell(self.widget)
        self.widget.on_msg(self._on_message)
        self._unsubscribe = self.view.subscribe(self._on_update)
        self._outputs = Outputs()
        self._shown: list[dict[str, Any]] | None = None

    def show(self) -> None:
        """Put the panel into the output of the running cell."""
        snapshot = self.view.snapshot()
        self._shown = snapshot["components"]
        self._outputs.show(self.widget.model_id, panel_html(snapshot), panel_text(snapshot))

    def refresh(self) -> None:
        """Bring the snapshot up to date, if components have changed."""
        if self._shown is not None and self.view.snapshot(0)["components"] != self._shown:
            self._show_still()

    def freeze(self) -> None:
        """Leave the state as it is now, for good."""
        self._unsubscribe()
        self._actions.shutdown(wait=False, cancel_futures=True)
        if self._shown is not None:
            self._show_still()
            self._outputs.end_live()
            self._shown = None
        self.widget.close()

    def _show_still(self) -> None:
        snapshot = self.view.snapshot()
        self._shown = snapshot["components"]
        self._outputs.show_still(panel_html(snapshot), panel_text(snapshot))

    # To the page

    def _begin(self) -> dict[str, Any]:
        return {**self._link(), "frames": self.view.frames(), "chosen": self._chosen}

    def _link(self) -> dict[str, Any]:
        view = self.view
        return {"time": view.time, "live": view.live, "note": view.note, "away": view.away}

    def _on_update(self, update: Update) -> None:
        if isinstance(update, Frames | Frozen):
            self._send_frames(update.frames if isinstance(update, Frames) else ())

    def _send_frames(self, frames: Any) -> None:
        # In a buffer they are encoded once, and by fast code.
        message = {"type": "frames", **self._link()}
        self.widget.send(message, [msgspec.json.encode(frames)])

    # From the page

    def _on_message(self, widget: Any, content: dict[str, Any], buffers: Any) -> None:
        match content.get("type"):
            case "ready":  # a new view, as after the page was loaded again: it missed the messages
                self._send_frames(self.view.frames())
            case "select":
                self._source.select(content.get("selection"))
            case "request":
                self._take_request(str(content.get("request")), content.get("action") or {})

    def _take_request(self, request: str, action: Mapping[str, Any]) -> None:
        self.widget.send({"type": "accepted", "request": request})
        work = partial(self._source.perform, action)
        self._actions.submit(self._answer, request, work)

    def _answer(self, request: str, work: Callable[[], Any]) -> None:
        reply: dict[str, Any] = {"type": "reply", "request": request}
        try:
            result = work()
        except (PalmError, OSError) as error:
            self.widget.send({**reply, "error": {"text": str(error), "hint": ""}})
        else:
            self.widget.send(reply, [msgspec.json.encode(result)])
