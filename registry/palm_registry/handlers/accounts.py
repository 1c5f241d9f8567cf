"""Tokens, users and the audit list: for admins. And who it is that asks: for all."""

from __future__ import annotations

from palm.registry_api import schema
from palm_registry.description import Query, describes
from palm_registry.handlers.base import MAX_NAME, Base
from palm_registry.scopes import ANY
from palm_registry.store.audit import Entries

__all__ = ["AuditList", "Caller", "Token", "Tokens", "User", "Users"]


class Caller(Base):
    """Whoever asks."""

    scopes = {"GET": ANY}

    @describes(reply=schema.Caller, summary="Say who asks, and what it may do.")
    def get(self) -> None:
        """Say so."""
        self.answer(self.context.accounts.caller(self.principal))


class Tokens(Base):
    """All tokens."""

    scopes = {"GET": "admin", "POST": "admin"}

    @describes(reply=list[schema.TokenInfo], summary="List all tokens, without themselves.")
    def get(self) -> None:
        """List them; none is shown itself."""
        self.answer(self.context.accounts.tokens())

    @describes(
        body=schema.TokenCreate,
        reply=schema.TokenMade,
        status=201,
        errors=(404, 409),
        example=schema.TokenCreate(name="grafana", scope="viewer"),
        summary="Make a token; it is in this answer only.",
    )
    async def post(self) -> None:
        """Make one, and show it this once."""
        request = self.body(schema.TokenCreate)
        wanted = {"name": request.name, "scope": request.scope, "user": request.user}
        wanted["cluster"] = request.cluster
        self.details = {key: text[:MAX_NAME] for key, text in wanted.items() if text}
        self.answer(await self.context.accounts.add_token(request, self.principal), 201)


class Token(Base):
    """One token."""

    scopes = {"DELETE": "admin"}

    @describes(errors=(409,), summary="Revoke a token, and end what goes on by it.")
    async def delete(self, name: str) -> None:
        """Revoke it."""
        self.context.access.connections.discard(self)  # it may be the very token that asks
        await self.context.accounts.revoke_token(name)
        self.nothing()


class Users(Base):
    """All users."""

    scopes = {"GET": "admin", "POST": "admin"}

    @describes(reply=list[schema.UserInfo], summary="List all users.")
    async def get(self) -> None:
        """List them."""
        self.answer(await self.context.accounts.users())

    @describes(
        body=schema.UserCreate,
        reply=schema.UserInfo,
        status=201,
        errors=(409,),
        example=schema.UserCreate(name="ada"),
        summary="Make a user, who has clusters of its own.",
    )
    async def post(self) -> None:
        """Make one."""
        request = self.body(schema.UserCreate)
        self.details = {"name": request.name[:MAX_NAME]}
        self.answer(await self.context.accounts.add_user(request, self.principal), 201)


class User(Base):
    """One user."""

    scopes = {"DELETE": "admin"}

    @describes(errors=(409,), summary="Forget a user without clusters, and revoke all its tokens.")
    async def delete(self, name: str) -> None:
        """Forget a user, and revoke all tokens of it."""
        self.context.access.connections.discard(self)
        await self.context.accounts.remove_user(name)
        self.nothing()


class AuditList(Base):
    """Who changed what."""

    scopes = {"GET": "admin"}

    @describes(
        Query("since", "the cursor of an answer; none begins with the first entry"),
        Query("limit", "entries in the answer, at most 1000", "count"),
        Query("latest", "1: instead of the first ones the last ones, in order", "flag"),
        Query("before", "with `latest`: of the entries below this number", "count"),
        Query("token", "with `latest`: of what was asked with the token of this name"),
        Query("cluster", "with `latest`: of what was asked of this cluster"),
        Query("refused", "with `latest`, 1: of what was refused", "flag"),
        reply=schema.AuditPage,
        summary="Say who changed what.",
    )
    async def get(self) -> None:
        """Return entries after the cursor ``since``; or the ``latest`` ones."""
        limit = self.count("limit", 1000) or 1
        if self.get_query_argument("latest", "") == "1":
            self.answer(await self.context.audit.latest(self._wanted(), limit))
            return
        self.answer(await self.context.audit.page(self.get_query_argument("since", ""), limit))

    def _wanted(self) -> Entries:
        return Entries(
            before=self.count("before"),
            token=self.get_query_argument("token", ""),
            cluster=self.get_query_argument("cluster", ""),
            refused=self.get_query_argument("refused", "") == "1",
        )
