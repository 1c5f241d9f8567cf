"""Calls about who gets in, and what they did."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from palm.registry_api import schema
from palm.registry_api.calls.base import Calls

__all__ = ["AccountCalls"]


class AccountCalls(Calls):
    """What may be asked about who gets in: most are for admins."""

    def login_url(self, then: str = "") -> str:
        """Return an address that logs a browser in, once, within half a minute.

        It may do what the token of this client may. `then` is where it is led, below the page.
        """
        path = self._call("POST", "login", schema.LoginCode).path
        return self._connections.site.url + path + (f"&{urlencode({'next': then})}" if then else "")

    def caller(self) -> schema.Caller:
        """Return who we are to the registry, and what we may do."""
        return self._call("GET", "api/caller", schema.Caller)

    def tokens(self) -> list[schema.TokenInfo]:
        """Return all tokens, but for the tokens themselves."""
        return self._call("GET", "api/tokens", list[schema.TokenInfo])

    def add_token(
        self,
        name: str,
        scope: schema.Scope,
        *,
        user: str = "",
        cluster: str = "",
        ttl: float | None = None,
    ) -> schema.TokenMade:
        """Make a token; what is returned is the only thing that ever has it.

        It is good for `ttl` seconds, and for the clusters of `user` (our own), or for one only.
        """
        request = schema.TokenCreate(name=name, scope=scope, user=user, cluster=cluster, ttl=ttl)
        return self._call("POST", "api/tokens", schema.TokenMade, request)

    def revoke_token(self, name: str) -> None:
        """Let nobody in any more who has a token, and end what goes on for it."""
        self._call("DELETE", f"api/tokens/{quote(name, safe='')}", None)

    def users(self) -> list[schema.UserInfo]:
        """Return all users, with their tokens and clusters."""
        return self._call("GET", "api/users", list[schema.UserInfo])

    def add_user(self, name: str) -> schema.UserInfo:
        """Make a user, who has clusters of its own once it has a token."""
        return self._call("POST", "api/users", schema.UserInfo, schema.UserCreate(name=name))

    def remove_user(self, name: str) -> None:
        """Forget a user who has no clusters any more, and revoke all its tokens."""
        self._call("DELETE", f"api/users/{quote(name, safe='')}", None)

    def audit(self, since: str = "", limit: int | None = None) -> schema.AuditPage:
        """Return who changed what after a cursor, up to a thousand entries."""
        query = {key: each for key, each in (("since", since), ("limit", limit)) if each}
        path = f"api/audit?{urlencode(query)}" if query else "api/audit"
        return self._call("GET", path, schema.AuditPage)

    def latest_audit(
        self,
        limit: int,
        *,
        before: int | None = None,
        token: str = "",
        cluster: str = "",
        refused: bool = False,
    ) -> schema.AuditPage:
        """Return the last entries, in order: those with a number below `before`, if it is given.

        Of those by a token, of a cluster, and of what was `refused`.
        """
        asked = {"before": before, "token": token, "cluster": cluster, "refused": int(refused)}
        query = {"latest": 1, "limit": limit} | {k: v for k, v in asked.items() if v not in ("", 0)}
        query = {key: each for key, each in query.items() if each is not None}
        return self._call("GET", f"api/audit?{urlencode(query)}", schema.AuditPage)
