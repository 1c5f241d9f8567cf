"""Nodes of a cluster: what runners call."""

from __future__ import annotations

import asyncio

from palm.registry_api import schema
from palm_registry.description import Query, describes
from palm_registry.failures import NotFound, Unauthorised
from palm_registry.handlers.base import MAX_NAME, Base, Context

__all__ = ["Heartbeat", "Invitations", "Join", "Node", "NodeToken", "Nodes"]

#: Bytes of a request to join.
_JOIN = 4096


class Nodes(Base):
    """All nodes of a cluster."""

    scopes = {"GET": "viewer", "POST": "runner"}

    @describes(reply=list[schema.NodeInfo])
    async def get(self, key: str) -> None:
        """List them."""
        self.answer(await self.service.nodes.all(key))

    @describes(
        body=schema.NodeJoin,
        reply=schema.NodeJoined,
        status=201,
        example=schema.NodeJoin(name="here", address="machine-1", cores=4),
    )
    async def post(self, key: str) -> None:
        """Let a runner join."""
        request = self.body(schema.NodeJoin)
        self.details = {"node": request.name[:MAX_NAME]}
        self.check_node(request.name)
        invited = bool(self.principal.node)
        self.answer(await self.service.nodes.join(key, request, invited=invited), 201)


class Node(Base):
    """One node."""

    scopes = {"DELETE": "runner"}

    @describes(
        Query(
            "now", "1: whatever is said by its token ends at once, and not after a minute", "flag"
        ),
        summary="Let a node go; the token that is for it alone is good no more.",
    )
    async def delete(self, key: str, node: str) -> None:
        """Let it go; by its token it does not come back, unless it goes as its cluster ends."""
        now = self.get_query_argument("now", "") == "1"
        is_other = self.principal.node != node
        try:
            goes_on = await self.service.nodes.leave(key, node)
        except NotFound:
            if is_other and now:  # it has left, and had time to say the last
                await self.context.invitations.revoke(key, node, now=True)
            raise
        if goes_on or is_other:
            await self.context.invitations.revoke(key, node, now=now)
        self.nothing()


class Invitations(Base):
    """What lets a node in, once."""

    scopes = {"POST": "operator"}

    @describes(
        body=schema.InvitationCreate,
        optional_body=True,
        reply=schema.Invitation,
        status=201,
        errors=(409,),
        summary="Make an invitation for a node; its secret is in this answer only.",
    )
    async def post(self, key: str) -> None:
        """Make one."""
        given = self.request.body
        request = self.body(schema.InvitationCreate) if given else schema.InvitationCreate()
        self.details = {"node": request.node[:MAX_NAME]} if request.node else {}
        invitations = self.context.invitations
        secret, expires = await invitations.add(key, request, self.principal)
        info = self.context.control.info()
        answer = schema.Invitation(
            secret=secret, cluster=key, expires=expires, url=info.url, node=request.node,
            fingerprint=info.fingerprint,
        )  # fmt: skip
        self.answer(answer, 201)


class Join(Base):
    """Where who was invited gets a token; open to all, as nobody has one before."""

    open_to_all = True

    @property
    def _room(self) -> int:
        return _JOIN

    async def admit(self) -> None:
        """Refuse what comes from elsewhere, or in another version."""
        await super().admit()
        self._check_version()

    @describes(
        body=schema.NodeAccept,
        reply=schema.NodeAccepted,
        status=201,
        errors=(400, 403, 404, 409, 413, 426, 429, 503),
        open_to_all=True,
        summary="Take the secret of an invitation, once, and give the token of a node.",
    )
    async def post(self) -> None:
        """Give a token; who has no secret is counted, and sent away after a while."""
        request = self.body(schema.NodeAccept)
        self.details = {"node": request.name[:MAX_NAME]}
        try:
            accepted = await self.context.invitations.accept(request)
        except NotFound:
            self.note(404, "no-invitation")
            self.fail()
            raise
        self.details["cluster"] = accepted.cluster
        self.note(201)
        self.answer(accepted, 201)


class NodeToken(Base):
    """The token of a node."""

    scopes = {"POST": "runner"}

    @describes(
        reply=schema.NodeAccepted,
        status=201,
        errors=(409,),
        summary="Give a node another token in the place of the one by which it asks.",
    )
    async def post(self, key: str, node: str) -> None:
        """Give it one; that of before is good for a minute more."""
        self.answer(await self.context.invitations.renew(key, node, self.principal), 201)


class Heartbeat(Base):
    """A runner's report, and its question what to run."""

    scopes = {"POST": "runner"}
    audited = False

    def initialize(self, context: Context) -> None:
        """Prepare to be left alone while waiting."""
        super().initialize(context)
        self._gone = asyncio.Event()
        self._cut = False

    @describes(
        body=schema.Heartbeat,
        reply=schema.Assignments,
        errors=(409, 410),
        summary="Take a runner's report; answer with what it is to run, once that is different.",
    )
    async def post(self, key: str, node: str) -> None:
        """Answer once there is something new, or its time is over."""
        beat = self.body(schema.Heartbeat)
        assignments = await self.service.nodes.heartbeat(key, node, beat, self._gone)
        if self._cut:
            raise Unauthorised("token", "the registry does not know this token any more")
        if not self._gone.is_set():
            self.answer(assignments)

    def cut(self) -> None:
        """Answer now, that whoever asked may not any more."""
        self._cut = True
        self._gone.set()

    def on_connection_close(self) -> None:
        """Note that nobody waits any more."""
        super().on_connection_close()
        self._gone.set()
