"""The call that watches a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from palm.registry_api import schema
from palm.registry_api.calls.base import Calls, of_cluster

if TYPE_CHECKING:
    from palm.registry_api.live import LiveFeed

__all__ = ["LiveCalls"]


class LiveCalls(Calls):
    """What may be asked about the live feed."""

    def live(
        self,
        key: str,
        topics: Sequence[str] = schema.USUAL_TOPICS,
        since: str = "",
        *,
        components: Sequence[str] = (),
        backlog: int | None = None,
        gapless: bool = False,
    ) -> LiveFeed:
        """Return an iterator over frames as they come; it reconnects, and is to be closed.

        `since` is the cursor of a frame, "start", or "now" (if empty). A reader that is more
        than `backlog` bytes of output behind skips some, unless it is to be `gapless`.
        """
        # Only who watches needs a WebSocket, and tornado with it.
        from palm.registry_api.live import LiveFeed

        query = {"topics": ",".join(topics), "component": list(components), "backlog": backlog}
        if gapless:
            query["gapless"] = 1
        path = of_cluster(key, "live", query=query)
        return LiveFeed(partial(self._connections.websocket, path), since)
