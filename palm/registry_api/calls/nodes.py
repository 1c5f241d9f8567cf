"""Calls about nodes, and those that a node makes."""

from __future__ import annotations

from palm.registry_api import schema
from palm.registry_api.calls.base import Calls, of_cluster
from palm.registry_api.connections import ANSWER_TIMEOUT

__all__ = ["NodeCalls"]


class NodeCalls(Calls):
    """What may be asked about nodes."""

    def nodes(self, key: str) -> list[schema.NodeInfo]:
        """Return the nodes of a cluster."""
        return self._call("GET", of_cluster(key, "nodes"), list[schema.NodeInfo])

    def join(self, key: str, node: schema.NodeJoin) -> schema.NodeJoined:
        """Be a node of a cluster."""
        return self._call("POST", of_cluster(key, "nodes"), schema.NodeJoined, node, repeat=True)

    def heartbeat(self, key: str, node: str, beat: schema.Heartbeat) -> schema.Assignments:
        """Report, and ask what to run; blocks for up to ``beat.wait`` seconds. Not repeated."""
        path = of_cluster(key, "nodes", node, "heartbeat")
        timeout = beat.wait + ANSWER_TIMEOUT
        return self._call("POST", path, schema.Assignments, beat, timeout=timeout)

    def leave(self, key: str, node: str, *, now: bool = False) -> None:
        """Be a node no more, or remove one; `now`: its token is good no more from now on."""
        query = {"now": "1" if now else ""}
        self._call("DELETE", of_cluster(key, "nodes", node, query=query), None)

    def invite(self, key: str, ttl: float = 3600.0, node: str = "") -> schema.Invitation:
        """Return what lets a node join, once, within `ttl` seconds."""
        request = schema.InvitationCreate(ttl=ttl, node=node)
        return self._call("POST", of_cluster(key, "invitations"), schema.Invitation, request)

    def accept(self, secret: str, node: str) -> schema.NodeAccepted:
        """Return the token of a node, for the secret of an invitation. Not repeated."""
        request = schema.NodeAccept(secret=secret, name=node)
        return self._call("POST", "api/join", schema.NodeAccepted, request)

    def renew_token(self, key: str, node: str) -> str:
        """Return another token for the node that we are; ours is good for a minute more."""
        path = of_cluster(key, "nodes", node, "token")
        return self._call("POST", path, schema.NodeAccepted).token

    def use_token(self, token: str) -> None:
        """Go on with another token, from the next call on."""
        self._connections.use_token(token)
