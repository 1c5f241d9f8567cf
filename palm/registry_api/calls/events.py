"""Calls about what happened in a cluster."""

from __future__ import annotations

from palm.registry_api import schema
from palm.registry_api.calls.base import Calls, of_cluster

__all__ = ["EventCalls"]


class EventCalls(Calls):
    """What may be asked about events."""

    def events(self, key: str, since: str = "") -> tuple[list[schema.Event], str]:
        """Return up to a thousand events after a cursor, and the cursor after them."""
        page = self._call(
            "GET", of_cluster(key, "events", query={"since": since}), schema.EventPage
        )
        return page.events, page.cursor

    def latest_events(
        self,
        key: str,
        limit: int,
        *,
        before: int | None = None,
        component: str | None = None,
        kind: str | None = None,
    ) -> schema.EventPage:
        """Return the last events, in order: those with a number below `before`, if it is given.

        Of those of a component, and of a `kind`: "component" has "component.ready" in it.
        """
        query = {
            "latest": 1, "limit": limit, "before": before, "component": component, "kind": kind,
        }  # fmt: skip
        return self._call("GET", of_cluster(key, "events", query=query), schema.EventPage)
