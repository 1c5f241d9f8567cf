"""The same panels of what every notebook has, where anywidget is missing.

A table, the last lines, and buttons for what is chosen, all of ipywidgets. It is drawn anew a few
times a second at most, from the same view model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ipywidgets

from palm.errors import PalmError
from palm_jupyter.panels.outputs import Outputs, in_its_own_shell
from palm_jupyter.panels.source import Source
from palm_jupyter.render import job_html, job_text, last_lines_html, panel_html, panel_text
from palm_jupyter.viewmodels import Components, Frames, Frozen, Output, Update

__all__ = ["ClusterPanel", "JobPanel"]

#: Lines that are shown, and seconds between two looks at them.
LINES, PERIOD = 20, 1.0
_VERBS = {"stop": "Stop", "restart": "Restart", "start": "Start"}


class ClusterPanel:
    """Shows a view model in one cell's output, live until it is frozen."""

    def __init__(self, source: Source, chosen: str = "") -> None:
        self.view = source.view
        self._source = source
        self._actions = ThreadPoolExecutor(2, "palm-action")
        self._closed = threading.Event()
        self._table = ipywidgets.HTML()
        self._lines = ipywidgets.HTML()
        self._said = ipywidgets.HTML()
        self._component = ipywidgets.Dropdown(description="Component")
        self._count = ipywidgets.BoundedIntText(value=1, min=1, max=1000, description="Processes")
        buttons = [self._button(verb, text) for verb, text in _VERBS.items()]
        scale = ipywidgets.Button(description="Scale")
        scale.on_click(lambda _button: self._act({"do": "scale", "replicas": self._count.value}))
        self._component.observe(lambda _change: self._show_count(), "value")
        row = ipywidgets.HBox([self._component, *buttons, self._count, scale])
        self.widget = ipywidgets.VBox([self._table, row, self._said, self._lines])
        self.widget.add_class("palm-plain")
        for each in (*buttons, scale, self._component):
            in_its_own_shell(each)
        self._unsubscribe = self.view.subscribe(self._on_update)
        self._outputs = Outputs()
        self._shown: list[dict[str, Any]] | None = None
        self._away = 0.0
        self._choose(chosen)
        self._draw()
        self._thread = threading.Thread(target=self._follow, name="palm-lines", daemon=True)

    def _button(self, verb: str, text: str) -> ipywidgets.Button:
        button = ipywidgets.Button(description=text)
        button.on_click(lambda _button: self._act({"do": verb}))
        return button

    def show(self) -> None:
        """Put the panel into the output of the running cell."""
        snapshot = self.view.snapshot()
        self._shown = snapshot["components"]
        self._outputs.show(self.widget.model_id, panel_html(snapshot), panel_text(snapshot))
        self._thread.start()

    def refresh(self) -> None:
        """Bring the snapshot up to date, if components have changed."""
        if self._shown is not None and self.view.snapshot(0)["components"] != self._shown:
            self._show_still()

    def freeze(self) -> None:
        """Leave the state as it is now, for good."""
        self._unsubscribe()
        self._closed.set()
        self._actions.shutdown(wait=False, cancel_futures=True)
        if self._thread.ident is not None:
            self._thread.join()
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

    def _on_update(self, update: Update) -> None:
        if isinstance(update, Components | Frozen):
            self._choose(self._component.value or "")
            self._draw()
        elif not isinstance(update, Frames | Output) or self.view.away != self._away:
            self._away = self.view.away
            self._draw()

    def _choose(self, name: str) -> None:
        names = [each["name"] for each in self.view.snapshot(0)["components"] if each["own"]]
        if list(self._component.options) != names:
            self._component.options = names
        if names:
            self._component.value = name if name in names else names[-1]

    def _show_count(self) -> None:
        """Begin with as many processes as there are: Scale must not change what nobody typed."""
        for each in self.view.snapshot(0)["components"]:
            if each["name"] == self._component.value:
                self._count.value = max(1, each["desired"])

    def _draw(self) -> None:
        self._table.value = panel_html(self.view.snapshot(0), live=True)

    def _follow(self) -> None:
        """Show the last lines of what is chosen, again and again."""
        while not self._closed.wait(PERIOD):
            name = self._component.value
            if name:
                try:
                    page = self._source.perform({"do": "output", "component": name, "lines": LINES})
                except (PalmError, OSError) as error:
                    self._lines.value = last_lines_html([f"No output can be had: {error}"])
                else:
                    self._lines.value = last_lines_html(_texts(page["records"]))

    # From the page

    def _act(self, action: Mapping[str, Any]) -> None:
        name = self._component.value
        if name:
            self._said.value = last_lines_html([f"{action['do']} {name} ..."])
            self._actions.submit(self._perform, {**action, "component": name})

    def _perform(self, action: Mapping[str, Any]) -> None:
        try:
            self._source.perform(action)
        except (PalmError, OSError) as error:
            self._said.value = last_lines_html([str(error)])
        else:
            self._said.value = ""


def _texts(records: list[dict[str, Any]]) -> list[str]:
    return [str(record.get("text") or "").rstrip("\n") for record in records]


class JobPanel:
    """Shows how far a job is, live until it has ended or is shown elsewhere."""

    def __init__(self, newest: Callable[[], Mapping[str, Any]]) -> None:
        self._newest = newest
        self.widget = ipywidgets.HTML(job_html(newest(), live=True))
        self._outputs = Outputs()

    def show(self) -> None:
        """Put it into the output of the running cell."""
        job = self._newest()
        self._outputs.show(self.widget.model_id, job_html(job), job_text(job))

    def update(self, job: Mapping[str, Any]) -> None:
        """Show that it is so far; called in any thread."""
        self.widget.value = job_html(job, live=True)
        if not job["live"]:
            self._outputs.show_still(job_html(job), job_text(job))

    def freeze(self) -> None:
        """Leave the snapshot alone, for good."""
        job = {**self._newest(), "live": False}
        self._outputs.show_still(job_html(job), job_text(job))
        self._outputs.end_live()
        self.widget.close()
