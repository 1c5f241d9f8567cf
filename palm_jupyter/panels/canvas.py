"""All that a session draws with: of anywidget, or of ipywidgets where that is missing."""

from __future__ import annotations

from importlib.util import find_spec

from palm_jupyter.panels.cards import show_card, show_html

if find_spec("anywidget") is not None:
    from palm_jupyter.panels.cluster import ClusterPanel
    from palm_jupyter.panels.job import JobPanel
else:
    from palm_jupyter.panels.plain import ClusterPanel, JobPanel  # type: ignore[assignment]

__all__ = ["ClusterPanel", "JobPanel", "show_card", "show_html"]
