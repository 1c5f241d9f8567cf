"""Whom panels ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from palm_jupyter.viewmodels import ClusterView

__all__ = ["Source"]


class Source(Protocol):
    """Knows a cluster, as `palm_jupyter.feed.Feed`."""

    view: ClusterView

    def select(self, selection: Mapping[str, Any] | None) -> None:
        """Follow some output."""

    def perform(self, action: Mapping[str, Any]) -> Any:
        """Do what a panel asks for."""
