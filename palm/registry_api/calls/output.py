"""Calls about what components write."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from palm.registry_api import schema
from palm.registry_api.answers import Refused
from palm.registry_api.calls.base import Calls, of_cluster

__all__ = ["OutputCalls"]


class OutputCalls(Calls):
    """What may be asked about output."""

    def send_output(self, key: str, pieces: Sequence[schema.OutputPiece]) -> list[schema.OutputAck]:
        """Store output; may be repeated. The acks say, per stream, where to go on.

        A piece that begins after what is stored is not taken: its ack says so by an offset
        below that of the piece.
        """
        try:
            return self._call(
                "POST",
                of_cluster(key, "output"),
                list[schema.OutputAck],
                list(pieces),
                repeat=True,
                packed=True,
            )
        except Refused as error:
            if error.code != "gap":
                raise
            return msgspec.convert(error.data["acks"], list[schema.OutputAck])

    def output(
        self,
        key: str,
        component: str | Sequence[str] | None = None,
        *,
        name: str | None = None,
        replica: int | None = None,
        stream: str | None = None,
        since: float | None = None,
        until: float | None = None,
        grep: str | None = None,
        regex: str | None = None,
        lines: int | None = None,
        before: str = "",
        cursor: str = "",
        limit: int | None = None,
    ) -> schema.OutputPage:
        """Return stored output after `cursor`; or, with `lines`, the last lines of it.

        `component`, or several, and `name` (of one process) select; `since` and `until` are
        times. With `grep` only lines that contain this text count, with `regex` those that this
        regular expression (of RE2's) finds; a page of lines has ``more`` if there are others
        `before` its ``first``.
        """
        query = {
            "component": component, "name": name, "replica": replica, "stream": stream,
            "since": since, "until": until, "grep": grep, "regex": regex, "lines": lines,
            "before": before, "cursor": cursor, "limit": limit,
        }  # fmt: skip
        return self._call(
            "GET", of_cluster(key, "output", query=query), schema.OutputPage, packed=True
        )
