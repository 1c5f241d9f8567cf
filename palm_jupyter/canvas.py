"""How a session shows things: what `palm_jupyter.panels` has, or a test's double."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from palm_jupyter.feed import Feed

__all__ = ["Canvas", "JobCard", "Panel"]


class Panel(Protocol):
    """A live panel, as `palm_jupyter.panels.cluster.ClusterPanel`."""

    def show(self) -> None:
        """Put it into the output of the running cell."""

    def refresh(self) -> None:
        """Bring what is saved in the notebook up to date."""

    def freeze(self) -> None:
        """Leave it as it is."""


class JobCard(Protocol):
    """The card of a job, as `palm_jupyter.panels.job.JobPanel`."""

    def show(self) -> None:
        """Put it into the output of the running cell."""

    def update(self, job: Mapping[str, Any]) -> None:
        """Show how far it is."""

    def freeze(self) -> None:
        """Leave it as it is."""


class Canvas(Protocol):
    """How to show things: the module `palm_jupyter.panels.canvas`, or a test's double."""

    def ClusterPanel(self, source: Feed, chosen: str = "") -> Panel:  # noqa: N802 - a class
        """A panel that shows a view model."""

    def JobPanel(self, newest: Callable[[], Mapping[str, Any]]) -> JobCard:  # noqa: N802 - a class
        """A card that shows how far a job is."""

    def show_card(self, state: str, text: str, detail: str) -> None:
        """One line with a dot."""

    def show_html(self, html: str, text: str) -> None:
        """Something that does not change."""
