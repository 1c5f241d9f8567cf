"""Tokens and users: who gets in, and to whose clusters. For admins only."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast, get_args

import msgspec

from palm.errors import ConfigError
from palm.registry_api.schema import (
    Caller,
    Scope,
    TokenCreate,
    TokenInfo,
    TokenMade,
    UserCreate,
    UserInfo,
)
from palm.spec.names import check_name, nearest
from palm_registry.connections import Principal
from palm_registry.failures import Conflict, Invalid, NotFound
from palm_registry.keys import Key
from palm_registry.scopes import OWNER
from palm_registry.security import Access, digest_of
from palm_registry.service.core import get_cluster
from palm_registry.store import Database
from palm_registry.store import access as rows
from palm_registry.store.access import TokenRow, UserRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Accounts"]

#: What tokens begin with, for people and for programs that look for secrets in wrong places.
PREFIX = "palm_"
#: Seconds that a token may be good for, unless it is for ever.
MAX_TTL = 10 * 366 * 24 * 3600.0
#: Tokens, and users, that there may be.
MAX_ACCOUNTS = 10_000


class Accounts:
    """Rules for tokens and users."""

    def __init__(self, database: Database, access: Access) -> None:
        self._database = database
        self._access = access

    def tokens(self) -> list[TokenInfo]:
        """Return all tokens by name, also those that are over."""
        return [_info(row) for row in self._access.tokens()]

    def caller(self, principal: Principal) -> Caller:
        """Say who somebody is."""
        return Caller(
            token=principal.token,
            user=principal.user,
            scope=principal.scope,
            cluster=principal.cluster,
            browser=bool(principal.session),
            expires=self._access.end_of(principal),
        )

    async def add_token(self, request: TokenCreate, by: Principal) -> TokenMade:
        """Make a token. Nobody can see it again.

        Raises
        ------
        Conflict
            There is one of that name.
        NotFound
            There is no such user, or this user has no such cluster.
        """
        token = f"{PREFIX}{secrets.token_urlsafe(32)}"
        now = time.time()
        row = TokenRow(
            hash=digest_of(token),
            name=_checked_name(request.name, "a token"),
            scope=_checked_scope(request),
            created=now,
            owner=request.user or by.user,
            cluster=request.cluster,
            expires=None if request.ttl is None else now + _checked_ttl(request.ttl),
            creator=by.token,
        )
        await self._database.write(lambda c: _add_token(c, row))
        self._access.admit(row)
        return TokenMade(**msgspec.structs.asdict(_info(row)), token=token)

    async def revoke_token(self, name: str) -> None:
        """Let nobody in any more who has a token, and end what goes on for it."""
        row = self._token(name)
        if row.name == OWNER:
            hint = "remove the file, and start the registry again: it makes another one"
            raise Conflict("owner-token", "the owner's token is the one in the owner's file", hint)
        await self._database.write(lambda c: rows.delete_token(c, row.hash))
        self._access.expel({row.hash})

    def _token(self, name: str) -> TokenRow:
        known = {row.name: row for row in self._access.tokens()}
        if name in known:
            return known[name]
        raise NotFound("no-such-token", f"there is no token {name!r}", _hint(name, known))

    # ---- users

    async def users(self) -> list[UserInfo]:
        """Return all users, with what they have."""

        def read(connection: Connection) -> list[UserInfo]:
            return [
                UserInfo(
                    name=row.name,
                    created=row.created,
                    creator=row.creator,
                    clusters=rows.clusters_of(connection, row.name),
                )
                for row in rows.all_users(connection)
            ]

        found = await self._database.read(read)
        for user in found:
            user.tokens = [row.name for row in self._access.tokens() if row.owner == user.name]
        return found

    async def add_user(self, request: UserCreate, by: Principal) -> UserInfo:
        """Make a user, who gets in with the first token that is made for it."""
        name = _checked_name(request.name, "a user")
        row = UserRow(name=name, created=time.time(), creator=by.token)

        def write(connection: Connection) -> None:
            known = rows.all_users(connection)
            if any(user.name == name for user in known):
                raise Conflict("user-exists", f"there is a user {name!r} already")
            if len(known) >= MAX_ACCOUNTS:
                raise Conflict("too-many-users", f"there are {MAX_ACCOUNTS} users already")
            rows.add_user(connection, row)

        await self._database.write(write)
        return UserInfo(name=row.name, created=row.created, creator=row.creator)

    async def remove_user(self, name: str) -> None:
        """Forget a user who has no clusters any more, and revoke all tokens of it."""
        if name == OWNER:
            raise Conflict("owner", "the registry is this user's own")

        def write(connection: Connection) -> None:
            if rows.get_user(connection, name) is None:
                known = [user.name for user in rows.all_users(connection)]
                raise NotFound("no-such-user", f"there is no user {name!r}", _hint(name, known))
            if keys := rows.clusters_of(connection, name):
                text = f"{name} still has clusters: {', '.join(keys)}"
                raise Conflict("has-clusters", text, "delete them first", clusters=keys)
            rows.delete_tokens_of(connection, name)
            rows.delete_user(connection, name)

        await self._database.write(write)
        self._access.expel({row.hash for row in self._access.tokens() if row.owner == name})


def _add_token(connection: Connection, row: TokenRow) -> None:
    known = rows.all_tokens(connection)
    if any(token.name == row.name for token in known):
        hint = "choose another name, or revoke that one"
        raise Conflict("token-exists", f"there is a token {row.name!r} already", hint)
    if len(known) >= MAX_ACCOUNTS:
        raise Conflict("too-many-tokens", f"there are {MAX_ACCOUNTS} tokens already", "revoke some")
    if rows.get_user(connection, row.owner) is None:
        users = [user.name for user in rows.all_users(connection)]
        text = f"there is no user {row.owner!r}"
        raise NotFound("no-such-user", text, _hint(row.owner, users))
    if row.cluster:
        get_cluster(connection, Key(row.cluster, row.owner))
    rows.add_token(connection, row)


def _info(row: TokenRow) -> TokenInfo:
    return TokenInfo(
        name=row.name,
        scope=row.scope,
        user=row.owner,
        created=row.created,
        cluster=row.cluster,
        expires=row.expires,
        used=row.used,
        creator=row.creator,
        node=row.node,
    )


def _checked_name(name: str, what: str) -> str:
    try:
        return check_name(name)
    except ConfigError as error:
        text = f"{name!r} cannot be the name of {what}"
        raise Invalid("name", text, error.hint or "") from error


def _checked_scope(request: TokenCreate) -> Scope:
    scopes = get_args(Scope)
    if request.scope not in scopes:
        hint = _hint(request.scope, scopes) or f"it is one of {', '.join(scopes)}"
        raise Invalid("scope", f"there is no scope {request.scope!r}", hint)
    if request.scope == "runner" and not request.cluster:
        raise Invalid("cluster", "a runner's token is for one cluster", "say for which")
    if request.scope == "admin" and request.cluster:
        raise Invalid("cluster", "an admin's token is for all clusters", "take another scope")
    return cast(Scope, request.scope)


def _checked_ttl(ttl: float) -> float:
    if not 0 < ttl <= MAX_TTL:
        raise Invalid("ttl", f"{ttl} seconds", f"more than 0, at most {MAX_TTL:.0f}")
    return ttl


def _hint(name: str, known: Iterable[str]) -> str:
    close = nearest(name, known)
    return f"did you mean {close!r}?" if close else ""
