"""The card of a job, in a notebook's output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import anywidget
import traitlets

from palm_jupyter.panels.outputs import Outputs, asset
from palm_jupyter.render import job_html, job_text

__all__ = ["JobPanel"]


@cache
def _widget_class() -> type[anywidget.AnyWidget]:
    class PalmJob(anywidget.AnyWidget):
        """Model of the card."""

        _esm = asset("panel.js")
        _css = asset("panel.css")
        kind = traitlets.Unicode("job").tag(sync=True)
        snapshot = traitlets.Any().tag(sync=True, to_json=lambda value, _widget: value())

    return PalmJob


class JobPanel:
    """Shows how far a job is, live until it has ended or is shown elsewhere."""

    def __init__(self, newest: Callable[[], Mapping[str, Any]]) -> None:
        self._newest = newest
        self.widget = _widget_class()(snapshot=newest)
        self.widget.on_msg(self._on_message)
        self._outputs = Outputs()

    def show(self) -> None:
        """Put it into the output of the running cell."""
        job = self._newest()
        self._outputs.show(self.widget.model_id, job_html(job), job_text(job))

    def update(self, job: Mapping[str, Any]) -> None:
        """Show that it is so far; called in any thread."""
        self.widget.send({"type": "job", "job": dict(job)})
        if not job["live"]:
            self._outputs.show_still(job_html(job), job_text(job))

    def freeze(self) -> None:
        """Leave the snapshot alone, for good."""
        job = {**self._newest(), "live": False}
        self._outputs.show_still(job_html(job), job_text(job))
        self._outputs.end_live()
        self.widget.close()

    def _on_message(self, widget: Any, content: dict[str, Any], buffers: Any) -> None:
        if content.get("type") == "ready":
            self.widget.send({"type": "job", "job": dict(self._newest())})
