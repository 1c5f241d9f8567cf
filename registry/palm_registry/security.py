"""Who asks, and from where: tokens, sessions of browsers, one-time codes, origins and hosts.

Tokens, sessions and codes have 256 random bits, so that a plain SHA-256 of them tells nothing
and guessing is hopeless; only hashes are kept.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palm.registry_api.schema import LoginCode
from palm_registry.failures import Forbidden, Unauthorised
from palm_registry.store import Database
from palm_registry.store import access as rows

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["HEADERS", "Access", "Principal", "check_host", "check_origin", "check_xsrf"]

#: Seconds that a one-time code is good for.
CODE_TTL = 30.0
#: Codes that are open at once; the oldest go first.
MAX_CODES = 16
#: Seconds that a browser stays logged in.
SESSION_TTL = 7 * 24 * 3600.0

#: On every answer.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Principal:
    """Who asks. ``xsrf`` is what a browser's session must send with each change, "" for tokens."""

    role: str
    xsrf: str = ""


@dataclass(frozen=True)
class _Session:
    token: str
    expires: float


class Access:
    """Who may talk to the registry."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._roles: dict[str, str] = {}
        self._sessions: dict[str, _Session] = {}
        self._codes: dict[str, float] = {}

    async def begin(self, owner: str) -> None:
        """Load what is known, with the owner's token as it is now."""
        digest = _digest(owner)

        def write(connection: Connection) -> None:
            now = time.time()
            rows.put_token(connection, digest, "owner", "owner", now)
            self._roles = rows.all_tokens(connection)
            found = rows.all_sessions(connection, now)
            self._sessions = {key: _Session(*value) for key, value in found.items()}

        await self._database.write(write)

    def of_token(self, token: str) -> Principal:
        """Return who has a token."""
        role = self._roles.get(_digest(token))
        if role is None:
            raise Unauthorised("token", "the registry does not know this token")
        return Principal(role)

    def of_session(self, session: str) -> Principal:
        """Return who has the session of a browser."""
        found = self._sessions.get(_digest(session))
        if found is None or found.expires <= time.time() or found.token not in self._roles:
            raise Unauthorised("session", "you are not logged in", "run: palm ui")
        return Principal(self._roles[found.token], _xsrf(session))

    def new_code(self, token: str) -> LoginCode:
        """Return a code that logs a browser in as the owner of a token, once."""
        now = time.monotonic()
        self._codes = {key: end for key, end in self._codes.items() if end > now}
        while len(self._codes) >= MAX_CODES:
            del self._codes[next(iter(self._codes))]
        code = secrets.token_urlsafe(32)
        self._codes[f"{_digest(code)}{_digest(token)}"] = now + CODE_TTL
        return LoginCode(code=code, path=f"login?code={code}", ttl=CODE_TTL)

    async def redeem(self, code: str) -> str:
        """Return a new session for a one-time code."""
        digest = _digest(code)
        known = next((key for key in self._codes if key.startswith(digest)), None)
        if known is None or self._codes.pop(known) <= time.monotonic():
            raise Forbidden("code", "this link was used before, or is too old", "run: palm ui")
        token = known.removeprefix(digest)
        session, expires = secrets.token_urlsafe(32), time.time() + SESSION_TTL
        await self._database.write(lambda c: rows.add_session(c, _digest(session), token, expires))
        self._sessions[_digest(session)] = _Session(token, expires)
        return session

    async def end_session(self, session: str) -> None:
        """Log a browser out."""
        digest = _digest(session)
        self._sessions.pop(digest, None)
        await self._database.write(lambda c: rows.delete_session(c, digest))


def check_xsrf(principal: Principal, sent: str | None) -> None:
    """Refuse a change that a browser's session did not mean to make."""
    if principal.xsrf and not hmac.compare_digest(principal.xsrf.encode(), (sent or "").encode()):
        raise Forbidden("xsrf", "the X-XSRF-Token of this session is missing or wrong")


def check_host(host: str, allowed: Collection[str]) -> None:
    """Refuse a name that is not ours: a foreign page may have made it lead here."""
    if host.lower() not in allowed:
        raise Forbidden("host", "the registry is not known by this name")


def check_origin(origin: str | None, scheme: str, host: str) -> None:
    """Refuse what a page from elsewhere asks for."""
    own = {f"{scheme}://{host.lower()}", f"https://{host.lower()}"}  # a proxy may speak TLS for us
    if origin is not None and origin.lower() not in own:
        raise Forbidden("origin", "pages from elsewhere may not use the registry")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _xsrf(session: str) -> str:
    return hmac.digest(session.encode(), b"xsrf", "sha256").hex()
